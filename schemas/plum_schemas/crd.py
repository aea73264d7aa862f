"""CustomResourceDefinition of apiextensions.k8s.io/v1: how users declare their own kinds, and how built-in ones are declared."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, KindInfo, Object, Struct
from plum_schemas.markers import ATOMIC, FreeMap, ListMap
from plum_schemas.scalars import NonNegative


class DefinitionNames(Struct):
    """What the kind is called."""

    plural: Annotated[str, Meta(min_length=1)]
    """Lower case, used in paths."""
    singular: str = ""
    """Lower case; the kind in lower case if absent."""
    short_names: list[str] = []
    """Short forms for the command line."""
    kind: Annotated[str, Meta(min_length=1)]
    """CamelCase, singular."""
    list_kind: str = ""
    """Kind of lists; the kind followed by List if absent."""
    categories: list[str] = []
    """Groups the kind belongs to, such as `all`."""


class ScaleSubresource(Struct):
    """The kind can be scaled."""

    spec_replicas_path: str
    """JSONPath of the wanted number below `.spec`."""
    status_replicas_path: str
    """JSONPath of the actual number below `.status`."""
    label_selector_path: str | None = None
    """JSONPath of the label selector as text."""


class Subresources(Struct):
    """Endpoints besides the main one."""

    status: FreeMap | None = None
    """Present: the status has an endpoint of its own and the main one ignores it."""
    scale: ScaleSubresource | None = None
    """Present: the kind can be scaled."""


class PrinterColumn(Struct):
    """A column of `get`."""

    name: str
    """Heading."""
    type: str
    """string, integer, number, boolean or date."""
    json_path: str
    """JSONPath of the value."""
    format: str = ""
    """Format of the value, as in OpenAPI."""
    description: str = ""
    """What the column says."""
    priority: int = 0
    """0 is always shown, more only with `-o wide`; 0 if absent."""


class SelectableField(Struct):
    """A field that field selectors may use."""

    json_path: str
    """JSONPath of the field."""


class ValidationSchema(Struct):
    """The schema of the objects."""

    openapi_schema: FreeMap = field(default_factory=dict, name="openAPIV3Schema")
    """A structural OpenAPI v3 schema."""


class DefinitionVersion(Struct):
    """One version of the kind."""

    name: Annotated[str, Meta(min_length=1)]
    """Name, such as `v1`."""
    served: bool
    """The API serves this version."""
    storage: bool
    """Objects are stored in this version; true for exactly one."""
    deprecated: bool = False
    """Clients get a warning."""
    deprecation_warning: str | None = None
    """Text of the warning."""
    schema: ValidationSchema | None = None
    """The schema of the objects."""
    subresources: Subresources | None = None
    """Endpoints besides the main one."""
    additional_printer_columns: list[PrinterColumn] = []
    """Columns of `get`."""
    selectable_fields: list[SelectableField] = []
    """Fields that field selectors may use."""


class DefinitionSpec(Struct):
    """The kind."""

    group: Annotated[str, Meta(min_length=1)]
    """API group, such as `example.com`."""
    names: DefinitionNames
    """What it is called."""
    scope: Literal["Namespaced", "Cluster"]
    """Whether objects belong to a namespace."""
    versions: list[DefinitionVersion]
    """Versions of the kind."""
    conversion: FreeMap = {}
    """How versions are converted; only strategy None is known, which changes the apiVersion alone."""
    preserve_unknown_fields: bool | None = None
    """Must be false; say it in the schema instead."""


class DefinitionCondition(Struct):
    """One fact about the definition."""

    type: str
    """Established, NamesAccepted, Terminating."""
    status: str
    """True, False or Unknown."""
    last_transition_time: datetime | None = None
    """When status last changed."""
    reason: str = ""
    """CamelCase word for programs."""
    message: str = ""
    """A sentence for people."""
    observed_generation: NonNegative = 0
    """Generation of the spec this condition speaks of; 0 if absent."""


class AcceptedNames(Struct):
    """Names in use."""

    plural: str = ""
    """Lower case, used in paths."""
    singular: str = ""
    """Lower case."""
    short_names: list[str] = []
    """Short forms for the command line."""
    kind: str = ""
    """CamelCase, singular."""
    list_kind: str = ""
    """Kind of lists."""
    categories: list[str] = []
    """Groups the kind belongs to."""


class DefinitionStatus(Struct):
    """Whether the kind is served."""

    accepted_names: Annotated[AcceptedNames | None, ATOMIC] = None
    """Names in use; they may differ from those asked for while others hold them."""
    stored_versions: list[str] = []
    """Versions that objects were ever stored in."""
    observed_generation: NonNegative | None = None
    """Generation of the spec this status speaks of."""
    conditions: Annotated[list[DefinitionCondition], ListMap("type")] = []
    """Established, NamesAccepted, Terminating."""


class CustomResourceDefinition(Object):
    """Declares a kind: its names, its versions, its schema."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        group="apiextensions.k8s.io",
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        namespaced=False,
        strategic_merge=True,
        columns=(Column("Created At", ".metadata.creationTimestamp", "string"),),
    )

    spec: DefinitionSpec
    """The kind."""
    status: DefinitionStatus = field(default_factory=DefinitionStatus)
    """Whether it is served."""
