"""Resource: a device as a twin. The model says what it can do, `desired` what it should be, `reported` what it said it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import AnyJson, FreeMap, ListMap
from plum_schemas.node import Taint
from plum_schemas.scalars import Duration, Name, Positive
from plum_schemas.validation import FieldError, duplicate, forbidden, invalid, not_supported, required

ValueType = Literal["string", "integer", "double", "boolean", "enum", "object", "array"]


class ValueModel(Struct):
    """One typed value: a property, or an argument of an operation."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    """Name of the value."""
    type: ValueType
    """Type of the value."""
    unit: str = ""
    """Unit, for people."""
    min: float | None = None
    """Smallest number."""
    max: float | None = None
    """Largest number."""
    enum: list[AnyJson] = []
    """Values that are allowed; required for type enum."""
    description: str = ""
    """For people."""


class PropertyModel(ValueModel):
    """One property of the device."""

    read_only: bool = False
    """Only the device writes it; it cannot be desired."""
    stale_after: Duration | None = None
    """A reported value older than this is stale; that of the resource if absent."""


class ArgumentModel(ValueModel):
    """One argument of an operation."""

    required: bool = False
    """The call must give it."""
    default: AnyJson = None
    """Value when the call gives none."""


class OperationModel(Struct):
    """Something the device can be asked to do."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    """Name of the operation."""
    arguments: Annotated[list[ArgumentModel], ListMap("name")] = []
    """Arguments."""
    description: str = ""
    """For people."""


class DeviceModel(Struct):
    """What the device knows and can do. Without properties any may be reported and desired."""

    properties: Annotated[list[PropertyModel], ListMap("name")] = []
    """Values it reports, and takes unless they are read-only."""
    operations: Annotated[list[OperationModel], ListMap("name")] = []
    """What it can be asked to do."""


class HttpDriver(Struct):
    """Operations and desired values are sent by POST; the device reports by itself."""

    url: Annotated[str, Meta(min_length=1, pattern="^https?://")]
    """Address of the device."""
    headers: dict[str, str] = {}
    """Headers to send."""
    timeout: Duration = "5s"
    """An answer later than this is a failure."""
    poll: Duration | None = None
    """How often values are read with GET; never if absent."""


class WorkerDriver(Struct):
    """Operations and desired values are tasks for a registered worker."""

    task: Annotated[str, Meta(min_length=1)]
    """Name of the task that gets `{resource, method, arguments}`."""


class Driver(Struct):
    """How the device is reached. None set: it fetches its operations by itself with the SDK."""

    http: HttpDriver | None = None
    """By HTTP."""
    worker: WorkerDriver | None = None
    """Through a worker."""


class History(Struct):
    """How many reported values are kept."""

    max_age: Duration = "7d"
    """Older ones are removed."""
    max_count: Positive = 10000
    """Most values kept of each property."""


class ResourceSpec(Struct):
    """What the device is, and what it should be."""

    type: str = ""
    """Kind of device, such as `Radar`."""
    node_name: str = ""
    """Node it is connected to."""
    driver: Driver = field(default_factory=Driver)
    """How it is reached."""
    model: DeviceModel = field(default_factory=DeviceModel)
    """What it knows and can do."""
    desired: FreeMap = {}
    """Values it should have, by property."""
    heartbeat: Duration = "15s"
    """How often it reports; after two of them without a word it is offline."""
    stale_after: Duration | None = None
    """A reported value older than this is stale; never if absent."""
    history: History = field(default_factory=History)
    """How many reported values are kept."""
    taints: Annotated[list[Taint], ListMap("key", "effect")] = []
    """Keep operations and reservations away that do not tolerate them: NoSchedule lets them wait, NoExecute also cancels
    operations that wait and ends reservations."""
    operations_at_once: Positive = 1
    """Operations under way at the same time; the others wait in the order in which they were asked for."""
    queue_limit: Positive = 1000
    """Operations that may wait or be under way; more are refused with 429."""
    description: str = ""
    """For people."""


class Reported(Struct):
    """One value as the device reported it."""

    value: AnyJson = None
    """The value."""
    time: datetime | None = None
    """When the controller got it."""
    device_time: datetime | None = None
    """When the device measured it, by its own clock."""
    quality: Literal["good", "uncertain", "bad", "stale"] = "good"
    """How far it can be trusted; good if absent."""


class Delta(Struct):
    """One value that is not what it should be."""

    desired: AnyJson = None
    """What it should be."""
    reported: AnyJson = None
    """What it is."""


class Connection(Struct):
    """Whether the device is there."""

    online: bool = False
    """It was heard of within two heartbeats."""
    last_seen: datetime | None = None
    """When it was last heard of; written at least when online changes."""
    node: str = ""
    """Node it is connected to."""
    session: str = ""
    """Connection it last reported through."""
    reason: str = ""
    """Why it is offline: Silent, NodeLost, NodeGone, DriverFailed, NoWorker."""


class Claim(Struct):
    """One use of a Resource by an Instance or a WorkflowRun, held or waited for."""

    kind: Literal["Instance", "WorkflowRun"]
    """Kind of the holder."""
    name: Name
    """Its name."""
    uid: str
    """Its uid."""
    mode: Literal["Exclusive", "Shared"] = "Exclusive"
    """Exclusive: nobody else holds it at the same time, and operations of others are refused. Exclusive if absent."""
    since: datetime | None = None
    """When it was granted; absent while it waits."""
    reason: str = ""
    """Why it waits."""


class ResourceStatus(Struct):
    """What the device is."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    reported: dict[str, Reported] = {}
    """Values the device reported, by property."""
    delta: dict[str, Delta] = {}
    """Properties whose reported value is not the desired one."""
    connection: Connection = field(default_factory=Connection)
    """Whether it is there."""
    reservations: Annotated[list[Claim], ListMap("uid")] = []
    """Who holds it."""
    waiting: Annotated[list[Claim], ListMap("uid")] = []
    """Who waits for it, in the order in which they get it."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Online, Synced."""


class Resource(Object):
    """A device as a twin: desired and reported values, and operations."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Resource",
        plural="resources",
        short_names=("res",),
        columns=(
            Column("Type", ".spec.type"),
            Column("Online", ".status.connection.online", "boolean"),
            Column("Node", ".spec.nodeName"),
            Column("Synced", '.status.conditions[?(@.type=="Synced")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Last seen", ".status.connection.lastSeen", "date", priority=1),
        ),
        selectable_fields=(".spec.type", ".spec.nodeName", ".status.connection.online"),
    )

    spec: ResourceSpec = field(default_factory=ResourceSpec)
    """What it is, and what it should be."""
    status: ResourceStatus = field(default_factory=ResourceStatus)
    """What it said it is."""

    def validate(self, old: Resource | None) -> Iterator[FieldError]:
        model = self.spec.model
        for index, known in enumerate(model.properties):
            yield from _check_model(known, f"spec.model.properties[{index}]")
        for index, operation in enumerate(model.operations):
            for position, argument in enumerate(operation.arguments):
                where = f"spec.model.operations[{index}].arguments[{position}]"
                yield from _check_model(argument, where)
                if argument.default is not None:
                    yield from check_value(argument, argument.default, f"{where}.default")
        properties = {known.name: known for known in model.properties}
        for name, value in self.spec.desired.items():
            where = f"spec.desired.{name}"
            wanted = properties.get(name)
            if wanted is None:
                if properties:
                    yield not_supported("spec.desired", name, sorted(properties))
            elif wanted.read_only:
                yield forbidden(where, "is read-only in spec.model")
            else:
                yield from check_value(wanted, value, where)


def check_value(model: ValueModel, value: Any, path: str) -> Iterator[FieldError]:
    """Whether a value is what the model allows: its type, its bounds, its enumeration."""
    if model.type != "enum" and not fits_type(value, model.type):
        yield invalid(path, value, f"must be of type {model.type}")
        return
    if model.enum and value not in model.enum:
        yield not_supported(path, value, [str(choice) for choice in model.enum])
        return
    unit = f" {model.unit}" if model.unit else ""
    if isinstance(value, int | float):
        if model.min is not None and value < model.min:
            yield invalid(path, value, f"must be at least {model.min:g}{unit}")
        if model.max is not None and value > model.max:
            yield invalid(path, value, f"must be at most {model.max:g}{unit}")


def check_arguments(operation: OperationModel, arguments: dict[str, Any], path: str) -> Iterator[FieldError]:
    """Whether a call gives an operation what its model asks for."""
    known = {argument.name: argument for argument in operation.arguments}
    for name, value in arguments.items():
        if name not in known:
            yield not_supported(path, name, sorted(known))
        else:
            yield from check_value(known[name], value, f"{path}.{name}")
    for argument in operation.arguments:
        if argument.required and argument.name not in arguments:
            yield required(f"{path}.{argument.name}", f"{operation.name} needs it")


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "double": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def fits_type(value: Any, name: str) -> bool:
    """Whether a value is of a type of the model that has one; `enum` has none."""
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _check_model(model: ValueModel, path: str) -> Iterator[FieldError]:
    if model.type == "enum" and not model.enum:
        yield required(f"{path}.enum", "type enum needs the values that are allowed")
    if model.min is not None and model.max is not None and model.min > model.max:
        yield invalid(f"{path}.max", model.max, f"must not be below min, which is {model.min:g}")
    if _has_twice(model.enum):
        yield duplicate(f"{path}.enum", model.enum)


def _has_twice(values: Sequence[Any]) -> bool:
    return any(value in values[:index] for index, value in enumerate(values))
