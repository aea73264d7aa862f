"""The kinds of Kubernetes' core group that clients cannot do without: Namespace, Event, Secret, ConfigMap.

Their fields are Kubernetes' own; nothing is added, so that clients which know them by heart keep working.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.lease import MicroTime
from plum_schemas.markers import ATOMIC, ListMap

PROTECTED_NAMESPACES = frozenset({"default", "kube-system", "kube-public"})
"""Always there; deleting them is refused."""

Base64 = Annotated[str, Meta(extra_json_schema={"format": "byte"})]
"""Bytes in base64."""


class NamespaceSpec(Struct):
    """Who must clean up before the namespace goes."""

    finalizers: list[str] = []
    """`kubernetes` while the contents are not deleted."""


class NamespaceStatus(Struct):
    """Where the namespace is in its life."""

    phase: str = ""
    """Active or Terminating."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """What keeps a deletion from finishing."""


class Namespace(Object):
    """A space for names. Deleting it deletes everything in it."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Namespace",
        plural="namespaces",
        group="",
        short_names=("ns",),
        categories=(),
        namespaced=False,
        has_generation=False,
        strategic_merge=True,
        columns=(
            Column("Status", ".status.phase"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        selectable_fields=(".status.phase",),
    )

    spec: NamespaceSpec = field(default_factory=NamespaceSpec)
    """Who must clean up before it goes."""
    status: NamespaceStatus = field(default_factory=NamespaceStatus)
    """Where it is in its life."""


class Secret(Object):
    """Small pieces of confidential data: passwords, tokens, keys. Values are encrypted at rest and never logged."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Secret",
        plural="secrets",
        group="",
        categories=(),
        has_status=False,
        has_generation=False,
        strategic_merge=True,
        columns=(
            Column("Type", ".type"),
            Column("Age", ".metadata.creationTimestamp", "date"),
        ),
        selectable_fields=(".type",),
    )

    data: dict[str, Base64] = {}
    """Values in base64, by key."""
    string_data: dict[str, str] = {}
    """Values as text; written into data when the object is stored, never read back."""
    type: str = "Opaque"
    """What kind of secret it is, for programs."""
    immutable: bool | None = None
    """True: data can no longer be changed."""


class ConfigMap(Object):
    """Settings that are not secret, by key."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="ConfigMap",
        plural="configmaps",
        group="",
        short_names=("cm",),
        categories=(),
        has_status=False,
        has_generation=False,
        strategic_merge=True,
        columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
    )

    data: dict[str, str] = {}
    """Values as text, by key."""
    binary_data: dict[str, Base64] = {}
    """Values in base64, by key."""
    immutable: bool | None = None
    """True: data can no longer be changed."""


class ObjectReference(Struct):
    """Names any object."""

    kind: str = ""
    """Kind of the object."""
    namespace: str = ""
    """Namespace of the object; empty if it is cluster-wide."""
    name: str = ""
    """Name of the object."""
    uid: str = ""
    """Uid of the object."""
    api_version: str = ""
    """API version of the object."""
    resource_version: str = ""
    """The version of the object that was seen."""
    field_path: str = ""
    """Part of the object that is meant, such as `spec.template`."""


class EventSource(Struct):
    """Who reports."""

    component: str = ""
    """Name of the component, such as `scheduler`."""
    host: str = ""
    """Node it runs on."""


class EventSeries(Struct):
    """How often an event happened again."""

    count: int = 0
    """Times it happened, up to now."""
    last_observed_time: MicroTime | None = None
    """When it happened last."""


class Event(Object):
    """Something that happened to an object, told to people. Kept for an hour."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Event",
        plural="events",
        group="",
        short_names=("ev",),
        categories=(),
        has_status=False,
        has_generation=False,
        strategic_merge=True,
        columns=(
            Column("Last seen", ".lastTimestamp", "date"),
            Column("Type", ".type"),
            Column("Reason", ".reason"),
            Column("Kind", ".involvedObject.kind"),
            Column("Object", ".involvedObject.name"),
            Column("Message", ".message"),
            Column("Count", ".count", "integer", priority=1),
            Column("Component", ".source.component", priority=1),
        ),
        selectable_fields=(
            ".involvedObject.kind",
            ".involvedObject.namespace",
            ".involvedObject.name",
            ".involvedObject.uid",
            ".involvedObject.apiVersion",
            ".involvedObject.resourceVersion",
            ".involvedObject.fieldPath",
            ".reason",
            ".reportingComponent",
            ".source",
            ".type",
        ),
    )

    involved_object: Annotated[ObjectReference, ATOMIC]
    """The object it is about."""
    reason: str = ""
    """CamelCase word for programs."""
    message: str = ""
    """A sentence for people."""
    source: EventSource = field(default_factory=EventSource)
    """Who reports."""
    first_timestamp: datetime | None = None
    """When it was first seen."""
    last_timestamp: datetime | None = None
    """When it was last seen."""
    count: int | None = None
    """Times it was seen."""
    type: str = ""
    """Normal or Warning."""
    event_time: MicroTime | None = None
    """When it was first seen, with microseconds."""
    series: EventSeries | None = None
    """How often it happened again."""
    action: str = ""
    """What was done or failed."""
    related: ObjectReference | None = None
    """A second object that took part."""
    reporting_component: str = ""
    """Name of the controller that reports, such as `plum.dev/scheduler`."""
    reporting_instance: str = ""
    """Which copy of that controller."""
