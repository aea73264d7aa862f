"""The two ways an apply changes an object: it merges the configuration in, and takes out what the manager gave up.

    merge(live, config) -> merged        remove(merged, fields) -> pruned

Neither changes its arguments, and the result of `merge` shares no container with them, so that defaults may be filled
into it in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plum_controller.resources.fields.compare import by_element
from plum_controller.resources.fields.sets import LEAF, SELF, Tree
from plum_controller.resources.fields.typed import FREE, FieldType


def copy_json(value: Any) -> Any:
    """A deep copy of a JSON value."""
    kind = type(value)
    if kind is dict:
        return {
            name: child if (kind := type(child)) is not dict and kind is not list else copy_json(child)
            for name, child in value.items()
        }
    if kind is list:
        return [copy_json(child) for child in value]
    return value


def merge(live: Mapping[str, Any], config: Mapping[str, Any], root: FieldType) -> dict[str, Any]:
    """`live` with the values of `config`. Raises FieldTypeError if an item of `live` cannot be named."""
    return _merge_maps(live, config, root)


def _merge(live: Any, config: Any, node: FieldType) -> Any:
    kind = type(config)
    if kind is dict:
        if node.fields is None or node.atomic_map:
            return copy_json(config)
        return _merge_maps(live if type(live) is dict else {}, config, node)
    if kind is list:
        if node.item is None or node.list_type == "atomic":
            return copy_json(config)
        return _merge_lists(live if type(live) is list else [], config, node)
    if config is None and _has_parts(live, node):
        return copy_json(live)  # null owns the field but does not empty what others put into it
    return config


def _has_parts(value: Any, node: FieldType) -> bool:
    if type(value) is dict:
        return bool(value) and node.fields is not None and not node.atomic_map
    if type(value) is list:
        return bool(value) and node.item is not None and node.list_type != "atomic" and node.fields is None
    return False


def _merge_maps(live: Mapping[str, Any], config: Mapping[str, Any], node: FieldType) -> dict[str, Any]:
    fields, element = node.fields or {}, node.element or FREE
    out: dict[str, Any] = {}
    for name, value in live.items():
        if name in config:
            out[name] = _merge(value, config[name], fields.get(name, element))
        else:
            kind = type(value)
            out[name] = copy_json(value) if kind is dict or kind is list else value
    for name, value in config.items():
        if name not in live:
            kind = type(value)
            out[name] = copy_json(value) if kind is dict or kind is list else value
    return out


def _merge_lists(live: list[Any], config: list[Any], node: FieldType) -> list[Any]:
    """Both lists' items: those of `config` in its order, those only in `live` where they stood between them."""
    item_type = node.item or FREE
    lefts = [node.item_element(item) for item in live]
    rights = [node.item_element(item) for item in config]
    left_values = {element: items[0] for element, items in by_element(live, node).items() if len(items) == 1}
    right_values = dict(zip(rights, config, strict=True))

    def merged(element: str) -> Any:
        value = right_values[element]
        return _merge(left_values[element], value, item_type) if element in left_values else copy_json(value)

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
                out.append(copy_json(live[left]))
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


def remove(value: dict[str, Any], fields: Tree, root: FieldType) -> dict[str, Any]:
    """The object without the members of `fields` and what is below them. An emptied object or list becomes null."""
    return (_remove_from_map(value, fields, root) or {}) if fields else value


def _remove(value: Any, fields: Tree, node: FieldType) -> Any:
    kind = type(value)
    if kind is dict:
        return None if node.fields is None or node.atomic_map else _remove_from_map(value, fields, node)
    if kind is list:
        return None if node.item is None or node.list_type == "atomic" else _remove_from_list(value, fields, node)
    return value


def _remove_from_map(value: dict[str, Any], fields: Tree, node: FieldType) -> dict[str, Any] | None:
    types, element = node.fields or {}, node.element or FREE
    out: dict[str, Any] = {}
    for name, child in value.items():
        below = fields.get("f:" + name)
        if below is None:
            out[name] = child
        elif below and SELF not in below:
            out[name] = _remove(child, below, types.get(name, element))
    return out or None


def _remove_from_list(items: list[Any], fields: Tree, node: FieldType) -> list[Any] | None:
    item_type = node.item or FREE
    out = []
    for item in items:
        below = fields.get(node.item_element(item))
        if below is None:
            out.append(item)
        elif below and SELF not in below:
            out.append(_remove(item, below, item_type))
    return out or None


def with_declared(fields: Tree, node: FieldType) -> Tree:
    """The set with every declared field on the way to its members as a member too.

    A configuration does not own `spec` although it sets fields in it; when the last of them goes, `spec` goes with it.
    """
    out: Tree = {}
    for element, below in fields.items():
        if element == SELF:
            out[SELF] = LEAF
            continue
        child, declared = _step(node, element)
        inner = with_declared(below, child) if below else LEAF
        out[element] = {SELF: LEAF, **inner} if declared and inner and SELF not in inner else inner
    return out


_UNKNOWN = FieldType()
"""Below a path that the schema does not have: nothing is declared."""


def _step(node: FieldType, element: str) -> tuple[FieldType, bool]:
    """The type of the element below a node, and whether it is a declared field."""
    if element[0] == "f":
        declared = (node.fields or {}).get(element[2:])
        return declared or node.element or _UNKNOWN, declared is not None
    return (node.item if element[0] == "k" else None) or _UNKNOWN, False
