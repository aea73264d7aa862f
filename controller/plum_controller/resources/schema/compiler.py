"""A kind's schema, made ready for many objects: prune, default, validate.

    CompiledSchema(openapi): prune -> paths that are unknown, default, validate -> causes

Most objects are valid. jsonschema-rs says so in a few microseconds; only an object it refuses is walked again to find
Kubernetes' words for the reason. Each part is built on first use, because a start must not pay for kinds nobody uses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from plum_controller.resources.errors import INVALID, Cause
from plum_controller.resources.schema.defaulting import Defaulter, defaulter
from plum_controller.resources.schema.formats import STRING_FORMATS
from plum_controller.resources.schema.pruning import Pruner, pruner
from plum_controller.resources.schema.uniqueness import Uniqueness, uniqueness
from plum_controller.resources.schema.validation import explain, fast_schema

if TYPE_CHECKING:
    from plum_controller.resources.cel_rules import SchemaRules

_encode = msgspec.json.Encoder().encode


class CompiledSchema:
    """One version's `openAPIV3Schema`. Objects are changed in place and may have any JSON in any place."""

    def __init__(self, openapi: dict[str, Any]) -> None:
        self.openapi = openapi

    def prune(self, obj: dict[str, Any]) -> list[str]:
        """Remove unknown fields. Their paths: `spec.env[0].zz`."""
        prune = self._pruner
        return (prune(obj) or []) if prune is not None else []

    def default(self, obj: dict[str, Any]) -> None:
        """Set missing fields that have a default, remove nulls that stand for missing fields."""
        complete = self._defaulter if _has_null(obj) else self._filler
        if complete is not None:
            complete(obj)

    def validate(self, obj: dict[str, Any]) -> list[Cause]:
        """Every problem; empty for a valid object."""
        causes: list[Cause] = []
        if not self._is_valid(obj):
            causes = explain(obj, self.openapi, "")
            if not causes:
                causes = [Cause(INVALID, "Invalid value: the object does not match its schema", "")]
        unique = self._uniqueness
        if unique is not None:
            unique(obj, "", causes)
        return causes

    def check_rules(self, new: dict[str, Any], old: dict[str, Any] | None) -> list[Cause]:
        """The schema's own rules, in CEL, that a valid object breaks. Nothing is loaded for a schema without rules."""
        rules = self._rules
        return rules.check(new, old) if rules is not None else []

    @cached_property
    def _rules(self) -> SchemaRules | None:
        if not has_rules(self.openapi):
            return None
        from plum_controller.resources.cel_rules import SchemaRules

        return SchemaRules(self.openapi)

    @cached_property
    def _pruner(self) -> Pruner | None:
        return pruner(self.openapi, is_resource=True)

    @cached_property
    def _defaulter(self) -> Defaulter | None:
        return defaulter(self.openapi, is_resource=True)

    @cached_property
    def _filler(self) -> Defaulter | None:
        return defaulter(self.openapi, is_resource=True, drops_nulls=False)

    @cached_property
    def _uniqueness(self) -> Uniqueness | None:
        return uniqueness(self.openapi)

    @cached_property
    def _is_valid(self) -> Callable[[Any], bool]:
        import jsonschema_rs  # 8 MB and tens of milliseconds: not before something is written

        options = jsonschema_rs.RegexOptions()
        is_valid: Callable[[Any], bool] = jsonschema_rs.Draft202012Validator(
            fast_schema(self.openapi), validate_formats=True, formats=STRING_FORMATS, pattern_options=options
        ).is_valid
        return is_valid


def has_rules(schema: Any) -> bool:
    """Whether a schema has `x-kubernetes-validations` anywhere."""
    if not isinstance(schema, dict):
        return False
    if schema.get("x-kubernetes-validations"):
        return True
    below = [*(schema.get("properties") or {}).values(), schema.get("items"), schema.get("additionalProperties")]
    return any(map(has_rules, below))


def _has_null(obj: dict[str, Any]) -> bool:
    """False if there is surely no null in it. Encoding the object is faster than looking into each of its parts."""
    for name, value in obj.items():
        if name == "metadata":
            if type(value) is not dict or None in value.values():
                return True
        elif value is None or (type(value) is not str and b"null" in _encode(value)):
            return True
    return False
