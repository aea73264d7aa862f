"""Endpoint: one address of a service. It lives and dies with one run of an instance, or is made by hand for things outside.

It is removed before the instance is told to stop, so no request is answered with an endpoint that no longer serves.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import ListMap
from plum_schemas.scalars import Duration, NonNegative, PortNumber
from plum_schemas.service import HealthCheck, check_health_check
from plum_schemas.validation import FieldError

State = Literal["passing", "warning", "critical"]


class EndpointSpec(Struct):
    """Where the service is reached."""

    service: Annotated[str, Meta(min_length=1, max_length=253)]
    """Name clients resolve."""
    address: Annotated[str, Meta(min_length=1, max_length=253)]
    """IP address or host name."""
    port: PortNumber
    """Port."""
    protocol: str = "tcp"
    """What is spoken there."""
    version: str = ""
    """Version clients may ask for."""
    weight: Annotated[int, Meta(ge=0, le=1000)] = 100
    """Share of requests against the other endpoints; 0 takes none."""
    labels: dict[str, str] = {}
    """Labels clients may ask for."""
    instance_name: str = ""
    """Instance that serves here; empty for things outside the fleet."""
    instance_uid: str = ""
    """Incarnation of that instance."""
    node_name: str = ""
    """Node of that instance."""
    zone: str = ""
    """Zone of that node, by its label `zone` or `topology.kubernetes.io/zone`; callers may prefer their own."""
    health_check: HealthCheck | None = None
    """Checks from the controller, for things outside the fleet."""
    ttl: Duration | None = None
    """For endpoints registered by heartbeat: without one for this long the endpoint is critical."""
    heartbeat_at: datetime | None = None
    """When it was last registered or heard of, for endpoints with a ttl."""
    healthy: bool = True
    """What whoever registered it said of it last; false makes it critical."""


class EndpointStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    state: State = "warning"
    """Only passing endpoints take requests; warning ones do when no other is left."""
    checked_at: datetime | None = None
    """When it was last checked."""
    failures: NonNegative = 0
    """Failures in a row."""
    message: str = ""
    """What the last check said."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready."""


class Endpoint(Object):
    """One address of a service."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Endpoint",
        plural="endpoints",
        short_names=("ep",),
        columns=(
            Column("Service", ".spec.service"),
            Column("State", ".status.state"),
            Column("Address", ".spec.address"),
            Column("Port", ".spec.port", "integer"),
            Column("Protocol", ".spec.protocol"),
            Column("Version", ".spec.version"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Instance", ".spec.instanceName", priority=1),
            Column("Node", ".spec.nodeName", priority=1),
            Column("Weight", ".spec.weight", "integer", priority=1),
        ),
        selectable_fields=(".spec.service", ".spec.instanceName", ".spec.nodeName", ".status.state"),
    )

    spec: EndpointSpec
    """Where the service is reached."""
    status: EndpointStatus = field(default_factory=EndpointStatus)
    """What was last seen."""

    @property
    def state(self) -> State:
        """The state that counts. An endpoint is made from an instance because that is ready, so it is passing from the first
        moment on, before its status says so."""
        made = bool(self.spec.instance_uid) and self.spec.ttl is None
        return "passing" if made and not self.status.observed_generation else self.status.state

    def validate(self, old: Endpoint | None) -> Iterator[FieldError]:
        if self.spec.health_check is not None:
            yield from check_health_check(self.spec.health_check, "spec.healthCheck")
