"""The fields that an applied configuration sets, and whether it can be applied at all.

    config -> field_set -> leaves, list items, keys of free maps

Unlike a comparison, a configuration does not own the objects on the way to its fields: two managers that set different
fields of `spec` do not both own `spec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plum_controller.resources.fields.elements import shown_path
from plum_controller.resources.fields.sets import LEAF, SELF, Tree
from plum_controller.resources.fields.typed import FREE, MAX_REMEMBERED, MISSING, FieldType, FieldTypeError


def field_set(value: Mapping[str, Any], root: FieldType) -> Tree:
    """The set of an object. Fields that the schema does not know count as free ones; see `check_types`."""
    return _of_map(value, root) or LEAF


def _of(value: Any, node: FieldType) -> Tree | None:
    """The set below a node, without the node itself unless it is a leaf. None for nothing."""
    kind = type(value)
    if kind is dict:
        if node.fields is None or node.atomic_map:
            return LEAF
        return _of_map(value, node)
    if kind is list:
        if node.item is None or node.list_type == "atomic":
            return LEAF
        return _of_list(value, node)
    return LEAF


def contributes(value: Any, declared: FieldType) -> bool:
    """Whether a declared field with this value is in the set of its object. An empty list with parts is not."""
    kind = type(value)
    return (kind is not dict and kind is not list) or (kind is dict and not value) or _of(value, declared) is not None


def _of_map(value: Mapping[str, Any], node: FieldType) -> Tree | None:
    fields, element = node.fields or {}, node.element or FREE
    if node.flat:
        known = node.flat_sets.get(tuple(value), MISSING)
        if known is not MISSING:
            return known  # type: ignore[no-any-return]
    out: Tree = {}
    for name, child in value.items():
        declared = fields.get(name)
        kind = type(child)
        if kind is not dict and kind is not list:
            out["f:" + name] = LEAF
            continue
        below = _of(child, declared or element)
        if kind is dict and not child:
            below = LEAF
        elif declared is None:
            below = member(below)
        if below is not None:
            out["f:" + name] = below
    if node.is_flat(value) and len(node.flat_sets) < MAX_REMEMBERED:
        node.flat_sets[tuple(value)] = out or None
    return out or None


def member(below: Tree | None) -> Tree:
    """The node as a member of the set, with what is below it."""
    if not below or SELF in below:
        return below or LEAF
    return {SELF: LEAF, **below}


def _of_list(items: list[Any], node: FieldType) -> Tree | None:
    item_type = node.item or FREE
    out: Tree = {}
    for item in items:
        element = node.item_element(item)
        out[element] = LEAF if element in out else member(_of(item, item_type))
    return out or None


def check_types(value: Mapping[str, Any], root: FieldType, *, duplicates: bool = False) -> list[str]:
    """Why an object cannot be applied: `.spec.zz: field not declared in schema`. Empty if it can."""
    errors: list[str] = []
    _check(value, root, (), errors, duplicates)
    return errors


def _check(value: Any, node: FieldType, path: tuple[str, ...], errors: list[str], duplicates: bool) -> None:
    """A value that is neither null nor a scalar that fits."""
    kind = type(value)
    if kind is dict and node.fields is not None:
        _check_map(value, node, path, errors, duplicates)
    elif kind is list and node.item is not None:
        _check_list(value, node, path, errors, duplicates)
    else:
        errors.append(_report(path, f"expected {_expected(node)}, got {_shown(value)}"))


def _check_map(value: Mapping[str, Any], node: FieldType, path: tuple[str, ...], errors: list[str], duplicates: bool) -> None:
    fields, element = node.fields or {}, node.element
    for name, child in value.items():
        child_type = fields.get(name, element)
        if child_type is None:
            errors.append(_report((*path, "f:" + name), "field not declared in schema"))
        elif child is not None and type(child) not in child_type.scalar_types and child_type is not FREE:
            _check(child, child_type, (*path, "f:" + name), errors, duplicates)


def _check_list(items: list[Any], node: FieldType, path: tuple[str, ...], errors: list[str], duplicates: bool) -> None:
    item_type = node.item or FREE
    seen: set[str] = set()
    for index, item in enumerate(items):
        element = f"i:{index}"
        if node.list_type != "atomic":
            try:
                element = node.item_element(item)
            except FieldTypeError as error:
                errors.append(_report(path, f"element {index}: {error.message}"))
                continue
            if element in seen and not duplicates:
                errors.append(_report(path, f"duplicate entries for key {shown_path((element,))}"))
            seen.add(element)
        if item is not None and type(item) not in item_type.scalar_types and item_type is not FREE:
            _check(item, item_type, (*path, element), errors, duplicates)


def _expected(node: FieldType) -> str:
    if node.fields is not None:
        return "map"
    if node.item is not None:
        return "list"
    return "numeric (int or float)" if node.scalar == "numeric" else node.scalar


def _shown(value: Any) -> str:
    names = {str: "string", bool: "bool", int: "int64", float: "float64", dict: "map[string]interface {}", list: "[]interface {}"}
    return names.get(type(value), "null")


def _report(path: tuple[str, ...], message: str) -> str:
    return f"{shown_path(path)}: {message}" if path else message
