"""Nodes without machines: they do what agents do as far as the API can see it, in virtual time.

    watch Instance -> key -> reconcile -> status Running, Stopped or Failed; finalizer removed
    renew Lease every third of it, unless the node is cut off

A node that is cut off goes on running what it has, stops its exclusive instances by its own clock, and reports when it is
back: the behaviour the semantics ask of a real agent. `running` is the truth that simulations check.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.conditions import set_condition
from plum_client.controller import Controller, Watch
from plum_client.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError
from plum_client.finalizers import remove_finalizer
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import Condition, ObjectKey, ObjectMeta
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import INSTANCE_FINALIZER, BoundPort, Instance, InstanceStatus, Phase
from plum_schemas.lease import Lease, LeaseSpec
from plum_schemas.node import NODE_LEASE_NAMESPACE, Node, NodeStatus


@dataclass(slots=True)
class Copy:
    """One run on one node."""

    uid: str
    key: ObjectKey
    owner: str
    exclusive: bool
    started: float


@dataclass(slots=True)
class SimulatedNode:
    """The truth about one node, whatever the API says."""

    name: str
    cut: bool = False
    """No request gets through, in either direction."""
    fenced_at: float = 0.0
    """Monotonic time at which its exclusive instances must be gone: its last acknowledged renewal plus the lease."""
    running: dict[str, Copy] = field(default_factory=dict)
    """What runs, by uid of the Instance."""


class SimulatedNodes:
    """Any number of nodes, driven by one manager of their own or by that of a plan."""

    def __init__(self, api: ApiClient, clock: Clock, names: Iterable[str] = (), lease_seconds: int = 15) -> None:
        self.nodes = {name: SimulatedNode(name) for name in names}
        self.lease_seconds = lease_seconds
        self.works: Callable[[Instance], bool] = lambda instance: True
        """Whether an instance becomes ready; one that does not keeps crashing."""
        self.delay: Callable[[], float] = lambda: 0.0
        """Seconds a start or a stop takes."""
        self.started: list[Copy] = []
        """Every start there ever was."""
        self.on_start: Callable[[Copy], None] = lambda copy: None
        self._api = api
        self._clock = clock

    # ---- becoming nodes

    async def register(self) -> None:
        """Create the Node objects and their first leases."""
        for name in self.nodes:
            node = Node(metadata=ObjectMeta(name=name))
            node.spec.lease_seconds = self.lease_seconds
            with suppress(AlreadyExistsError):
                created = await self._api.create(node)
                created.status = NodeStatus(capacity={"instances": 1000, "cpu": 64, "memory": "256Gi"}, runtimes=["process"])
                await self._api.write_status(created)
            await self._renew(self.nodes[name])

    async def heartbeat(self) -> None:
        """Renew the leases of all nodes that are not cut off, until cancelled."""
        while True:
            await asyncio.sleep(self.lease_seconds / 3)
            for node in self.nodes.values():
                if not node.cut:
                    await self._renew(node)

    async def _renew(self, node: SimulatedNode) -> None:
        sent = self._clock.monotonic()
        spec = LeaseSpec(holder_identity=node.name, lease_duration_seconds=self.lease_seconds, renew_time=self._clock.now())
        lease = Lease(metadata=ObjectMeta(name=node.name, namespace=NODE_LEASE_NAMESPACE), spec=spec)
        with suppress(ApiError):
            await self._api.apply(lease, force=True)
            node.fenced_at = sent + self.lease_seconds

    # ---- doing what agents do

    def add_to(self, manager: Manager) -> None:
        """Register the reconciler for the instances of these nodes."""
        self._instances = manager.informer(Instance)
        self._controller = Controller("simulated-agents", self, watches=[Watch(Instance, self._here)], workers=32)
        manager.add(self._controller)

    def _here(self, old: Instance | None, new: Instance | None) -> Iterable[ObjectKey]:
        instance = new or old
        return [instance.key] if instance is not None and instance.spec.node_name in self.nodes else []

    def cut_off(self, name: str) -> None:
        """Cut the link of a node."""
        node = self.nodes[name]
        node.cut = True
        asyncio.get_running_loop().call_later(max(0.0, node.fenced_at - self._clock.monotonic()), self._fence, node)

    async def reconnect(self, name: str) -> None:
        """Heal the link: the lease is renewed, and every instance of the node is looked at."""
        node = self.nodes[name]
        self._fence(node)
        node.cut = False
        await self._renew(node)
        for instance in self._instances.list():
            if instance.spec.node_name == name:
                self._controller.enqueue(instance.key)

    def _fence(self, node: SimulatedNode) -> None:
        """Stop exclusive instances if the lease has run out meanwhile, as shims do without their agent."""
        if node.cut and self._clock.monotonic() >= node.fenced_at:
            node.running = {uid: copy for uid, copy in node.running.items() if not copy.exclusive}

    async def reconcile(self, key: ObjectKey) -> Result:
        """Start, stop, report: one step of one instance."""
        instance = self._instances.get(key)
        if instance is None:
            for node in self.nodes.values():
                if not node.cut:
                    node.running = {uid: copy for uid, copy in node.running.items() if copy.key != key}
            return Result.wait_for_change()
        node = self.nodes[instance.spec.node_name]
        if node.cut:
            return Result.requeue(after=self.lease_seconds / 3)
        delay = self.delay()
        if delay:
            await asyncio.sleep(delay)
            if self.nodes[instance.spec.node_name].cut:
                return Result.requeue(after=self.lease_seconds / 3)
        if instance.metadata.deletion_timestamp is not None:
            await self._stop(node, instance)
            await remove_finalizer(self._api, instance, INSTANCE_FINALIZER)
        elif instance.spec.state == "Stopped":
            await self._stop(node, instance)
            await self._report(instance, "Stopped", False)
        elif instance.status.phase not in ("Succeeded", "Failed"):
            if instance.metadata.uid not in node.running and not await self._start(node, instance):
                return Result.wait_for_change()
            await self._report(instance, "Running", self.works(instance))
        return Result.wait_for_change()

    async def _stop(self, node: SimulatedNode, instance: Instance) -> None:
        """End a copy, after nobody is led to it any more."""
        if instance.metadata.uid in node.running and instance.spec.template.services:
            fields = f"spec.instanceName={instance.metadata.name}"
            with suppress(ApiError, TimeoutError):
                async with asyncio.timeout(1.0):
                    while (await self._api.list_bytes(Endpoint.info, instance.metadata.namespace, fields=fields)).items:
                        await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            node.running.pop(instance.metadata.uid, None)
            await asyncio.sleep(0.3)  # until the end of it is known
        node.running.pop(instance.metadata.uid, None)

    async def _start(self, node: SimulatedNode, instance: Instance) -> bool:
        """Start a copy. An exclusive one only after the API has confirmed, since the last renewal, that it is still wanted."""
        if instance.spec.template.exclusive:
            live = await self._api.get(Instance, instance.key)
            gone = live is None or live.metadata.uid != instance.metadata.uid or live.metadata.deletion_timestamp is not None
            if gone or node.cut or self._clock.monotonic() >= node.fenced_at:
                return False
        owner = next((o.uid for o in instance.metadata.owner_references if o.controller), "")
        copy = Copy(instance.metadata.uid, instance.key, owner, instance.spec.template.exclusive, self._clock.monotonic())
        node.running[copy.uid] = copy
        self.started.append(copy)
        self.on_start(copy)
        return True

    async def _report(self, instance: Instance, phase: Phase, ready: bool) -> None:
        status = instance.status
        if status.phase == phase and status.ready == ready and status.observed_generation == instance.metadata.generation:
            return
        now = self._clock.now()
        conditions = [c for c in status.conditions if c.type not in ("Lost", "Ready", "Scheduled")]
        scheduled = Condition(type="Scheduled", status="True", reason="Placed")
        readiness = Condition(type="Ready", status="True" if ready else "False", reason="Running" if ready else phase)
        for condition in (scheduled, readiness):
            before = [c for c in status.conditions if c.type == condition.type]
            conditions += set_condition(before, condition, now)
        reported = InstanceStatus(
            observed_generation=instance.metadata.generation,
            phase=phase,
            ready=ready,
            address=instance.spec.node_name,
            ports=_ports(instance),
            started_at=status.started_at or now,
            conditions=conditions,
        )
        try:
            await self._api.write_status(msgspec.structs.replace(instance, status=reported))
        except NotFoundError:
            pass
        except ConflictError:
            self._controller.enqueue(instance.key)


def _ports(instance: Instance) -> list[BoundPort]:
    """Numbers as an agent would choose them: those of the template, and others where it leaves the choice."""
    chosen = 20_000 + zlib.crc32(instance.metadata.uid.encode()) % 40_000
    return [BoundPort(name=p.name, port=p.port or chosen + n) for n, p in enumerate(instance.spec.template.ports)]
