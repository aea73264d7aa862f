"""Taking out of an object what a manager no longer applies.

    merged, last set, what everybody has now -> object without the fields that only this manager had

A configuration does not own the declared objects on the way to its fields, so `spec` is not in its set although it sets
fields in it. Here they count: when a manager gives up its last field in an object that nobody else has a field in, the
object goes too. What a manager never applied stays, even if nobody has it.
"""

from __future__ import annotations

from typing import Any

from plum_controller.resources.fields.config import contributes
from plum_controller.resources.fields.sets import LEAF, SELF, Tree
from plum_controller.resources.fields.typed import FREE, FieldType


def prune(value: dict[str, Any], last: Tree, managed: Tree, root: FieldType) -> dict[str, Any]:
    """`value` without the fields of `last` that are not in `managed`. A container that loses its last item is null.

    `managed` is the union of all owners' sets, the manager's new one among them. Nothing is changed in place.
    """
    pruned: dict[str, Any] | None = _prune(value, last, managed, root)
    return pruned or {}


def _prune(value: Any, last: Tree, managed: Tree, node: FieldType) -> Any:
    kind = type(value)
    if kind is dict and value and node.fields is not None and not node.atomic_map:
        return _prune_map(value, last, managed, node)
    if kind is list and value and node.item is not None and node.list_type != "atomic":
        return _prune_list(value, last, managed, node)
    return value


def _prune_map(value: dict[str, Any], last: Tree, managed: Tree, node: FieldType) -> dict[str, Any] | None:
    fields, element = node.fields or {}, node.element or FREE
    out = None
    for name, before in last.items():
        if name[0] != "f" or name[2:] not in value:
            continue
        theirs = managed.get(name)
        if theirs is before:
            continue
        child = value[name[2:]]
        declared = fields.get(name[2:])
        is_given_up = _is_member(before, declared) and not _is_member(theirs, declared)
        if is_given_up and (declared is None or contributes(child, declared)):
            out = dict(value) if out is None else out
            del out[name[2:]]
        elif before:
            pruned = _prune(child, before, theirs or LEAF, declared or element)
            if pruned is not child:
                out = dict(value) if out is None else out
                out[name[2:]] = pruned
    return value if out is None else out or None


def _prune_list(items: list[Any], last: Tree, managed: Tree, node: FieldType) -> list[Any] | None:
    out = []
    is_changed = False
    for item in items:
        name = node.item_element(item)
        before, theirs = last.get(name), managed.get(name)
        if before is None or before is theirs:
            out.append(item)
        elif _is_member(before, None) and not _is_member(theirs, None):
            is_changed = True
        else:
            pruned = _prune(item, before, theirs or LEAF, node.item or FREE)
            is_changed = is_changed or pruned is not item
            out.append(pruned)
    return (out or None) if is_changed else items


def _is_member(node: Tree | None, declared: FieldType | None) -> bool:
    """Whether a set has the field itself. It has a declared one if it has anything in it."""
    return node is not None and (declared is not None or not node or SELF in node)
