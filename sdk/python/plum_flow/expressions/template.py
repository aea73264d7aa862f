"""JSON values with expressions in their texts.

    "${{ params.n }}"           a whole text that is one expression keeps the type of its value
    "zone ${{ params.n }}!"     expressions inside a text are written into it
    "{{variables.x}}"           the form of the orchestrator surface; only over the names in `CURLY_NAMES`
    "$${{ not an expression }}" is the text without the first `$`

Keys of objects are never expressions. Other `{{ }}` stay as they are: payloads may hold templates of other programs.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from plum_schemas.validation import FieldError, invalid

from plum_flow.cel.errors import Budget
from plum_flow.expressions.errors import ExpressionError, UnresolvedError
from plum_flow.expressions.expression import (
    NOTHING,
    Expression,
    References,
    compile_condition,
    compile_expression,
)

VALUE_UNITS = 200_000
"""What all expressions of one value may spend together."""
MAX_TEXT = 1 << 20
"""Characters of a text that expressions are written into."""
MAX_DEPTH = 100
"""Levels of a value with expressions in it."""
CURLY_NAMES = frozenset({"variables", "steps", "nodes", "secrets", "input", "params", "run", "loop", "item", "event"})
"""What may begin an expression in `{{ }}` without a `$`."""
_OPENING = re.compile(r"\$\$\{\{|\$\{\{|\{\{")
_FIRST_NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:[.\[}]|$)").match


TABLES = frozenset({"kv", "resource", "object"})
"""Lookups of conditions that wait for what others write."""


class Names(NamedTuple):
    """What expressions may refer to."""

    variables: frozenset[str]
    members: frozenset[str] = frozenset()
    """Names that may follow a variable although they are no identifiers, such as nodes with a `-`."""
    tables: frozenset[str] = frozenset()
    """Lookups such as `kv`."""


class Template:
    """A compiled JSON value."""

    def __init__(self, value: Any, references: References) -> None:
        self.references = references
        """What all its expressions refer to."""
        self._value = value

    @property
    def is_constant(self) -> bool:
        """There is no expression in it."""
        return not isinstance(self._value, _Node)

    def evaluate(self, values: Mapping[str, Any]) -> Any:
        """The value with all expressions replaced. Constant parts are shared and must not be changed. Raises
        `UnresolvedError`."""
        return _evaluate(self._value, values, Budget(VALUE_UNITS))


class _Node(NamedTuple):
    """Part of a value with expressions in it."""

    kind: str
    """`whole`, `text`, `list` or `map`."""
    parts: Any


def names_of(variables: Collection[str], members: Collection[str] = (), tables: Collection[str] = ()) -> Names:
    """What expressions may refer to, from any collections."""
    return Names(frozenset(variables), frozenset(members), frozenset(tables))


def compile_value(value: Any, names: Names | Collection[str]) -> Template:
    """Compile a JSON value. Raises `ExpressionError` for its first wrong expression."""
    known = names if isinstance(names, Names) else names_of(names)
    found: list[Expression] = []
    compiled = _compile(value, known, found, 0)
    references = NOTHING
    if found:
        references = References(frozenset[tuple[str, ...]]().union(*(expression.references.paths for expression in found)))
    return Template(compiled, references)


def check_value(value: Any, path: str, names: Names | Collection[str]) -> Iterator[FieldError]:
    """Every wrong expression in a value, with its place."""
    known = names if isinstance(names, Names) else names_of(names)
    pending = [(value, path)]
    while pending:
        current, where = pending.pop()
        if isinstance(current, str):
            try:
                _compile(current, known, [], 0)
            except ExpressionError as error:
                yield invalid(where, current, str(error))
        elif isinstance(current, dict):
            pending.extend((item, f"{where}.{key}") for key, item in current.items())
        elif isinstance(current, list):
            pending.extend((item, f"{where}[{index}]") for index, item in enumerate(current))


def check_condition(text: str, path: str, names: Names | Collection[str]) -> Iterator[FieldError]:
    """What is wrong with a condition; nothing for an empty one."""
    known = names if isinstance(names, Names) else names_of(names)
    if not text:
        return
    try:
        compile_condition(text, known.variables, members=known.members, tables=known.tables)
    except ExpressionError as error:
        yield invalid(path, text, str(error))


def _compile(value: Any, names: Names, found: list[Expression], depth: int) -> Any:
    if isinstance(value, str):
        return _compile_text(value, names, found) if "{{" in value else value
    if depth > MAX_DEPTH:
        raise ExpressionError("", f"the value is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, list):
        items = [_compile(item, names, found, depth + 1) for item in value]
        return _Node("list", items) if any(isinstance(item, _Node) for item in items) else value
    if isinstance(value, dict):
        entries = {key: _compile(item, names, found, depth + 1) for key, item in value.items()}
        return _Node("map", entries) if any(isinstance(item, _Node) for item in entries.values()) else value
    return value


def _compile_text(text: str, names: Names, found: list[Expression]) -> Any:
    parts: list[str | Expression] = []
    at = 0
    while (match := _OPENING.search(text, at)) is not None:
        opening, start = match[0], match.end()
        if opening == "$${{":
            parts.append(text[at : match.start()] + "${{")
            at = start
            continue
        first = _FIRST_NAME(text, start)
        if opening == "{{" and (first is None or first[1] not in CURLY_NAMES):
            parts.append(text[at:start])
            at = start
            continue
        end = _closing(text, start)
        if text[at : match.start()]:
            parts.append(text[at : match.start()])
        inner = text[start:end].strip()
        expression = compile_expression(inner, names.variables, members=names.members, tables=names.tables)
        found.append(expression)
        parts.append(expression)
        at = end + 2
    if at < len(text):
        parts.append(text[at:])
    if len(parts) == 1 and isinstance(parts[0], Expression):
        return _Node("whole", parts[0])
    if any(isinstance(part, Expression) for part in parts):
        return _Node("text", parts)
    return "".join(part for part in parts if isinstance(part, str))


def _closing(text: str, at: int) -> int:
    """Where the `}}` of an expression is: not inside of its texts and maps. Raises `ExpressionError`."""
    start, depth, quote = at, 0, ""
    while at < len(text):
        letter = text[at]
        if quote:
            if letter == "\\":
                at += 1
            elif letter == quote:
                quote = ""
        elif letter in "\"'":
            quote = letter
        elif letter == "{":
            depth += 1
        elif letter == "}" and depth:
            depth -= 1
        elif text.startswith("}}", at):
            return at
        at += 1
    raise ExpressionError(text[start:], "the expression is not closed with }}", len(text) - start)


def _evaluate(value: Any, values: Mapping[str, Any], budget: Budget) -> Any:
    if not isinstance(value, _Node):
        return value
    if value.kind == "whole":
        return value.parts.evaluate(values, budget)
    if value.kind == "list":
        return [_evaluate(item, values, budget) for item in value.parts]
    if value.kind == "map":
        return {key: _evaluate(item, values, budget) for key, item in value.parts.items()}
    shown = [part if isinstance(part, str) else written(part.evaluate(values, budget)) for part in value.parts]
    if sum(map(len, shown)) > MAX_TEXT:
        raise UnresolvedError(shown[0], f"the text gets longer than {MAX_TEXT} characters")
    return "".join(shown)


def written(value: Any) -> str:
    """A value inside a text: texts as they are, nothing for null, the rest as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        raise UnresolvedError(str(value), str(error)) from None
