"""The macros that walk a list or map: `all`, `exists`, `filter`, `map` and their relatives. Each item costs its share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.reading import Run, converter
from plum_flow.cel.types import BOOL, DYN, INT, Type
from plum_flow.cel.values import no_overload

Typed = tuple[Type, Run]


def item_types(kind: Type, variables: int) -> list[Type]:
    element, key = kind.element or DYN, kind.key or DYN
    if variables == 1:
        return [key if kind.kind == "map" else element]
    return [INT if kind.kind == "list" else key, element]


def items(source: Run, kind: Type, slots: Sequence[int], *, entries: bool) -> Callable[[list[Any], Budget], Any]:
    """A generator that puts each item into its slots and yields it."""
    one = slots[0]
    convert = converter(kind.element) if kind.element is not None and kind.kind == "map" and len(slots) == 2 else None

    def walk(frame: list[Any], budget: Budget) -> Any:
        value = source(frame, budget)
        if not isinstance(value, list | dict):
            raise no_overload("comprehension", value)
        if len(slots) == 1:
            for item in value:
                budget.spend(1)
                frame[one] = item
                yield item
            return
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in pairs:
            budget.spend(1)
            frame[one], frame[slots[1]] = key, item if convert is None else convert(item)
            yield key

    return walk


def macro_of(name: str, items: Any, kind: Type, compiled: Sequence[Typed], bodies: int) -> Typed:
    body_kind, body = compiled[-1]
    test = compiled[0][1]
    match name:
        case "all" | "exists":
            return BOOL, _quantified(items, test, stops_at=name == "exists")
        case "exists_one" | "existsOne":
            return BOOL, lambda frame, budget: sum(_true(test(frame, budget), name) for _ in items(frame, budget)) == 1
        case "filter":
            made = kind if kind.kind == "list" else Type("list", kind.key or DYN)

            def keep(frame: list[Any], budget: Budget) -> Any:
                return [item for item in items(frame, budget) if _true(test(frame, budget), name)]

            return made, keep
        case "map" | "transformList":

            def change(frame: list[Any], budget: Budget) -> Any:
                if bodies == 1:
                    return [body(frame, budget) for _ in items(frame, budget)]
                return [body(frame, budget) for _ in items(frame, budget) if _true(test(frame, budget), name)]

            return Type("list", body_kind), change

    def remap(frame: list[Any], budget: Budget) -> Any:
        return {key: body(frame, budget) for key in items(frame, budget) if bodies == 1 or _true(test(frame, budget), name)}

    return Type("map", body_kind, kind.key or DYN), remap


def _true(value: Any, name: str) -> bool:
    if value is True or value is False:
        return bool(value)
    raise no_overload(name, value)


def _quantified(items: Any, test: Run, *, stops_at: bool) -> Run:
    """`all` and `exists`: an error for one item does not matter when another item decides."""

    def run(frame: list[Any], budget: Budget) -> Any:
        failed: EvaluationError | None = None
        for _ in items(frame, budget):
            try:
                value = test(frame, budget)
            except EvaluationError as error:
                if budget.left < 0:
                    raise
                failed = failed or error
                continue
            if value is stops_at:
                return stops_at
            if value is not (not stops_at):
                failed = failed or no_overload("exists" if stops_at else "all", value)
        if failed is not None:
            raise failed
        return not stops_at

    return run
