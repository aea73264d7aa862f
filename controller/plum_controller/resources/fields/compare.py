"""What changed between two objects, as sets of fields.

    compare(old, new, type) -> added, modified, removed

A changed leaf is modified. What appears or disappears counts with every path inside it, the inner nodes too, because
its writer decided about all of them. An object or list with separate owners is itself only added or removed, never
modified. Most of two objects is usually equal, so whole subtrees are compared by `==` first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from plum_controller.resources.fields.sets import LEAF, SELF, Tree
from plum_controller.resources.fields.typed import FREE, MAX_REMEMBERED, MISSING, FieldType, FieldTypeError
from plum_controller.resources.schema.values import is_same


class Comparison(NamedTuple):
    """Three disjoint sets of fields."""

    added: Tree
    modified: Tree
    removed: Tree

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.modified or self.removed)


_Changes = tuple[Tree | None, Tree | None, Tree | None]
"""Added, modified, removed below one node; None for nothing."""

_NO_CHANGES: _Changes = (None, None, None)
_CHANGED_LEAF: _Changes = (None, LEAF, None)


def compare(old: Mapping[str, Any], new: Mapping[str, Any], root: FieldType) -> Comparison:
    """Compare two whole objects. Raises FieldTypeError if a list item cannot be named."""
    added, modified, removed = _compare_maps(old, new, root)
    return Comparison(added or LEAF, modified or LEAF, removed or LEAF)


def whole(value: Any, node: FieldType) -> Tree:
    """A value that appears or disappears as a whole: itself and every path in it."""
    kind = type(value)
    if kind is dict:
        if not value or node.fields is None or node.atomic_map:
            return LEAF
        if node.flat:
            known = node.flat_trees.get(tuple(value))
            if known is not None:
                return known
        out: Tree = {SELF: LEAF}
        fields, element = node.fields, node.element or FREE
        for name, child in value.items():
            kind = type(child)
            out["f:" + name] = whole(child, fields.get(name, element)) if kind is dict or kind is list else LEAF
        if node.is_flat(value) and len(node.flat_trees) < MAX_REMEMBERED:
            node.flat_trees[tuple(value)] = out
        return out
    if kind is list:
        if not value or node.item is None or node.list_type == "atomic":
            return LEAF
        out = {SELF: LEAF}
        for child in value:
            name = node.item_element(child)
            if name in out:
                out[name] = LEAF
            else:
                kind = type(child)
                out[name] = whole(child, node.item) if kind is dict or kind is list else LEAF
        return out
    return LEAF


def _compare(old: Any, new: Any, node: FieldType) -> _Changes:
    """Two values at the same place that differ."""
    old_kind, new_kind = type(old), type(new)
    old_parts, new_parts = _parts(old, node), _parts(new, node)
    if old_parts is None and new_parts is None:
        return _CHANGED_LEAF
    if (old_kind is dict or old is None) and (new_kind is dict or new is None):
        return _compare_maps(old or {}, new or {}, node)
    if (old_kind is list or old is None) and (new_kind is list or new is None):
        return _compare_lists(old or [], new or [], node)
    # The value changed its kind: what had parts lost them or gained them, what had none is modified.
    removed = _inside(old, node) if old_parts else None
    added = _inside(new, node) if new_parts else None
    return added, LEAF if not (old_parts and new_parts) else None, removed


def _parts(value: Any, node: FieldType) -> bool | None:
    """True if the value has parts with separate owners."""
    if type(value) is dict:
        return True if value and node.fields is not None and not node.atomic_map else None
    if type(value) is list:
        return True if value and node.item is not None and node.list_type != "atomic" else None
    return None


def _inside(value: Any, node: FieldType) -> Tree:
    return {element: below for element, below in whole(value, node).items() if element != SELF}


def _compare_maps(old: Mapping[str, Any], new: Mapping[str, Any], node: FieldType) -> _Changes:
    if node.fields is None or node.atomic_map:
        return _CHANGED_LEAF
    fields, element = node.fields, node.element or FREE
    added: Tree = {}
    modified: Tree = {}
    removed: Tree = {}
    for name, before in old.items():
        after = new.get(name, MISSING)
        child = fields.get(name, element)
        if after is MISSING:
            removed["f:" + name] = whole(before, child)
        elif before != after or (child.loose and not is_same(before, after)):
            _collect("f:" + name, _compare_child("f:" + name, before, after, child), added, modified, removed)
    for name, after in new.items():
        if name not in old:
            added["f:" + name] = whole(after, fields.get(name, element))
    return added or None, modified or None, removed or None


def _compare_child(element: str, before: Any, after: Any, child: FieldType) -> _Changes:
    kind = type(before)
    if kind is not dict and kind is not list and type(after) is kind:
        return _CHANGED_LEAF
    try:
        return _compare(before, after, child)
    except FieldTypeError as error:
        raise error.below(element) from None


def _collect(element: str, changes: _Changes, added: Tree, modified: Tree, removed: Tree) -> None:
    if changes[0] is not None:
        added[element] = changes[0]
    if changes[1] is not None:
        modified[element] = changes[1]
    if changes[2] is not None:
        removed[element] = changes[2]


def _compare_lists(old: list[Any], new: list[Any], node: FieldType) -> _Changes:
    if node.item is None or node.list_type == "atomic":
        return _CHANGED_LEAF
    before, after = by_element(old, node), by_element(new, node)
    item = node.item
    added: Tree = {}
    modified: Tree = {}
    removed: Tree = {}
    for element in (*before, *(element for element in after if element not in before)):
        olds, news = before.get(element, ()), after.get(element, ())
        if len(olds) <= 1 and len(news) <= 1:
            _compare_items(element, olds, news, item, added, modified, removed)
        elif len(olds) > 1 and len(news) > 1:  # repeated items have no parts: they change together
            if len(olds) != len(news) or not all(map(is_same, olds, news)):
                modified[element] = LEAF
        elif len(olds) > 1:
            removed[element] = LEAF
            _compare_items(element, (), news, item, added, modified, removed)
        else:
            added[element] = LEAF
            _compare_items(element, olds, (), item, added, modified, removed)
    return added or None, modified or None, removed or None


def _compare_items(element: str, old: Any, new: Any, item: FieldType, added: Tree, modified: Tree, removed: Tree) -> None:
    if not old:
        if new:
            added[element] = whole(new[0], item)
    elif not new:
        removed[element] = whole(old[0], item)
    elif old[0] != new[0] or (item.loose and not is_same(old[0], new[0])):
        _collect(element, _compare_child(element, old[0], new[0], item), added, modified, removed)


def by_element(items: list[Any], node: FieldType) -> dict[str, list[Any]]:
    """The items of a set or list map by their path element; more than one per element if they repeat."""
    out: dict[str, list[Any]] = {}
    for item in items:
        out.setdefault(node.item_element(item), []).append(item)
    return out
