"""How the fields of a kind merge: which lists and objects have parts with separate owners, and which are one value.

    openAPIV3Schema --FieldSchema.from_openapi--> FieldType per node --> compare, merge, field sets

Scalars are leaves. Lists are one value unless `x-kubernetes-list-type` says `set` or `map`; objects have separate fields
unless `x-kubernetes-map-type: atomic`. Where there is no schema, objects have separate fields and lists are one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plum_controller.resources.fields import elements
from plum_controller.resources.fields.sets import LEAF, Tree
from plum_controller.resources.schema.metadata import OBJECT_META

UNTYPED = "untyped"
"""A field that takes any scalar."""

MISSING: Any = object()

MAX_REMEMBERED = 1024
"""Path elements and sets remembered per field: names and keys of a kind's parts repeat from object to object."""

_SCALAR_TYPES: dict[str, frozenset[type]] = {
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "numeric": frozenset({int, float}),
    UNTYPED: frozenset({str, bool, int, float}),
}


class FieldTypeError(ValueError):
    """A value does not fit its schema so badly that its fields cannot be named."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def below(self, element: str) -> FieldTypeError:
        """The same problem seen from one level higher."""
        return FieldTypeError(self.message, (element, *self.path))

    def __str__(self) -> str:
        return f"{elements.shown_path(self.path)}: {self.message}" if self.path else self.message


class FieldType:
    """One node of a schema. A node without a declared type may be scalar, list or object: the value decides."""

    __slots__ = (
        "_names",
        "atomic_map",
        "defaults",
        "element",
        "fields",
        "flat",
        "flat_sets",
        "flat_trees",
        "item",
        "keys",
        "list_type",
        "loose",
        "scalar",
        "scalar_types",
    )

    def __init__(self) -> None:
        self.scalar = ""
        """`string`, `boolean`, `numeric` or `untyped`; empty if no scalar is allowed."""
        self.scalar_types: frozenset[type] = frozenset()
        """The Python types of those scalars."""
        self.fields: Mapping[str, FieldType] | None = None
        """Declared fields; None if no object is allowed."""
        self.element: FieldType | None = None
        """Type of undeclared fields; None if there may be none."""
        self.atomic_map = False
        self.list_type = ""
        """`atomic`, `set` or `map`; empty if no list is allowed."""
        self.item: FieldType | None = None
        self.keys: tuple[str, ...] = ()
        self.defaults: Mapping[str, Any] = {}
        """Defaults of key fields."""
        self._names: dict[str, str] = {}
        """Path elements of sets of text and of list maps with one text as key: item -> element."""
        self.flat = False
        """An object whose values are all leaves: its field set follows from its keys alone."""
        self.flat_trees: dict[tuple[str, ...], Tree] = {}
        """Keys -> set of such an object with itself; the same sets come again and again."""
        self.flat_sets: dict[tuple[str, ...], Tree | None] = {}
        """Keys -> set of such an object without itself."""
        self.loose = False
        """Values below may differ although Python calls them equal: `True == 1`."""

    def is_flat(self, value: Mapping[str, Any]) -> bool:
        """Whether a non-empty object is one whose set may be remembered by its keys."""
        return self.flat and (self.element is not None or (self.fields or {}).keys() >= value.keys())

    def item_element(self, item: Any) -> str:
        """The path element of an item of this list. Raises FieldTypeError."""
        name = item
        if self.keys:
            name = item.get(self.keys[0]) if type(item) is dict and len(self.keys) == 1 else None
        if type(name) is not str:
            return self._item_element(item)
        element = self._names.get(name)
        if element is None:
            element = self._item_element(item)
            if len(self._names) < MAX_REMEMBERED:
                self._names[name] = element
        return element

    def _item_element(self, item: Any) -> str:
        if self.list_type == "set":
            if item is None:
                raise FieldTypeError("associative list without keys has an element that's an explicit null")
            if isinstance(item, dict):
                raise FieldTypeError("associative list without keys has an element that's a map type")
            if isinstance(item, list):
                raise FieldTypeError("not supported: associative list with lists as elements")
            return elements.of_value(item)
        if not isinstance(item, dict):
            what = "a null element" if item is None else "non-map elements"
            raise FieldTypeError(f"associative list with keys may not have {what}")
        keys = {}
        for name in self.keys:
            value = item.get(name, MISSING)
            if value is MISSING:
                value = self.defaults.get(name)
                if value is None:
                    text = f'associative list with keys has an element that omits key field "{name}"'
                    raise FieldTypeError(f"{text} (and doesn't have default value)")
            keys[name] = value
        return elements.of_keys(keys)


def _free() -> FieldType:
    """Without a schema: scalars are leaves, lists one value, objects have separate fields of the same type."""
    free = FieldType()
    free.scalar = UNTYPED
    free.scalar_types = _SCALAR_TYPES[UNTYPED]
    free.list_type = "atomic"
    free.fields = {}
    free.element = free.item = free
    free.loose = True
    return free


FREE = _free()


class FieldSchema:
    """The field types of one kind, and which fields each endpoint leaves alone."""

    __slots__ = ("has_status", "root")

    def __init__(self, root: FieldType, has_status: bool) -> None:
        self.root = root
        self.has_status = has_status
        """The status has an endpoint of its own, so the main endpoint never owns it."""

    @classmethod
    def from_openapi(cls, openapi: Mapping[str, Any], has_status: bool) -> FieldSchema:
        """From a version's `openAPIV3Schema`."""
        root = _type_of(openapi, preserve=False)
        fields = dict(root.fields or {})
        fields["metadata"] = METADATA
        fields["apiVersion"] = fields["kind"] = _scalar("string")
        root.fields = fields
        return cls(root, has_status)

    def reset_fields(self, subresource: str) -> Tree:
        """What a write through an endpoint cannot change: never owned by it, never in conflict."""
        if subresource == "status":
            return _RESET_BY_STATUS
        return _RESET_BY_MAIN if self.has_status and not subresource else LEAF


_RESET_BY_MAIN: Tree = {"f:status": LEAF}
_RESET_BY_STATUS: Tree = {"f:metadata": LEAF, "f:spec": LEAF}


def _scalar(kind: str) -> FieldType:
    scalar = FieldType()
    scalar.scalar = kind
    scalar.scalar_types = _SCALAR_TYPES[kind]
    return scalar


def _type_of(schema: Mapping[str, Any], preserve: bool) -> FieldType:
    preserve = preserve or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    kind = schema.get("type", "")
    node = FieldType()
    if kind == "string":
        node.scalar = UNTYPED if schema.get("format") else "string"
    elif kind in ("integer", "number"):
        node.scalar = "numeric"
    elif kind == "boolean":
        node.scalar = "boolean"
    elif kind == "object":
        _add_map(node, schema, preserve)
    elif kind == "array":
        _add_list(node, schema, preserve)
    else:
        node.scalar = UNTYPED
        _add_map(node, schema, preserve)
        _add_list(node, schema, preserve)
        node.loose = not schema.get("x-kubernetes-int-or-string")
    node.scalar_types = _SCALAR_TYPES.get(node.scalar, frozenset())
    below = [node.element, node.item, *(node.fields or {}).values()]
    node.loose = node.loose or (not schema.get("x-kubernetes-int-or-string") and any(child.loose for child in below if child))
    return node


def _add_map(node: FieldType, schema: Mapping[str, Any], preserve: bool) -> None:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    node.fields = {name: _type_of(child, preserve) for name, child in properties.items()}
    node.atomic_map = schema.get("x-kubernetes-map-type") == "atomic"
    if isinstance(additional, dict) and additional:
        node.element = _type_of(additional, preserve)
    elif additional or (additional is None and (preserve or not properties)) or additional == {}:
        node.element = FREE
    node.flat = not node.atomic_map and node.element is not FREE and all(map(_is_leaf, (*node.fields.values(), node.element)))
    if schema.get("x-kubernetes-embedded-resource"):
        node.fields = {"apiVersion": _scalar("string"), "kind": _scalar("string"), "metadata": METADATA, **node.fields}
        node.flat = False


def _is_leaf(node: FieldType | None) -> bool:
    return node is None or ((node.fields is None or node.atomic_map) and (node.item is None or node.list_type == "atomic"))


def _add_list(node: FieldType, schema: Mapping[str, Any], preserve: bool) -> None:
    items = schema.get("items")
    node.item = _type_of(items, preserve) if items else FREE
    node.list_type = schema.get("x-kubernetes-list-type") or "atomic"
    if node.list_type == "map":
        node.keys = tuple(sorted(schema.get("x-kubernetes-list-map-keys") or ()))
        properties = (items or {}).get("properties") or {}
        node.defaults = {key: properties[key]["default"] for key in node.keys if "default" in properties.get(key, {})}


METADATA = _type_of(OBJECT_META, preserve=False)
