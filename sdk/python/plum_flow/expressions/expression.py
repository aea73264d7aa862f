"""One expression: what it refers to is known before it runs, so whoever evaluates it gathers no more than it needs.

    text --escape names, parse--> tree --references--> {("nodes", "scan"), ("secrets", "db", "password")}
                                       --compile--> Program --evaluate--> a JSON value

Names with a `-` may be written as they are (`nodes.find-all.output`) when the caller says that they exist. Tables such as
`kv("plant", "level")` are looked up in what the caller gathered; their arguments are texts, so that it knows what to gather.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from plum_flow.cel import syntax
from plum_flow.cel.errors import Budget, CompileError, CostError, EvaluationError
from plum_flow.cel.program import Program, compile_tree
from plum_flow.cel.types import DYN
from plum_flow.cel.values import Optional, TypeValue, Wrapped
from plum_flow.expressions.errors import ExpressionError, UnresolvedError

UNITS = 100_000
"""What one expression may spend: about 30 ms."""
MAX_RESULT_DEPTH = 100
"""Levels of a value that an expression gives."""
SEPARATOR = "/"
"""Between the arguments of a table in its keys: `kv("plant", "level")` is looked up as `plant/level`."""

_NAMED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\b(\w+)\.([A-Za-z0-9_][A-Za-z0-9_-]*)""")
_FOREIGN = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)|(\.\??)(?=\w*[^\x00-\x7f])([^\W\d]\w*)""")
"""A field whose name has letters outside ASCII: CEL itself knows it in backquotes or brackets only."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z").match


class References:
    """What expressions refer to, below the names that the caller provides."""

    def __init__(self, paths: Iterable[tuple[str, ...]] = ()) -> None:
        self.paths = frozenset(paths)
        """`("nodes", "scan")` with one field more where it is known; `("nodes",)` alone for the whole of it."""

    def roots(self) -> frozenset[str]:
        """The first names."""
        return frozenset(path[0] for path in self.paths)

    def below(self, *roots: str) -> frozenset[str] | None:
        """The second names below these roots; None when one is used as a whole."""
        if any(len(path) == 1 and path[0] in roots for path in self.paths):
            return None
        return frozenset(path[1] for path in self.paths if path[0] in roots)

    def paths_of(self, root: str) -> frozenset[tuple[str, ...]]:
        """The paths below one root, without it."""
        return frozenset(path[1:] for path in self.paths if path[0] == root)

    def __or__(self, other: References) -> References:
        return References(self.paths | other.paths)


NOTHING = References()


class Expression:
    """One compiled expression. Evaluating it changes nothing and may happen any number of times."""

    def __init__(self, text: str, program: Program, references: References) -> None:
        self.text = text
        self.references = references
        self._program = program

    def evaluate(self, values: Mapping[str, Any], budget: Budget | None = None) -> Any:
        """The JSON value for these data. Raises `UnresolvedError`."""
        try:
            return as_json(self._program.evaluate(values, budget or Budget(UNITS)))
        except CostError:
            raise UnresolvedError(self.text, "it costs more than an expression may; look at fewer or shorter values") from None
        except EvaluationError as error:
            raise UnresolvedError(self.text, str(error)) from None

    def is_true(self, values: Mapping[str, Any]) -> bool:
        """The value of a condition. Raises `UnresolvedError`, also when it is neither true nor false."""
        value = self.evaluate(values)
        if value is True or value is False:
            return bool(value)
        raise UnresolvedError(self.text, f"a condition must be true or false, not {value!r:.100}")


def compile_expression(
    text: str, names: Collection[str], *, members: Collection[str] = (), tables: Collection[str] = ()
) -> Expression:
    """Compile one expression over these variables.

    `members` are names that may follow a variable although they are no identifiers, `tables` the lookups it may make.
    Raises `ExpressionError`.
    """
    try:
        tree = syntax.parse(_escaped(text, members), names)
        paths = frozenset[tuple[str, ...]]()
        if tables:
            tree = _with_tables(tree, frozenset(tables))
        paths = frozenset(_paths(tree, frozenset(names) | frozenset(tables), frozenset()))
        program = compile_tree(tree, dict.fromkeys([*names, *tables], DYN))
    except CompileError as error:
        raise ExpressionError(text, str(error), min(error.position, len(text))) from None
    except RecursionError:
        raise ExpressionError(text, "the expression is nested too deeply") from None
    return Expression(text, program, References(paths))


def compile_condition(
    text: str, names: Collection[str], *, members: Collection[str] = (), tables: Collection[str] = ()
) -> Expression:
    """Compile a condition: an expression, which may stand in `${{ }}` or `{{ }}`. Raises `ExpressionError`."""
    inner = text.strip()
    for opening in ("${{", "{{"):
        if inner.startswith(opening) and inner.endswith("}}"):
            inner = inner[len(opening) : -2].strip()
            break
    return compile_expression(inner, names, members=members, tables=tables)


def as_json(value: Any, depth: int = 0) -> Any:
    """A value of the language as JSON has it: times and durations become texts. Raises `EvaluationError`."""
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, int):
        return int(value)
    if depth > MAX_RESULT_DEPTH:
        raise EvaluationError("the value is nested too deeply")
    if isinstance(value, dict):
        return {str(key): as_json(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [as_json(item, depth + 1) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Optional):
        return as_json(value.value, depth + 1) if value.present else None
    if isinstance(value, TypeValue):
        return value.name
    return str(value.value) if isinstance(value, Wrapped) else str(value)


def _escaped(text: str, members: Collection[str]) -> str:
    """Names that are no identifiers in backquotes: ``nodes.find-all`` as ``nodes.`find-all` ``, fields in Chinese as well."""

    def replace(match: re.Match[str]) -> str:
        name = match[3]
        return match[0] if match[1] or _PLAIN(name) or name not in members else f"{match[2]}.`{name}`"

    text = _NAMED.sub(replace, text)
    return text if text.isascii() else _FOREIGN.sub(lambda match: match[1] or f"{match[2]}`{match[3]}`", text)


def _with_tables(node: Any, tables: frozenset[str]) -> Any:
    """The tree with `kv("a", "b")` as `kv["a/b"]`."""
    if isinstance(node, syntax.Call) and node.target is None and node.function in tables:
        words = [argument.value for argument in node.arguments if isinstance(argument, syntax.Literal)]
        if len(words) != len(node.arguments) or not words or not all(isinstance(word, str) for word in words):
            raise CompileError(
                f"the arguments of {node.function} must be texts, so that it is known what to watch", node.position
            )
        key = syntax.Literal(SEPARATOR.join(words), node.position)
        return syntax.Index(syntax.Ident(node.function, node.position), key, node.position)
    if isinstance(node, tuple) and not isinstance(node, syntax.Literal | syntax.Ident):
        changed = [_with_tables(part, tables) for part in node]
        return type(node)(*changed) if hasattr(node, "_fields") else tuple(changed)
    return [_with_tables(part, tables) for part in node] if isinstance(node, list) else node


def _paths(node: Any, names: frozenset[str], hidden: frozenset[str]) -> Iterator[tuple[str, ...]]:
    """What a tree refers to. A macro's own variable hides a name inside of it."""
    path = _path(node, names - hidden)
    if path is not None:
        yield path[:3]
        return
    if isinstance(node, syntax.Call) and node.target is not None and len(node.arguments) > 1:
        own = frozenset(argument.name for argument in node.arguments[:-1] if isinstance(argument, syntax.Ident))
        yield from _paths(node.target, names, hidden)
        for argument in node.arguments:
            yield from _paths(argument, names, hidden | own)
        return
    if isinstance(node, tuple | list):
        for part in node:
            yield from _paths(part, names, hidden)


def _path(node: Any, names: frozenset[str]) -> tuple[str, ...] | None:
    """`a.b["c"]` as ("a", "b", "c"), if `a` is one of the names and all the rest is known."""
    rest: list[str] = []
    while True:
        if isinstance(node, syntax.Select):
            rest.append(node.field)
            node = node.operand
        elif isinstance(node, syntax.Index) and isinstance(node.index, syntax.Literal) and isinstance(node.index.value, str):
            rest.append(node.index.value)
            node = node.operand
        elif isinstance(node, syntax.Ident):
            return (node.name, *reversed(rest)) if node.name in names else None
        else:
            return None
