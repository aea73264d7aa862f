"""plum.worker.v1: messages of the worker protocol to calls of the gateway, and back. See the .proto for what they mean."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
import msgspec
from google.protobuf.duration_pb2 import Duration
from plum_flow.task_states import Outcome
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb
from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.taskrun import TaskRun

from plum_controller.domain.worker_names import worker_name
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError
from plum_controller.rpc.gateway import AlreadyConnectedError, Gateway
from plum_controller.rpc.sessions import Doorkeeper, Hello, Lease, Session
from plum_controller.rpc.streams import EndOfStreamError, Outbox, end_of, peer_of, serve, token_in

logger = logging.getLogger(__name__)

VERSION = 1
MAX_OUTPUT_BYTES = 1024 * 1024
"""Of one result: it is kept in the object of its run."""
MAX_LOG_BYTES = 64 * 1024
MAX_CAPACITY = 10_000
MAX_TASKS = 1_000
PHASES: dict[int, Any] = {
    pb.OUTCOME_SUCCEEDED: "Succeeded",
    pb.OUTCOME_FAILED: "Failed",
    pb.OUTCOME_TIMEOUT: "Timeout",
    pb.OUTCOME_CANCELED: "Canceled",
}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class StreamLink:
    """Speaks to one worker."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def assign(self, lease: Lease, run: TaskRun) -> None:
        status = run.status
        task = status.task
        metadata = run.metadata
        assignment = pb.Assignment(
            lease=_key(lease),
            namespace=metadata.namespace,
            run_name=metadata.name,
            task=(task.task if task is not None else "") or run.spec.task_ref,
            payload=_encode(run.input),
            attempt=status.attempt,
            idempotency_key=status.idempotency_key or metadata.uid,
            priority=task.priority if task is not None else 0,
            labels=metadata.labels,
            traceparent=metadata.annotations.get("plum.dev/traceparent", ""),
            at_most_once=lease.at_most_once,
        )
        if task is not None and task.timeout is not None:
            assignment.timeout.CopyFrom(_duration(parse_duration(task.timeout)))
        self._outbox.put(pb.ControllerMessage(assignment=assignment))

    def cancel(self, lease: Lease, reason: str, grace_seconds: float) -> None:
        message = pb.Cancel(lease=_key(lease), reason=reason, grace=_duration(grace_seconds))
        self._outbox.put(pb.ControllerMessage(cancel=message))

    def renewed(self, held: Sequence[Lease], lost: Sequence[tuple[str, int]]) -> None:
        message = pb.Renewed(held=[_key(lease) for lease in held], lost=[_pair(pair) for pair in lost])
        self._outbox.put(pb.ControllerMessage(renewed=message))

    def recorded(self, uid: str, fencing_token: int, accepted: bool, message: str) -> None:
        recorded = pb.Recorded(lease=_pair((uid, fencing_token)), accepted=accepted, message=message)
        self._outbox.put(pb.ControllerMessage(recorded=recorded))

    def go_away(self, reason: str, reconnect_seconds: float) -> None:
        message = pb.GoAway(reason=reason, reconnect_after=_duration(reconnect_seconds))
        self._outbox.put(pb.ControllerMessage(go_away=message))

    def close(self, reason: str, *, unauthenticated: bool = False) -> None:
        self._outbox.end(grpc.StatusCode.UNAUTHENTICATED if unauthenticated else grpc.StatusCode.UNAVAILABLE, reason)


class WorkerService(worker_pb2_grpc.WorkerServiceServicer):
    """Serves workers that speak the versioned protocol."""

    def __init__(self, gateway: Gateway, door: Doorkeeper, *, secure: bool) -> None:
        self._gateway = gateway
        self._door = door
        self._secure = secure

    async def Connect(self, request_iterator: Any, context: Any) -> None:  # noqa: N802  named by the protocol
        """One stream, from Register to the end."""
        try:
            await self._connect(context)
        except EndOfStreamError as error:
            await context.abort(error.code, error.message)

    async def _connect(self, context: Any) -> None:
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        if first.WhichOneof("message") != "register":
            raise EndOfStreamError(grpc.StatusCode.FAILED_PRECONDITION, "the first message of a stream must be register")
        outbox = Outbox()
        link = StreamLink(outbox)
        gateway = self._gateway
        try:
            hello = self._hello(first.register, context)
            welcome = await gateway.register(hello, link)
        except ApiStatusError as error:
            logger.warning("worker refused", extra=fields(worker=first.register.worker_id, error=error.message))
            raise end_of(error) from error
        except AlreadyConnectedError as error:
            logger.warning("worker refused", extra=fields(worker=first.register.worker_id, error=str(error)))
            raise EndOfStreamError(grpc.StatusCode.ALREADY_EXISTS, str(error)) from error
        session, timing = welcome.session, gateway.timing
        registered = pb.Registered(
            version=VERSION,
            session_id=session.id,
            heartbeat_interval=_duration(timing.heartbeat_seconds),
            lease_duration=_duration(timing.lease_seconds),
            acknowledge_within=_duration(timing.acknowledge_seconds),
            resumed=[_key(lease) for lease in welcome.resumed],
            lost=[_pair(pair) for pair in welcome.lost],
            max_message_bytes=MAX_OUTPUT_BYTES,
        )
        try:
            await context.write(pb.ControllerMessage(registered=registered))
            gateway.activate(session)
            await serve(context, outbox, lambda message: self._handle(session, message))
        finally:
            gateway.disconnect(session, link)

    def _hello(self, register: pb.Register, context: Any) -> Hello:
        """Raises `ApiStatusError`, `EndOfStreamError`."""
        if register.version < 1:
            raise EndOfStreamError(grpc.StatusCode.FAILED_PRECONDITION, "version 0 is not spoken; version 1 is")
        problem = _problem(register)
        if problem:
            raise EndOfStreamError(grpc.StatusCode.INVALID_ARGUMENT, problem)
        token = register.token or token_in(context)
        caller = self._door.identify(token, peer_of(context), secure=self._secure)
        namespace, name = register.namespace or "default", worker_name(register.worker_id)
        self._door.admit(caller, namespace, name, register.tasks)
        return Hello(
            key=ObjectKey(namespace, name),
            tasks=tuple(dict.fromkeys(register.tasks)),
            capacity=register.capacity or 1,
            labels=dict(register.labels),
            protocol="grpc",
            worker_id=register.worker_id,
            session_id=register.session_id,
            node=register.node_name,
            instance=register.instance_name,
            app=register.app_name,
            app_version=register.app_version,
            sdk=register.sdk,
            held=tuple((one.lease.run_uid, one.lease.fencing_token, one.finished) for one in register.held),
            caller=caller,
        )

    def _handle(self, session: Session, message: pb.WorkerMessage) -> None:
        gateway, leases = self._gateway, self._gateway.leases
        gateway.heard(session)
        match message.WhichOneof("message"):
            case "acknowledge":
                leases.acknowledge(session, *_unkey(message.acknowledge.lease))
            case "heartbeat":
                leases.heartbeat(session, [_unkey(lease) for lease in message.heartbeat.held])
            case "progress":
                progress = message.progress
                leases.progress(session, *_unkey(progress.lease), progress.fraction, progress.message)
            case "result":
                result = message.result
                tail = result.log_tail.encode()[-MAX_LOG_BYTES:].decode(errors="ignore")
                wait = result.failure.retry_after.seconds + result.failure.retry_after.nanos / 1e9
                leases.result(session, *_unkey(result.lease), outcome_of(result), tail, wait)
            case "release":
                leases.release(session, *_unkey(message.release.lease), message.release.reason)
            case "drain":
                gateway.drain(session)
            case _:
                pass  # a later version of the protocol


def outcome_of(result: pb.Result) -> Outcome:
    """How an attempt ended, as the worker says. What cannot be stored is a failure that repeating does not mend."""
    if len(result.output) > MAX_OUTPUT_BYTES:
        text = f"the output has {len(result.output)} bytes, at most {MAX_OUTPUT_BYTES} are kept; write it to a file or KV"
        return Outcome("Failed", "OutputTooLarge", text, retryable=False)
    try:
        output = _decode(result.output) if result.output else None
    except (msgspec.DecodeError, RecursionError) as error:
        return Outcome("Failed", "InvalidOutput", f"the output is no JSON: {error}", retryable=False)
    phase = PHASES.get(result.outcome, "Failed")
    failure = result.failure
    if phase == "Succeeded":
        return Outcome(phase, output=output)
    return Outcome(
        phase,
        failure.reason or {"Timeout": "Timeout", "Canceled": "Canceled"}.get(phase, "Error"),
        failure.message[:10_000],
        output=output,
        retryable=not failure.permanent,
        finished_at=datetime.now(UTC),
    )


def _problem(register: pb.Register) -> str:
    """What is wrong with a registration, in a sentence."""
    if not register.worker_id or len(register.worker_id) > 200:
        return "worker_id is empty or longer than 200 characters; use a name that stays the same over restarts"
    if register.capacity > MAX_CAPACITY:
        return f"capacity is {register.capacity}; use 1 to {MAX_CAPACITY}"
    if len(register.tasks) > MAX_TASKS or not all(0 < len(task) <= 250 for task in register.tasks):
        return f"tasks has {len(register.tasks)} names; use up to {MAX_TASKS}, of 1 to 250 characters each"
    builtin = next((task for task in register.tasks if task.startswith("builtin.")), "")
    return f"task {builtin!r} is part of the controller; choose a name that does not begin with builtin." if builtin else ""


def _key(lease: Lease) -> pb.LeaseKey:
    return pb.LeaseKey(run_uid=lease.uid, fencing_token=lease.fencing_token)


def _pair(pair: tuple[str, int]) -> pb.LeaseKey:
    return pb.LeaseKey(run_uid=pair[0], fencing_token=pair[1])


def _unkey(key: pb.LeaseKey) -> tuple[str, int]:
    return key.run_uid, key.fencing_token


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
