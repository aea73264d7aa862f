"""TaskRun: one execution of a task, its attempts and its result.

Result, state and history are written in one transaction, guarded by attempt and fencing token: a late worker is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import AnyJson, FreeMap, ListMap
from plum_schemas.retry import Concurrency, Execution, RetryPolicy
from plum_schemas.rules import check_retry
from plum_schemas.scalars import Duration, NonNegative
from plum_schemas.taskdefinition import BUILTIN_PREFIX, BUILTINS, TaskDefinitionSpec, check_task, normalize_task
from plum_schemas.validation import FieldError, exactly_one, forbidden, invalid

TaskPhase = Literal["Queued", "Pending", "Running", "Succeeded", "Failed", "Timeout", "Canceled", "Unknown"]
"""Queued waits for a place, Pending for a worker or node. Unknown is for at-most-once runs whose end nobody saw."""
TERMINAL_PHASES = frozenset({"Succeeded", "Failed", "Timeout", "Canceled", "Unknown"})


class SecretMark(Struct):
    """A text in the payload that stands for a value of a Secret."""

    marker: Annotated[str, Meta(min_length=20, max_length=200)]
    """The text; nothing else in the payload may hold it."""
    name: Annotated[str, Meta(min_length=1)]
    """Name of the Secret, in the namespace of the run."""
    key: Annotated[str, Meta(min_length=1)]
    """Key in it."""


class TaskRunSpec(Struct):
    """What to execute. Either taskRef or task is set. Only `canceled` and `suspend` may be changed later."""

    task_ref: str = ""
    """Name of the TaskDefinition, or of a builtin such as `builtin.echo`."""
    task: TaskDefinitionSpec | None = None
    """A definition of its own, instead of taskRef."""
    payload: FreeMap = {}
    """Input; fields of the definition's defaultPayload fill what is missing."""
    secrets: Annotated[list[SecretMark], ListMap("marker")] = []
    """Values that whoever executes it puts into the payload; workflows make these of `${{ secrets.NAME.KEY }}`."""
    timeout: Duration | None = None
    """Instead of the definition's."""
    retry: RetryPolicy | None = None
    """Instead of the definition's."""
    priority: int | None = None
    """Instead of the definition's."""
    execution: Execution | None = None
    """Instead of the definition's."""
    concurrency: Concurrency | None = None
    """Instead of the definition's."""
    node_name: str = ""
    """The one node that executes it, instead of the definition's."""
    node_selector: dict[str, str] = {}
    """Further labels of the node or worker that executes it."""
    deadline: datetime | None = None
    """No attempt starts after this time."""
    suspend: bool = False
    """True holds a run that is Queued: it is admitted once this is false again."""
    canceled: bool = False
    """True asks to stop; honoured in every state."""
    keep_for: Duration | None = None
    """How long it is kept after its end; the controller's setting if absent."""


class Attempt(Struct):
    """One attempt that has ended."""

    number: Annotated[int, Meta(ge=1)]
    """Counts from 1."""
    phase: TaskPhase
    """How it ended."""
    worker: str = ""
    """Worker that held it."""
    node: str = ""
    """Node it ran on."""
    started_at: datetime | None = None
    """When it started."""
    finished_at: datetime | None = None
    """When it ended."""
    reason: str = ""
    """CamelCase: Error, Timeout, WorkerLost, ExitCode, ..."""
    error: str = ""
    """What went wrong."""
    exit_code: int | None = None
    """Exit code of a process or container."""


class AttemptReport(Struct):
    """What a node saw of an attempt that has ended there. The controller decides what follows from it."""

    attempt: Annotated[int, Meta(ge=1)]
    """Number of the attempt."""
    fencing_token: NonNegative
    """Token it was taken with; a report of another one is not looked at."""
    outcome: Literal["Exited", "Timeout", "Canceled", "Lost", "Refused"]
    """Exited: see exitCode. Lost: nobody saw its end. Refused: it was not started, and never will be on this node."""
    finished_at: datetime | None = None
    """When it ended."""
    exit_code: int | None = None
    """Exit code; 128 + number after a signal."""
    reason: str = ""
    """CamelCase word for what went wrong."""
    error: str = ""
    """What went wrong, for people."""


class TaskRunStatus(Struct):
    """How far it is, and its result."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: TaskPhase = "Queued"
    """Where it is in its life."""
    attempt: NonNegative = 0
    """Number of the current or last attempt; 0 before the first."""
    fencing_token: NonNegative = 0
    """Grows with every lease of the run to a worker; a result with an older one is refused."""
    idempotency_key: str = ""
    """The same for every attempt of this run: its uid, or `<uid of the workflow run>/<node>/<iteration>`."""
    worker: str = ""
    """Worker that holds the current attempt."""
    node: str = ""
    """Node of the current attempt."""
    lease_expires_at: datetime | None = None
    """When the attempt is given to another worker unless it is renewed."""
    attempt_started_at: datetime | None = None
    """When the current or last attempt was taken."""
    lost: NonNegative = 0
    """Attempts whose end nobody saw. They are repeated without counting as retries."""
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share that is done, as the worker reports it."""
    progress_message: str = ""
    """What the worker says it is doing."""
    queued_at: datetime | None = None
    """When it was accepted."""
    started_at: datetime | None = None
    """When the first attempt started."""
    finished_at: datetime | None = None
    """When it ended for good."""
    next_attempt_at: datetime | None = None
    """When the next attempt starts, while it waits for a retry."""
    output: AnyJson = None
    """Result."""
    error: str = ""
    """What went wrong in the last attempt."""
    reason: str = ""
    """CamelCase word for the state, such as NoWorker, WorkerLost, ExitCode."""
    exit_code: int | None = None
    """Exit code of a process or container."""
    stdout: str = ""
    """End of the standard output, up to 1 MiB."""
    stderr: str = ""
    """End of the standard error output, up to 1 MiB."""
    report: AttemptReport | None = None
    """End of the current attempt as its node saw it, until the controller has recorded it."""
    concurrency_key: str = ""
    """What its concurrency key came to; runs with the same one share the limit."""
    task: TaskDefinitionSpec | None = None
    """What is executed: the definition when the run was admitted, with what the run says instead. It never changes."""
    attempts: list[Attempt] = []
    """Attempts that have ended, oldest first; at most 20."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Succeeded: Unknown while it runs, then True or False. ResourceLimits: are they enforced for the last attempt?"""


class TaskRun(Object):
    """One execution of a task."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="TaskRun",
        plural="taskruns",
        short_names=("tr",),
        columns=(
            Column("Task", ".spec.taskRef"),
            Column("Phase", ".status.phase"),
            Column("Attempt", ".status.attempt", "integer"),
            Column("Worker", ".status.worker"),
            Column("Node", ".status.node"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Started", ".status.startedAt", "date", priority=1),
            Column("Finished", ".status.finishedAt", "date", priority=1),
            Column("Error", ".status.error", priority=1),
        ),
        selectable_fields=(".spec.taskRef", ".spec.nodeName", ".status.node", ".status.phase", ".status.worker"),
    )

    spec: TaskRunSpec
    """What to execute."""
    status: TaskRunStatus = field(default_factory=TaskRunStatus)
    """How far it is."""

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        spec = data.get("spec")
        if isinstance(spec, dict):
            normalize_task(spec.get("task"))

    @property
    def input(self) -> dict[str, Any]:
        """The payload, with the definition's default for every field that the run leaves out."""
        defaults = self.status.task.default_payload if self.status.task is not None else {}
        return {**defaults, **self.spec.payload} if defaults else self.spec.payload

    def validate(self, old: TaskRun | None) -> Iterator[FieldError]:
        spec = self.spec
        yield from exactly_one("spec", {"taskRef": spec.task_ref or None, "task": spec.task})
        if spec.task_ref.startswith(BUILTIN_PREFIX) and spec.task_ref not in BUILTINS:
            yield invalid("spec.taskRef", spec.task_ref, f"there is no such builtin; there are {', '.join(BUILTINS)}")
        if spec.retry is not None:
            yield from check_retry(spec.retry, "spec.retry")
        if spec.task is not None:
            yield from check_task(spec.task, "spec.task")
        if old is None:
            return
        if spec.suspend and not old.spec.suspend and old.status.phase != "Queued":
            yield forbidden(
                "spec.suspend", f"the run is {old.status.phase}; only one that is Queued can be held, others be cancelled"
            )
        if old.spec.canceled and not spec.canceled:
            yield forbidden("spec.canceled", "a cancelled run stays cancelled; run the task again")
        if _what(old.spec) != _what(spec):
            yield forbidden("spec", "a run never changes what it executes; run the task again")


def _what(spec: TaskRunSpec) -> tuple[object, ...]:
    return spec.task_ref, spec.task, spec.payload, spec.secrets, spec.node_name, spec.node_selector, spec.execution
