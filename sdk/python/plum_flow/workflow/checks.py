"""What is wrong with a definition that its graph alone does not tell: expressions, what they refer to, nodes that never run.

    WorkflowSpec --check_definition--> FieldError("spec.nodes[2].payload.zone", ...)

Existing objects (task definitions, workflows, secrets) are not looked at: manifests are applied in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from plum_schemas.durations import parse_duration
from plum_schemas.node_types import Wait, WorkflowNode
from plum_schemas.taskdefinition import BUILTINS
from plum_schemas.validation import FieldError, forbidden, invalid, required
from plum_schemas.workflow import WorkflowSpec

from plum_flow.expressions import UnresolvedError, compile_value
from plum_flow.expressions.template import TABLES, Names
from plum_flow.workflow.graph import EXECUTED, LOOP_ROOTS, ROOTS, payload_of, with_secrets
from plum_flow.workflow.reference_checks import Seen, check_condition, check_value, seen_from_outside
from plum_flow.workflow.step_checks import check_given

NO_TIME = "must be longer than 0; leave it out for no limit"
_STRICT_RULES = frozenset({"all_success", "none_skipped"})


def check_definition(spec: WorkflowSpec, path: str) -> Iterator[FieldError]:
    """Everything that is wrong. `path` is that of the definition."""
    main = frozenset(node.name for node in spec.nodes)
    if spec.timeout and not parse_duration(spec.timeout):
        yield invalid(f"{path}.timeout", spec.timeout, NO_TIME)
    outside = seen_from_outside(spec, Names(ROOTS, frozenset()), lambda name: False)
    yield from _check_graph(spec.nodes, f"{path}.nodes", outside)
    after = Seen(Names(ROOTS, main), main.__contains__, outside.fixed)
    for name, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_)):
        if graph is not None:
            yield from _check_graph(graph.nodes, f"{path}.{name}.nodes", after)
    yield from check_value(spec.outputs, f"{path}.outputs", after)


def _check_graph(nodes: Sequence[WorkflowNode], path: str, around: Seen) -> Iterator[FieldError]:
    by_name = {node.name: node for node in nodes}
    names = around.names._replace(members=around.names.members | frozenset(by_name))
    before = _ancestors(nodes)
    place = {node.name: index for index, node in enumerate(nodes)}
    for index, node in enumerate(nodes):
        where = f"{path}[{index}]"
        mask = before[index]

        def visible(name: str, mask: int = mask) -> bool:
            known = place.get(name)
            return bool(mask >> known & 1) if known is not None else around.visible(name)

        seen = Seen(names, visible, around.fixed)
        yield from _check_node(node, where, seen)
        yield from _check_compare(node, where, by_name, seen)
        yield from _check_reach(node, where, by_name)
        if node.body is not None:
            body = seen.inside(node)
            yield from _check_graph(
                node.body.nodes, f"{where}.body.nodes", body._replace(names=names._replace(variables=ROOTS | LOOP_ROOTS))
            )


def _check_node(node: WorkflowNode, path: str, seen: Seen) -> Iterator[FieldError]:
    for field, value in payload_of(node).items():
        yield from check_value(value, f"{path}.{field}", seen._replace(names=with_secrets(seen.names)), node.name)
    yield from check_given(node, path)
    if node.timeout and not parse_duration(node.timeout):
        yield invalid(f"{path}.timeout", node.timeout, NO_TIME)
    conditions = [("when", node.when, seen), ("condition", node.condition, seen)]
    conditions += [(f"cases[{index}].condition", case.condition, seen) for index, case in enumerate(node.cases)]
    if node.while_ or node.until:
        looping = _around_body(node, seen)
        conditions += [("while", node.while_, looping), ("until", node.until, looping)]
    if node.wait is not None:
        conditions.append(("wait.condition", node.wait.condition, seen._replace(names=seen.names._replace(tables=TABLES))))
        yield from _check_wait(node.wait, f"{path}.wait", seen, node.name)
    for field, text, known in conditions:
        yield from check_condition(text, f"{path}.{field}", known, node.name)
    if node.type == "map":
        yield from _check_items(node.items, f"{path}.items", seen, node.name)
    if node.type == "task" and node.task_ref.startswith("builtin.") and node.task_ref not in BUILTINS:
        yield invalid(f"{path}.taskRef", node.task_ref, f"there is no such builtin; there are {', '.join(BUILTINS)}")
    if node.type in ("branch", "condition", "parallel", "loop", "map", "wait") and node.retry is not None:
        yield forbidden(f"{path}.retry", f"a node of type {node.type} is not tried again; give the nodes inside a retry policy")


def _around_body(node: WorkflowNode, seen: Seen) -> Seen:
    """What the conditions of a loop see: its variables, and the nodes of its body."""
    inside = frozenset(child.name for child in node.body.nodes) if node.body is not None else frozenset[str]()
    return seen.inside(node)._replace(
        names=Names(seen.names.variables | LOOP_ROOTS, seen.names.members | inside),
        visible=lambda name: name in inside or seen.visible(name),
    )


def _check_wait(wait: Wait, path: str, seen: Seen, own: str) -> Iterator[FieldError]:
    yield from check_value(wait.until, f"{path}.until", seen, own)
    if wait.until and "{{" not in wait.until:
        try:
            datetime.fromisoformat(wait.until)
        except ValueError:
            yield invalid(f"{path}.until", wait.until, "use a time such as 2026-01-02T03:04:05Z, or an expression that gives one")
    if wait.event is not None:
        names = Names(frozenset({"object", "old", "event"}))
        yield from check_condition(wait.event.when, f"{path}.event.when", Seen(names, seen.visible, {}))
        if not wait.event.kind and not wait.event.type:
            yield invalid(f"{path}.event.kind", "", "name a kind, or the type of an event that somebody sends")


def _check_items(items: Any, path: str, seen: Seen, own: str) -> Iterator[FieldError]:
    found = list(check_value(items, path, seen, own))
    yield from found
    if found:
        return
    if isinstance(items, str):
        template = compile_value(items, seen.names)
        if not template.references.paths:
            try:
                items = template.evaluate({})
            except UnresolvedError as error:
                yield invalid(path, items, str(error))
                return
        else:
            return
    if not isinstance(items, list):
        yield invalid(path, items, "must be a list, or an expression that gives one")


def _check_compare(node: WorkflowNode, path: str, by_name: Mapping[str, WorkflowNode], seen: Seen) -> Iterator[FieldError]:
    """The classic condition reads a node of its own graph that comes before it."""
    if node.compare is None:
        return
    source, where = node.compare.source_task, f"{path}.compare.sourceTask"
    if source:
        if source not in by_name:
            yield invalid(where, source, f"there is no such node in this graph; there are {', '.join(sorted(by_name))}")
        elif not seen.visible(source):
            yield invalid(where, source, "it does not come before this node")
        return
    pending, known = [edge.node for edge in node.depends_on], set[str]()
    while pending:
        name = pending.pop()
        if name in known or name not in by_name:
            continue
        if by_name[name].type in EXECUTED:
            return
        known.add(name)
        pending += [edge.node for edge in by_name[name].depends_on]
    yield required(where, "no task comes before this node whose output could be compared")


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
