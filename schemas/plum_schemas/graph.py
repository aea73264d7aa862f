"""The rules of a workflow's graph that can be known from the graph alone: names, edges, cycles, fields of each type.

Expressions and references to other objects are judged by the controller, which knows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from plum_schemas.command import split_command
from plum_schemas.node_types import Delegate, WorkflowNode
from plum_schemas.rules import check_retry
from plum_schemas.validation import FieldError, duplicate, exactly_one, forbidden, invalid, required

MAX_DEPTH = 16
"""Bodies inside bodies. Deeper graphs are nobody's intention, and would let one object exhaust a parser's stack."""

_STEP_TYPES = frozenset({"http", "script", "agent", "llm", "mcp", "database", "email", "webhook", "operation"})
_OWNERS: Mapping[str, frozenset[str]] = {
    "taskRef": frozenset({"task"}),
    "config": _STEP_TYPES,
    "condition": frozenset({"branch", "condition"}),
    "compare": frozenset({"branch", "condition"}),
    "cases": frozenset({"branch"}),
    "defaultCase": frozenset({"branch"}),
    "count": frozenset({"loop"}),
    "while": frozenset({"loop"}),
    "until": frozenset({"loop"}),
    "maxIterations": frozenset({"loop"}),
    "items": frozenset({"map"}),
    "body": frozenset({"loop", "map"}),
    "workflowRef": frozenset({"subworkflow"}),
    "params": frozenset({"subworkflow"}),
    "delegate": frozenset({"subworkflow"}),
    "wait": frozenset({"wait"}),
}
"""Fields that only some types have. A misplaced one is refused instead of being ignored."""


def normalize_graph(graph: Any) -> None:
    """Short forms inside `graph["nodes"]`, in place: names for edges, lists of nodes for bodies, the classic condition."""
    pending = [(graph, 0)]
    while pending:
        current, depth = pending.pop()
        nodes = current.get("nodes") if isinstance(current, dict) else None
        if not isinstance(nodes, list) or depth > MAX_DEPTH:
            continue
        for node in nodes:
            if isinstance(node, dict):
                _normalize_node(node)
                pending.append((node.get("body"), depth + 1))


def _normalize_node(node: dict[str, Any]) -> None:
    edges = node.get("dependsOn")
    if isinstance(edges, str):
        edges = node["dependsOn"] = [edges]
    if isinstance(edges, list):
        node["dependsOn"] = [{"node": edge} if isinstance(edge, str) else _text_outcome(edge) for edge in edges]
    if isinstance(node.get("condition"), dict):
        node["compare"] = node.pop("condition")
    compare = node.get("compare")
    if isinstance(compare, dict) and isinstance(compare.get("value"), bool | int | float):
        compare["value"] = str(compare["value"]).lower() if isinstance(compare["value"], bool) else str(compare["value"])
    if isinstance(node.get("body"), list):
        node["body"] = {"nodes": node["body"]}
    if node.get("type") == "script" and isinstance(node.get("config"), dict):
        split_command(node["config"], "command")


def _text_outcome(edge: Any) -> Any:
    """Undo what YAML 1.1 readers, kubectl's among them, make of an edge: the key `on` and the outcome `true` become booleans."""
    if isinstance(edge, dict):
        if "on" not in edge and "true" in edge:
            edge["on"] = edge.pop("true")
        if isinstance(edge.get("on"), bool):
            edge["on"] = "true" if edge["on"] else "false"
    return edge


def check_graph(nodes: Sequence[WorkflowNode], path: str, complete: bool, depth: int = 0) -> Iterator[FieldError]:
    """What is wrong with one graph and the bodies inside it. An incomplete one may lack fields, but have no wrong ones."""
    if depth > MAX_DEPTH:
        yield invalid(path, depth, f"bodies may be nested {MAX_DEPTH} deep")
        return
    by_name: dict[str, WorkflowNode] = {}
    for index, node in enumerate(nodes):
        if node.name in by_name:
            yield duplicate(f"{path}[{index}].name", node.name)
        by_name[node.name] = node
    for index, node in enumerate(nodes):
        where = f"{path}[{index}]"
        yield from _check_fields(node, where, complete)
        yield from _check_edges(node, by_name, where)
        if node.body is not None:
            yield from check_graph(node.body.nodes, f"{where}.body.nodes", complete, depth + 1)
    cycle = find_cycle({node.name: [edge.node for edge in node.depends_on] for node in nodes})
    if cycle:
        yield invalid(path, " -> ".join(cycle), "dependsOn may not form a cycle")


def find_cycle(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """One cycle as names from a node back to itself, or nothing. Names without an entry have no edges."""
    done: set[str] = set()
    for start in edges:
        trail = [start]
        pending = {start: iter(edges[start])} if start not in done else {}
        while pending:
            following = next(pending[trail[-1]], None)
            if following is None:
                done.add(trail[-1])
                del pending[trail.pop()]
            elif following in pending:
                return [*trail[trail.index(following) :], following]
            elif following in edges and following not in done:
                trail.append(following)
                pending[following] = iter(edges[following])
    return []


def _check_edges(node: WorkflowNode, by_name: Mapping[str, WorkflowNode], path: str) -> Iterator[FieldError]:
    seen = set()
    for index, edge in enumerate(node.depends_on):
        where = f"{path}.dependsOn[{index}]"
        source = by_name.get(edge.node)
        if source is None:
            yield invalid(f"{where}.node", edge.node, f"there is no node of this name; there are {', '.join(sorted(by_name))}")
            continue
        if (edge.node, edge.on) in seen:
            yield duplicate(where, edge.node)
        seen.add((edge.node, edge.on))
        if edge.on:
            outcomes = outcomes_of(source)
            if not outcomes:
                yield forbidden(f"{where}.on", f"{edge.node} is of type {source.type}; only a branch or a condition has outcomes")
            elif edge.on not in outcomes:
                yield invalid(f"{where}.on", edge.on, f"{edge.node} has the outcomes {', '.join(outcomes)}")


def outcomes_of(node: WorkflowNode) -> tuple[str, ...]:
    """The outcomes an edge from this node may name."""
    if node.type not in ("branch", "condition"):
        return ()
    if node.cases:
        names = [case.name for case in node.cases]
        return tuple(dict.fromkeys([*names, node.default_case] if node.default_case else names))
    return "true", "false"


def _check_fields(node: WorkflowNode, path: str, complete: bool) -> Iterator[FieldError]:
    given = {
        "taskRef": node.task_ref,
        "config": node.config,
        "condition": node.condition,
        "compare": node.compare,
        "cases": node.cases,
        "defaultCase": node.default_case,
        "count": node.count,
        "while": node.while_,
        "until": node.until,
        "maxIterations": node.max_iterations,
        "items": node.items,
        "body": node.body,
        "workflowRef": node.workflow_ref,
        "params": node.params,
        "delegate": node.delegate,
        "wait": node.wait,
    }
    for name, owners in _OWNERS.items():
        if given[name] not in (None, "", [], {}) and node.type not in owners:
            yield forbidden(f"{path}.{name}", f"a node of type {node.type} has none; types that do: {', '.join(sorted(owners))}")
    if complete:
        yield from _check_complete(node, path)
    if node.retry is not None:
        yield from check_retry(node.retry, f"{path}.retry")


def _check_complete(node: WorkflowNode, path: str) -> Iterator[FieldError]:
    choices: dict[str, Any]
    match node.type:
        case "task" if not node.task_ref:
            yield required(f"{path}.taskRef", "name a TaskDefinition or a builtin")
        case "subworkflow" if not node.workflow_ref:
            yield required(f"{path}.workflowRef", "name a Workflow")
        case "branch" | "condition":
            choices = {"condition": node.condition or None, "compare": node.compare, "cases": node.cases or None}
            yield from exactly_one(path, choices)
        case "loop":
            choices = {"count": node.count, "while": node.while_ or None, "until": node.until or None}
            yield from exactly_one(path, choices)
        case "map" if node.items is None:
            yield required(f"{path}.items", "a list, or an expression that gives one")
        case "wait":
            yield from _check_wait(node, path)
        case "operation":
            for field, what in (("resource", "name a Resource"), ("method", "name an operation of its model")):
                if not node.config.get(field):
                    yield required(f"{path}.config.{field}", what)
    if node.delegate is not None:
        yield from check_delegate(node.delegate, f"{path}.delegate")
    if node.type in ("loop", "map") and (node.body is None or not node.body.nodes):
        yield required(f"{path}.body", "nodes to run for each iteration")


def check_delegate(delegate: Delegate, path: str) -> Iterator[FieldError]:
    """A machine by its name or by its labels."""
    yield from exactly_one(path, {"nodeName": delegate.node_name or None, "nodeSelector": delegate.node_selector or None})


def _check_wait(node: WorkflowNode, path: str) -> Iterator[FieldError]:
    if node.wait is None:
        yield required(f"{path}.wait", "say what to wait for")
        return
    wait = node.wait
    choices = {
        "duration": wait.duration,
        "until": wait.until or None,
        "event": wait.event,
        "condition": wait.condition or None,
        "approval": wait.approval,
    }
    yield from exactly_one(f"{path}.wait", choices)
