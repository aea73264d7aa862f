"""A run drawn in the terminal: its graph as a tree, each node once, below the last of the nodes it waits for.

    scan       Succeeded  1.2s
    └─ found   Succeeded  -> true
       ├─ [true] photo    Running  since 3s
       │  └─ close        Pending  (after photo, alert)
       └─ [true] alert    Succeeded

Pure: a definition and rows in, lines out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from plum_client.explaining.times import age, parse_time

Node = Mapping[str, Any]
SIGNS = {
    "Succeeded": "+", "Failed": "x", "Running": "*", "Waiting": "~", "Pending": ".", "Skipped": "-", "UpstreamFailed": "!",
    "Canceled": "/",
}  # fmt: skip


HANDLERS = {"onFailure": " (only if the run fails)", "finally": ""}
"""Graphs that come after the main one, and what is said of them before they begin."""


def draw(definition: Mapping[str, Any], rows: Mapping[str, Node], now: datetime, *, ended: bool = False) -> Iterator[str]:
    """The lines of all graphs. `rows` by key; a handler that a run that has `ended` did not come to was not needed."""
    yield from _graph(definition.get("nodes") or [], "", rows, now)
    for part, otherwise in HANDLERS.items():
        nodes = (definition.get(part) or {}).get("nodes") or []
        begun = any(row.get("phase") != "Pending" for key, row in rows.items() if key.startswith(f"{part}:"))
        if nodes and ended and not begun:
            yield f"{part}: not needed"
        elif nodes:
            yield f"{part}:{'' if begun else otherwise}"
            yield from _graph(nodes, f"{part}:", rows, now)


def _graph(nodes: Sequence[Node], prefix: str, rows: Mapping[str, Node], now: datetime) -> Iterator[str]:
    ranks = ranks_of(nodes)
    children: dict[str, list[Node]] = {}
    roots: list[Node] = []
    for node in nodes:
        before = [edge["node"] for edge in node.get("dependsOn") or ()]
        if before:
            children.setdefault(max(before, key=lambda name: (ranks[name], name)), []).append(node)
        else:
            roots.append(node)
    # A stack instead of recursion: a chain of 10,000 nodes is as deep as it is long.
    pending = [(node, "", "", "") for node in reversed(roots)]
    while pending:
        node, indent, branch, parent = pending.pop()
        yield f"{indent}{branch}{_line(node, parent, prefix, rows, now)}"
        below = children.get(node["name"], [])
        inner = indent + ("" if not branch else "   " if branch.startswith("└") else "│  ")
        last = len(below) - 1
        pending.extend((below[at], inner, "└─ " if at == last else "├─ ", node["name"]) for at in range(last, -1, -1))


def _line(node: Node, parent: str, prefix: str, rows: Mapping[str, Node], now: datetime) -> str:
    row = rows.get(prefix + node["name"], {})
    phase = str(row.get("phase") or "Pending")
    edges = node.get("dependsOn") or []
    outcome = "".join(f"[{edge['on']}] " for edge in edges if edge["node"] == parent and edge.get("on"))
    shown = f" ({node['displayName']})" if node.get("displayName") else ""
    text = f"{SIGNS.get(phase, '?')} {outcome}{node['name']}{shown}  {phase}"
    if node.get("type", "task") not in ("task",):
        text += f"  {node['type']}"
    if row.get("outcome"):
        text += f" -> {row['outcome']}"
    if node.get("type") in ("loop", "map") and row.get("iteration") is not None:
        total = f" of {row['total']}" if row.get("total") is not None else ""
        text += f"  iteration {row['iteration'] + 1}{total}"
    text += _time(row, phase, now)
    if row.get("place"):
        text += f"  {row['place']}"
    others = [edge["node"] for edge in edges]
    if len(others) > 1:
        text += f"  (after {', '.join(others)})"
    if row.get("message"):
        text += f"  {row['message']}"
    elif phase == "Waiting" and row.get("waitsFor"):
        text += f"  waits for {row['waitsFor']}"
    return text


def _time(row: Node, phase: str, now: datetime) -> str:
    started, finished = parse_time(row.get("startedAt") or ""), parse_time(row.get("finishedAt") or "")
    if started is not None and finished is not None and phase in ("Succeeded", "Failed", "Canceled"):
        return f"  {(finished - started).total_seconds():.1f}s"
    if started is not None and phase in ("Running", "Waiting"):
        return f"  since {age(row['startedAt'], now)}"
    return ""


def ranks_of(nodes: Sequence[Node]) -> dict[str, int]:
    """For each node the length of the longest way to it."""
    before = {node["name"]: [edge["node"] for edge in node.get("dependsOn") or ()] for node in nodes}
    ranks: dict[str, int] = {}
    for name in before:
        pending = [name]
        while pending:
            current = pending[-1]
            missing = [other for other in before[current] if other not in ranks]
            if missing and current not in ranks:
                pending.extend(missing)
            else:
                pending.pop()
                ranks[current] = max((ranks[other] + 1 for other in before[current]), default=0)
    return ranks
