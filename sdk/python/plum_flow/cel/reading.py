"""How programs read data: fields, items, and values of a schema's formats, converted where they are read."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.functions import to_duration, to_timestamp
from plum_flow.cel.types import Type
from plum_flow.cel.values import NONE, Optional, equal, kind_of, no_overload

Run = Callable[[list[Any], Budget], Any]
"""A compiled expression: values of variables by slot, and what it may spend -> its value."""


def converter(kind: Type) -> Callable[[Any], Any] | None:
    """What makes a value of data one of the type; None where it is one already."""
    match kind.schema_format:
        case "double":
            return lambda value: float(value) if type(value) is int else value
        case "date-time" | "date":
            return lambda value: to_timestamp(value) if isinstance(value, str) else value
        case "duration":
            return lambda value: to_duration(value) if isinstance(value, str) else value
        case "byte":
            return _from_base64
    if kind.kind in ("list", "map") and kind.element is not None:
        inner = converter(kind.element)
        if inner is not None and kind.kind == "list":
            return lambda value: [inner(item) for item in value] if isinstance(value, list) else value
        if inner is not None:
            return lambda value: {key: inner(item) for key, item in value.items()} if isinstance(value, dict) else value
    return None


def _from_base64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise EvaluationError("the text is no base64") from None


def read_field(operand: Run, name: str, convert: Callable[[Any], Any] | None) -> Run:
    def run(frame: list[Any], budget: Budget) -> Any:
        budget.spend(1)
        value = operand(frame, budget)
        try:
            found = value[name]
        except (KeyError, TypeError, IndexError):
            raise EvaluationError(f"no such key: {name}") from None
        return found if convert is None or found is None else convert(found)

    return run


def read_dynamic(operand: Run, name: str) -> Run:
    def run(frame: list[Any], budget: Budget) -> Any:
        budget.spend(1)
        value = operand(frame, budget)
        if isinstance(value, Optional):
            return _of_optional(value, name, None)
        if not isinstance(value, dict):
            raise no_overload(f"field selection .{name}", value)
        if name not in value:
            raise EvaluationError(f"no such key: {name}")
        return value[name]

    return run


def read_optional(operand: Run, name: str, convert: Callable[[Any], Any] | None) -> Run:
    def run(frame: list[Any], budget: Budget) -> Any:
        budget.spend(1)
        value = operand(frame, budget)
        if not isinstance(value, Optional):
            value = Optional(value, present=True)
        return _of_optional(value, name, convert)

    return run


def _of_optional(value: Optional, name: str, convert: Callable[[Any], Any] | None) -> Optional:
    if not value.present:
        return NONE
    if not isinstance(value.value, dict):
        raise no_overload(f"field selection .?{name}", value.value)
    found = value.value.get(name)
    if found is None:
        return NONE
    return Optional(found if convert is None else convert(found), present=True)


def item_at(value: Any, index: Any) -> Any:
    kind = kind_of(value)
    if kind == "list":
        if kind_of(index) == "double" and index.is_integer():
            index = int(index)
        if kind_of(index) not in ("int", "uint"):
            raise no_overload("_[_]", value, index)
        if not 0 <= index < len(value):
            raise EvaluationError(f"index out of bounds: {index}")
        return value[index]
    if kind == "map":
        if kind_of(index) not in ("string", "int", "uint", "bool") or index not in value:
            raise EvaluationError(f"no such key: {index}")
        return value[index]
    raise no_overload("_[_]", value, index)


def for_lists(name: str, kind: Type) -> Callable[[Any, Any, Budget], Any]:
    """Equality and addition of lists that are sets, or maps by their keys: order does not count."""
    keys = kind.map_keys if kind.list_type == "map" else ()

    def key_of(item: Any) -> Any:
        return tuple(repr(item.get(key)) for key in keys) if keys and isinstance(item, dict) else repr(item)

    def same(left: Any, right: Any, budget: Budget) -> bool:
        if not (isinstance(left, list) and isinstance(right, list)):
            return equal(left, right, budget)
        budget.spend(len(left) + len(right))
        others = {key_of(item): item for item in right}
        return len(left) == len(right) and all(
            key_of(item) in others and equal(item, others[key_of(item)], budget) for item in left
        )

    def join(left: Any, right: Any, budget: Budget) -> Any:
        budget.spend(len(left) + len(right))
        replaced = {key_of(item): item for item in right}
        kept = [replaced.pop(key_of(item), item) for item in left]
        return [*kept, *replaced.values()]

    if name == "+":
        return join
    return same if name == "==" else lambda left, right, budget: not same(left, right, budget)
