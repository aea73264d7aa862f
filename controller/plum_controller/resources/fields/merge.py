"""Merging a configuration into an object: the configuration wins, what it does not speak of stays.

    merge(live, config, type) -> merged

Neither argument is changed; the result shares their containers, so it is for reading until it is copied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from plum_controller.resources.fields.typed import FREE, FieldType


def merge(live: Mapping[str, Any], config: Mapping[str, Any], root: FieldType) -> dict[str, Any]:
    """`live` with the values of `config`. Raises FieldTypeError if an item of `live` cannot be named."""
    return _merge_maps(live, config, root)


def _merge(live: Any, config: Any, node: FieldType) -> Any:
    kind = type(config)
    if kind is dict:
        if node.fields is None or node.atomic_map:
            return config
        return _merge_maps(live if type(live) is dict else {}, config, node)
    if kind is list:
        if node.item is None or node.list_type == "atomic":
            return config
        return _merge_lists(live if type(live) is list else [], config, node)
    if config is None and _has_parts(live, node):
        return live  # null owns the field but does not empty what others put into it
    return config


def _has_parts(value: Any, node: FieldType) -> bool:
    if type(value) is dict:
        return bool(value) and node.fields is not None and not node.atomic_map
    if type(value) is list:
        return bool(value) and node.item is not None and node.list_type != "atomic" and node.fields is None
    return False


def _merge_maps(live: Mapping[str, Any], config: Mapping[str, Any], node: FieldType) -> dict[str, Any]:
    fields, element = node.fields or {}, node.element or FREE
    out = dict(live)
    for name, value in config.items():
        out[name] = _merge(live[name], value, fields.get(name, element)) if name in live else value
    return out


def _merge_lists(live: list[Any], config: list[Any], node: FieldType) -> list[Any]:
    """Both lists' items: those of `config` in its order, those only in `live` where they stood between them."""
    item_type = node.item or FREE
    name_of = node.item_element
    lefts, rights = list(map(name_of, live)), list(map(name_of, config))
    left_values, right_values = dict(zip(lefts, live, strict=True)), dict(zip(rights, config, strict=True))
    if lefts == rights and len(left_values) == len(lefts):
        return [_merge(old, new, item_type) for old, new in zip(live, config, strict=True)]
    if len(left_values) < len(lefts):  # an item that repeats is not merged with anything
        counts = Counter(lefts)
        left_values = {element: value for element, value in left_values.items() if counts[element] == 1}

    def merged(element: str) -> Any:
        value = right_values[element]
        return _merge(left_values[element], value, item_type) if element in left_values else value

    known = set(lefts)
    shared = [element for element in rights if element in known]
    shared.reverse()
    next_shared = shared.pop() if shared else None
    done: set[str] = set()
    out: list[Any] = []
    left = right = 0
    while left < len(lefts) or right < len(rights):
        if left < len(lefts) and right < len(rights):
            element = lefts[left]
            if element == rights[right]:
                done.add(element)
                out.append(merged(element))
                left, right = left + 1, right + 1
                next_shared = shared.pop() if shared else None
                continue
            if element in right_values and next_shared is not None and next_shared != element:
                left += 1  # shared, but `config` has another one first
                continue
        if left < len(lefts):
            element = lefts[left]
            if element not in right_values:
                out.append(live[left])
                left += 1
                continue
            if element in done:
                left += 1
        if right < len(rights):
            element = rights[right]
            done.add(element)
            out.append(merged(element))
            right += 1
            if next_shared == element:
                next_shared = shared.pop() if shared else None
    return out
