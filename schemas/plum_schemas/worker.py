"""Worker: a program that dialled in and runs tasks. It exists while its lease is renewed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import SET, ListMap
from plum_schemas.scalars import Duration, NonNegative, Positive


class WorkerSpec(Struct):
    """What the worker said about itself when it registered, and what people ask of it."""

    tasks: Annotated[list[Annotated[str, Meta(min_length=1)]], SET] = []
    """Names of the tasks it runs."""
    capacity: Positive = 1
    """Tasks it runs at once."""
    node_name: str = ""
    """Node it runs on, if it is one of the fleet."""
    instance_name: str = ""
    """Instance it belongs to, if it is one of the fleet."""
    app_name: str = ""
    """Application it belongs to."""
    app_version: str = ""
    """Version of that application."""
    protocol: Literal["grpc", "classic", "http"] = "grpc"
    """How it is reached: plum.worker.v1, the classic stream plum.task, or a POST to `url`."""
    url: str = ""
    """Address of an http worker."""
    ttl: Duration | None = None
    """An http worker without a heartbeat for so long is lost. It needs none if absent."""
    unschedulable: bool = False
    """It gets nothing new and finishes what it holds."""


class WorkerStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: Literal["Ready", "Draining", "Lost"] = "Ready"
    """Draining: it asked for nothing new. Lost: its lease ran out."""
    session: str = ""
    """Session it is connected with."""
    connected_at: datetime | None = None
    """When that session began."""
    last_seen: datetime | None = None
    """When it was last heard of; written when it changes phase, not at every heartbeat."""
    running: NonNegative = 0
    """Tasks it holds now."""
    completed: NonNegative = 0
    """Tasks it finished since it registered."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready."""


class Worker(Object):
    """A program that dialled in and runs tasks."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Worker",
        plural="workers",
        short_names=("wk",),
        columns=(
            Column("Phase", ".status.phase"),
            Column("Running", ".status.running", "integer", description="Tasks it holds now"),
            Column("Capacity", ".spec.capacity", "integer"),
            Column("Tasks", ".spec.tasks"),
            Column("Node", ".spec.nodeName"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("App", ".spec.appName", priority=1),
            Column("Version", ".spec.appVersion", priority=1),
            Column("Completed", ".status.completed", "integer", priority=1),
        ),
        selectable_fields=(".spec.nodeName", ".spec.instanceName", ".status.phase"),
    )

    spec: WorkerSpec = field(default_factory=WorkerSpec)
    """What it said about itself."""
    status: WorkerStatus = field(default_factory=WorkerStatus)
    """What was last seen."""
