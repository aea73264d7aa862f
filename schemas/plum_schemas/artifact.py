"""Artifact: one version of a package that instances run: a zip that was uploaded, or a container image under a name.

The bytes are stored by checksum. An artifact never changes; another content is another version.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import ListMap
from plum_schemas.scalars import Label, NonNegative, PortNumber
from plum_schemas.validation import FieldError, forbidden, required

Version = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
"""Letters, digits, `.`, `_`, `+` and `-`."""


class ArtifactService(Struct):
    """A service the package offers, as its `meta.ini` says. Deployments of it that name no services offer these."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    """Name clients resolve."""
    port: PortNumber
    """Port it listens on."""
    protocol: str = ""
    """What is spoken there; tcp if absent."""
    version: str = ""
    """Version clients may ask for; the version of the artifact if absent."""
    labels: dict[str, str] = {}
    """Labels of the endpoints."""


class PortMapping(Struct):
    """A port of an image and the port of the node it is published on."""

    name: Label
    """Name of the port."""
    container: PortNumber
    """Port inside the container."""
    host: Annotated[int, Meta(ge=0, le=65535)]
    """Port on the node; 0 is chosen by the agent."""
    service_name: str = ""
    """Service offered there, if any."""
    protocol: str = ""
    """What is spoken there; tcp if absent."""


class ArtifactSpec(Struct):
    """One version of a package. Never changed after creation, except `description`."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    """Name of the application."""
    version: Version
    """Version of the application; name and version together are unique in a namespace."""
    type: Literal["zip", "image"] = "zip"
    """zip: an uploaded package. image: a container image."""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Checksum of the zip, which is also where its bytes are stored."""
    size: NonNegative = 0
    """Size of the zip in bytes."""
    image: str = ""
    """Image with tag or digest, for type image."""
    entry: str = "start.sh"
    """Program inside the package that is the default command."""
    services: Annotated[list[ArtifactService], ListMap("name")] = []
    """Services the package offers."""
    ports: Annotated[list[PortMapping], ListMap("name")] = []
    """Ports an image publishes."""
    metadata: dict[str, str] = {}
    """All keys of `meta.ini`."""
    description: str = ""
    """For people."""


class ArtifactStatus(Struct):
    """Where the bytes are."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    url: str = ""
    """Path below the controller's address where nodes fetch it."""
    stored_at: datetime | None = None
    """When the bytes were complete and checked."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Stored."""


class Artifact(Object):
    """One version of a package that instances run."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Artifact",
        plural="artifacts",
        short_names=("art",),
        columns=(
            Column("App", ".spec.name"),
            Column("Version", ".spec.version"),
            Column("Type", ".spec.type"),
            Column("Size", ".spec.size", "integer", description="Bytes"),
            Column("Stored", '.status.conditions[?(@.type=="Stored")].status'),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("SHA256", ".spec.sha256", priority=1),
            Column("Image", ".spec.image", priority=1),
        ),
        selectable_fields=(".spec.name", ".spec.version", ".spec.sha256"),
    )

    spec: ArtifactSpec
    """The package."""
    status: ArtifactStatus = field(default_factory=ArtifactStatus)
    """Where the bytes are."""

    def validate(self, old: Artifact | None) -> Iterator[FieldError]:
        spec = self.spec
        if spec.type == "image" and not spec.image:
            yield required("spec.image", "an artifact of type image needs one")
        if spec.type == "zip" and not spec.sha256:
            yield required("spec.sha256", "an artifact of type zip needs one; push it with `plum artifact push`")
        if old is not None and _content(old.spec) != _content(spec):
            yield forbidden("spec", "an artifact never changes; make another version")


def _content(spec: ArtifactSpec) -> tuple[str, str, str, str, str]:
    return spec.name, spec.version, spec.type, spec.sha256, spec.image
