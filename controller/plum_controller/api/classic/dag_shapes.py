"""DAGs of the system before as nodes of a Workflow, and back.

    {nodes: {id: {...}}, edges, startNodes} --to_nodes--> [WorkflowNode as JSON] --to_dag--> the same nodes and edges

There a loop's body is not apart: it is what comes after the loop and cannot be reached past it; an edge back to the loop says
where the body ends. Here it is the graph inside the node. Ids that can be no names of nodes are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import msgspec
from plum_schemas.durations import parse_duration
from plum_schemas.graph import find_cycle
from plum_schemas.node_types import WorkflowNode

from plum_controller.api.classic.found import pick
from plum_controller.api.classic.task_shapes import limits, payload_in
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import bad_request

TYPES = ("task", "branch", "parallel", "loop")
EDGE_TYPES = ("", "normal", "true", "false")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_encode = msgspec.json.Encoder().encode
_OPERATORS = {"eq": "==", "ne": "!=", "gt": ">", "gte": ">=", "ge": ">=", "lt": "<", "lte": "<=", "le": "<=", "=": "=="}


def to_nodes(body: Json, task_of: Callable[[str, str], str]) -> list[Json]:
    """Nodes of a Workflow. `task_of` gives the name of a definition for an identifier, or raises. Raises `ApiStatusError` 400."""
    given = pick(body, "nodes", default={})
    if isinstance(given, list):  # some clients write them as a list
        given = {str(pick(node, "nodeId", "id", default="")): node for node in given if isinstance(node, dict)}
    if not isinstance(given, dict) or not given:
        raise bad_request("nodes required")
    edges = list(_edges(body, given))
    nodes = {name: _node(name, node, task_of) for name, node in given.items()}
    starts = pick(body, "startNodes", default=[])
    if not isinstance(starts, list) or not all(name in nodes for name in starts):
        raise bad_request(f"startNodes is {starts!r:.80}; use a list of ids of nodes")
    bodies = _bodies(nodes, edges, starts)
    inside = {name: loop for loop, names in bodies.items() for name in names}
    for start, end, kind in edges:
        if end in bodies and inside.get(start) == end:
            continue  # the way back to the loop
        if inside.get(end) == start:
            continue  # the way into the body
        source = start
        while inside.get(source) != inside.get(end) and source in inside:
            source = inside[source]  # what comes after a body waits for its loop
        edge = {"node": source} | ({"on": kind} if kind in ("true", "false") and source == start else {})
        if edge not in nodes[end]["dependsOn"]:
            nodes[end]["dependsOn"].append(edge)
    for loop, names in bodies.items():
        nodes[loop]["body"] = {"nodes": [nodes[name] for name in given if inside.get(name) == loop and name in names]}
    return [node for name, node in nodes.items() if name not in inside]


def _edges(body: Json, nodes: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    given = pick(body, "edges", default=[])
    if not isinstance(given, list):
        raise bad_request("edges must be a list")
    for index, edge in enumerate(given):
        if not isinstance(edge, dict):
            raise bad_request(f"edges[{index}] is {edge!r:.60}; use {{from, to, edgeType}}")
        ends = str(pick(edge, "from", default="")), str(pick(edge, "to", default=""))
        kind = str(pick(edge, "edgeType", default=""))
        for side, end in zip(("from", "to"), ends, strict=True):
            if end not in nodes:
                raise bad_request(f"edges[{index}].{side} is {end!r}; there is no such node")
        if kind not in EDGE_TYPES:
            raise bad_request(f"edges[{index}].edgeType is {kind!r}; use normal, true or false")
        yield (*ends, kind)


def _node(name: str, given: Any, task_of: Callable[[str, str], str]) -> Json:
    where = f"nodes[{name}]"
    if not isinstance(given, dict):
        raise bad_request(f"{where} is {given!r:.60}; use an object")
    if not _NAME.fullmatch(name):
        raise bad_request(f"{where}: {name!r} cannot be the id of a node; use letters, digits, _ and -, 63 at most")
    kind = str(pick(given, "type", default="task"))
    if kind not in TYPES:
        raise bad_request(f"{where}.type is {kind!r}; use {', '.join(TYPES)}")
    node: Json = {"name": name, "type": kind, "dependsOn": []}
    shown = str(pick(given, "name", default=""))
    if shown and shown != name:
        node["displayName"] = shown
    if rule := pick(given, "triggerRule"):
        node["triggerRule"] = rule
    x, y = pick(given, "posX", default=0), pick(given, "posY", default=0)
    if x or y:
        node["position"] = {"x": x, "y": y}
    if kind == "task":
        node["taskRef"] = task_of(str(pick(given, "taskDefId", default="")), where)
        node["payload"] = payload_in(given, "payload", "payloadJson")
        node |= limits(given)
    elif kind == "branch":
        node["compare"] = _comparison(pick(given, "condition", default={}), f"{where}.condition")
    elif kind == "parallel":
        node["waitPolicy"] = pick(given, "waitPolicy", default="all") or "all"
    else:
        node |= _loop(pick(given, "loopCondition", default={}), f"{where}.loopCondition")
    return node


def _comparison(given: Any, where: str) -> Json:
    if not isinstance(given, dict):
        raise bad_request(f"{where} is missing; use {{sourceTask, field, operator, value}}")
    operator, value = str(pick(given, "operator", default="==")), pick(given, "value", default="")
    found = {
        "field": str(pick(given, "field", default="")),
        "operator": _OPERATORS.get(operator, operator),
        "value": str(value).lower() if isinstance(value, bool) else str(value),
    }
    if not found["field"]:
        raise bad_request(f"{where}.field is missing")
    source = str(pick(given, "sourceTask", default=""))
    return found | ({"sourceTask": source} if source else {})


def _loop(given: Any, where: str) -> Json:
    if not isinstance(given, dict):
        raise bad_request(f"{where} is missing; use {{type: count, count, loopVarName}} or {{type: condition, ...}}")
    kind = str(pick(given, "type", default="count"))
    variable = str(pick(given, "loopVarName", default=""))
    found: Json = {"variable": variable} if variable else {}
    if kind == "count":
        count = pick(given, "count", default=0)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise bad_request(f"{where}.count is {count!r}; use 0 or more")
        return found | {"count": count}
    if kind != "condition":
        raise bad_request(f"{where}.type is {kind!r}; use count or condition")
    compare = _comparison(given, where)
    source = compare.get("sourceTask", "")
    if not source or not _NAME.fullmatch(source) or not _PLAIN.fullmatch(compare["field"]):
        raise bad_request(f"{where}: a loop by condition needs sourceTask and a field of letters, digits and _")
    text = f"nodes.{source}.output.{compare['field']} {compare['operator']} {_literal(compare['value'])}"
    most = pick(given, "maxIterations", "count", default=0)
    # Asked after each iteration: the node it looks at may be in the body.
    return found | {"until": f"!({text})"} | ({"maxIterations": most} if most else {})


def _literal(value: str) -> str:
    """A value as an expression has it: numbers and truths as such, all else as text."""
    try:
        float(value)
        return value
    except ValueError:
        return value if value in ("true", "false") else _encode(value).decode()


def _bodies(nodes: Mapping[str, Json], edges: list[tuple[str, str, str]], starts: list[str]) -> dict[str, set[str]]:
    """What each loop repeats, inner loops and what they repeat left to themselves."""
    after: dict[str, list[str]] = {name: [] for name in nodes}
    for start, end, _ in edges:
        after[start].append(end)
    followed = {end for _, end, _ in edges}
    # Where all nodes are followed, by ways back alone, the first loop is the start.
    starts = starts or [name for name in nodes if name not in followed] or [n for n in nodes if nodes[n]["type"] == "loop"][:1]
    whole: dict[str, set[str]] = {}
    for name, node in nodes.items():
        if node["type"] == "loop":
            whole[name] = _repeated(name, after, starts)
            if not whole[name]:
                raise bad_request(f"nodes[{name}] is a loop that repeats nothing; give it an edge to what it repeats")
    found = {}
    for name, names in whole.items():
        inner = [other for other in whole if other in names and other != name]
        found[name] = names - {one for other in inner for one in whole[other]}
    cycle = find_cycle({start: [end for end in ends if start not in whole.get(end, ())] for start, ends in after.items()})
    if cycle:
        raise bad_request(f"the edges form a cycle: {' -> '.join(cycle)}")
    return found


def _repeated(loop: str, after: Mapping[str, list[str]], starts: Collection[str]) -> set[str]:
    """What cannot be reached but through the loop. Where edges of it lead back: of that, what lies on a way back."""
    around = _reached([name for name in starts if name != loop], after, stop=loop) | set(starts)
    through = _reached([loop], after) - around - {loop}
    back = {name for name in through if loop in after[name]}
    if not back:
        return through
    before: dict[str, list[str]] = {name: [] for name in after}
    for start, ends in after.items():
        for end in ends:
            before[end].append(start)
    return through & (_reached(list(back), before, stop=loop) | back)


def _reached(starts: list[str], after: Mapping[str, list[str]], stop: str = "") -> set[str]:
    """What can be reached from here, not going on from `stop`."""
    found: set[str] = set()
    pending = [end for start in starts for end in after[start]]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += after[name] if name != stop else []
    return found


# ---- and back


def to_dag(nodes: list[WorkflowNode], id_of_task: Callable[[str], str]) -> Json:
    """`Nodes`, `Edges` and `StartNodes` of a Workflow's graph."""
    shown: Json = {}
    edges: list[Json] = []
    starts = [node.name for node in nodes if not node.depends_on]
    _flatten(nodes, id_of_task, shown, edges)
    return {"Nodes": shown, "Edges": edges, "StartNodes": starts}


def _flatten(nodes: list[WorkflowNode], id_of_task: Callable[[str], str], shown: Json, edges: list[Json]) -> None:
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        shown[node.name] = _shown(node, id_of_task)
        for edge in node.depends_on:
            sources = _ends(by_name[edge.node]) if edge.node in by_name else [edge.node]
            edges.extend({"From": source, "To": node.name, "EdgeType": edge.on or "normal"} for source in sources)
    for node in nodes:
        if node.body is not None:
            _flatten(node.body.nodes, id_of_task, shown, edges)
            first = [inner.name for inner in node.body.nodes if not inner.depends_on]
            edges.extend({"From": node.name, "To": inner, "EdgeType": "normal"} for inner in first)


def _ends(node: WorkflowNode) -> list[str]:
    """What an edge from this node comes from: for a loop, the last nodes of its body."""
    if node.body is None:
        return [node.name]
    followed = {edge.node for inner in node.body.nodes for edge in inner.depends_on}
    return [end for inner in node.body.nodes if inner.name not in followed for end in _ends(inner)]


def _shown(node: WorkflowNode, id_of_task: Callable[[str], str]) -> Json:
    found: Json = {
        "NodeID": node.name,
        "Type": node.type,
        "Name": node.display_name or node.name,
        "TriggerRule": node.trigger_rule or "",
        "TaskDefID": id_of_task(node.task_ref) if node.task_ref else "",
        "PayloadJSON": _encode(node.payload).decode() if node.payload else "",
        "TimeoutSec": int(parse_duration(node.timeout)) if node.timeout else 0,
        "MaxRetries": node.retry.limit if node.retry is not None else 0,
        "WaitPolicy": node.wait_policy if node.type == "parallel" else "",
        "PosX": node.position.x if node.position is not None else 0,
        "PosY": node.position.y if node.position is not None else 0,
    }
    if node.compare is not None:
        compare = node.compare
        found["condition"] = {
            "sourceTask": compare.source_task, "field": compare.field, "operator": compare.operator, "value": compare.value
        }  # fmt: skip
    elif node.condition:
        found["condition"] = {"expression": node.condition}
    if node.type == "loop":
        kind = "count" if node.count is not None else "condition"
        found["loopCondition"] = {"type": kind, "count": node.count or 0, "loopVarName": node.variable} | (
            {"expression": node.until or node.while_} if kind == "condition" else {}
        )
    return found
