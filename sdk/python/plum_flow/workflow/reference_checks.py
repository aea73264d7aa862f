"""Expressions of a definition, judged by what they refer to: names that nobody can give are refused where they stand.

    payload {"zone": "${{ params.zoen }}"} --check_value--> FieldError("spec.nodes[0].payload.zone", ... there is zone)

Only what is written out is judged: `params[nodes.a.output.name]` is known when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, NamedTuple

from plum_schemas.node_types import WorkflowNode
from plum_schemas.validation import FieldError, invalid
from plum_schemas.workflow import WorkflowSpec

from plum_flow.expressions import Expression, ExpressionError, UnresolvedError, compile_condition, compile_value
from plum_flow.expressions.expression import References
from plum_flow.expressions.template import Names
from plum_flow.workflow.graph import NAMED_ROOTS

NODE_FACTS = frozenset({"output", "phase", "outcome", "error"})
"""What `nodes.NAME.` may be followed by."""
RUN_FACTS = frozenset({
    "id", "name", "namespace", "workflow", "triggeredBy", "scheduledFor", "depth", "phase", "failedNode", "error",
})  # fmt: skip
"""What `run.` may be followed by."""
Visible = Callable[[str], bool]
"""Whether the output of a node of this name is there when an expression is evaluated."""


class Seen(NamedTuple):
    """What can be referred to from one place of a definition."""

    names: Names
    visible: Visible
    fixed: Mapping[str, frozenset[str]]
    """Second names that there are, by the first: params, variables, run, loop."""

    def inside(self, node: WorkflowNode) -> Seen:
        """With the variables of a loop or map."""
        own = {node.variable or "i", "index"} if node.type == "loop" else {"i", "item", "index", node.variable or "item"}
        return self._replace(fixed={**self.fixed, "loop": self.fixed.get("loop", frozenset()) | own})


def seen_from_outside(spec: WorkflowSpec, names: Names, visible: Visible) -> Seen:
    """What the main graph, handlers and outputs see alike."""
    params = frozenset(param.name for param in spec.params)
    fixed = {"params": params, "input": params, "variables": frozenset(spec.variables), "run": RUN_FACTS}
    return Seen(names, visible, fixed)


def check_value(value: Any, path: str, seen: Seen, own: str = "") -> Iterator[FieldError]:
    """Every wrong expression in a JSON value, each with its own place."""
    pending = [(value, path)]
    while pending:
        current, where = pending.pop()
        if isinstance(current, str):
            if "{{" in current:
                yield from _check_text(current, where, seen, own)
        elif isinstance(current, dict):
            pending.extend((item, f"{where}.{key}") for key, item in reversed(current.items()))
        elif isinstance(current, list):
            pending.extend((item, f"{where}[{index}]") for index, item in reversed(list(enumerate(current))))


def check_condition(text: str, path: str, seen: Seen, own: str = "") -> Iterator[FieldError]:
    """What is wrong with a condition; nothing for an empty one."""
    if not text:
        return
    try:
        found = compile_condition(text, seen.names.variables, members=seen.names.members, tables=seen.names.tables)
    except ExpressionError as error:
        yield invalid(path, text, str(error))
        return
    yield from _check_references(found.references, path, seen, own)
    yield from _check_constant(found, path, text)


def _check_text(text: str, path: str, seen: Seen, own: str) -> Iterator[FieldError]:
    try:
        found = compile_value(text, seen.names)
    except ExpressionError as error:
        yield invalid(path, text, str(error))
        return
    yield from _check_references(found.references, path, seen, own)


def _check_constant(condition: Expression, path: str, text: str) -> Iterator[FieldError]:
    """A condition that refers to nothing has its value already, and it must be true or false."""
    if condition.references.paths:
        return
    try:
        condition.is_true({})
    except UnresolvedError as error:
        yield invalid(path, text, str(error))


def _check_references(references: References, path: str, seen: Seen, own: str) -> Iterator[FieldError]:
    for reference in sorted(references.paths):
        root, rest = reference[0], reference[1:]
        if root == "item" and "item" not in seen.fixed.get("loop", ()):
            yield invalid(path, "item", "there is no map around this node; the variables of a loop are loop.index and loop.NAME")
        if not rest:
            continue
        if root in NAMED_ROOTS:
            yield from _check_node(rest, path, seen, own)
        elif root in seen.fixed and rest[0] not in seen.fixed[root]:
            yield invalid(path, f"{root}.{rest[0]}", _missing(rest[0], seen.fixed[root], _KINDS[root]))


_KINDS = {
    "params": "parameter",
    "input": "parameter",
    "variables": "variable",
    "run": "fact of a run",
    "loop": "loop variable",
}


def _check_node(rest: tuple[str, ...], path: str, seen: Seen, own: str) -> Iterator[FieldError]:
    name, known = rest[0], seen.names.members
    if name not in known:
        yield invalid(path, f"nodes.{name}", _missing(name, known, "node"))
    elif not seen.visible(name):
        hint = f"{name} does not come before {own}: add it to dependsOn" if own != name else "a node cannot read its own output"
        yield invalid(path, f"nodes.{name}", hint)
    elif len(rest) > 1 and rest[1] not in NODE_FACTS:
        yield invalid(path, f"nodes.{name}.{rest[1]}", _missing(rest[1], NODE_FACTS, "fact of a node"))


def _missing(name: str, known: Collection[str], what: str) -> str:
    close = get_close_matches(name, known, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    there = f"there are {', '.join(sorted(known))}" if known else f"the workflow has no {what}s"
    return f"there is no {what} of this name{hint or f'; {there}'}"
