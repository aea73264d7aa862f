"""A rerun: which results of an earlier run stay, and which nodes run again."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from plum_flow.workflow.graph import DefinitionPlan
from plum_flow.workflow.phases import SKIPPED, SUCCEEDED, UPSTREAM_FAILED
from plum_flow.workflow.rows import NodeRow


def reused_rows(plan: DefinitionPlan, rows: Iterable[tuple[str, NodeRow]], start: str) -> list[tuple[str, NodeRow]]:
    """Rows of the main graph that a rerun begins with: what succeeded or was skipped, but for `start` and all after it.

    Without `start`, what failed, was cancelled or never came to run is run again. Raises `ValueError` for an unknown node.
    """
    graph = plan.main
    known = {key: row for key, row in rows if key in graph.by_name}
    if start and start not in graph.by_name:
        raise ValueError(f"there is no node {start} in the main graph; there are {', '.join(sorted(graph.by_name))}")
    kept_phases = {SUCCEEDED, SKIPPED}
    again = [graph.by_name[start].index] if start else []
    again += [node.index for node in graph.nodes if node.name not in known or known[node.name].phase not in kept_phases]
    found: set[int] = set()
    while again:
        index = again.pop()
        if index not in found:
            found.add(index)
            again.extend(edge.at for edge in graph.nodes[index].succs)
    kept = [(node.name, known[node.name]) for node in graph.nodes if node.index not in found]
    return [(key, msgspec.structs.replace(row, reused=True)) for key, row in kept]


__all__ = ["UPSTREAM_FAILED", "reused_rows"]
