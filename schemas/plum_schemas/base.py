"""What every kind is made of: metadata, conditions, keys, and the declaration of a kind.

    class Deployment(Object): info = KindInfo(...), spec, status
                      |
                      +-- plum_schemas.generate --> schemas/crds/*.yaml --> registry, validation, docs, forms

Python says `observed_generation`, JSON says `observedGeneration`: `Struct` converts, nobody else.
Objects read from a cache are shared and must not be changed; copy with `msgspec.structs.replace`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform

import msgspec

from plum_schemas.validation import FieldError


class StructMeta(msgspec.StructMeta):
    """Makes every subclass of `Struct` keyword-only; msgspec would ask each class to say so."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        options.setdefault("kw_only", True)
        return super().__new__(mcls, name, bases, namespace, **options)


@dataclass_transform(field_specifiers=(msgspec.field,), kw_only_default=True)
class Struct(msgspec.Struct, rename="camel", omit_defaults=True, metaclass=StructMeta):
    """Base of every typed part of an object. A field at its default is left out of the JSON."""


class ObjectKey(NamedTuple):
    """Names one object of a known kind: `namespace/name`, or `name` for a cluster-wide one (namespace is then empty)."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class OwnerReference(Struct):
    """Names the object this one is deleted with."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    """True for the one owner that manages this object."""
    block_owner_deletion: bool | None = None
    """True: a foreground deletion of the owner waits for this object."""


class ObjectMeta(Struct):
    """What every object carries, whatever its kind. The server owns uid, times, generation and resource_version."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    """Store position of the last write, as a decimal number. Empty on objects that are to be created."""
    generation: int = 0
    """Version of the spec: moves only when something outside metadata and status changes."""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    """Set once deletion was asked for; the object goes when its finalizers are gone."""
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: list[str] = []
    owner_references: list[OwnerReference] = []
    managed_fields: list[dict[str, Any]] = []

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


class Condition(Struct):
    """One named fact in a status."""

    type: str
    """Name of the fact, such as `Ready`."""
    status: str
    """`True`, `False` or `Unknown`."""
    reason: str = ""
    """CamelCase, for programs. Every condition Plum writes has one."""
    message: str = ""
    """A sentence for people: what is the case, and what to do."""
    last_transition_time: datetime | None = None
    """When `status` last changed."""
    observed_generation: int = 0
    """Generation of the spec the fact speaks of."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `get`: where its value is and how it is shown."""

    name: str
    path: str
    """JSONPath below the object, such as `.status.readyReplicas`."""
    type: str = "string"
    """`string`, `integer`, `number`, `boolean` or `date`."""
    priority: int = 0
    """0 is always shown, 1 with `-o wide`."""
    description: str = ""


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where the `/scale` subresource reads and writes."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """The declaration of a kind: names, scope, subresources, columns. Everything else follows from the fields."""

    kind: str
    plural: str
    group: str = "plum.dev"
    version: str = "v1"
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ("plum",)
    namespaced: bool = True
    has_status: bool = True
    """The status has an endpoint of its own and the main one ignores it."""
    has_generation: bool = True
    scale: ScalePaths | None = None
    columns: tuple[Column, ...] = ()
    selectable_fields: tuple[str, ...] = ()
    """JSONPaths usable in field selectors, such as `.spec.nodeName`; each is indexed."""
    strategic_merge: bool = False
    """True for the kinds of Kubernetes' own groups, which accept strategic merge patches."""

    @property
    def api_version(self) -> str:
        """`group/version`, or only the version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """`deployments.plum.dev`, or `namespaces` for the core group: names the kind in the store and in errors."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"


class Object(Struct):
    """Base of every kind. A subclass adds `info`, `spec` and `status`."""

    info: ClassVar[KindInfo]

    api_version: str = ""
    kind: str = ""
    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)

    def __post_init__(self) -> None:
        if not self.kind:
            self.api_version = self.info.api_version
            self.kind = self.info.kind

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        """Rewrite short forms into the long form, in place. `data` is raw JSON and may be partial (an apply configuration
        or a patch), so nothing is added that the writer did not say. Repeating it changes nothing; a value of the wrong
        type is left for the schema to refuse."""

    @classmethod
    def fill(cls, data: dict[str, Any]) -> None:
        """Add defaults that depend on other fields, in place. `data` is a complete object, after the schema's defaults."""

    def validate(self, old: Self | None) -> Iterable[FieldError]:
        """Rules between fields, asked after the schema accepted the object. `old` is the stored object, None on create."""
        return ()
