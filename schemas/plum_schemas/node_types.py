"""The nodes of a workflow: what each type does, what it waits for, and how often it is tried.

One class for all types, as people write them: the fields a type does not use are absent (`plum_schemas.graph` checks).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from plum_schemas.affinity import LabelSelectorSpec
from plum_schemas.base import Struct
from plum_schemas.markers import AnyJson, FreeMap, ListMap
from plum_schemas.retry import Concurrency, Execution, RetryPolicy
from plum_schemas.scalars import Duration, IntOrPercent, NonNegative, Positive

NodeType = Literal[
    "task", "branch", "parallel", "loop", "map", "subworkflow", "wait",
    "http", "script", "agent", "llm", "mcp", "database", "email", "webhook", "operation", "condition",
]  # fmt: skip
TriggerRule = Literal[
    "all_success", "one_success", "all_failed", "one_failed", "all_done", "none_failed", "all_skipped", "one_done",
    "none_skipped", "none_failed_min_one_success", "all_done_min_one_success", "always",
]  # fmt: skip
NodeName = Annotated[str, Meta(min_length=1, max_length=63, pattern="^[A-Za-z0-9_][A-Za-z0-9_-]*$")]


class Dependency(Struct):
    """An edge from an earlier node."""

    node: NodeName
    """The earlier node."""
    on: str = ""
    """For an edge from a branch or condition: the outcome it belongs to, `true`, `false` or the name of a case."""


class Comparison(Struct):
    """A condition in the classic form."""

    source_task: str = ""
    """Node whose output is read; the nearest task before this one if absent."""
    field: Annotated[str, Meta(min_length=1)]
    """Path inside its output."""
    operator: Literal["==", "!=", ">", ">=", "<", "<=", "contains", "exists"]
    """How it is compared."""
    value: str = ""
    """Text to compare with; numbers are compared as numbers."""


class Case(Struct):
    """A named outcome of a branch."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    """Name that edges carry."""
    condition: Annotated[str, Meta(min_length=1)]
    """Expression; the first case that is true is taken."""


class EventMatch(Struct):
    """A change of an object, or an event somebody sent."""

    api_version: str = ""
    """API version of the objects; `plum.dev/v1` if absent."""
    kind: str = ""
    """Kind of the objects."""
    name: str = ""
    """Name of the object; all of the kind if absent."""
    namespace: str = ""
    """Namespace of the objects; its own if absent."""
    selector: LabelSelectorSpec | None = None
    """Labels of the objects."""
    type: str = ""
    """Name of an event somebody sent, instead of a kind."""
    changes: list[Literal["Added", "Modified", "Deleted"]] = []
    """Changes that count; all if empty."""
    when: str = ""
    """Expression over `object` and `old`, or over `event`, that must be true."""


class Approval(Struct):
    """Somebody must agree."""

    message: str = ""
    """What is asked."""
    approvers: list[str] = []
    """Users or groups that may answer; everybody who may change the run if empty."""


class Wait(Struct):
    """What a node of type wait waits for. Exactly one is set; the timeout of the node limits it."""

    duration: Duration | None = None
    """A span of time."""
    until: str = ""
    """A point in time, RFC 3339 or an expression."""
    event: EventMatch | None = None
    """A change of an object, or an event somebody sent."""
    condition: str = ""
    """An expression that must become true."""
    approval: Approval | None = None
    """Somebody must agree."""


class Delegate(Struct):
    """The node (machine) that carries out a run by itself, whether the controller can be reached or not."""

    node_name: str = ""
    """Name of the node."""
    node_selector: dict[str, str] = {}
    """Labels of the node; of those that fit and answer, the one with the fewest such runs is taken."""
    lost_after: Duration | None = None
    """How long the node may be out of contact before the run is given up as Failed with reason NodeLost; never if absent."""


class Position(Struct):
    """Where the node is drawn."""

    x: float = 0.0
    """To the right, in pixels; 0 if absent."""
    y: float = 0.0
    """Down, in pixels; 0 if absent."""


class Graph(Struct):
    """Nodes and the edges between them."""

    nodes: Annotated[list[WorkflowNode], ListMap("name")] = []
    """Nodes of the graph."""


class WorkflowNode(Struct):
    """One node of a workflow."""

    name: NodeName
    """Unique in its graph; other nodes read its output as `nodes.NAME.output`."""
    type: NodeType = "task"
    """What it does; task if absent."""
    display_name: str = ""
    """Name for people."""
    description: str = ""
    """For people."""
    depends_on: list[Dependency] = []
    """Nodes it waits for. Names alone are accepted."""
    trigger_rule: TriggerRule | None = None
    """When it starts, judged by the nodes it waits for. If absent all_success, after a branch none_failed_min_one_success."""
    when: str = ""
    """Expression; the node is skipped unless it is true."""
    task_ref: str = ""
    """task: name of the TaskDefinition, or of a builtin such as `builtin.echo`."""
    payload: FreeMap = {}
    """Input; expressions are allowed."""
    config: FreeMap = {}
    """http, script, agent, llm, mcp, database, email, webhook, operation: settings of the step; expressions are allowed."""
    condition: str = ""
    """branch, condition: expression; edges from here carry `true` or `false`."""
    compare: Comparison | None = None
    """branch, condition: the classic form `{sourceTask, field, operator, value}` instead of an expression."""
    cases: Annotated[list[Case], ListMap("name")] = []
    """branch: named outcomes instead of one condition."""
    default_case: str = ""
    """branch: outcome when no case is true."""
    count: NonNegative | None = None
    """loop: number of iterations."""
    while_: str = field(default="", name="while")
    """loop: expression; another iteration while it is true, asked before each."""
    until: str = ""
    """loop: expression; no further iteration once it is true, asked after each."""
    max_iterations: Positive | None = None
    """loop: the run fails when it would need more; 10,000 if absent."""
    variable: Annotated[str, Meta(pattern="^([A-Za-z_][A-Za-z0-9_]*)?$")] = ""
    """loop, map: name of the loop variable, used as `loop.NAME`; `i` or `item` if absent."""
    items: AnyJson = None
    """map: a list, or an expression that gives one."""
    max_parallel: Positive | None = None
    """map, parallel: most bodies at once; all if absent."""
    max_failures: IntOrPercent = 0
    """map: bodies that may fail without failing the node, as a count or a percentage; 0 if absent."""
    body: Graph | None = None
    """loop, map: graph run once for each iteration or item."""
    wait_policy: Literal["all", "any"] = "all"
    """parallel: whether it is done when all or any of the nodes after it are; all if absent."""
    workflow_ref: str = ""
    """subworkflow: name of the Workflow."""
    params: FreeMap = {}
    """subworkflow: parameters of its run; expressions are allowed."""
    delegate: Delegate | None = None
    """subworkflow: the machine that carries out its run, with or without the controller; the controller does if absent."""
    wait: Wait | None = None
    """wait: what it waits for."""
    timeout: Duration | None = None
    """Longest time of one attempt."""
    retry: RetryPolicy | None = None
    """When a failed attempt is tried again; that of the task definition if absent."""
    continue_on_failure: bool = False
    """A failure here does not fail the run."""
    priority: int | None = None
    """Priority of its tasks; that of the run if absent."""
    concurrency: Concurrency | None = None
    """How many of its tasks go on at once, over all runs."""
    execution: Execution | None = None
    """What happens to an attempt whose end nobody saw; as the task definition says if absent."""
    node_name: str = ""
    """Machine that executes it."""
    node_selector: dict[str, str] = {}
    """Labels of the machine or worker that executes it."""
    position: Position | None = None
    """Where it is drawn."""
