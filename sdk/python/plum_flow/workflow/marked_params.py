"""Conditions that would compute with the value of a secret in a parameter: found before a run starts.

The parameters of a run inside of a run hold marks instead of values (`secret_marks`). Payloads, steps and further parameters
pass them on; a condition would compare the mark, and be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plum_schemas.taskrun import SecretMark

from plum_flow.expressions.expression import References
from plum_flow.secret_marks import holds_any
from plum_flow.workflow.graph import DefinitionPlan, GraphPlan, NodePlan

ROOTS = ("params", "input")


def misuse(plan: DefinitionPlan, params: Mapping[str, Any], marks: Sequence[SecretMark]) -> str:
    """Which condition reads a parameter with a mark, in words; empty if none does."""
    if not marks:
        return ""
    for graph in plan.graphs():
        for place, found in _misused(graph, params, marks, False):
            return (
                f"{place} computes with {found}, which holds the value of a secret; only payloads, config and params may have it"
            )
    return ""


def _misused(
    graph: GraphPlan, params: Mapping[str, Any], marks: Sequence[SecretMark], items_hold: bool
) -> Iterator[tuple[str, str]]:
    """`items_hold`: the items of a map around hold marks."""
    for node in graph.nodes:
        for name, references in _conditions(node):
            found = _marked_path(references, params, marks)
            if not found and items_hold and _reads_item(references):
                found = "item"
            if found:
                yield f"node {node.name}: {name}", found
        if node.body is not None:
            here = node.items is not None and bool(_marked_path(node.items.references, params, marks))
            yield from _misused(node.body, params, marks, items_hold or here)


def _conditions(node: NodePlan) -> Iterator[tuple[str, References]]:
    named = [
        ("when", node.when), ("condition", node.condition), ("while", node.while_), ("until", node.until),
        ("wait.until", node.wait_until), *((f"case {name}", case) for name, case in node.cases),
    ]  # fmt: skip
    for name, expression in named:
        if expression is not None:
            yield name, expression.references


def _marked_path(references: References, params: Mapping[str, Any], marks: Sequence[SecretMark]) -> str:
    """The first path below the parameters that leads to a mark."""
    for root in ROOTS:
        for path in sorted(references.paths_of(root)):
            value: Any = params
            for step in path:
                if isinstance(value, Mapping) and step in value:
                    value = value[step]
            if holds_any(value, marks):
                return ".".join((root, *path))
    return ""


def _reads_item(references: References) -> bool:
    return "item" in references.roots() or any(not path or path[0] == "item" for path in references.paths_of("loop"))
