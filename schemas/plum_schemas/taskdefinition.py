"""TaskDefinition: what one task does, where it is executed, and how often and how long it is tried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.command import split_command
from plum_schemas.markers import AnyJson, FreeMap, ListMap
from plum_schemas.retry import Concurrency, Execution, RetryPolicy
from plum_schemas.rules import check_env, check_retry, map_to_list
from plum_schemas.scalars import Duration
from plum_schemas.service import ResolutionStrategy
from plum_schemas.template import EnvVar, Resources, Toleration
from plum_schemas.validation import FieldError, forbidden, invalid, required

Executor = Literal["embedded", "service", "os_process", "container", "http", "plugin"]
BUILTIN_PREFIX = "builtin."
"""Tasks with this prefix are part of the controller; nobody may define others with it."""
BUILTINS = (
    "builtin.apply",
    "builtin.delay",
    "builtin.delete",
    "builtin.echo",
    "builtin.fail",
    "builtin.kv",
    "builtin.patch",
    "builtin.rollback",
    "builtin.rollout",
    "builtin.sleep",
    "builtin.transact",
    "builtin.transform",
    "builtin.wait",
)
"""Those there are."""


class ServiceCall(Struct):
    """A request to an endpoint of a service."""

    name: Annotated[str, Meta(min_length=1)]
    """Name of the service."""
    path: str = "/"
    """Path, or the full name of the method for grpc."""
    protocol: Literal["http", "https", "grpc"] = "http"
    """What is spoken."""
    version: str = ""
    """Only endpoints of this version."""
    strategy: ResolutionStrategy = "roundRobin"
    """How one endpoint is chosen."""
    hash_key: str = ""
    """For consistentHash and sticky: what the choice follows."""


class ProcessCall(Struct):
    """A process on a chosen node."""

    command: list[str] = []
    """Program and arguments. A single string is split as a shell would, without a shell. If absent, the payload says what is
    executed: `{command, args, workingDir, input, env}`."""
    env: Annotated[list[EnvVar], ListMap("name")] = []
    """Environment variables. A map from name to value is accepted."""
    working_dir: str = ""
    """Folder it starts in."""
    input: str = ""
    """Text on its standard input; the payload as JSON if empty."""
    user: str = ""
    """User it runs as; the agent's own if absent."""


class ContainerCall(Struct):
    """A container on a chosen node."""

    image: Annotated[str, Meta(min_length=1)]
    """Image."""
    command: list[str] = []
    """Program and arguments; those of the image if empty."""
    env: Annotated[list[EnvVar], ListMap("name")] = []
    """Environment variables. A map from name to value is accepted."""
    working_dir: str = ""
    """Folder it starts in."""
    input: str = ""
    """Text on its standard input; the payload as JSON if empty."""


class HttpCall(Struct):
    """A request to an address on the allow list."""

    method: Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    """Method."""
    url: Annotated[str, Meta(min_length=1, pattern=r"^(https?://|\$\{\{|\{\{)")]
    """Address; expressions are allowed."""
    headers: dict[str, str] = {}
    """Headers to send; expressions are allowed."""
    body: AnyJson = None
    """Body as JSON; the payload if absent."""


class PluginCall(Struct):
    """A call of an executor that was installed beside the controller."""

    name: Annotated[str, Meta(min_length=1)]
    """Name of its entry point in the group `plum.executors`."""
    config: FreeMap = {}
    """What it is told besides the payload; the plugin says what it understands."""


class TaskDefinitionSpec(Struct):
    """What the task does. The part that belongs to `executor` is set, the other parts are absent."""

    executor: Executor = "embedded"
    """embedded: a builtin or a registered worker; service: a call to an endpoint; os_process and container: on a node; http: any
    address on the allow list; plugin: an installed executor."""
    task: str = ""
    """For embedded: the name a worker registered, or a builtin such as `builtin.echo`; the name of the object if absent."""
    service: ServiceCall | None = None
    """For executor service."""
    process: ProcessCall | None = None
    """For executor os_process."""
    container: ContainerCall | None = None
    """For executor container."""
    http: HttpCall | None = None
    """For executor http."""
    plugin: PluginCall | None = None
    """For executor plugin."""
    node_selector: dict[str, str] = {}
    """Labels of the node or worker that executes it."""
    node_name: str = ""
    """The one node that executes it."""
    tolerations: list[Toleration] = []
    """Taints it accepts, for os_process and container."""
    resources: Resources = field(default_factory=Resources)
    """What it needs and may use, for os_process and container."""
    default_payload: FreeMap = {}
    """Payload fields a run gets unless it says otherwise."""
    payload_schema: FreeMap | None = None
    """JSON Schema the payload must satisfy."""
    timeout: Duration | None = None
    """Longest time of one attempt; the whole process tree is killed then. No limit if absent."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When a failed attempt is tried again."""
    priority: int = 0
    """Higher ones are executed first."""
    concurrency: Concurrency | None = None
    """How many runs go on at once."""
    execution: Execution = "AtLeastOnce"
    """What happens to an attempt whose end nobody saw: AtLeastOnce repeats it, AtMostOnce ends the run as Unknown."""
    description: str = ""
    """For people."""


class TaskDefinitionStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    workers: int = 0
    """Registered workers that run it, for executor embedded."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready: something can execute it."""


class TaskDefinition(Object):
    """What one task does and how it is executed."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="TaskDefinition",
        plural="taskdefinitions",
        short_names=("td", "taskdef"),
        columns=(
            Column("Executor", ".spec.executor"),
            Column("Task", ".spec.task"),
            Column("Timeout", ".spec.timeout"),
            Column("Retries", ".spec.retry.limit", "integer"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', priority=1),
            Column("Priority", ".spec.priority", "integer", priority=1),
        ),
        selectable_fields=(".spec.executor", ".spec.task"),
    )

    spec: TaskDefinitionSpec = field(default_factory=TaskDefinitionSpec)
    """What it does."""
    status: TaskDefinitionStatus = field(default_factory=TaskDefinitionStatus)
    """What was last seen."""

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        normalize_task(data.get("spec"))

    def validate(self, old: TaskDefinition | None) -> Iterator[FieldError]:
        if self.metadata.name.startswith(BUILTIN_PREFIX):
            yield forbidden("metadata.name", f"names that begin with {BUILTIN_PREFIX} are those of the controller's own tasks")
        yield from check_task(self.spec, "spec")


def normalize_task(spec: Any) -> None:
    """Short forms of a task's parts."""
    if not isinstance(spec, dict):
        return
    for part in ("process", "container"):
        call = spec.get(part)
        if isinstance(call, dict):
            split_command(call, "command")
            map_to_list(call, "env", "name", "value")


def check_task(spec: TaskDefinitionSpec, path: str) -> Iterator[FieldError]:
    """The part of the chosen executor is there and no other is; its details are sound."""
    parts: dict[str, Struct | None] = {
        "service": spec.service,
        "os_process": spec.process,
        "container": spec.container,
        "http": spec.http,
        "plugin": spec.plugin,
    }
    names = {"os_process": "process"}
    for executor, part in parts.items():
        field_path = f"{path}.{names.get(executor, executor)}"
        if executor == spec.executor and part is None:
            yield required(field_path, f"executor {executor} needs it")
        if executor != spec.executor and part is not None:
            yield forbidden(field_path, f"executor is {spec.executor}")
    if spec.task and spec.executor != "embedded":
        yield forbidden(f"{path}.task", f"only for executor embedded, not {spec.executor}")
    if spec.task.startswith(BUILTIN_PREFIX) and spec.task not in BUILTINS:
        yield invalid(f"{path}.task", spec.task, f"there is no such builtin; there are {', '.join(BUILTINS)}")
    if spec.service is not None and spec.service.strategy in ("consistentHash", "sticky") and not spec.service.hash_key:
        yield required(f"{path}.service.hashKey", f"strategy {spec.service.strategy} needs one")
    for name, call in (("process", spec.process), ("container", spec.container)):
        if call is not None:
            yield from check_env(call.env, f"{path}.{name}.env")
    yield from check_retry(spec.retry, f"{path}.retry")
