"""What is used and free on each node, kept by addition and subtraction.

    instance appears on a node -> add      instance goes -> remove      node changes -> update

Cost follows what changed: placing one instance among fifty nodes never looks at the thousand that are placed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from plum_schemas.node import Node
from plum_schemas.quantities import parse_bytes, parse_cpu

from plum_controller.domain.demand import Demand

UNLIMITED = 1 << 62


@dataclass(slots=True)
class NodeState:
    """One node as the scheduler sees it."""

    name: str
    node: Node | None = None
    """None while instances are known on it and the Node is not."""
    cpu: int = UNLIMITED
    memory: int = UNLIMITED
    instances: int = UNLIMITED
    other: dict[str, int] = field(default_factory=dict)
    devices: frozenset[str] = frozenset()
    """Healthy devices of the node."""
    used_cpu: int = 0
    used_memory: int = 0
    used_other: Counter[str] = field(default_factory=Counter)
    used_ports: Counter[int] = field(default_factory=Counter)
    used_devices: Counter[str] = field(default_factory=Counter)
    placed: dict[str, Demand] = field(default_factory=dict)
    """Instances on the node, by uid."""
    owners: Counter[str] = field(default_factory=Counter)
    """Instances per owner."""
    repellers: dict[str, Demand] = field(default_factory=dict)
    """Those of `placed` that require others to stay away."""

    @property
    def labels(self) -> Mapping[str, str]:
        return self.node.metadata.labels if self.node is not None else {}

    def describe(self, node: Node | None) -> None:
        """Take over what the node says of itself."""
        self.node = node
        if node is None:
            return
        amounts = node.status.allocatable or node.status.capacity
        self.cpu = parse_cpu(amounts["cpu"]) if "cpu" in amounts else UNLIMITED
        self.memory = parse_bytes(amounts["memory"]) if "memory" in amounts else UNLIMITED
        self.instances = parse_bytes(amounts["instances"]) if "instances" in amounts else UNLIMITED
        self.other = {name: parse_bytes(value) for name, value in amounts.items() if name not in ("cpu", "memory", "instances")}
        self.devices = frozenset(device.name for device in node.status.devices if device.healthy)

    def _count(self, demand: Demand, sign: int) -> None:
        self.used_cpu += sign * demand.cpu
        self.used_memory += sign * demand.memory
        self.owners[demand.owner] += sign
        if not self.owners[demand.owner]:
            del self.owners[demand.owner]
        for port in demand.ports:
            self.used_ports[port] += sign
        for device in demand.devices:
            self.used_devices[device] += sign
        for name, amount in demand.other:
            self.used_other[name] += sign * amount

    def add(self, uid: str, demand: Demand) -> None:
        """Count an instance. One that is counted already is counted anew."""
        self.remove(uid)
        self.placed[uid] = demand
        if demand.affinity is not None and demand.affinity.instance_anti_affinity is not None:
            self.repellers[uid] = demand
        self._count(demand, 1)

    def remove(self, uid: str) -> None:
        """Count an instance no more. A missing one is fine."""
        demand = self.placed.pop(uid, None)
        if demand is not None:
            self.repellers.pop(uid, None)
            self._count(demand, -1)


class Accounting:
    """All nodes, and where each instance is counted."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeState] = {}
        self._where: dict[str, str] = {}

    @property
    def has_repellers(self) -> bool:
        """Whether any instance requires others to stay away."""
        return any(state.repellers for state in self.nodes.values())

    def set_node(self, name: str, node: Node | None) -> None:
        """A node appeared, changed or (None) went. A node without Node object and instances is forgotten."""
        state = self.nodes.get(name)
        if state is None:
            if node is None:
                return
            state = self.nodes[name] = NodeState(name)
        state.describe(node)
        if node is None and not state.placed:
            del self.nodes[name]

    def place(self, uid: str, node: str, demand: Demand) -> None:
        """An instance is, or is about to be, on a node."""
        self.release(uid)
        state = self.nodes.get(node)
        if state is None:
            state = self.nodes[node] = NodeState(node)
        state.add(uid, demand)
        self._where[uid] = node

    def release(self, uid: str) -> str:
        """An instance is gone; the node it was on, or empty."""
        name = self._where.pop(uid, "")
        state = self.nodes.get(name)
        if state is not None:
            state.remove(uid)
            if state.node is None and not state.placed:
                del self.nodes[name]
        return name
