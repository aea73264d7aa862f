"""Operation: something a device is asked to do. An expired one is never executed, an at-most-once one never twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import AnyJson, FreeMap, ListMap
from plum_schemas.scalars import Duration, Name, NonNegative
from plum_schemas.template import Toleration
from plum_schemas.validation import FieldError, forbidden

OperationPhase = Literal[
    "Queued", "Delivered", "Accepted", "Running", "Succeeded", "Failed", "Expired", "Canceled", "Unknown"
]  # fmt: skip
"""Delivered left the controller, Accepted was confirmed by the device. Unknown: at-most-once, and nobody saw the end."""
TERMINAL_OPERATION_PHASES = frozenset({"Succeeded", "Failed", "Expired", "Canceled", "Unknown"})


class Holder(Struct):
    """Who uses a device: the object that a reservation belongs to."""

    kind: Literal["Instance", "WorkflowRun"]
    """Kind of the object, in the namespace of the Resource."""
    name: Name
    """Its name."""


class OperationSpec(Struct):
    """What is asked. Only `canceled` may be changed later."""

    resource_ref: Name
    """Name of the Resource."""
    method: Annotated[str, Meta(min_length=1, max_length=253)]
    """Operation of its model."""
    arguments: FreeMap = {}
    """Arguments, checked against the model."""
    not_after: Duration | None = None
    """Time from creation after which it must not be started; no limit if absent."""
    delivery: Literal["AtMostOnce", "AtLeastOnce"] = "AtMostOnce"
    """AtMostOnce is sent once and may end as Unknown; AtLeastOnce is sent again until the device confirms it."""
    idempotency_key: str = ""
    """The device executes operations with the same key once; the uid of the object if absent."""
    timeout: Duration | None = None
    """Longest time of the execution; no limit if absent."""
    canceled: bool = False
    """True asks to stop it."""
    holder: Holder | None = None
    """In whose name it is asked for, while the Resource is reserved; a controlling owner counts without being named here."""
    tolerations: list[Toleration] = []
    """Taints of the Resource that do not keep it away."""


class OperationStatus(Struct):
    """How far it is."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: OperationPhase = "Queued"
    """Where it is in its life."""
    sequence: NonNegative = 0
    """Place in the order in which operations were asked for; they are carried out in it."""
    node: str = ""
    """Node whose agent hands it to the device; empty: the controller does, or nobody yet."""
    deliveries: NonNegative = 0
    """Times it was sent."""
    attempt: NonNegative = 0
    """Times the device confirmed it; above 1 only with AtLeastOnce."""
    session: str = ""
    """Connection of the device that confirmed it."""
    progress: float | None = None
    """Share that is done, 0 to 1, where the device says so."""
    reason: str = ""
    """Why it is where it is, in CamelCase: Offline, Reserved, DeviceFailed, Timeout, ..."""
    expires_at: datetime | None = None
    """When it may no longer be started."""
    delivered_at: datetime | None = None
    """When it was sent last, by the clock of the controller."""
    accepted_at: datetime | None = None
    """When the device confirmed it, by the clock of its node."""
    started_at: datetime | None = None
    """When the device began, by the clock of its node."""
    finished_at: datetime | None = None
    """When it ended, by the clock of whoever saw it."""
    result: AnyJson = None
    """What the device answered."""
    error: str = ""
    """What went wrong."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Succeeded: Unknown until it ends."""


class Operation(Object):
    """Something a device is asked to do."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Operation",
        plural="operations",
        short_names=("op",),
        columns=(
            Column("Resource", ".spec.resourceRef"),
            Column("Method", ".spec.method"),
            Column("Phase", ".status.phase"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Finished", ".status.finishedAt", "date", priority=1),
            Column("Node", ".status.node", priority=1),
            Column("Error", ".status.error", priority=1),
        ),
        selectable_fields=(".spec.resourceRef", ".spec.method", ".status.phase", ".status.node"),
    )

    spec: OperationSpec
    """What is asked."""
    status: OperationStatus = field(default_factory=OperationStatus)
    """How far it is."""

    def validate(self, old: Operation | None) -> Iterator[FieldError]:
        if old is None:
            return
        if old.spec.canceled and not self.spec.canceled:
            yield forbidden("spec.canceled", "a cancelled operation stays cancelled; ask again")
        if _what(old.spec) != _what(self.spec):
            yield forbidden("spec", "an operation never changes; ask again")


def _what(spec: OperationSpec) -> tuple[object, ...]:
    fixed = spec.resource_ref, spec.method, spec.arguments, spec.delivery, spec.idempotency_key, spec.not_after, spec.timeout
    return *fixed, spec.holder
