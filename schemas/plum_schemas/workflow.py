"""Workflow: a graph of nodes with parameters, kept in versions; each run pins the version it started with.

    params -> nodes (dependsOn, triggerRule) -> outputs      onFailure and finally are graphs of their own

`plum_schemas.graph` holds the rules of the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.graph import check_graph, normalize_graph
from plum_schemas.markers import SET, AnyJson, FreeMap, ListMap
from plum_schemas.node_types import Graph, WorkflowNode
from plum_schemas.reservation import Reservation
from plum_schemas.scalars import Duration, NonNegative, Positive
from plum_schemas.validation import FieldError, invalid

ConcurrencyPolicy = Literal["Allow", "Forbid", "Replace", "Queue"]


class Param(Struct):
    """One parameter of a run."""

    name: Annotated[str, Meta(min_length=1, max_length=63, pattern="^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name, used as `params.NAME`."""
    type: Literal["string", "integer", "number", "boolean", "object", "array"] = "string"
    """Type of the value; string if absent."""
    default: AnyJson = None
    """Value when the run gives none; a parameter without one must be given."""
    required: bool = False
    """The run must give a value, even if there is a default of null."""
    enum: list[AnyJson] = []
    """Values that are allowed; all if empty."""
    description: str = ""
    """For people and forms."""


class NotifyHook(Struct):
    """A request sent when something happens in a run."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    """Name of the hook."""
    on: list[Literal["RunStarted", "RunFinished", "NodeStarted", "NodeFinished"]]
    """What it waits for."""
    url: Annotated[str, Meta(min_length=1)]
    """Address on the allow list; gets the event as JSON by POST."""
    headers: dict[str, str] = {}
    """Headers to send; expressions are allowed."""


class KeepRuns(Struct):
    """How many finished runs are kept."""

    succeeded: NonNegative = 100
    """Runs that succeeded."""
    failed: NonNegative = 100
    """Runs that ended otherwise."""
    max_age: Duration = "90d"
    """Older ones are removed in any case."""


class WorkflowSpec(Struct):
    """The definition."""

    state: Literal["Draft", "Active", "Paused"] = "Active"
    """Draft may be incomplete and cannot run; Paused starts no new runs."""
    archived: bool = False
    """Hidden from lists of people, and cannot run."""
    version: str = ""
    """Version as people call it; every change has a Revision of its own anyway."""
    description: str = ""
    """For people."""
    reservations: Annotated[list[Reservation], ListMap("resource")] = []
    """Devices that a run holds from its start to its end; it starts when all of them are free for it."""
    tags: Annotated[list[str], SET] = []
    """For finding it."""
    owner: str = ""
    """Person or team it belongs to."""
    template: bool = False
    """A pattern to make workflows from; it cannot run itself."""
    params: Annotated[list[Param], ListMap("name")] = []
    """Parameters of a run. A map from name to default is accepted."""
    variables: FreeMap = {}
    """Constants, used as `variables.NAME`."""
    concurrency_policy: ConcurrencyPolicy = "Allow"
    """What a new run does while another one goes on: Allow both, Forbid the new one, Replace the old one, Queue the new one."""
    max_concurrent: Positive | None = None
    """Most runs at once with policy Allow or Queue."""
    max_parallel: Positive | None = None
    """Most nodes of one run at once."""
    priority: int = 0
    """Priority of its runs unless they say otherwise."""
    timeout: Duration | None = None
    """Longest time of a run; no limit if absent."""
    nodes: Annotated[list[WorkflowNode], ListMap("name")] = []
    """Nodes of the graph."""
    outputs: FreeMap = {}
    """Outputs of a run: name to expression."""
    on_failure: Graph | None = None
    """Nodes to run when the graph failed."""
    finally_: Graph | None = field(default=None, name="finally")
    """Nodes to run at the end in any case, after onFailure."""
    hooks: Annotated[list[NotifyHook], ListMap("name")] = []
    """Requests sent when something happens in a run."""
    keep_runs: KeepRuns = field(default_factory=KeepRuns)
    """How many finished runs are kept."""


class RunStatistics(Struct):
    """What the runs of a workflow were like."""

    runs: NonNegative = 0
    """Runs that have ended."""
    succeeded: NonNegative = 0
    """Runs that succeeded."""
    failed: NonNegative = 0
    """Runs that ended otherwise."""
    forgotten_succeeded: NonNegative = 0
    """Of them, succeeded ones that are no longer kept."""
    forgotten_failed: NonNegative = 0
    """Of them, others that are no longer kept."""
    p50_seconds: float | None = None
    """Median duration of the kept runs."""
    p95_seconds: float | None = None
    """Duration that 95 of 100 of the kept runs did not exceed."""


REVISIONS_KEPT = 20
"""Revisions of a Workflow, beside the current one and those that runs are pinned to."""


class WorkflowStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    revision: int = 0
    """Number of the current Revision."""
    definition_hash: str = ""
    """Hash of the definition that new runs pin."""
    active_runs: NonNegative = 0
    """Runs that have not ended."""
    queued_runs: NonNegative = 0
    """Runs that wait for others."""
    last_run: str = ""
    """Name of the newest run."""
    last_run_at: datetime | None = None
    """When it was created."""
    last_phase: str = ""
    """How the last run that ended has ended."""
    statistics: RunStatistics = field(default_factory=RunStatistics)
    """What the runs were like."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready: all it refers to exists."""


class Workflow(Object):
    """A graph of nodes with parameters."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Workflow",
        plural="workflows",
        short_names=("wf",),
        columns=(
            Column("State", ".spec.state"),
            Column("Revision", ".status.revision", "integer"),
            Column("Active", ".status.activeRuns", "integer", description="Runs that have not ended"),
            Column("Last", ".status.lastPhase", description="How the last run ended"),
            Column("Last run", ".status.lastRunAt", "date"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Version", ".spec.version", priority=1),
            Column("Owner", ".spec.owner", priority=1),
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status', priority=1),
        ),
        selectable_fields=(".spec.state", ".spec.owner"),
    )

    spec: WorkflowSpec = field(default_factory=WorkflowSpec)
    """The definition."""
    status: WorkflowStatus = field(default_factory=WorkflowStatus)
    """What was last seen."""

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        normalize_definition(data.get("spec"))

    def validate(self, old: Workflow | None) -> Iterator[FieldError]:
        yield from check_definition(self.spec, "spec")


def normalize_definition(spec: Any) -> None:
    """Short forms of a definition."""
    if not isinstance(spec, dict):
        return
    params = spec.get("params")
    if isinstance(params, dict):
        spec["params"] = [{"name": name, "type": _type_of(default), "default": default} for name, default in params.items()]
    normalize_graph(spec)
    for part in ("onFailure", "finally"):
        if isinstance(spec.get(part), list):
            spec[part] = {"nodes": spec[part]}
        normalize_graph(spec.get(part))


def check_definition(spec: WorkflowSpec, path: str) -> Iterator[FieldError]:
    """Everything about a definition that can be known from itself alone. A draft may be incomplete, but never ambiguous."""
    complete = spec.state != "Draft"
    yield from check_graph(spec.nodes, f"{path}.nodes", complete)
    for name, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_)):
        if graph is not None:
            yield from check_graph(graph.nodes, f"{path}.{name}.nodes", complete)
    if complete and not spec.nodes:
        yield FieldError(f"{path}.nodes", "FieldValueRequired", "Required value: a workflow that is not a Draft needs nodes")
    for index, param in enumerate(spec.params):
        where = f"{path}.params[{index}]"
        if param.default is not None and not has_type(param.default, param.type):
            yield invalid(f"{where}.default", param.default, f"must be of type {param.type}")
        if param.enum and param.default is not None and param.default not in param.enum:
            yield invalid(f"{where}.default", param.default, "must be one of enum")


def run_obstacle(spec: WorkflowSpec) -> str:
    """Why no run of this definition may begin, to be said after its name; empty if one may. Runs of a paused one wait."""
    if spec.archived:
        return "is archived"
    if spec.template:
        return "is a template: make a workflow from it"
    if spec.state == "Draft":
        return "is a draft: set spec.state to Active"
    return ""


_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def has_type(value: Any, name: str) -> bool:
    """Whether a JSON value has the type a parameter asks for. True and false are no numbers; 4.0 is no integer."""
    return isinstance(value, _TYPES[name]) and (name == "boolean" or not isinstance(value, bool))


def _type_of(value: Any) -> str:
    for name in ("boolean", "integer", "number", "object", "array"):
        if has_type(value, name):
            return name
    return "string"
