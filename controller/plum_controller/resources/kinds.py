"""A kind as the resource service sees it: its declaration, its compiled schema, and what to look for in its objects.

    CustomResourceDefinition (generated for built-in kinds, from users for the rest) --kinds_of--> ResourceKind per version

Built-in and user-defined kinds differ in nothing but where their definition comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from plum_schemas.base import Column, KindInfo, Object, ScalePaths
from plum_schemas.kinds import find
from plum_schemas.selectors import FieldSelector

from plum_controller.resources.encode import Json, head_of, with_head
from plum_controller.resources.fields.typed import FieldSchema
from plum_controller.resources.rules import NO_RULES, KindRules
from plum_controller.resources.schema.compiler import CompiledSchema

FIELD_ALIASES = {"events": {"source": ("source", "component")}}
"""Field labels that are not the path of the field, by resource."""


@dataclass(frozen=True, slots=True)
class DefinedKindInfo(KindInfo):
    """The declaration of a kind that may have chosen its own singular and list kind."""

    singular_name: str = ""
    list_kind_name: str = ""

    @property
    def singular(self) -> str:
        return self.singular_name or self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.list_kind_name or f"{self.kind}List"


class ResourceKind:
    """One version of a kind. Schemas are compiled on first use, so that a start does not pay for kinds nobody writes."""

    def __init__(self, info: KindInfo, openapi: Json, *, typed: type[Object] | None = None, rules: KindRules = NO_RULES) -> None:
        self.info = info
        self.resource = info.resource
        """What the store calls its objects: a view shows those of another kind."""
        self.openapi = openapi
        """The version's `openAPIV3Schema`."""
        self.rules = rules
        self.storage = self
        """The version in which objects are stored; this one unless the definition says otherwise."""
        self.head = head_of(info.api_version, info.kind)
        self.is_builtin = typed is not None
        self.is_terminating = False
        """The definition is being deleted: nothing new may be created."""
        self.deprecation = ""
        """What every client of this version is told; empty for a version that is not deprecated."""
        self.has_other_versions = False
        """Stored objects may carry another version than this one, so reads must look."""
        self.field_labels = field_labels(info)
        self._typed = typed

    @cached_property
    def schema(self) -> CompiledSchema:
        return CompiledSchema(self.openapi)

    @cached_property
    def fields(self) -> FieldSchema:
        """How fields merge and who owns them."""
        return FieldSchema.from_openapi(self.openapi, self.info.has_status)

    @cached_property
    def normalize(self) -> Callable[[Json], None] | None:
        return self._hook("normalize")

    @cached_property
    def fill(self) -> Callable[[Json], None] | None:
        return self._hook("fill")

    @cached_property
    def checked_type(self) -> type[Object] | None:
        """The typed class, if it has rules between fields."""
        typed = self._typed
        return typed if typed is not None and typed.validate is not Object.validate else None

    def _hook(self, name: str) -> Callable[[Json], None] | None:
        """A class method of the typed kind, None if it is the base's, which does nothing."""
        hook: Any = getattr(self._typed, name, None)
        if hook is None or hook.__func__ is getattr(Object, name).__func__:
            return None
        return hook  # type: ignore[no-any-return]

    def present(self, value: bytes) -> bytes:
        """A stored object as this version shows it."""
        return with_head(self.head, value) if self.has_other_versions else value

    def stored_fields(self, selector: FieldSelector) -> FieldSelector:
        """A field selector of this kind, in the fields that stored objects are found by."""
        return selector

    def __repr__(self) -> str:
        return f"ResourceKind({self.info.resource}/{self.info.version})"


def field_labels(info: KindInfo) -> dict[str, tuple[str, ...]]:
    """Field selectors beyond name and namespace: label -> path."""
    aliases = FIELD_ALIASES.get(info.resource, {})
    labels = (path.removeprefix(".") for path in info.selectable_fields)
    return {label: aliases.get(label) or tuple(label.split(".")) for label in labels}


def kinds_of(definition: Json, *, rules: KindRules = NO_RULES, builtin: bool = False) -> list[ResourceKind]:
    """One `ResourceKind` per version of a definition, linked with the storage version. Also versions that are not served."""
    spec = definition["spec"]
    kinds = [_kind_of(spec, version, rules, builtin) for version in spec["versions"]]
    storage = next(kind for kind, version in zip(kinds, spec["versions"], strict=True) if version.get("storage"))
    stored = set(definition.get("status", {}).get("storedVersions", ())) | {version["name"] for version in spec["versions"]}
    for kind in kinds:
        kind.storage = storage
        kind.has_other_versions = len(stored) > 1
        kind.is_terminating = "deletionTimestamp" in definition["metadata"]
    return kinds


def served(definition: Json, kinds: Sequence[ResourceKind]) -> Iterator[ResourceKind]:
    for kind, version in zip(kinds, definition["spec"]["versions"], strict=True):
        if version.get("served"):
            yield kind


def _kind_of(spec: Json, version: Json, rules: KindRules, builtin: bool) -> ResourceKind:
    openapi = version.get("schema", {}).get("openAPIV3Schema", {"type": "object"})
    group = "" if builtin and spec["group"] == "core" else spec["group"]
    typed = None
    if builtin:
        names = spec["names"]
        api_version = f"{group}/{version['name']}" if group else version["name"]
        typed = find(api_version, names["kind"])
    info = typed.info if typed is not None else info_of(spec, version)
    kind = ResourceKind(info, openapi, typed=typed, rules=rules)
    if version.get("deprecated"):
        kind.deprecation = version.get("deprecationWarning") or f"{info.api_version} {info.kind} is deprecated"
    return kind


def info_of(spec: Json, version: Json) -> KindInfo:
    """The declaration inside a definition."""
    names, subresources = spec["names"], version.get("subresources") or {}
    scale = subresources.get("scale")
    columns = version.get("additionalPrinterColumns")
    if columns is None:
        columns = [{"name": "Age", "jsonPath": ".metadata.creationTimestamp", "type": "date"}]
    return DefinedKindInfo(
        kind=names["kind"],
        plural=names["plural"],
        group=spec["group"],
        version=version["name"],
        short_names=tuple(names.get("shortNames", ())),
        categories=tuple(names.get("categories", ())),
        namespaced=spec["scope"] == "Namespaced",
        has_status="status" in subresources,
        has_generation=True,
        scale=None if scale is None else _scale_of(scale),
        columns=tuple(map(_column_of, columns)),
        selectable_fields=tuple(field["jsonPath"] for field in version.get("selectableFields", ())),
        strategic_merge=False,
        singular_name=names.get("singular", ""),
        list_kind_name=names.get("listKind", ""),
    )


def _scale_of(scale: Json) -> ScalePaths:
    return ScalePaths(scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", ""))


def _column_of(column: Json) -> Column:
    return Column(
        column["name"],
        column["jsonPath"],
        column.get("type", "string"),
        column.get("priority", 0),
        column.get("description", ""),
    )
