"""The schema of a kind from the server's OpenAPI v3 description: fields, types, and what was probably meant.

/openapi/v3 --> document of a group --> Schemas(kind) --> walk("spec.strategy") --> Field
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from plum_cli.errors import NOT_FOUND, CliError

if TYPE_CHECKING:
    from plum_schemas.base import KindInfo

    from plum_cli.session import Session

JsonObject = Mapping[str, Any]
_REFERENCE = "#/components/schemas/"


class Field(NamedTuple):
    """One field, with references followed."""

    name: str
    schema: JsonObject
    required: bool
    path: str


class Schemas:
    """The schema of one kind."""

    def __init__(self, document: JsonObject, info: KindInfo) -> None:
        self._components: JsonObject = (document.get("components") or {}).get("schemas") or {}
        self.info = info
        wanted = {"group": info.group, "version": info.version, "kind": info.kind}
        for schema in self._components.values():
            if wanted in schema.get("x-kubernetes-group-version-kind", ()):
                self.root: JsonObject = schema
                return
        raise CliError(f"the server describes no fields of {info.kind}", NOT_FOUND)

    def resolved(self, schema: JsonObject) -> JsonObject:
        """The schema behind references; a description given beside a reference stays."""
        for _ in range(10):
            target = schema.get("$ref") or next((part["$ref"] for part in schema.get("allOf") or () if "$ref" in part), "")
            if not target:
                break
            beside = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
            schema = {**self._components.get(str(target).removeprefix(_REFERENCE), {}), **beside}
        return schema

    def fields(self, schema: JsonObject, path: str = "") -> Iterator[Field]:
        """The fields of an object, or of the items of a list or map of objects."""
        inner = self.inner(schema)
        required = set(inner.get("required") or ())
        for name, below in (inner.get("properties") or {}).items():
            yield Field(name, self.resolved(below), name in required, f"{path}.{name}" if path else name)

    def inner(self, schema: JsonObject) -> JsonObject:
        """The object that is meant by a field: its items, if it is a list or a map."""
        schema = self.resolved(schema)
        for _ in range(5):
            below = schema.get("items") or (schema.get("additionalProperties") if not schema.get("properties") else None)
            if not isinstance(below, Mapping):
                break
            schema = self.resolved(below)
        return schema

    def type_text(self, schema: JsonObject) -> str:
        """`string`, `integer`, `[]Object`, `map[string]string`."""
        schema = self.resolved(schema)
        if schema.get("x-kubernetes-int-or-string"):
            return "integer or string"
        kind = str(schema.get("type") or "any")
        if kind == "array":
            return f"[]{self.type_text(schema.get('items') or {})}"
        if kind == "object":
            extra = schema.get("additionalProperties")
            if isinstance(extra, Mapping) and not schema.get("properties"):
                return f"map[string]{self.type_text(extra)}"
            return "Object"
        return kind

    def walk(self, path: str) -> Field:
        """The field at a path such as `spec.strategy.type`. Raises `CliError` that names what is close."""
        current = Field(self.info.kind, self.root, False, "")
        for name in (part for part in re.sub(r"\[[^]]*\]", "", path).split(".") if part):
            fields = {field.name: field for field in self.fields(current.schema, current.path)}
            if name not in fields:
                where = current.path or self.info.kind
                if not fields:
                    raise CliError(f"{where} is {self.type_text(current.schema)} and has no field {name!r}", NOT_FOUND)
                raise CliError(f"{where} has no field {name!r}{self.suggestion(name, fields)}", NOT_FOUND)
            current = fields[name]
        return current

    def suggestion(self, name: str, names: Mapping[str, Any]) -> str:
        """`; did you mean replicas?`, or the names there are."""
        lowered = {known.lower(): known for known in names}
        close = difflib.get_close_matches(name.lower(), lowered, n=1)
        if close:
            return f"; did you mean {lowered[close[0]]}?"
        return f"; it has {', '.join(names)}" if len(names) <= 15 else ""

    def hint(self, path: str) -> str:
        """What was probably meant by an unknown field; empty when nothing is close."""
        parent, _, name = re.sub(r"\[[^]]*\]", "", path).rpartition(".")
        try:
            fields = {field.name: field for field in self.fields(self.walk(parent).schema)}
        except CliError:
            return ""
        return self.suggestion(name, fields) if name not in fields else ""


async def load_schemas(session: Session, info: KindInfo) -> Schemas:
    """Ask the server for the schema of a kind."""
    index = await session.raw("GET", "/openapi/v3")
    key = f"apis/{info.group}/{info.version}" if info.group else f"api/{info.version}"
    entry = (index.get("paths") or {}).get(key) if isinstance(index, dict) else None
    if not entry:
        raise CliError(f"the server describes no fields of {info.api_version}", NOT_FOUND)
    return Schemas(await session.raw("GET", entry["serverRelativeURL"]), info)
