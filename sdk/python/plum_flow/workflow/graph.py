"""A definition made ready to run: indexes instead of names, expressions compiled, edges in both directions.

    WorkflowSpec --compile_definition--> DefinitionPlan: main, onFailure, finally: GraphPlan of NodePlans

Made once for each definition and shared by all of its runs; nothing in it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from plum_schemas.durations import parse_duration
from plum_schemas.node_types import Graph, WorkflowNode
from plum_schemas.workflow import WorkflowSpec

from plum_flow.expressions import Expression, Template, compile_condition, compile_value
from plum_flow.expressions.expression import NOTHING, References
from plum_flow.expressions.template import TABLES, Names

ROOTS = frozenset({"params", "variables", "run", "nodes", "steps", "input"})
"""What every expression of a definition may refer to."""
LOOP_ROOTS = frozenset({"loop", "item"})
INLINE = frozenset({"builtin.echo", "builtin.fail", "builtin.transform"})
"""Builtins that only compute: carried out by the engine itself, without a TaskRun."""
STEPS = frozenset({"http", "script", "agent", "llm", "mcp", "database", "email", "webhook", "operation"})
EXECUTED = frozenset({"task", "subworkflow"}) | STEPS
"""Types of nodes that somebody else carries out."""
MAX_ITERATIONS = 10_000
NAMED_ROOTS = ("nodes", "steps")


class Edge(NamedTuple):
    """To or from another node of the graph."""

    at: int
    """Index of the other node."""
    on: str
    """The outcome of a branch it belongs to; empty for any."""


class NodePlan:
    """One node."""

    __slots__ = (
        "body", "cases", "compare_source", "condition", "graph", "group", "index", "inline", "items", "name", "node", "payload",
        "preds", "reads", "rule", "succs", "timeout", "until", "used", "wait_until", "when", "while_",
    )  # fmt: skip

    graph: GraphPlan
    rule: str
    body: GraphPlan | None
    payload: Template
    """What its carrying out is given: payload, config, params."""
    reads: References
    """Of `payload`."""
    when: Expression | None
    condition: Expression | None
    cases: list[tuple[str, Expression]]
    while_: Expression | None
    until: Expression | None
    items: Template | None
    wait_until: Template | None

    def __init__(self, index: int, node: WorkflowNode) -> None:
        self.index = index
        self.node = node
        self.name = node.name
        self.preds: list[Edge] = []
        self.succs: list[Edge] = []
        self.body = None
        self.group = -1
        """Index of the node of type parallel that limits how many nodes after it run at once."""
        self.used = False
        """Some expression reads its output."""
        self.compare_source = -1
        self.timeout = parse_duration(node.timeout) if node.timeout else None
        """Seconds of one attempt."""
        self.inline = node.type == "task" and node.task_ref in INLINE

    @property
    def type(self) -> str:
        return self.node.type

    @property
    def is_executed(self) -> bool:
        return self.node.type in EXECUTED


class GraphPlan:
    """One graph: the main one, a handler, or a body."""

    def __init__(self, part: str, owner: NodePlan | None) -> None:
        self.part = part
        """`` for the main graph and bodies, `onFailure`, `finally`."""
        self.owner = owner
        self.nodes: list[NodePlan] = []
        self.by_name: dict[str, NodePlan] = {}

    @property
    def sinks(self) -> list[NodePlan]:
        """Nodes that no other waits for."""
        return [node for node in self.nodes if not node.succs]

    def walk(self) -> Iterator[NodePlan]:
        """All nodes, bodies included."""
        pending = [self]
        while pending:
            graph = pending.pop()
            yield from graph.nodes
            pending.extend(node.body for node in graph.nodes if node.body is not None)


class DefinitionPlan:
    """A whole definition."""

    def __init__(self, spec: WorkflowSpec, digest: str) -> None:
        self.spec = spec
        self.hash = digest
        self.timeout = parse_duration(spec.timeout) if spec.timeout else None
        self.variables: dict[str, Any] = spec.variables
        self.main = GraphPlan("", None)
        self.on_failure: GraphPlan | None = None
        self.finally_: GraphPlan | None = None
        self.outputs: dict[str, Template] = {}
        self.unique: dict[str, NodePlan] = {}
        """Nodes by name, where only one has it."""

    def graph_of(self, stage: str) -> GraphPlan | None:
        """The graph of a stage; None if the definition has none."""
        return {"main": self.main, "onFailure": self.on_failure, "finally": self.finally_}[stage]

    def graphs(self) -> list[GraphPlan]:
        return [graph for graph in (self.main, self.on_failure, self.finally_) if graph is not None]

    def secrets(self) -> References:
        """What all nodes read of secrets."""
        found = NOTHING
        for graph in self.graphs():
            for node in graph.walk():
                if node.reads.paths_of("secrets"):
                    found = found | node.reads
        return found


def compile_definition(spec: WorkflowSpec, digest: str = "") -> DefinitionPlan:
    """Raises `ExpressionError`, `KeyError` for what checks of the stored definition would have refused."""
    plan = DefinitionPlan(spec, digest)
    names = frozenset(node.name for node in spec.nodes)
    plan.main = _graph(spec.nodes, "", None, frozenset(), frozenset())
    for stage, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_)):
        if graph is not None and graph.nodes:
            made = _graph(graph.nodes, stage, None, names, frozenset())
            if stage == "finally":
                plan.finally_ = made
            else:
                plan.on_failure = made
    outer = Names(ROOTS, names)
    plan.outputs = {name: compile_value(value, outer) for name, value in spec.outputs.items()}
    _mark_used(plan)
    _name_uniquely(plan)
    return plan


def names_in(graph_names: frozenset[str], outer: frozenset[str], in_body: bool) -> Names:
    """What conditions of nodes of a graph may refer to."""
    return Names(ROOTS | LOOP_ROOTS if in_body else ROOTS, graph_names | outer)


def with_secrets(names: Names) -> Names:
    """What payloads may refer to: secrets too."""
    return names._replace(variables=names.variables | {"secrets"})


def payload_of(node: WorkflowNode) -> dict[str, Any]:
    """Everything of a node that is filled in before somebody carries it out."""
    if node.type == "subworkflow":
        return {"params": node.params}
    if node.type in STEPS:
        return {"config": node.config, "payload": node.payload}
    return {"payload": node.payload}


def _graph(
    nodes: Sequence[WorkflowNode], part: str, owner: NodePlan | None, outer: frozenset[str], outer_roots: frozenset[str]
) -> GraphPlan:
    graph = GraphPlan(part, owner)
    own = frozenset(node.name for node in nodes)
    names = Names(ROOTS | outer_roots, own | outer)
    for index, node in enumerate(nodes):
        planned = NodePlan(index, node)
        planned.graph = graph
        graph.nodes.append(planned)
        graph.by_name[node.name] = planned
    for planned in graph.nodes:
        for edge in planned.node.depends_on:
            source = graph.by_name[edge.node]
            planned.preds.append(Edge(source.index, edge.on))
            source.succs.append(Edge(planned.index, edge.on))
    after_branch = _after_branches(graph)
    for planned in graph.nodes:
        _fill(planned, names, after_branch)
    return graph


def _fill(planned: NodePlan, names: Names, after_branch: frozenset[int]) -> None:
    node = planned.node
    planned.rule = node.trigger_rule or default_rule(planned, after_branch)
    planned.payload = compile_value(payload_of(node), with_secrets(names))
    planned.reads = planned.payload.references

    def condition(text: str, known: Names = names) -> Expression | None:
        return compile_condition(text, known.variables, members=known.members, tables=known.tables) if text else None

    planned.when = condition(node.when)
    planned.condition = condition(node.condition)
    planned.cases = [(case.name, found) for case in node.cases if (found := condition(case.condition)) is not None]
    planned.items = compile_value(node.items, names) if node.type == "map" else None
    planned.wait_until = compile_value(node.wait.until, names) if node.wait is not None and node.wait.until else None
    if node.wait is not None and node.wait.condition:
        planned.condition = condition(node.wait.condition, names._replace(tables=TABLES))
    if node.body is not None:
        planned.body = _graph(node.body.nodes, "", planned, names.members, LOOP_ROOTS)
    inside = Names(names.variables | LOOP_ROOTS, names.members | frozenset(n.name for n in (node.body or Graph()).nodes))
    planned.while_ = condition(node.while_, inside)
    planned.until = condition(node.until, inside)
    # A node of type parallel goes on until the nodes after it have ended: with a place of its own it could wait for itself.
    for edge in planned.preds if node.type != "parallel" else ():
        before = planned.graph.nodes[edge.at]
        if before.type == "parallel" and before.node.max_parallel is not None and planned.group < 0:
            planned.group = edge.at
    if node.compare is not None:
        planned.compare_source = _source_of(planned)


def default_rule(planned: NodePlan, after_branch: frozenset[int]) -> str:
    """A branch that was not taken never blocks a join."""
    joins = len(planned.preds) > 1 and planned.index in after_branch
    return "none_failed_min_one_success" if joins or any(edge.on for edge in planned.preds) else "all_success"


def _after_branches(graph: GraphPlan) -> frozenset[int]:
    """Nodes somewhere after a branch."""
    found: set[int] = set()
    pending = [edge.at for node in graph.nodes if node.type in ("branch", "condition") for edge in node.succs]
    while pending:
        index = pending.pop()
        if index not in found:
            found.add(index)
            pending.extend(edge.at for edge in graph.nodes[index].succs)
    return frozenset(found)


def _source_of(planned: NodePlan) -> int:
    """The node whose output a classic condition reads: the named one, or the nearest task before."""
    assert planned.node.compare is not None  # noqa: S101
    if planned.node.compare.source_task:
        return planned.graph.by_name[planned.node.compare.source_task].index
    layer, seen = [edge.at for edge in planned.preds], set[int]()
    while layer:
        for index in layer:
            if planned.graph.nodes[index].is_executed:
                return index
        seen.update(layer)
        layer = [edge.at for index in layer for edge in planned.graph.nodes[index].preds if edge.at not in seen]
    return -1


def _mark_used(plan: DefinitionPlan) -> None:
    """Find out whose outputs some expression reads: only these are kept in memory."""
    every: list[NodePlan] = [node for graph in plan.graphs() for node in graph.walk()]
    references = [found.references for found in plan.outputs.values()]
    for node in every:
        parts = (node.when, node.condition, node.while_, node.until, node.items, node.wait_until)
        references += [node.reads, *(part.references for part in parts if part is not None)]
        references += [found.references for _, found in node.cases]
        if node.compare_source >= 0:
            node.graph.nodes[node.compare_source].used = True
        if node.graph.owner is not None and not node.succs:
            node.used = True  # what a body gives
    below = [found.below(*NAMED_ROOTS) for found in references]
    if any(found is None for found in below):
        for node in every:
            node.used = True
        return
    named = frozenset[str]().union(*(found for found in below if found))
    for node in every:
        node.used = node.used or node.name in named


def _name_uniquely(plan: DefinitionPlan) -> None:
    twice: set[str] = set()
    for graph in plan.graphs():
        for node in graph.walk():
            if node.name in plan.unique:
                twice.add(node.name)
            plan.unique[node.name] = node
    for name in twice:
        del plan.unique[name]


def definition_hash(spec: WorkflowSpec) -> str:
    """Names a definition by what a run does: not by its state, its tags or how long runs are kept."""
    import base64
    import hashlib

    plain = WorkflowSpec()
    content = msgspec.structs.replace(
        spec, state="Active", archived=False, tags=[], owner="", keep_runs=plain.keep_runs, concurrency_policy="Allow",
        max_concurrent=None, description="",
    )  # fmt: skip
    digest = hashlib.sha256(msgspec.json.encode(content, order="deterministic"))
    return base64.b32encode(digest.digest()).decode().lower()[:10]
