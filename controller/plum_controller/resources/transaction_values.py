"""Values inside objects, and how transactions compare them.

    path "spec.value", "/spec/value" --path_of--> ("spec", "value") --value_at--> a JSON value or MISSING --compare--> bool

Pure. Two values of different types are not equal, and neither is less: a comparison that makes no sense does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import ge, gt, le, lt
from typing import Any

from plum_controller.resources.encode import same

OPERATORS = ("=", "!=", "<", "<=", ">", ">=")
_ORDERS: dict[str, Callable[[Any, Any], Any]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


class Missing:
    """The type of what is not there."""


MISSING = Missing()


def path_of(text: str) -> tuple[str | int, ...]:
    """The parts of `.spec.items.0.name`, or of a JSON pointer, in which names may hold dots. Raises `ValueError`."""
    if text.startswith("/"):
        parts = [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]
    else:
        parts = text.removeprefix(".").split(".")
    if "" in parts:
        raise ValueError("use names with dots between them, such as spec.value, or a JSON pointer such as /spec/value")
    return tuple(int(part) if part.isascii() and part.isdigit() else part for part in parts)


def value_at(value: Any, path: Sequence[str | int]) -> Any:
    """What is at a path, `MISSING` if there is nothing. A number is an index in a list and a name in an object."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(str(part), MISSING)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return MISSING
    return value


def compare(left: Any, operator: str, right: Any) -> bool:
    """Whether `left operator right` holds. What is missing equals nothing but null."""
    if operator in ("=", "!="):
        equal = right is None if left is MISSING else _equal(left, right)
        return equal is (operator == "=")
    if left is MISSING or not (_both(left, right, (int, float)) or _both(left, right, str)):
        return False
    return bool(_ORDERS[operator](left, right))


def _equal(left: Any, right: Any) -> bool:
    return bool(left == right) if _both(left, right, (int, float)) else same(left, right)


def _both(left: Any, right: Any, types: Any) -> bool:
    """Whether both are of these types. True and false are no numbers here."""
    return isinstance(left, types) and isinstance(right, types) and not isinstance(left, bool) and not isinstance(right, bool)
