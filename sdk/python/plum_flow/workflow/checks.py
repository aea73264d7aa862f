"""What is wrong with a definition that its graph alone does not tell: expressions, what they refer to, nodes that never run.

    WorkflowSpec --check_definition--> FieldError("spec.nodes[2].payload.zone", ...)

Existing objects (task definitions, workflows, secrets) are not looked at: manifests are applied in any order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from plum_schemas.node_types import WorkflowNode
from plum_schemas.taskdefinition import BUILTINS
from plum_schemas.validation import FieldError, forbidden, invalid
from plum_schemas.workflow import WorkflowSpec

from plum_flow.expressions import (
    ExpressionError,
    check_condition,
    check_value,
    compile_condition,
    compile_value,
)
from plum_flow.expressions.expression import References
from plum_flow.expressions.template import TABLES, Names
from plum_flow.workflow.graph import LOOP_ROOTS, NAMED_ROOTS, ROOTS, payload_of, with_secrets

_STRICT_RULES = frozenset({"all_success", "none_skipped"})


def check_definition(spec: WorkflowSpec, path: str) -> Iterator[FieldError]:
    """Everything that is wrong. `path` is that of the definition."""
    main = {node.name for node in spec.nodes}
    yield from _check_graph(spec.nodes, f"{path}.nodes", frozenset(), frozenset(), lambda name: False)
    for name, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_)):
        if graph is not None:
            yield from _check_graph(graph.nodes, f"{path}.{name}.nodes", frozenset(main), frozenset(), main.__contains__)
    names = Names(ROOTS, frozenset(main))
    for output, value in spec.outputs.items():
        where = f"{path}.outputs.{output}"
        yield from check_value(value, where, names)
        yield from _check_names(_references_of(value, names), where, main, main.__contains__, "")


Visible = Callable[[str], bool]
"""Whether the output of a node of this name is there when an expression is evaluated."""


def _check_graph(
    nodes: Sequence[WorkflowNode], path: str, outer: frozenset[str], outer_roots: frozenset[str], around: Visible
) -> Iterator[FieldError]:
    by_name = {node.name: node for node in nodes}
    names = Names(ROOTS | outer_roots, frozenset(by_name) | outer)
    before = _ancestors(nodes)
    place = {node.name: index for index, node in enumerate(nodes)}
    for index, node in enumerate(nodes):
        where = f"{path}[{index}]"
        mask = before[index]

        def visible(name: str, mask: int = mask) -> bool:
            known = place.get(name)
            return bool(mask >> known & 1) if known is not None else around(name)

        yield from _check_node(node, where, names, visible)
        yield from _check_reach(node, where, by_name)
        if node.body is not None:
            yield from _check_graph(node.body.nodes, f"{where}.body.nodes", names.members, LOOP_ROOTS, visible)


def _check_node(node: WorkflowNode, path: str, names: Names, visible: Visible) -> Iterator[FieldError]:
    for field, value in payload_of(node).items():
        yield from check_value(value, f"{path}.{field}", with_secrets(names))
        yield from _check_names(_references_of(value, with_secrets(names)), f"{path}.{field}", names.members, visible, node.name)
    inside = frozenset(child.name for child in node.body.nodes) if node.body is not None else frozenset[str]()
    looping = Names(names.variables | LOOP_ROOTS, names.members | inside)
    conditions = [("when", node.when, names), ("condition", node.condition, names)]
    conditions += [(f"cases[{index}].condition", case.condition, names) for index, case in enumerate(node.cases)]
    conditions += [("while", node.while_, looping), ("until", node.until, looping)]
    if node.wait is not None:
        conditions.append(("wait.condition", node.wait.condition, names._replace(tables=TABLES)))
        yield from check_value(node.wait.until, f"{path}.wait.until", names)
        if node.wait.event is not None:
            event_names = Names(frozenset({"object", "old", "event"}))
            yield from check_condition(node.wait.event.when, f"{path}.wait.event.when", event_names)
            if not node.wait.event.kind and not node.wait.event.type:
                yield invalid(f"{path}.wait.event.kind", "", "name a kind, or the type of an event that somebody sends")
    for field, text, known in conditions:
        yield from check_condition(text, f"{path}.{field}", known)
        found = _condition_references(text, known)
        reach = visible if known is not looping else lambda name: name in inside or visible(name)
        yield from _check_names(found, f"{path}.{field}", known.members, reach, node.name)
    if node.type == "map":
        yield from check_value(node.items, f"{path}.items", names)
        yield from _check_names(_references_of(node.items, names), f"{path}.items", names.members, visible, node.name)
        if not isinstance(node.items, list | str):
            yield invalid(f"{path}.items", node.items, "must be a list, or an expression that gives one")
    if node.type == "task" and node.task_ref.startswith("builtin.") and node.task_ref not in BUILTINS:
        yield invalid(f"{path}.taskRef", node.task_ref, f"there is no such builtin; there are {', '.join(BUILTINS)}")
    if node.compare is not None and node.compare.source_task and not visible(node.compare.source_task):
        yield invalid(f"{path}.compare.sourceTask", node.compare.source_task, _hint(node.compare.source_task, names.members))
    if node.type in ("branch", "condition", "parallel", "loop", "map", "wait") and node.retry is not None:
        yield forbidden(f"{path}.retry", f"a node of type {node.type} is not tried again; give the nodes inside a retry policy")


def _check_names(references: References, path: str, known: Collection[str], visible: Visible, own: str) -> Iterator[FieldError]:
    """Nodes that an expression reads must exist and come before."""
    for name in sorted(references.below(*NAMED_ROOTS) or ()):
        if name not in known:
            yield invalid(path, f"nodes.{name}", f"there is no node of this name; there are {', '.join(sorted(known))}")
        elif not visible(name):
            hint = (
                "a node cannot read its own output" if name == own else f"{name} does not come before {own}: add it to dependsOn"
            )
            yield invalid(path, f"nodes.{name}", hint)


def _hint(name: str, known: Collection[str]) -> str:
    return (
        "it does not come before this node" if name in known else f"there is no such node; there are {', '.join(sorted(known))}"
    )


def _check_reach(node: WorkflowNode, path: str, by_name: Mapping[str, WorkflowNode]) -> Iterator[FieldError]:
    """A node that waits for two outcomes of one branch, and needs both, never runs."""
    rule = node.trigger_rule or "none_failed_min_one_success"
    if rule not in _STRICT_RULES:
        return
    outcomes: dict[str, str] = {}
    for edge in node.depends_on:
        if edge.on and outcomes.setdefault(edge.node, edge.on) != edge.on and edge.node in by_name:
            text = f"needs both outcomes {outcomes[edge.node]} and {edge.on} of {edge.node} with {rule}: it never runs"
            yield invalid(f"{path}.dependsOn", node.name, text)


def _ancestors(nodes: Sequence[WorkflowNode]) -> list[int]:
    """For each node a number whose bits say which nodes come before it. Cycles are found elsewhere; they must not hang this."""
    place = {node.name: index for index, node in enumerate(nodes)}
    edges = [[place[edge.node] for edge in node.depends_on if edge.node in place] for node in nodes]
    found: list[int | None] = [None] * len(nodes)
    for start in range(len(nodes)):
        trail = [(start, iter(edges[start]))]
        on_trail = {start}
        while trail:
            index, rest = trail[-1]
            following = next(rest, None)
            if found[index] is not None or following is None:
                if found[index] is None:
                    mask = 0
                    for before in edges[index]:
                        mask |= 1 << before | (found[before] or 0)
                    found[index] = mask
                trail.pop()
                on_trail.discard(index)
            elif found[following] is None and following not in on_trail:
                trail.append((following, iter(edges[following])))
                on_trail.add(following)
    return [mask or 0 for mask in found]


def _references_of(value: Any, names: Names) -> References:
    try:
        return compile_value(value, names).references
    except ExpressionError:
        return References()  # told already


def _condition_references(text: str, names: Names) -> References:
    if not text:
        return References()
    try:
        return compile_condition(text, names.variables, members=names.members, tables=names.tables).references
    except ExpressionError:
        return References()
