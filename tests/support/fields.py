"""A small kind with every way of merging, and strategies for its objects: shared by the tests of field ownership."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from plum_controller.resources.fields.sets import LEAF, SELF, FieldSet, Tree, difference, intersection, union
from plum_controller.resources.fields.typed import FieldSchema, FieldType

API = "plum.dev/v1"

TEXT: dict[str, Any] = {"type": "string"}
NUMBER: dict[str, Any] = {"type": "integer"}

OPENAPI: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": NUMBER,
                "image": TEXT,
                "strategy": {"type": "object", "properties": {"type": TEXT, "surge": NUMBER}},
                "limits": {"type": "object", "additionalProperties": TEXT},
                "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": NUMBER, "b": NUMBER}},
                "command": {"type": "array", "items": TEXT},
                "groups": {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"},
                "env": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": TEXT,
                            "value": TEXT,
                            "from": {"type": "object", "properties": {"secret": TEXT, "key": TEXT}},
                        },
                    },
                },
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {
                        "type": "object",
                        "required": ["port"],
                        "properties": {"port": NUMBER, "protocol": {"type": "string", "default": "TCP"}, "name": TEXT},
                    },
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}

SCHEMA = FieldSchema.from_openapi(OPENAPI, has_status=True)


class Choices:
    """Decisions read from bytes. Drawing one blob is far cheaper for hypothesis than drawing every field, and still shrinks."""

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._at = 0

    def below(self, bound: int) -> int:
        self._at += 1
        return self._blob[self._at - 1] % bound if self._at <= len(self._blob) else 0

    def of(self, options: str | list[Any]) -> Any:
        return options[self.below(len(options))]

    def some(self, options: str | list[str]) -> list[str]:
        """A few different ones, in any order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(self.below(len(options) + 1))]

    def several(self, options: str | list[str]) -> list[str]:
        """At least one of them, in any order."""
        left = list(options)
        return [left.pop(self.below(len(left))) for _ in range(1 + self.below(len(options)))]


def _free(choices: Choices, depth: int = 0) -> Any:
    kind = choices.below(8 if depth < 2 else 6)
    if kind == 6:
        return [_free(choices, depth + 1) for _ in range(choices.below(3))]
    if kind == 7:
        return {name: _free(choices, depth + 1) for name in choices.some("pq")}
    return [None, 1, True, 0, "x", ""][kind]


def _env_item(choices: Choices, name: str) -> dict[str, Any]:
    item: dict[str, Any] = {"name": name}
    if choices.below(2):
        item["value"] = choices.of(["x", "y", ""])
    if choices.below(3) == 1:
        item["from"] = {field: choices.of("xy") for field in choices.some(["secret", "key"])}
    return item


def _port(choices: Choices, port: str) -> dict[str, Any]:
    item: dict[str, Any] = {"port": int(port[0])}
    if port[1] == "U" or choices.below(2):
        item["protocol"] = "UDP" if port[1] == "U" else "TCP"
    if choices.below(2):
        item["name"] = choices.of("xy")
    return item


_PARTS: dict[str, Callable[[Choices], Any]] = {
    "replicas": lambda choices: choices.below(3),
    "image": lambda choices: choices.of(["x", "y", ""]),
    "strategy": lambda choices: {
        name: {"type": "xy"[choices.below(2)], "surge": 1}[name] for name in choices.some(["type", "surge"])
    },
    "limits": lambda choices: {name: choices.of("xy") for name in choices.some("uvw")},
    "atom": lambda choices: {name: choices.below(2) for name in choices.some("ab")},
    "command": lambda choices: [choices.of("xy") for _ in range(choices.below(3))],
    "groups": lambda choices: choices.some("rst"),
    "env": lambda choices: [_env_item(choices, name) for name in choices.some("ABC")],
    "ports": lambda choices: [_port(choices, port) for port in choices.some(["1T", "1U", "2T"])],
    "free": lambda choices: {name: _free(choices) for name in choices.some("mn")},
}


def _spec(blob: bytes) -> dict[str, Any]:
    choices = Choices(blob)
    return {name: part(choices) for name, part in _PARTS.items() if choices.below(3)}


def _metadata(blob: bytes) -> dict[str, Any]:
    choices = Choices(blob)
    metadata: dict[str, Any] = {}
    if choices.below(2):
        metadata["labels"] = {name: choices.of("xy") for name in choices.some("kl")}
    if choices.below(3) == 1:
        metadata["finalizers"] = choices.some(["a/b", "c/d"])
    return metadata


specs = st.binary(min_size=0, max_size=60).map(_spec)
"""Valid specs of the small kind."""


def thing(spec: dict[str, Any], metadata: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    return {
        "apiVersion": API,
        "kind": "Thing",
        "metadata": {"name": "web", "namespace": "default", **(metadata or {})},
        "spec": copy.deepcopy(spec),
        **parts,
    }


things = st.binary(min_size=0, max_size=70).map(lambda blob: thing(_spec(blob[10:]), _metadata(blob[:10])))

_elements = st.sampled_from(["f:a", "f:b", 'k:{"name":"A"}', 'k:{"port":1,"protocol":"TCP"}', 'v:"x"', "v:1"])
paths = st.lists(_elements, min_size=1, max_size=4).map(tuple)
field_sets = st.lists(paths, max_size=8).map(lambda found: FieldSet.of(*found))


def owners_of(obj: dict[str, Any]) -> dict[tuple[str, str], FieldSet]:
    """(manager, operation) -> what it owns."""
    entries = obj["metadata"].get("managedFields", [])
    return {(entry["manager"], entry["operation"]): FieldSet.from_fields_v1(entry["fieldsV1"]) for entry in entries}


def without_entries(obj: dict[str, Any]) -> dict[str, Any]:
    return {**obj, "metadata": {name: value for name, value in obj["metadata"].items() if name != "managedFields"}}


# What follows is the slow description of pruning, step by step as structured-merge-diff does it with whole sets.


def with_declared(tree: Tree, node: FieldType) -> Tree:
    """The set with every declared field on the way to its members as a member too."""
    out: Tree = {}
    for element, below in tree.items():
        if element == SELF:
            out[SELF] = LEAF
            continue
        child, declared = _step(node, element)
        inner = with_declared(below, child) if below else LEAF
        out[element] = {SELF: LEAF, **inner} if declared and inner and SELF not in inner else inner
    return out


def _step(node: FieldType, element: str) -> tuple[FieldType, bool]:
    if element[0] == "f":
        declared = (node.fields or {}).get(element[2:])
        return declared or node.element or FieldType(), declared is not None
    return (node.item if element[0] == "k" else None) or FieldType(), False


def remove(value: Any, tree: Tree, node: FieldType) -> Any:
    """The value without the members of a set and what is below them; emptied containers are None."""
    if isinstance(value, dict):
        if node.fields is None or node.atomic_map:
            return None
        out = {}
        for name, child in value.items():
            below = tree.get("f:" + name)
            if below is None:
                out[name] = child
            elif below and SELF not in below:
                out[name] = remove(child, below, node.fields.get(name) or node.element or FieldType())
        return out or None
    if isinstance(value, list):
        if node.item is None or node.list_type == "atomic":
            return None
        items = []
        for item in value:
            below = tree.get(node.item_element(item))
            if below is None:
                items.append(item)
            elif below and SELF not in below:
                items.append(remove(item, below, node.item))
        return items or None
    return value


def prune_by_sets(merged: dict[str, Any], last: Tree, managed: Tree, root: FieldType) -> dict[str, Any]:
    from plum_controller.resources.fields.config import field_set

    def set_of(value: Any) -> Tree:
        return with_declared(field_set(value or {}, root), root)

    without_last = remove(merged, with_declared(last, root), root)
    kept = union(set_of(without_last), with_declared(managed, root))
    with_owned = remove(merged, difference(set_of(merged), kept), root)
    given_up = intersection(difference(set_of(merged), set_of(with_owned)), with_declared(last, root))
    return (remove(merged, given_up, root) or {}) if given_up else merged
