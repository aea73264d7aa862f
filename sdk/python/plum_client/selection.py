"""Which objects of a kind are meant: a namespace, a label selector, a field selector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from plum_schemas.selectors import FieldSelector, LabelSelector, parse_field_selector, parse_label_selector

EVERY_FIELD = ("metadata.name", "metadata.namespace")
"""Usable in field selectors of every kind."""


@dataclass(frozen=True)
class Selection:
    """The objects that match all three; an empty one matches everything."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def query(self) -> dict[str, str]:
        """As parameters of a list or watch."""
        query = {}
        if self.labels:
            query["labelSelector"] = self.labels
        if self.fields:
            query["fieldSelector"] = self.fields
        return query

    @cached_property
    def label_selector(self) -> LabelSelector | None:
        return parse_label_selector(self.labels) if self.labels else None

    @cached_property
    def field_selector(self) -> FieldSelector | None:
        return parse_field_selector(self.fields) if self.fields else None

    def matches(self, value: bytes) -> bool:
        """True if an encoded object is among them."""
        if not (self.namespace or self.labels or self.fields):
            return True
        return self.matches_object(msgspec.json.decode(value))

    def matches_object(self, obj: Mapping[str, Any]) -> bool:
        metadata = obj.get("metadata") or {}
        if self.namespace and metadata.get("namespace") != self.namespace:
            return False
        if self.label_selector is not None and not self.label_selector.matches(metadata.get("labels") or {}):
            return False
        return self.field_selector is None or self.field_selector.matches(lambda path: field_text(obj, path))


def field_text(obj: Mapping[str, Any], path: str) -> str:
    """The field at a path such as `spec.nodeName` as selectors compare it: empty where there is none."""
    value: Any = obj
    for part in path.lstrip(".").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None or isinstance(value, (dict, list)):
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
