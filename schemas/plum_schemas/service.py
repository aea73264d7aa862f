"""Service: a name under which ready instances are found, and how one of them is chosen.

Instances offer services by their templates; a Service object adds a selector, checks, and the way to choose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.durations import parse_duration
from plum_schemas.markers import ListMap
from plum_schemas.probes import HttpAction, TcpAction
from plum_schemas.scalars import Duration, NonNegative, PortRef, Positive
from plum_schemas.validation import FieldError, exactly_one, invalid, required

ResolutionStrategy = Literal["random", "roundRobin", "leastActive", "consistentHash", "sticky"]


class HealthCheck(Struct):
    """Background checks of endpoints that no agent probes, and how states follow from them."""

    http: HttpAction | None = None
    """A GET."""
    tcp: TcpAction | None = None
    """A connection."""
    period: Duration = "10s"
    """Time between checks."""
    timeout: Duration = "2s"
    """An answer later than this is a failure."""
    success_threshold: Positive = 1
    """Successes in a row that make an endpoint passing."""
    failure_threshold: Positive = 3
    """Failures in a row that make an endpoint critical; it is warning from the first one."""
    startup_grace: Duration = "0s"
    """Time after the start in which failures do not count."""


class Retries(Struct):
    """Another try on another endpoint."""

    limit: NonNegative = 1
    """Tries after the first."""
    on: list[str] = []
    """What is retried: status codes such as `503`, and `connect`, `reset`, `timeout`. Empty: connect only."""


class CircuitBreaker(Struct):
    """Spares an endpoint that fails."""

    failures: Positive = 5
    """Failures in a row that open the circuit."""
    open_for: Duration = "30s"
    """Time until one request is let through to see."""


class OutlierEjection(Struct):
    """Leaves out endpoints that fail more often than the others."""

    error_percent: Annotated[int, Meta(ge=1, le=100)] = 50
    """Share of failed requests that ejects an endpoint."""
    min_requests: Positive = 20
    """Requests in the interval below which nothing is concluded."""
    interval: Duration = "30s"
    """Time over which requests are counted."""
    max_ejected_percent: Annotated[int, Meta(ge=0, le=100)] = 50
    """Most endpoints that may be left out at once."""


class ServiceSpec(Struct):
    """Which instances it finds and how one of them is chosen."""

    selector: dict[str, str] = {}
    """Labels of the instances; empty: those whose template names this service, and endpoints made by hand."""
    port: PortRef | None = None
    """Port of the selected instances by number or by name; their first if absent."""
    protocol: str = ""
    """What is spoken; the protocol of the port if absent."""
    version: str = ""
    """Version of the endpoints made by this selector."""
    strategy: ResolutionStrategy = "roundRobin"
    """How one endpoint is chosen."""
    hash_key: str = ""
    """For consistentHash and sticky: what the choice follows, such as `header:X-User` or `payload.customer`."""
    health_check: HealthCheck | None = None
    """Checks of endpoints that no agent probes."""
    timeout: Duration = "30s"
    """Longest time of one request."""
    retries: Retries = field(default_factory=Retries)
    """Another try on another endpoint."""
    circuit_breaker: CircuitBreaker | None = None
    """Spares an endpoint that fails."""
    outlier_ejection: OutlierEjection | None = None
    """Leaves out endpoints that fail more often than the others."""


class ServiceStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    endpoints: NonNegative = 0
    """Endpoints of this service."""
    passing: NonNegative = 0
    """Endpoints that take requests."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Available."""


class Service(Object):
    """A name under which ready instances are found."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Service",
        plural="services",
        short_names=("svc",),
        columns=(
            Column("Passing", ".status.passing", "integer", description="Endpoints that take requests"),
            Column("Endpoints", ".status.endpoints", "integer"),
            Column("Protocol", ".spec.protocol"),
            Column("Version", ".spec.version"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Strategy", ".spec.strategy", priority=1),
            Column("Port", ".spec.port", priority=1),
        ),
    )

    spec: ServiceSpec = field(default_factory=ServiceSpec)
    """Which instances it finds."""
    status: ServiceStatus = field(default_factory=ServiceStatus)
    """What was last seen."""

    def validate(self, old: Service | None) -> Iterator[FieldError]:
        spec = self.spec
        if spec.strategy in ("consistentHash", "sticky") and not spec.hash_key:
            yield required("spec.hashKey", f"strategy {spec.strategy} needs one")
        if spec.health_check is not None:
            yield from check_health_check(spec.health_check, "spec.healthCheck")


def check_health_check(check: HealthCheck, path: str) -> Iterator[FieldError]:
    """Rules between the fields of a health check."""
    yield from exactly_one(path, {"http": check.http, "tcp": check.tcp})
    for name, span in (("period", check.period), ("timeout", check.timeout)):
        if parse_duration(span) <= 0:
            yield invalid(f"{path}.{name}", span, "must be longer than 0")
