"""The scheduler: chooses a node for every instance that has none, and says why when there is none.

    watch Instance, Node -> accounting (what is used where)
                         -> key of an unbound instance -> reconcile -> patch spec.nodeName and the finalizer
                                                                    -> or condition Scheduled=False with all refusals

The choice counts as used from the moment it is made, so instances placed at the same time do not get the same room. A binding
carries the resource version it was decided on: an instance is bound once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
from plum_client.conditions import find_condition, set_condition
from plum_client.controller import Controller, Watch
from plum_client.errors import ApiError, ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.merge_patch import replacing
from plum_client.reconciler import Result
from plum_schemas.base import Condition, ObjectKey
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, Scheduling
from plum_schemas.node import Node
from plum_schemas.resource import Resource

from plum_controller.domain.accounting import Accounting
from plum_controller.domain.demand import Demand, demand_of
from plum_controller.domain.placement import Placement, Placer

WORKERS = 64
"""Bindings under way at once; the store commits those that wait together."""
RETRY_PAUSE_SECONDS = 0.05
"""Waiting instances are looked at again this long after room appeared, so that many small changes cost one look."""
ENDED = ("Succeeded", "Failed")


def add_to(manager: Manager, accounting: Accounting | None = None) -> SchedulerReconciler:
    """Register the controller. `accounting` may be shared with others that place things on nodes."""
    scheduler = SchedulerReconciler(manager, accounting or Accounting())
    watches = [Watch(Instance, scheduler.to_place), Watch(Resource, scheduler.device_changed)]
    scheduler.controller = Controller("scheduler", scheduler, watches=watches, workers=WORKERS)
    manager.add(scheduler.controller)
    return scheduler


def needs_node(instance: Instance) -> bool:
    return not instance.spec.node_name and instance.metadata.deletion_timestamp is None


class SchedulerReconciler:
    """Places one instance."""

    controller: Controller

    def __init__(self, manager: Manager, accounting: Accounting) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._recorder = manager.recorder("scheduler")
        self._accounting = accounting
        self._placer = Placer(self._accounting)
        self._demands: dict[tuple[str, str], Demand] = {}
        """Instances of one owner and template ask for the same."""
        self._waiting: dict[ObjectKey, tuple[int, float]] = {}
        """Instances without a node that fits: priority, and when they were made."""
        self._retry: asyncio.TimerHandle | None = None
        self._instances = manager.informer(Instance)
        self._instances.add_handler(self._account)
        self._devices = manager.informer(Resource)
        self._nodes = manager.informer(Node)
        self._nodes.add_handler(self._node_changed)

    # ---- what the informers say

    def to_place(self, old: Instance | None, new: Instance | None) -> Iterable[ObjectKey]:
        """The key, if the instance needs a node."""
        return [new.key] if new is not None and needs_node(new) else []

    def _account(self, old: Instance | None, new: Instance | None) -> None:
        instance = new or old
        if instance is None:
            return
        if new is not None and new.spec.node_name and new.status.phase not in ENDED:
            if old is None or old.spec.node_name != new.spec.node_name or old.status.phase in ENDED:
                self._accounting.place(new.metadata.uid, new.spec.node_name, self._demand(new))
        elif (new is None or new.status.phase in ENDED) and self._accounting.release(instance.metadata.uid):
            self.look_again()
        if new is None:
            self._waiting.pop(instance.key, None)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        if node is not None:
            self._accounting.set_node(node.metadata.name, new)
            self.look_again()

    def look_again(self) -> None:
        """There may be more room: have the waiting instances tried soon, the most important and oldest first."""
        if self._waiting and self._retry is None:
            self._retry = asyncio.get_running_loop().call_later(RETRY_PAUSE_SECONDS, self._enqueue_waiting)

    def _enqueue_waiting(self) -> None:
        self._retry = None
        for key in sorted(self._waiting, key=lambda key: (self._waiting[key], key)):
            self.controller.enqueue(key)

    def _demand(self, instance: Instance) -> Demand:
        owner = next((o.uid for o in instance.metadata.owner_references if o.controller), "")
        revision = instance.metadata.labels.get("plum.dev/revision", "")
        if not owner or not revision:
            return demand_of(instance)
        known = self._demands.get((owner, revision))
        if known is None or known.labels != instance.metadata.labels:
            if len(self._demands) > 10_000:
                self._demands.clear()
            known = self._demands[(owner, revision)] = demand_of(instance)
        return known

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """Bind the instance to the best node, or say why there is none and wait for room."""
        instance = self._instances.get(key)
        if instance is None or not needs_node(instance):
            self._waiting.pop(key, None)
            return Result.wait_for_change()
        demand = self._demand(instance)
        waits_for = self._device_of_others(instance)
        if waits_for is not None:
            self._waiting.pop(key, None)
            await self._wait_for(instance, waits_for)
            return Result.wait_for_change()
        placement = self._placer.place(demand)
        if not placement.node:
            created = instance.metadata.creation_timestamp
            self._waiting[key] = (-demand.priority, created.timestamp() if created else 0.0)
            await self._refuse(instance, placement)
            return Result.wait_for_change()
        self._waiting.pop(key, None)
        self._accounting.place(instance.metadata.uid, placement.node, demand)
        try:
            await self._bind(instance, placement.node)
        except NotFoundError:
            self._accounting.release(instance.metadata.uid)
        except ApiError:
            self._accounting.release(instance.metadata.uid)
            raise
        return Result.wait_for_change()

    def _device_of_others(self, instance: Instance) -> str | None:
        """Why a device that the instance reserves is not its own yet; None when all are."""
        key, uid = instance.key, instance.metadata.uid
        for wanted in instance.spec.template.reservations:
            device = self._devices.get(ObjectKey(key.namespace, wanted.resource))
            if device is None:
                return f"there is no Resource {wanted.resource}"
            if all(claim.uid != uid for claim in device.status.reservations):
                claims = [claim.reason for claim in device.status.waiting if claim.uid == uid]
                return claims[0] if claims else f"{wanted.resource} is not reserved for it yet"
        return None

    def device_changed(self, old: Resource | None, new: Resource | None) -> Iterable[ObjectKey]:
        """Instances that hold a device now, or wait for one for another reason."""
        claims = [] if new is None else [*new.status.reservations, *new.status.waiting]
        namespace = "" if new is None else new.metadata.namespace
        keys = [ObjectKey(namespace, claim.name) for claim in claims if claim.kind == "Instance"]
        return [key for key in keys if (found := self._instances.get(key)) is not None and needs_node(found)]

    async def _wait_for(self, instance: Instance, why: str) -> None:
        """Say which device it waits for; writes nothing when the same was said before."""
        condition = Condition(type="Scheduled", status="False", reason="WaitsForReservation", message=why)
        before = find_condition(instance.status.conditions, "Scheduled")
        if before is None or (before.reason, before.message) != (condition.reason, why):
            await self._report(instance, condition, "Pending", None)

    async def _bind(self, instance: Instance, node: str) -> None:
        """Write the choice. The finalizer comes with it: from now on an agent may have started it."""
        finalizers = [*instance.metadata.finalizers]
        if INSTANCE_FINALIZER not in finalizers:
            finalizers.append(INSTANCE_FINALIZER)
        metadata = {"resourceVersion": instance.metadata.resource_version, "finalizers": finalizers}
        await self._api.patch(Instance, instance.key, {"metadata": metadata, "spec": {"nodeName": node}})
        refused = find_condition(instance.status.conditions, "Scheduled")
        if refused is not None and refused.status != "True":
            await self._take_back(instance, node)

    async def _refuse(self, instance: Instance, placement: Placement) -> None:
        """Say why there is no node; writes nothing when the same was said before."""
        condition = Condition(type="Scheduled", status="False", reason="NoNodeFits", message=placement.message)
        before = find_condition(instance.status.conditions, "Scheduled")
        scheduling = Scheduling(refusals=placement.shown)
        if before is not None and before.message == condition.message and instance.status.scheduling == scheduling:
            return
        if before is None:
            self._recorder.event(instance, "Warning", "NoNodeFits", placement.message)
        await self._report(instance, condition, "Pending", scheduling)

    async def _take_back(self, instance: Instance, node: str) -> None:
        """After a refusal: say that there is a node now. The agent's own report says the same and more, so a conflict is fine."""
        live = await self._api.get(Instance, instance.key)
        if live is None or live.status.phase != "Pending":
            return
        condition = Condition(type="Scheduled", status="True", reason="Placed", message=f"placed on {node}")
        try:
            await self._report(live, condition, "Scheduled", None)
        except (ConflictError, NotFoundError):
            pass

    async def _report(self, instance: Instance, condition: Condition, phase: str, scheduling: Scheduling | None) -> None:
        refused = condition.status != "True"
        status: dict[str, Any] = {
            "phase": phase,
            "reason": condition.reason if refused else "",
            "message": condition.message if refused else "",
            "scheduling": None if scheduling is None else replacing(scheduling),
            "conditions": msgspec.to_builtins(set_condition(instance.status.conditions, condition, self._clock.now())),
        }
        patch = {"metadata": {"resourceVersion": instance.metadata.resource_version}, "status": status}
        await self._api.patch(Instance, instance.key, patch, subresource="status")
