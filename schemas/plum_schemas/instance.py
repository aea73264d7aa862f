"""Instance: one run of a template on one node. It never moves; a replacement is a new Instance.

Controllers write `spec`, the scheduler sets `spec.nodeName` once, the agent of that node writes `status`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import field
from msgspec.structs import replace

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import ListMap
from plum_schemas.scalars import Label, NonNegative
from plum_schemas.template import Template, TemplateMetadata
from plum_schemas.template_rules import check_template, normalize_template
from plum_schemas.validation import FieldError, forbidden

INSTANCE_FINALIZER = "plum.dev/instance"
"""On every bound Instance: only the agent that has stopped it, or the controller that knows its node is gone, removes it."""

Phase = Literal[
    "Pending", "Scheduled", "Preparing", "Starting", "Running", "Stopping", "Stopped", "Succeeded", "Failed", "Unknown"
]
"""Pending has no node, Scheduled has one, Preparing fetches artifact or image; Unknown: its node does not report."""


class InstanceSpec(Struct):
    """The wanted state of one instance."""

    node_name: str = ""
    """Node it runs on; set once, by the scheduler or by the owner."""
    state: Literal["Running", "Stopped"] = "Running"
    """Stopped keeps the object and stops what runs."""
    restart_request: str = ""
    """Any change of this text restarts the run on its node once."""
    template: Template
    """What it runs."""


class Exit(Struct):
    """How one run ended, as it was observed."""

    code: int | None = None
    """Exit code; absent when nobody could observe it."""
    signal: str = ""
    """Signal that ended it, such as SIGKILL."""
    reason: str = ""
    """CamelCase: Completed, Error, OutOfMemory, StartFailed, ProbeFailed, Fenced, Unknown."""
    message: str = ""
    """What is known, for people."""
    started_at: datetime | None = None
    """When that run started."""
    finished_at: datetime | None = None
    """When it ended."""


class BoundPort(Struct):
    """A port as it is reachable on the node."""

    name: Label
    """Name of the port in the template."""
    port: int
    """Number on the node."""
    protocol: str = ""
    """What is spoken there."""


class Refusal(Struct):
    """Why one node was not chosen."""

    node_name: str
    """The node; empty for reasons that hold for all."""
    reason: str
    """CamelCase: NodeNotReady, NodeUnschedulable, UntoleratedTaint, NodeSelectorMismatch, InsufficientCpu, PortInUse, ..."""
    message: str = ""
    """What would have to change."""


class Scheduling(Struct):
    """What the scheduler found."""

    refusals: list[Refusal] = []
    """Nodes that were refused; at most 100, then one entry with the counts."""


class InstanceStatus(Struct):
    """What the agent last saw."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: Phase = "Pending"
    """Where it is in its life."""
    ready: bool = False
    """The same as condition Ready."""
    reason: str = ""
    """CamelCase word for the phase, such as BackOff or ArtifactMissing."""
    message: str = ""
    """A sentence for people: what it waits for."""
    pid: int | None = None
    """Process id on the node, while it runs."""
    container_id: str = ""
    """Id of the container, while it exists."""
    boot_id: str = ""
    """Boot of the node that this status speaks of."""
    address: str = ""
    """Address other nodes reach it at."""
    ports: Annotated[list[BoundPort], ListMap("name")] = []
    """Ports as they are on the node, chosen ones included."""
    artifact_sha256: str = ""
    """Checksum of the artifact that runs."""
    image_id: str = ""
    """Digest of the image that runs."""
    started_at: datetime | None = None
    """Start of the current run, or of the last one."""
    finished_at: datetime | None = None
    """End of the run, if it has ended for good."""
    next_start_at: datetime | None = None
    """When the agent starts it again, while it waits in backoff."""
    restarts: NonNegative = 0
    """Runs after the first."""
    observed_restart_request: str = ""
    """The restartRequest that was carried out."""
    exit: Exit | None = None
    """How the instance ended, if it has ended for good."""
    last_exit: Exit | None = None
    """How the run before this one ended."""
    scheduling: Scheduling | None = None
    """Why it has no node yet."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Scheduled, Prepared, Started, Ready, ResourceLimits."""


class Instance(Object):
    """One run of a template on one node."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Instance",
        plural="instances",
        short_names=("inst",),
        categories=("plum", "all"),
        columns=(
            Column("Phase", ".status.phase", description="Where it is in its life"),
            Column("Ready", ".status.ready", "boolean"),
            Column("Restarts", ".status.restarts", "integer"),
            Column("Node", ".spec.nodeName"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Reason", ".status.reason", priority=1, description="What it waits for"),
            Column("PID", ".status.pid", "integer", priority=1),
            Column("Started", ".status.startedAt", "date", priority=1),
            Column("Last exit", ".status.lastExit.code", "integer", priority=1),
            Column("Address", ".status.address", priority=1),
        ),
        selectable_fields=(".spec.nodeName", ".spec.state", ".status.phase"),
    )

    spec: InstanceSpec
    """Wanted state."""
    status: InstanceStatus = field(default_factory=InstanceStatus)
    """What was last seen; written by the agent of its node."""

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        spec = data.get("spec")
        if isinstance(spec, dict):
            normalize_template(spec.get("template"))

    def validate(self, old: Instance | None) -> Iterator[FieldError]:
        if old is None:
            yield from check_template(self.spec.template, "spec.template")
            return
        if old.spec == self.spec:
            return
        if old.spec.node_name and old.spec.node_name != self.spec.node_name:
            yield forbidden("spec.nodeName", "an instance never moves; delete it, and its owner makes another")
        if _without_metadata(old.spec.template) != _without_metadata(self.spec.template):
            yield forbidden("spec.template", "only labels and annotations may be changed; delete the instance to replace it")


def _without_metadata(template: Template) -> Template:
    return replace(template, metadata=TemplateMetadata())
