# Generated from the .proto files by `make proto`. Do not edit.
import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_SUCCEEDED: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_TIMEOUT: _ClassVar[Outcome]
    OUTCOME_CANCELED: _ClassVar[Outcome]
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_SUCCEEDED: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_TIMEOUT: Outcome
OUTCOME_CANCELED: Outcome

class WorkerMessage(_message.Message):
    __slots__ = ("register", "acknowledge", "heartbeat", "progress", "result", "release", "drain")
    REGISTER_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    register: Register
    acknowledge: Acknowledge
    heartbeat: Heartbeat
    progress: Progress
    result: Result
    release: Release
    drain: Drain
    def __init__(self, register: _Optional[_Union[Register, _Mapping]] = ..., acknowledge: _Optional[_Union[Acknowledge, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., release: _Optional[_Union[Release, _Mapping]] = ..., drain: _Optional[_Union[Drain, _Mapping]] = ...) -> None: ...

class ControllerMessage(_message.Message):
    __slots__ = ("registered", "assignment", "renewed", "cancel", "recorded", "go_away")
    REGISTERED_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    RENEWED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    GO_AWAY_FIELD_NUMBER: _ClassVar[int]
    registered: Registered
    assignment: Assignment
    renewed: Renewed
    cancel: Cancel
    recorded: Recorded
    go_away: GoAway
    def __init__(self, registered: _Optional[_Union[Registered, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., renewed: _Optional[_Union[Renewed, _Mapping]] = ..., cancel: _Optional[_Union[Cancel, _Mapping]] = ..., recorded: _Optional[_Union[Recorded, _Mapping]] = ..., go_away: _Optional[_Union[GoAway, _Mapping]] = ...) -> None: ...

class Register(_message.Message):
    __slots__ = ("version", "worker_id", "namespace", "token", "session_id", "tasks", "capacity", "labels", "node_name", "instance_name", "app_name", "app_version", "sdk", "held")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKER_ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    INSTANCE_NAME_FIELD_NUMBER: _ClassVar[int]
    APP_NAME_FIELD_NUMBER: _ClassVar[int]
    APP_VERSION_FIELD_NUMBER: _ClassVar[int]
    SDK_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    version: int
    worker_id: str
    namespace: str
    token: str
    session_id: str
    tasks: _containers.RepeatedScalarFieldContainer[str]
    capacity: int
    labels: _containers.ScalarMap[str, str]
    node_name: str
    instance_name: str
    app_name: str
    app_version: str
    sdk: str
    held: _containers.RepeatedCompositeFieldContainer[HeldLease]
    def __init__(self, version: _Optional[int] = ..., worker_id: _Optional[str] = ..., namespace: _Optional[str] = ..., token: _Optional[str] = ..., session_id: _Optional[str] = ..., tasks: _Optional[_Iterable[str]] = ..., capacity: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., node_name: _Optional[str] = ..., instance_name: _Optional[str] = ..., app_name: _Optional[str] = ..., app_version: _Optional[str] = ..., sdk: _Optional[str] = ..., held: _Optional[_Iterable[_Union[HeldLease, _Mapping]]] = ...) -> None: ...

class HeldLease(_message.Message):
    __slots__ = ("lease", "finished")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    finished: bool
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., finished: _Optional[bool] = ...) -> None: ...

class LeaseKey(_message.Message):
    __slots__ = ("run_uid", "fencing_token")
    RUN_UID_FIELD_NUMBER: _ClassVar[int]
    FENCING_TOKEN_FIELD_NUMBER: _ClassVar[int]
    run_uid: str
    fencing_token: int
    def __init__(self, run_uid: _Optional[str] = ..., fencing_token: _Optional[int] = ...) -> None: ...

class Registered(_message.Message):
    __slots__ = ("version", "session_id", "heartbeat_interval", "lease_duration", "acknowledge_within", "resumed", "lost", "max_message_bytes")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    LEASE_DURATION_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGE_WITHIN_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    version: int
    session_id: str
    heartbeat_interval: _duration_pb2.Duration
    lease_duration: _duration_pb2.Duration
    acknowledge_within: _duration_pb2.Duration
    resumed: _containers.RepeatedCompositeFieldContainer[LeaseKey]
    lost: _containers.RepeatedCompositeFieldContainer[LeaseKey]
    max_message_bytes: int
    def __init__(self, version: _Optional[int] = ..., session_id: _Optional[str] = ..., heartbeat_interval: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., lease_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., acknowledge_within: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., resumed: _Optional[_Iterable[_Union[LeaseKey, _Mapping]]] = ..., lost: _Optional[_Iterable[_Union[LeaseKey, _Mapping]]] = ..., max_message_bytes: _Optional[int] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("lease", "namespace", "run_name", "task", "payload", "attempt", "idempotency_key", "timeout", "priority", "labels", "traceparent", "at_most_once")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LEASE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RUN_NAME_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_ONCE_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    namespace: str
    run_name: str
    task: str
    payload: bytes
    attempt: int
    idempotency_key: str
    timeout: _duration_pb2.Duration
    priority: int
    labels: _containers.ScalarMap[str, str]
    traceparent: str
    at_most_once: bool
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., namespace: _Optional[str] = ..., run_name: _Optional[str] = ..., task: _Optional[str] = ..., payload: _Optional[bytes] = ..., attempt: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., priority: _Optional[int] = ..., labels: _Optional[_Mapping[str, str]] = ..., traceparent: _Optional[str] = ..., at_most_once: _Optional[bool] = ...) -> None: ...

class Acknowledge(_message.Message):
    __slots__ = ("lease",)
    LEASE_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("lease", "reason")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    reason: str
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("held",)
    HELD_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[LeaseKey]
    def __init__(self, held: _Optional[_Iterable[_Union[LeaseKey, _Mapping]]] = ...) -> None: ...

class Renewed(_message.Message):
    __slots__ = ("held", "lost")
    HELD_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    held: _containers.RepeatedCompositeFieldContainer[LeaseKey]
    lost: _containers.RepeatedCompositeFieldContainer[LeaseKey]
    def __init__(self, held: _Optional[_Iterable[_Union[LeaseKey, _Mapping]]] = ..., lost: _Optional[_Iterable[_Union[LeaseKey, _Mapping]]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("lease", "fraction", "message")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    fraction: float
    message: str
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., fraction: _Optional[float] = ..., message: _Optional[str] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("lease", "outcome", "output", "failure", "log_tail")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    LOG_TAIL_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    outcome: Outcome
    output: bytes
    failure: Failure
    log_tail: str
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., output: _Optional[bytes] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., log_tail: _Optional[str] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("reason", "message", "permanent", "retry_after")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PERMANENT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    permanent: bool
    retry_after: _duration_pb2.Duration
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., permanent: _Optional[bool] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Recorded(_message.Message):
    __slots__ = ("lease", "accepted", "message")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    accepted: bool
    message: str
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., accepted: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class Cancel(_message.Message):
    __slots__ = ("lease", "reason", "grace")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    lease: LeaseKey
    reason: str
    grace: _duration_pb2.Duration
    def __init__(self, lease: _Optional[_Union[LeaseKey, _Mapping]] = ..., reason: _Optional[str] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Drain(_message.Message):
    __slots__ = ("reason",)
    REASON_FIELD_NUMBER: _ClassVar[int]
    reason: str
    def __init__(self, reason: _Optional[str] = ...) -> None: ...

class GoAway(_message.Message):
    __slots__ = ("reason", "reconnect_after")
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_AFTER_FIELD_NUMBER: _ClassVar[int]
    reason: str
    reconnect_after: _duration_pb2.Duration
    def __init__(self, reason: _Optional[str] = ..., reconnect_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
