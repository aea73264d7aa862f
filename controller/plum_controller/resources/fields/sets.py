"""Sets of fields, and the algebra on them.

    {"f:spec": {".": {}, "f:replicas": {}}}  =  the paths .spec and .spec.replicas

A set is a tree in the form of FieldsV1, Kubernetes' own: `{}` is a member without children, `"."` marks a member that
has children, and any other node is only on the way. The root is no path, so `{}` at the root is the empty set. Trees
are shared between sets and with stored objects: nobody changes one after it is built.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from plum_controller.resources.fields.elements import Path, canonical, rank, shown_path

Tree = dict[str, Any]
"""A node: element -> node. `Any` because mypy cannot follow a recursive alias through `dict` literals cheaply."""

LEAF: Tree = {}
"""A member without children."""

SELF = "."
"""Marks a node as a member besides its children."""


def union(a: Tree, b: Tree) -> Tree:
    """Paths in either set."""
    if not a:
        return b
    if not b:
        return a
    return _union_nodes(a, b)


def _union(a: Tree, b: Tree) -> Tree:
    if a is b:
        return a
    if not a:
        return b if not b or SELF in b else {SELF: LEAF, **b}
    if not b:
        return a if SELF in a else {SELF: LEAF, **a}
    return _union_nodes(a, b)


def _union_nodes(a: Tree, b: Tree) -> Tree:
    out = None
    for element, theirs in b.items():
        mine = a.get(element)
        joined = theirs if mine is None else _union(mine, theirs)
        if joined is not mine:
            if out is None:
                out = dict(a)
            out[element] = joined
    return a if out is None else out


def difference(a: Tree, b: Tree) -> Tree:
    """Paths of `a` that are not in `b`. A member of `b` takes away itself, not what is below it."""
    if not a or not b:
        return a
    return _difference(a, b) or LEAF


def _difference(a: Tree, b: Tree) -> Tree | None:
    if a is b:
        return None
    if not a:
        return None if not b or SELF in b else a
    if not b:
        return {element: node for element, node in a.items() if element != SELF} if SELF in a else a
    out = None
    for element, theirs in b.items():
        mine = a.get(element)
        if mine is None:
            continue
        rest = None if element == SELF else _difference(mine, theirs)
        if rest is not mine:
            if out is None:
                out = dict(a)
            if rest is None:
                del out[element]
            else:
                out[element] = rest
    return a if out is None else _normal(out)


def recursive_difference(a: Tree, b: Tree) -> Tree:
    """Paths of `a` that are neither in `b` nor below a member of `b`."""
    if not a or not b:
        return a
    return _recursive_difference(a, b) or LEAF


def _recursive_difference(a: Tree, b: Tree) -> Tree | None:
    if not b or SELF in b:
        return None
    out = None
    for element, theirs in b.items():
        mine = a.get(element)
        if mine is None:
            continue
        rest = _recursive_difference(mine, theirs) if mine or not theirs or SELF in theirs else mine
        if rest is not mine:
            if out is None:
                out = dict(a)
            if rest is None:
                del out[element]
            else:
                out[element] = rest
    return a if out is None else _normal(out)


def intersection(a: Tree, b: Tree) -> Tree:
    """Paths in both sets."""
    if not a or not b:
        return LEAF
    return _intersection(a, b) or LEAF


def _intersection(a: Tree, b: Tree) -> Tree | None:
    if not a:
        return LEAF if not b or SELF in b else None
    if not b:
        return LEAF if SELF in a else None
    if len(b) < len(a):
        a, b = b, a
    out: Tree = {}
    for element, mine in a.items():
        theirs = b.get(element)
        if theirs is None:
            continue
        both = LEAF if element == SELF else _intersection(mine, theirs)
        if both is not None:
            out[element] = both
    return _normal(out)


def _normal(node: Tree) -> Tree | None:
    """The one spelling of a node: None for nothing, `LEAF` for a member whose children are gone."""
    if not node:
        return None
    return LEAF if len(node) == 1 and SELF in node else node


def paths(tree: Tree) -> Iterator[Path]:
    """Every path of a set in Kubernetes' order: sorted, the members of a level before what is below them."""
    return _paths(tree, ())


def _paths(tree: Tree, above: Path) -> Iterator[Path]:
    elements = sorted((element for element in tree if element != SELF), key=rank)
    for element in elements:
        node = tree[element]
        if not node or SELF in node:
            yield (*above, element)
    for element in elements:
        yield from _paths(tree[element], (*above, element))


def parse_tree(fields_v1: Any) -> Tree:
    """A set from FieldsV1 that a client wrote. Raises ValueError."""
    if not isinstance(fields_v1, dict):
        raise ValueError("a field set is an object")
    root = {element: node for element, node in fields_v1.items() if element != SELF}
    return _parse(root) or LEAF


def _parse(node: dict[str, Any]) -> Tree | None:
    out: Tree = {}
    for element, below in node.items():
        if not isinstance(below, dict):
            raise ValueError(f"{element} is no object")
        if element == SELF:
            out[SELF] = LEAF
            continue
        element = canonical(element)
        child = LEAF if not below else _parse(below)
        if child is not None:
            out[element] = _union(out[element], child) if element in out else child
    return _normal(out)


class FieldSet:
    """A set of paths as a value: for tests, tools and everything that is not in a hurry."""

    __slots__ = ("tree",)

    def __init__(self, tree: Tree = LEAF) -> None:
        self.tree = tree

    @classmethod
    def of(cls, *members: Path) -> FieldSet:
        tree: Tree = LEAF
        for path in members:
            node: Tree = LEAF
            for element in reversed(path):
                node = {element: node}
            tree = union(tree, node)
        return cls(tree)

    @classmethod
    def from_fields_v1(cls, fields_v1: Mapping[str, Any]) -> FieldSet:
        """Raises ValueError for what is no FieldsV1."""
        return cls(parse_tree(fields_v1))

    def to_fields_v1(self) -> dict[str, Any]:
        """Sorted as Kubernetes sorts; a copy."""
        return _sorted(self.tree)

    def union(self, other: FieldSet) -> FieldSet:
        return FieldSet(union(self.tree, other.tree))

    def difference(self, other: FieldSet) -> FieldSet:
        return FieldSet(difference(self.tree, other.tree))

    def recursive_difference(self, other: FieldSet) -> FieldSet:
        return FieldSet(recursive_difference(self.tree, other.tree))

    def intersection(self, other: FieldSet) -> FieldSet:
        return FieldSet(intersection(self.tree, other.tree))

    def __contains__(self, path: Path) -> bool:
        node: Tree | None = self.tree
        for element in path:
            if node is None:
                return False
            node = cast("Tree | None", node.get(element))
        return bool(path) and node is not None and (not node or SELF in node)

    def __iter__(self) -> Iterator[Path]:
        return paths(self.tree)

    def __bool__(self) -> bool:
        return bool(self.tree)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FieldSet) and self.tree == other.tree

    def __hash__(self) -> int:
        return hash(frozenset(self))

    def __repr__(self) -> str:
        return "FieldSet(" + ", ".join(shown_path(path) for path in self) + ")"


def _sorted(tree: Tree) -> dict[str, Any]:
    out: dict[str, Any] = {SELF: {}} if SELF in tree else {}
    for element in sorted((element for element in tree if element != SELF), key=rank):
        out[element] = _sorted(tree[element])
    return out
