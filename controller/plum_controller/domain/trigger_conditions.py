"""Expressions of condition triggers: what they may look at, and how that is shown to them.

kv("plant", "level")                        value of an entry: namespace, key
resource("pump-1"), resource("site", "p")   a device: [namespace,] name -> {online, reported, desired, object}
object("Deployment", "web")                 any object: kind, [namespace,] name
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Protocol

from plum_flow.expressions import Expression, ExpressionError, compile_condition
from plum_flow.expressions.expression import References
from plum_flow.expressions.template import TABLES
from plum_schemas.base import ObjectKey

_COUNTS = {"kv": (2,), "resource": (1, 2), "object": (2, 3)}
_HINTS = {"kv": 'kv("NAMESPACE", "KEY")', "resource": 'resource("NAME")', "object": 'object("KIND", "NAME")'}


@lru_cache(maxsize=1024)
def compile_trigger_condition(text: str) -> Expression:
    """Raises `ExpressionError`, also for a look-up with the wrong number of arguments and for one that looks at nothing."""
    expression = compile_condition(text, (), tables=TABLES)
    if not list(inputs_of(expression, "default")):
        raise ExpressionError(text, f"it looks at nothing that can change; use {', '.join(_HINTS.values())}")
    return expression


class Looking(Protocol):
    """What looks at objects: an expression, or the part of one that does."""

    text: str
    references: References


def inputs_of(expression: Looking, namespace: str) -> Iterator[tuple[str, str, str, ObjectKey]]:
    """Table, text of the look-up, kind and key of everything an expression looks at. Raises `ExpressionError`."""
    seen = set()
    for path in sorted(expression.references.paths):
        if len(path) < 2:
            raise ExpressionError(expression.text, f"use {_HINTS.get(path[0], path[0])}")
        table, text = path[:2]
        if (table, text) in seen:
            continue
        seen.add((table, text))
        words = text.split("/", 1) if table == "kv" else text.split("/")
        if len(words) not in _COUNTS[table] or not all(words):
            raise ExpressionError(expression.text, f"use {_HINTS[table]}")
        if table == "kv":
            yield table, text, "", ObjectKey(words[0], words[1])
            continue
        kind = words.pop(0) if table == "object" else ""
        yield table, text, kind, ObjectKey(words[0] if len(words) == 2 else namespace, words[-1])


def input_value(table: str, found: Mapping[str, Any] | None) -> Any:
    """What an expression sees of an object, null where there is none."""
    if found is None:
        return None
    spec, status = found.get("spec") or {}, found.get("status") or {}
    if table == "kv":
        return spec.get("value")
    if table == "object":
        return found
    reported = {name: entry.get("value") for name, entry in (status.get("reported") or {}).items()}
    online = (status.get("connection") or {}).get("online") is True
    return {"online": online, "reported": reported, "desired": spec.get("desired") or {}, "object": found}
