"""CEL's values as Python's: what their types are called, when they are equal, which is less.

    bool int Unsigned float str bytes list dict None datetime timedelta     and the wrappers below

Python takes `True` for `1`; CEL does not, so nothing here compares with `==` before the kinds are known to fit.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.syntax import Unsigned

MAX_TEXT = 1 << 20
"""Characters of a text that an expression may make."""
INT_MIN, INT_MAX, UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class TypeValue(NamedTuple):
    """What `type(x)` gives."""

    name: str


class Optional:
    """A value that may be absent."""

    __slots__ = ("present", "value")

    def __init__(self, value: Any = None, *, present: bool) -> None:
        self.value = value
        self.present = present


NONE = Optional(present=False)


class Wrapped(NamedTuple):
    """A value of one of Kubernetes' libraries: `quantity`, `url`, `ip`, `cidr`, `format`."""

    kind: str
    value: Any


_KINDS: dict[type, str] = {
    bool: "bool", int: "int", Unsigned: "uint", float: "double", str: "string", bytes: "bytes", list: "list", dict: "map",
    type(None): "null", datetime: "timestamp", timedelta: "duration", TypeValue: "type", Optional: "optional",
}  # fmt: skip
NUMBERS = frozenset({"int", "uint", "double"})


def kind_of(value: Any) -> str:
    """The name of a value's type."""
    kind = _KINDS.get(type(value))
    if kind is not None:
        return kind
    return value.kind if isinstance(value, Wrapped) else "dyn"


def equal(left: Any, right: Any, budget: Budget) -> bool:
    """CEL's equality: numbers by value whatever their types, everything else only within one type."""
    kind = kind_of(left)
    other = kind_of(right)
    if kind != other:
        return kind in NUMBERS and other in NUMBERS and bool(left == right)
    if kind == "list":
        budget.spend(1 + min(len(left), len(right)))
        return len(left) == len(right) and all(equal(a, b, budget) for a, b in zip(left, right, strict=True))
    if kind == "map":
        budget.spend(1 + len(left))
        return left.keys() == right.keys() and all(equal(value, right[key], budget) for key, value in left.items())
    if kind in ("string", "bytes"):
        budget.spend(min(len(left), len(right)) // 10)
    if kind == "optional":
        return left.present == right.present and (not left.present or equal(left.value, right.value, budget))
    return bool(left == right)


_ORDERED = frozenset({"bool", "string", "bytes", "timestamp", "duration"})


def less(left: Any, right: Any, budget: Budget) -> bool:
    """Raises `EvaluationError` for values that have no order."""
    kind, other = kind_of(left), kind_of(right)
    if kind == other and kind in _ORDERED:
        if kind in ("string", "bytes"):
            budget.spend(min(len(left), len(right)) // 10)
        return bool(left < right)
    if kind in NUMBERS and other in NUMBERS:
        return bool(left < right)
    raise no_overload("_<_", left, right)


def no_overload(function: str, *values: Any) -> EvaluationError:
    """What is said when a function has no meaning for values of these types."""
    return EvaluationError(f"no such overload: {function}({', '.join(map(kind_of, values))})")


def integer(value: int) -> int:
    if not INT_MIN <= value <= INT_MAX:
        raise EvaluationError("integer overflow")
    return value


def unsigned(value: int) -> Unsigned:
    if not 0 <= value <= UINT_MAX:
        raise EvaluationError("unsigned integer overflow")
    return Unsigned(value)


def text(value: str, budget: Budget) -> str:
    """A text that was made. Charged by its length, and bounded."""
    budget.spend(len(value) // 10)
    if len(value) > MAX_TEXT:
        raise EvaluationError(f"a text of more than {MAX_TEXT} characters")
    return value
