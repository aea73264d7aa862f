"""Node: one machine with an agent. The user writes `spec`, the agent `status`; its Lease says whether it is alive."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import SET, ListMap
from plum_schemas.names import check_label_key, check_label_value
from plum_schemas.scalars import NonNegative, Positive, Quantity
from plum_schemas.validation import FieldError, checked

NODE_LEASE_NAMESPACE = "plum-node-lease"
"""Namespace of the Leases that agents renew; a Lease is called like its node."""
ARCH_LABEL = "plum.dev/arch"
"""Set by the agent: `x86_64`, `aarch64`, ..."""
OS_LABEL = "plum.dev/os"
"""Set by the agent: `linux`."""
ENGINE_LABEL = "plum.dev/container-engine"
"""Set by the agent where a container engine answered: `docker`."""
HOSTNAME_LABEL = "plum.dev/hostname"
"""Set by the agent: name of the node; the topology key for "the same machine"."""

DISK_PRESSURE, MEMORY_PRESSURE, PID_PRESSURE = "DiskPressure", "MemoryPressure", "PIDPressure"
"""Conditions that the agent sets: `True` while the machine runs short of it."""
PRESSURE_TAINTS = {
    DISK_PRESSURE: "plum.dev/disk-pressure",
    MEMORY_PRESSURE: "plum.dev/memory-pressure",
    PID_PRESSURE: "plum.dev/pid-pressure",
}
"""Set while the condition is `True`: nothing new is placed there."""

TAINT_NOT_READY = "plum.dev/not-ready"
"""Set while the agent reports that it is not ready."""
TAINT_UNREACHABLE = "plum.dev/unreachable"
"""Set while the lease is not renewed."""
TAINT_UNSCHEDULABLE = "plum.dev/unschedulable"
"""Set while the node is cordoned."""


class Taint(Struct):
    """Keeps instances away that do not tolerate it."""

    key: Annotated[str, Meta(min_length=1)]
    """Name of the taint, such as `dedicated`."""
    value: str = ""
    """Value that a toleration may ask for."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    """NoSchedule keeps new ones away, NoExecute also removes those that run."""
    time_added: datetime | None = None
    """When it was added; tolerationSeconds count from here."""


class Drain(Struct):
    """A request to move every instance away from the node. It respects availability until the deadline."""

    deadline_seconds: NonNegative = 600
    """Seconds from `requestedAt` after which the rest is removed without regard to availability; 0 never does that."""
    requested_at: datetime | None = None
    """When the drain was asked for."""
    ignore_pinned: bool = True
    """Leave instances that nodeReplicas or a nodeSelector holds on this node; false deletes them too."""


class NodeSpec(Struct):
    """What the user wants of the node."""

    unschedulable: bool = False
    """Cordoned: nothing new is placed here."""
    taints: Annotated[list[Taint], ListMap("key", "effect")] = []
    """Keep instances away that do not tolerate them."""
    lease_seconds: Positive = 15
    """How long a renewal of the lease holds. The agent renews every third of it; everything else is derived from it."""
    drain: Drain | None = None
    """Present: move everything away."""


class NodeAddress(Struct):
    """One address of the node."""

    type: Literal["InternalIP", "ExternalIP", "Hostname"]
    """What kind of address it is."""
    address: Annotated[str, Meta(min_length=1)]
    """The address."""


class Device(Struct):
    """A device that one instance at a time may hold."""

    name: Annotated[str, Meta(min_length=1)]
    """Name that templates ask for."""
    path: str = ""
    """Path on the node, such as `/dev/ttyUSB0`."""
    healthy: bool = True
    """It is present and usable; true if absent."""


class Engine(Struct):
    """The container engine of a node."""

    available: bool = False
    """It answers the agent now."""
    name: str = ""
    """Such as docker."""
    version: str = ""
    """Release of the engine."""
    api_version: str = ""
    """Newest version of its API."""
    storage_driver: str = ""
    """How it keeps images, such as overlay2."""
    cgroup_version: str = ""
    """1 or 2."""
    message: str = ""
    """Why it does not answer, and what to do."""


class LinkOutage(Struct):
    """A time in which the controller did not answer the agent."""

    began: datetime
    """When the first request of it failed, by the clock of the node."""
    seconds: NonNegative = 0
    """How long it lasted."""


class Link(Struct):
    """The way from the agent to its controller, as the agent measured it since it began. Without the heartbeat, which has a
    connection of its own."""

    measured_at: datetime
    """When these figures were taken. They are written when something of them mattered, not all the time."""
    answer_milliseconds: float = 0
    """Usual time from a request to its answer, the work of the controller included."""
    round_trip_milliseconds: float = 0
    """Usual time of a packet there and back, as the kernel measures it; 0 where it does not."""
    loss_percent: float = 0
    """Share of packets with data that the agent had to send again."""
    timeout_seconds: float = 0
    """Silence after which a request is given up, as it follows from the times above."""
    breaker: Literal["Closed", "Open", "Probing"] = "Closed"
    """Closed: requests are sent. Open: the controller does not answer, and is asked now and then."""
    requests: NonNegative = 0
    """Requests that were sent."""
    failures: NonNegative = 0
    """Requests to which no answer came."""
    retries: NonNegative = 0
    """Requests that were sent once more over another connection."""
    bytes_sent: NonNegative = 0
    """Bytes of requests."""
    bytes_received: NonNegative = 0
    """Bytes of answers and watches."""
    queued: NonNegative = 0
    """Statuses of instances that waited to be delivered when this was written."""
    outages: NonNegative = 0
    """How often the controller was out of reach."""
    last_outage: LinkOutage | None = None
    """The last time it was."""


class NodeStatus(Struct):
    """What the agent last reported, and what the node controller concluded."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    capacity: dict[str, Quantity] = {}
    """All the machine has: cpu, memory, disk (that of the agent's data), instances."""
    allocatable: dict[str, Quantity] = {}
    """What instances may use."""
    addresses: Annotated[list[NodeAddress], ListMap("type")] = []
    """Where the node is reached."""
    agent_version: str = ""
    """Version of the agent."""
    boot_id: str = ""
    """Changes with every boot of the machine."""
    runtimes: Annotated[list[str], SET] = []
    """What it can run: process, container."""
    engine: Engine | None = None
    """The container engine, where the node has one or had one since the agent began."""
    os: str = ""
    """Operating system and release."""
    arch: str = ""
    """Processor architecture."""
    kernel: str = ""
    """Kernel release."""
    devices: Annotated[list[Device], ListMap("name")] = []
    """Devices that instances may hold."""
    link: Link | None = None
    """The way to the controller, as the agent measures it."""
    delegated_runs: NonNegative = 0
    """Runs of workflows that it carries out by itself; the agent follows them while there are any."""
    last_seen: datetime | None = None
    """When the node was last known to be alive; written when it is lost, not at every heartbeat."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready, Drained, DiskPressure, MemoryPressure, PIDPressure, CertificateExpiring."""


class Node(Object):
    """One machine with an agent."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Node",
        plural="nodes",
        short_names=("no",),
        namespaced=False,
        columns=(
            Column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Cordoned", ".spec.unschedulable", "boolean"),
            Column("Version", ".status.agentVersion", description="Version of the agent"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
            Column("Address", '.status.addresses[?(@.type=="InternalIP")].address', priority=1),
            Column("CPU", ".status.capacity.cpu", priority=1),
            Column("Memory", ".status.capacity.memory", priority=1),
            Column("Runtimes", ".status.runtimes", priority=1),
            Column("Lease", ".spec.leaseSeconds", "integer", priority=1, description="Seconds a renewal holds"),
        ),
        selectable_fields=(".spec.unschedulable",),
    )

    spec: NodeSpec = field(default_factory=NodeSpec)
    """What the user wants of it."""
    status: NodeStatus = field(default_factory=NodeStatus)
    """What was last seen."""

    def validate(self, old: Node | None) -> Iterator[FieldError]:
        for index, taint in enumerate(self.spec.taints):
            yield from checked(f"spec.taints[{index}].key", taint.key, check_label_key)
            yield from checked(f"spec.taints[{index}].value", taint.value, check_label_value)
