"""Equal parts of schemas, described once: kubectl reads a whole document for every object that it applies.

    {Deployment: {.. template: {..}}, Instance: {.. template: {..}}} --share--> {.., Template: {..}, Deployment: {.. -> Template}}

A part is shared under the name of the field that holds it, and `kubectl explain` then shows that name as its type, as it
does for Kubernetes' own kinds. Which object a document describes does not change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from plum_controller.api.openapi_meta import ref

_encode = msgspec.json.Encoder(order="deterministic").encode

SHARED_FROM = 300
"""Bytes of a part that is worth a reference."""
_BESIDE = ("description", "default")
"""What is said at the place where a part is used, not in the part."""


def share(schemas: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """The schemas with their equal parts taken out and put beside them, as `PREFIX.Name`."""
    counts: Counter[bytes] = Counter()
    for schema in schemas.values():
        for below in _children(schema):
            _count(below, counts)
    sharing = _Sharing(dict(schemas), {key for key, count in counts.items() if count > 1 and len(key) >= SHARED_FROM}, prefix)
    shared = {name: sharing.below(schema, name.rpartition(".")[2]) for name, schema in schemas.items()}
    return {**shared, **sharing.taken_out}


def _key(schema: Mapping[str, Any]) -> bytes:
    return _encode({name: value for name, value in schema.items() if name not in _BESIDE})


def _children(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return [child for child in found if isinstance(child, Mapping)]


def _count(schema: Mapping[str, Any], counts: Counter[bytes]) -> None:
    if "properties" in schema:
        counts[_key(schema)] += 1
    for below in _children(schema):
        _count(below, counts)


class _Sharing:
    """One document: which parts go out, and under which names."""

    def __init__(self, schemas: dict[str, Any], wanted: set[bytes], prefix: str) -> None:
        self.taken_out: dict[str, Any] = {}
        self._schemas = schemas
        self._wanted = wanted
        self._prefix = prefix
        self._names: dict[bytes, str] = {}

    def below(self, schema: Mapping[str, Any], field: str) -> dict[str, Any]:
        """The schema with references in place of its shared parts. `field` names what has no name of its own: items."""
        result = dict(schema)
        if "properties" in schema:
            result["properties"] = {name: self._placed(below, name) for name, below in schema["properties"].items()}
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), Mapping):
                result[key] = self._placed(schema[key], field)
        return result

    def _placed(self, schema: Mapping[str, Any], field: str) -> dict[str, Any]:
        key = _key(schema) if "properties" in schema else b""
        if key not in self._wanted:
            return self.below(schema, field)
        if key not in self._names:
            self._names[key] = name = self._free_name(field)
            part = {word: value for word, value in schema.items() if word not in _BESIDE}
            self.taken_out[name] = {}
            self.taken_out[name] = self.below(part, field)
        beside = {word: schema[word] for word in _BESIDE if word in schema}
        reference = ref(self._names[key])
        return {"allOf": [reference], **beside} if beside else reference

    def _free_name(self, field: str) -> str:
        name = f"{self._prefix}.{field[:1].upper()}{field[1:]}"
        candidate, number = name, 1
        while candidate in self._schemas or candidate in self.taken_out:
            number += 1
            candidate = f"{name}{number}"
        return candidate
