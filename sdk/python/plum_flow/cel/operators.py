"""What the operators do with values."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.values import MAX_TEXT, equal, integer, kind_of, less, no_overload, text, unsigned

Binary = Callable[[Any, Any, Budget], Any]


def add(left: Any, right: Any, budget: Budget) -> Any:
    kind, other = kind_of(left), kind_of(right)
    if kind == other:
        match kind:
            case "int":
                return integer(left + right)
            case "string":
                if len(left) + len(right) > MAX_TEXT:
                    raise EvaluationError(f"a text of more than {MAX_TEXT} characters")
                return text(left + right, budget)
            case "double":
                return left + right
            case "uint":
                return unsigned(left + right)
            case "list":
                budget.spend(len(left) + len(right))
                return left + right
            case "bytes":
                budget.spend((len(left) + len(right)) // 10)
                if len(left) + len(right) > MAX_TEXT:
                    raise EvaluationError(f"more than {MAX_TEXT} bytes")
                return left + right
    return _moved(left, right, kind, other, 1)


def subtract(left: Any, right: Any, budget: Budget) -> Any:
    kind, other = kind_of(left), kind_of(right)
    if kind == other:
        match kind:
            case "int":
                return integer(left - right)
            case "double":
                return left - right
            case "uint":
                return unsigned(left - right)
            case "timestamp":
                return left - right
    return _moved(left, right, kind, other, -1)


def _moved(left: Any, right: Any, kind: str, other: str, sign: int) -> Any:
    """Times and durations."""
    try:
        if other == "duration" and kind in ("timestamp", "duration"):
            return left + sign * right
        if kind == "duration" and other == "timestamp" and sign > 0:
            return right + left
    except OverflowError:
        raise EvaluationError("timestamp overflow") from None
    raise no_overload("_+_" if sign > 0 else "_-_", left, right)


def multiply(left: Any, right: Any, budget: Budget) -> Any:
    kind = kind_of(left)
    if kind == kind_of(right):
        if kind == "int":
            return integer(left * right)
        if kind == "double":
            return left * right
        if kind == "uint":
            return unsigned(left * right)
    raise no_overload("_*_", left, right)


def divide(left: Any, right: Any, budget: Budget) -> Any:
    kind = kind_of(left)
    if kind == kind_of(right):
        if kind == "double":
            if right:
                return left / right
            return float("nan") if not left or left != left else float("inf") * (1 if left > 0 else -1)
        if kind in ("int", "uint"):
            if not right:
                raise EvaluationError("division by zero")
            quotient = abs(left) // abs(right)
            return (integer if kind == "int" else unsigned)(quotient if (left < 0) == (right < 0) else -quotient)
    raise no_overload("_/_", left, right)


def remainder(left: Any, right: Any, budget: Budget) -> Any:
    kind = kind_of(left)
    if kind == kind_of(right) and kind in ("int", "uint"):
        if not right:
            raise EvaluationError("modulus by zero")
        rest = abs(left) % abs(right)
        return (integer if kind == "int" else unsigned)(rest if left >= 0 else -rest)
    raise no_overload("_%_", left, right)


def contains(left: Any, right: Any, budget: Budget) -> bool:
    kind = kind_of(right)
    if kind == "list":
        budget.spend(1 + len(right))
        return any(equal(left, item, budget) for item in right)
    if kind == "map":
        return kind_of(left) == "string" and left in right
    raise no_overload("@in", left, right)


def negate(value: Any) -> Any:
    kind = kind_of(value)
    if kind == "int":
        return integer(-value)
    if kind == "double":
        return -value
    if kind == "duration":
        return -value if isinstance(value, timedelta) else value
    raise no_overload("-_", value)


BINARY: dict[str, Binary] = {
    "+": add,
    "-": subtract,
    "*": multiply,
    "/": divide,
    "%": remainder,
    "in": contains,
    "==": equal,
    "!=": lambda left, right, budget: not equal(left, right, budget),
    "<": less,
    ">": lambda left, right, budget: less(right, left, budget),
    "<=": lambda left, right, budget: less(left, right, budget) or equal(left, right, budget),
    ">=": lambda left, right, budget: less(right, left, budget) or equal(left, right, budget),
}
