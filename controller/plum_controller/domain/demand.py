"""What one instance needs of a node, taken from its template once and compared with many nodes.

Template --demand_of--> Demand --placement--> node, or a reason for every node
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from plum_schemas.affinity import Affinity
from plum_schemas.instance import Instance
from plum_schemas.quantities import parse_bytes, parse_cpu
from plum_schemas.template import Template, Toleration, TopologySpread

DEFAULT_CPU = 0
"""Millicores of an instance that requests none: it competes with nobody on paper."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One instance's needs."""

    namespace: str
    owner: str
    """uid of the controlling owner; instances of the same owner are spread."""
    labels: Mapping[str, str]
    revision: str
    """Hash of the template; equal demands share what can be decided once."""
    runtime: str
    cpu: int
    """Millicores."""
    memory: int
    """Bytes."""
    other: tuple[tuple[str, int], ...]
    """Further resources that nodes announce, by name."""
    ports: tuple[int, ...]
    """Ports on the node, which one instance at a time may hold."""
    devices: tuple[str, ...]
    node_selector: Mapping[str, str]
    affinity: Affinity | None
    tolerations: tuple[Toleration, ...]
    topology_spread: tuple[TopologySpread, ...]
    priority: int


def demand_of(instance: Instance) -> Demand:
    """The needs of one instance. Raises ValueError for a quantity that validation let through wrongly."""
    template = instance.spec.template
    requests = template.resources.requests
    owner = next((o.uid for o in instance.metadata.owner_references if o.controller), instance.metadata.uid)
    return Demand(
        namespace=instance.metadata.namespace,
        owner=owner,
        labels=instance.metadata.labels,
        revision=instance.metadata.labels.get("plum.dev/revision", ""),
        runtime=template.runtime,
        cpu=parse_cpu(requests["cpu"]) if "cpu" in requests else DEFAULT_CPU,
        memory=parse_bytes(requests["memory"]) if "memory" in requests else 0,
        other=tuple((name, parse_bytes(amount)) for name, amount in requests.items() if name not in ("cpu", "memory")),
        ports=node_ports(template),
        devices=tuple(template.resources.devices),
        node_selector=template.node_selector,
        affinity=template.affinity,
        tolerations=tuple(template.tolerations),
        topology_spread=tuple(template.topology_spread),
        priority=template.priority,
    )


def node_ports(template: Template) -> tuple[int, ...]:
    """The ports that an instance takes on its node. A port 0 is chosen by the agent among free ones and takes none here."""
    if template.runtime == "container" and template.network == "private":
        numbers = [port.host_port if port.host_port is not None else port.port for port in template.ports]
    else:
        numbers = [port.port for port in template.ports]
    return tuple(number for number in numbers if number)
