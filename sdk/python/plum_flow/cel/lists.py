"""Functions on lists, sets and optional values. Registered by being imported."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.functions import define
from plum_flow.cel.operators import add
from plum_flow.cel.values import NONE, Optional, equal, kind_of, less, no_overload


@define("isSorted", "list", (), "bool", budget=True)
def is_sorted(budget: Budget, values: list[Any]) -> bool:
    budget.spend(len(values))
    return not any(less(after, before, budget) for before, after in pairwise(values))


@define("sum", "list", (), "dyn", budget=True)
def total(budget: Budget, values: list[Any]) -> Any:
    result: Any = 0
    for number, value in enumerate(values):
        if kind_of(value) not in ("int", "uint", "double", "duration"):
            raise no_overload("sum", values)
        result = value if number == 0 else add(result, value, budget)
    return result


def _extreme(name: str, is_better: Callable[[Any, Any, Budget], bool]) -> None:
    @define(name, "list", (), "dyn", budget=True)
    def extreme(budget: Budget, values: list[Any]) -> Any:
        if not values:
            raise EvaluationError(f"{name} called on an empty list")
        best = values[0]
        for value in values[1:]:
            if is_better(value, best, budget):
                best = value
            budget.spend(1)
        return best


_extreme("min", less)
_extreme("max", lambda a, b, budget: less(b, a, budget))


@define("indexOf", "list", ("any",), "int", budget=True)
def list_index(budget: Budget, values: list[Any], wanted: Any) -> int:
    budget.spend(len(values))
    return next((at for at, value in enumerate(values) if equal(value, wanted, budget)), -1)


@define("lastIndexOf", "list", ("any",), "int", budget=True)
def list_last_index(budget: Budget, values: list[Any], wanted: Any) -> int:
    budget.spend(len(values))
    return next((at for at in range(len(values) - 1, -1, -1) if equal(values[at], wanted, budget)), -1)


def _has_all(budget: Budget, values: list[Any], wanted: list[Any]) -> bool:
    budget.spend(1 + len(values) * len(wanted))
    return all(any(equal(item, value, budget) for value in values) for item in wanted)


define("sets.contains", None, ("list", "list"), "bool", budget=True)(_has_all)
define("sets.equivalent", None, ("list", "list"), "bool", budget=True)(
    lambda budget, a, b: _has_all(budget, a, b) and _has_all(budget, b, a)
)


@define("sets.intersects", None, ("list", "list"), "bool", budget=True)
def intersects(budget: Budget, a: list[Any], b: list[Any]) -> bool:
    budget.spend(1 + len(a) * len(b))
    return any(equal(x, y, budget) for x in a for y in b)


# ---- optional values

define("optional.of", None, ("any",), "optional")(lambda value: Optional(value, present=True))
define("optional.none", None, (), "optional")(lambda: NONE)
define("optional.ofNonZeroValue", None, ("any",), "optional")(
    lambda value: Optional(value, present=True) if value not in (None, False, 0, 0.0, "", b"", [], {}) else NONE
)
define("hasValue", "optional", (), "bool")(lambda value: value.present)
define("orValue", "optional", ("any",), "dyn")(lambda value, other: value.value if value.present else other)
define("or", "optional", ("optional",), "optional")(lambda value, other: value if value.present else other)


@define("value", "optional", (), "dyn")
def optional_value(value: Optional) -> Any:
    if not value.present:
        raise EvaluationError("optional.none() dereference")
    return value.value
