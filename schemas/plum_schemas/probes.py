"""Probes and hooks: how the agent asks a workload, and what it does around its life."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from plum_schemas.base import Struct
from plum_schemas.scalars import Duration, PortRef, Positive


class HttpAction(Struct):
    """A GET; 200 to 399 is a success."""

    port: PortRef
    """Port by number or by name."""
    path: str = "/"
    """Path and query."""
    scheme: Literal["http", "https"] = "http"
    """With https the certificate is not checked, as the address is the node's own."""
    host: str = ""
    """Host to connect to; the instance itself if absent."""
    headers: dict[str, str] = {}
    """Headers to send."""


class TcpAction(Struct):
    """A connection that is accepted is a success."""

    port: PortRef
    """Port by number or by name."""
    host: str = ""
    """Host to connect to; the instance itself if absent."""


class ExecAction(Struct):
    """A program in the workload's folder and environment; exit code 0 is a success."""

    command: Annotated[list[str], Meta(min_length=1)]
    """Program and arguments. A single string is split as a shell would, without a shell."""


class GrpcAction(Struct):
    """The standard health service, `grpc.health.v1.Health/Check`; SERVING is a success."""

    port: PortRef
    """Port by number or by name."""
    service: str = ""
    """Service to ask about; the whole server if empty."""


class SleepAction(Struct):
    """Wait."""

    duration: Duration
    """How long."""


class Probe(Struct):
    """A question asked again and again. Exactly one of http, tcp, exec, grpc is set."""

    http: HttpAction | None = None
    """A GET."""
    tcp: TcpAction | None = None
    """A connection."""
    exec: ExecAction | None = None
    """A program."""
    grpc: GrpcAction | None = None
    """The standard gRPC health service."""
    initial_delay: Duration = "0s"
    """Wait after the start before the first question."""
    period: Duration = "10s"
    """Time between questions."""
    timeout: Duration = "1s"
    """An answer later than this is a failure."""
    success_threshold: Positive = 1
    """Successes in a row that change the state to good."""
    failure_threshold: Positive = 3
    """Failures in a row that change the state to bad."""


class Probes(Struct):
    """How the agent finds out about an instance."""

    startup: Probe | None = None
    """Until it succeeds the others wait; when it fails the run is stopped and counts as failed."""
    readiness: Probe | None = None
    """Ready while it succeeds: takes requests and counts as available. Without it, ready once started."""
    liveness: Probe | None = None
    """When it fails the run is stopped and restarted by restartPolicy."""


class Hook(Struct):
    """Something done at one point of an instance's life. Exactly one is set."""

    exec: ExecAction | None = None
    """A program."""
    http: HttpAction | None = None
    """A GET."""
    sleep: SleepAction | None = None
    """Only wait."""


class Lifecycle(Struct):
    """What is done around the life of an instance."""

    pre_stop: Hook | None = None
    """Done before the stop signal, inside the grace period; a failure does not keep it from stopping."""
