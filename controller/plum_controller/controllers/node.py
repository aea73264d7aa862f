"""The node controller: tells from leases which nodes are alive, and what their silence means for their instances.

    watch Lease (plum-node-lease) -> heartbeats, by our own monotonic clock
    watch Node, Instance          -> key -> reconcile -> condition Ready, taints
                                                      -> its instances: Unknown, later Lost; evicted; drained
                                                      -> released when the Node object is gone

A renewal only moves a time. A node is looked at again when its lease would run out, so a healthy fleet costs one look per
node and lease. If this process itself stood still, every node gets a full lease before it is judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec
from plum_client.conditions import is_true
from plum_client.controller import Controller, Watch
from plum_client.errors import ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import Condition, ObjectKey
from plum_schemas.deployment import Deployment
from plum_schemas.instance import INSTANCE_FINALIZER, Instance
from plum_schemas.lease import Lease
from plum_schemas.node import NODE_LEASE_NAMESPACE, Node
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.domain.drain import EVICT_ANNOTATION, Eviction, plan_drain, say_drain
from plum_controller.domain.members import LOST_CONDITION
from plum_controller.domain.node_health import (
    Heartbeat,
    PauseDetector,
    alive_until,
    evictable,
    lost_at,
    ready_condition,
    silence,
    wanted_taints,
)

TICK_SECONDS = 1.0
BATCH = 64
MOST_NAMED = 5
"""Instances that one event names."""
DEFAULT_LEASE_SECONDS = 15.0
"""For a node whose object and lease are both gone."""


def by_node(instance: Instance) -> Sequence[str]:
    """Index: the node an instance is bound to."""
    return [instance.spec.node_name] if instance.spec.node_name else []


Work = TaskRun | WorkflowRun


def task_node(run: TaskRun) -> Sequence[str]:
    """Index: the node on which a task is under way."""
    return [run.status.node] if run.status.node and run.status.phase == "Running" else []


def run_node(run: WorkflowRun) -> Sequence[str]:
    """Index: the node that carries out a run by itself."""
    return [run.status.node] if run.status.node and run.status.phase in ("Running", "Paused") else []


def add_to(manager: Manager) -> None:
    """Register the controller."""
    reconciler = NodeReconciler(manager)
    watches = [
        Watch(Instance, reconciler.node_of), Watch(TaskRun, reconciler.node_of_work), Watch(WorkflowRun, reconciler.node_of_work),
    ]  # fmt: skip
    reconciler.controller = Controller("node", reconciler, Node, watches=watches, workers=8)
    manager.add(reconciler.controller)
    ticker = Controller("node-clock", PauseTicker(reconciler), workers=1)
    ticker.enqueue(ObjectKey("", "tick"))
    manager.add(ticker)


class PauseTicker:
    """Ticks once a second, and has every node looked at again when this process stood still."""

    def __init__(self, nodes: NodeReconciler) -> None:
        self._nodes = nodes

    async def reconcile(self, key: ObjectKey) -> Result:
        """One tick."""
        self._nodes.tick()
        return Result.requeue(after=TICK_SECONDS)


class NodeReconciler:
    """Judges one node and acts on its instances."""

    controller: Controller

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._recorder = manager.recorder("node-controller")
        self._nodes = manager.informer(Node)
        self._instances = manager.informer(Instance, indexers={"node": by_node})
        self._deployments = manager.informer(Deployment)
        self._tasks = manager.informer(TaskRun, indexers={"under-way": task_node})
        self._runs = manager.informer(WorkflowRun, indexers={"under-way": run_node})
        self._heartbeats: dict[str, Heartbeat] = {}
        self._silent: set[str] = set()
        """Nodes whose lease had run out when we last looked."""
        self._detector = PauseDetector(self._clock.monotonic())
        self._leases = manager.informer(Lease, NODE_LEASE_NAMESPACE)
        self._leases.add_handler(self._renewed)

    # ---- what the informers say

    def tick(self) -> None:
        """Notice a pause of this process; every node gets a full lease from now."""
        self._detector.tick(self._clock.monotonic())

    def _renewed(self, old: Lease | None, new: Lease | None) -> None:
        if new is None:
            return
        name = new.metadata.name
        renewed = f"{new.spec.renew_time}/{new.spec.holder_identity}"
        known = self._heartbeats.get(name)
        duration = float(new.spec.lease_duration_seconds or DEFAULT_LEASE_SECONDS)
        if known is not None and known.renewed == renewed and known.duration == duration:
            return
        self._heartbeats[name] = Heartbeat(renewed, self._clock.monotonic(), duration)
        if known is None or known.duration != duration or name in self._silent:
            self.controller.enqueue(ObjectKey("", name))

    def node_of_work(self, old: Work | None, new: Work | None) -> Iterable[ObjectKey]:
        """The node of a task or delegated run that comes or goes while the node is being emptied."""
        before, after = (None if one is None else (one.status.node, one.status.phase) for one in (old, new))
        if before == after:
            return []
        keys = {ObjectKey("", place[0]) for place in (before, after) if place is not None and place[0]}
        return [key for key in keys if (node := self._nodes.get(key)) is not None and node.spec.drain is not None]

    def node_of(self, old: Instance | None, new: Instance | None) -> Iterable[ObjectKey]:
        """The node of an instance whose coming, going or marking can matter to a node that is silent, gone or being emptied."""
        instance = new or old
        if instance is None or not instance.spec.node_name:
            return []
        name = instance.spec.node_name
        node = self._nodes.get(ObjectKey("", name))
        if (
            node is None
            or name in self._silent
            or node.spec.drain is not None
            or any(t.effect == "NoExecute" for t in node.spec.taints)
        ):
            return [ObjectKey("", name)]
        return []

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """Write what the lease says about the node, then see to its instances."""
        name = key.name
        node = self._nodes.get(key)
        instances = self._instances.by_index("node", name)
        self.tick()
        now = self._clock.now()
        if node is None:
            return await self._release_orphans(name, instances)
        heartbeat = self._heartbeats.get(name)
        until = alive_until(heartbeat, self._detector.since) if heartbeat is not None else 0.0
        alive = heartbeat is not None and self._clock.monotonic() < until
        if alive:
            self._silent.discard(name)
        else:
            self._silent.add(name)
        waits: list[float] = [until - self._clock.monotonic()] if alive else []
        await self._write_taints(node, heartbeat is not None, alive, now)
        await self._write_ready(node, heartbeat, alive, now)
        if not alive:
            waits += await self._silence(node, heartbeat, instances, now)
        else:
            waits += await self._evict(node, instances, now)
        waits += await self._drain(node, instances, now)
        return Result.requeue(after=min(waits)) if waits else Result.wait_for_change()

    async def _write_taints(self, node: Node, reported: bool, alive: bool, now: datetime) -> None:
        taints = wanted_taints(node, reported, alive, now)
        if taints != node.spec.taints:
            metadata = {"resourceVersion": node.metadata.resource_version}
            patch = {"metadata": metadata, "spec": {"taints": msgspec.to_builtins(taints)}}
            await self._api.patch(Node, node.key, patch)

    async def _write_ready(self, node: Node, heartbeat: Heartbeat | None, alive: bool, now: datetime) -> None:
        """Write the condition if it differs, and tell people of a change."""
        condition = ready_condition(node, heartbeat, alive, now)
        old = next((c for c in node.status.conditions if c.type == "Ready"), None)
        if old == condition:
            return
        live = await self._api.get(Node, node.key)
        if live is None:
            return
        kept = live.status.conditions
        if any(c.type == "Ready" for c in kept):
            live.status.conditions = [condition if c.type == "Ready" else c for c in kept]
        else:
            live.status.conditions = [condition, *kept]
        if not alive and old is not None and old.status == "True":
            live.status.last_seen = now
        await self._api.write_status(live)
        if old is None or old.status != condition.status:
            kind = "Normal" if condition.status == "True" else "Warning"
            reason = "NodeReady" if condition.status == "True" else "NodeNotReady"
            self._recorder.event(node, kind, reason, condition.message)

    async def _silence(
        self, node: Node, heartbeat: Heartbeat | None, instances: Sequence[Instance], now: datetime
    ) -> list[float]:
        """Report instances of a silent node as unknown, and as lost when their time has come. Seconds until the next one."""
        waits = []
        monotonic = self._clock.monotonic()
        changed = []
        for instance in instances:
            lost = heartbeat is None and bool(node.status.boot_id)  # where no agent ever was, nothing can be lost
            if heartbeat is not None:
                left = lost_at(instance, heartbeat, self._detector.since) - monotonic
                lost = left <= 0
                if not lost:
                    waits.append(left)
            reported = silence(instance, lost, node.metadata.name, now)
            if reported is not instance and reported.status != instance.status:
                changed.append(reported)
        for start in range(0, len(changed), BATCH):
            await asyncio.gather(*(self._write_status(instance) for instance in changed[start : start + BATCH]))
        self._tell_lost(node, instances, changed)
        return waits

    def _tell_lost(self, node: Node, before: Sequence[Instance], changed: Sequence[Instance]) -> None:
        """One event for all that is lost at once: a node may have hundreds of instances."""
        known = {instance.key for instance in before if is_true(instance.status.conditions, LOST_CONDITION)}
        lost = [
            instance.key
            for instance in changed
            if instance.spec.template.disconnect.replace and is_true(instance.status.conditions, LOST_CONDITION)
        ]
        new = sorted(str(key) for key in lost if key not in known)
        if new:
            names = ", ".join(new[:MOST_NAMED]) + (f" and {len(new) - MOST_NAMED} more" if len(new) > MOST_NAMED else "")
            self._recorder.event(node, "Warning", "InstancesLost", f"replacements may start for {names}")

    async def _write_status(self, instance: Instance) -> None:
        with suppress(NotFoundError):
            await self._api.write_status(instance)

    async def _evict(self, node: Node, instances: Sequence[Instance], now: datetime) -> list[float]:
        """Delete instances that do not tolerate a NoExecute taint of the user, when their time has come."""
        waits = []
        for instance in instances:
            if instance.metadata.deletion_timestamp is not None:
                continue
            left = evictable(instance, node.spec.taints, now)
            if left is None:
                continue
            if left > 0:
                waits.append(left)
                continue
            self._recorder.event(
                instance, "Warning", "Evicted", f"{node.metadata.name} has a taint that this instance does not tolerate"
            )
            await self._api.delete(Instance, instance.key, uid=instance.metadata.uid)
        return waits

    async def _drain(self, node: Node, instances: Sequence[Instance], now: datetime) -> list[float]:
        """Ask the instances of a node that is being emptied to move; write the condition Drained."""
        if node.spec.drain is None:
            return []
        name = node.metadata.name
        tasks = [str(key) for key in self._tasks.index_keys("under-way", name)]
        runs = [str(key) for key in self._runs.index_keys("under-way", name)]
        todo = plan_drain(node, instances, self._pinned(node, instances), now, tasks, runs)
        for instance in todo.ask:
            patch = {"metadata": {"annotations": {EVICT_ANNOTATION: node.metadata.name}}}
            with suppress(NotFoundError):
                await self._api.patch(Instance, instance.key, patch)
        for instance in todo.remove:
            await self._api.delete(Instance, instance.key)
        await self._write_drained(node, todo, now)
        return [todo.wake_after] if todo.wake_after is not None else []

    def _pinned(self, node: Node, instances: Sequence[Instance]) -> list[str]:
        """Names of instances that `nodeReplicas` wants on this node."""
        pinned = []
        for instance in instances:
            owner = next((o.name for o in instance.metadata.owner_references if o.controller and o.kind == "Deployment"), "")
            deployment = self._deployments.get(ObjectKey(instance.metadata.namespace, owner)) if owner else None
            if deployment is not None and node.metadata.name in (deployment.spec.node_replicas or {}):
                pinned.append(instance.metadata.name)
        return pinned

    async def _write_drained(self, node: Node, todo: Eviction, now: datetime) -> None:
        live = await self._api.get(Node, node.key)
        if live is None:
            return
        old = next((c for c in live.status.conditions if c.type == "Drained"), None)
        # The generation tells whoever asked for this drain that the answer is not that of an earlier one.
        new = Condition(
            type="Drained",
            status="False" if todo.left else "True",
            reason="Draining" if todo.left else "Drained",
            message=say_drain(todo),
            observed_generation=node.metadata.generation,
        )
        moved = old is None or old.status != new.status
        new.last_transition_time = now.replace(microsecond=0) if moved or old is None else old.last_transition_time
        if new != old:
            live.status.conditions = [c for c in live.status.conditions if c.type != "Drained"] + [new]
            await self._api.write_status(live)

    async def _release_orphans(self, name: str, instances: Sequence[Instance]) -> Result:
        """Remove instances whose Node was deleted, once nothing of them can run there any more by its lease."""
        heartbeat = self._heartbeats.get(name)
        waits = []
        for instance in instances:
            if heartbeat is not None:
                left = lost_at(instance, heartbeat, self._detector.since) - self._clock.monotonic()
                if left > 0:
                    waits.append(left)
                    continue
            with suppress(NotFoundError):
                await self._remove(instance)
        if not instances:
            self._silent.discard(name)
        return Result.requeue(after=min(waits)) if waits else Result.wait_for_change()

    async def _remove(self, instance: Instance) -> None:
        """Delete an instance that no agent will ever confirm."""
        await self._api.delete(Instance, instance.key, uid=instance.metadata.uid)
        live = await self._api.get(Instance, instance.key)
        if live is None or live.metadata.uid != instance.metadata.uid:
            return
        left = [finalizer for finalizer in live.metadata.finalizers if finalizer != INSTANCE_FINALIZER]
        metadata = {"resourceVersion": live.metadata.resource_version, "finalizers": left or None}
        with suppress(ConflictError):
            await self._api.patch(Instance, live.key, {"metadata": metadata})
