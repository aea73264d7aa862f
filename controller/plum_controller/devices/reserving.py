"""Grants reservations: whole, in the order in which they were asked for, and until their holder has ended.

    Instance (spec.template.reservations), WorkflowRun (spec.reservations), Resource -> key of the namespace
        -> domain.reservations.grant -> status.reservations and status.waiting of each Resource

Who reserved starts when every Resource names it in `status.reservations`. Who holds a device that gets a taint `NoExecute`
without a toleration is ended: an Instance is deleted, a WorkflowRun cancelled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from plum_client.controller import Controller
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.operation import Operation
from plum_schemas.reservation import Reservation
from plum_schemas.resource import Claim, Resource
from plum_schemas.template import Toleration
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_controller.devices.turns import Turns
from plum_controller.domain.node_fit import stay_seconds
from plum_controller.domain.operation_plan import repelling, text_of
from plum_controller.domain.reservations import Mode, Standing, Wish, blocking_claim, grant

ENDED = ("Succeeded", "Failed")
INDEX = "reserving"


@dataclass(frozen=True, slots=True)
class _Holder:
    """An object that reserves, and what it tolerates."""

    wish: Wish
    tolerations: Sequence[Toleration]
    found: Instance | WorkflowRun


class ReservationReconciler:
    """Decides for one namespace."""

    def __init__(self, manager: Manager, turns: Turns) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._turns = turns
        self._resources = manager.informer(Resource, indexers={"namespace": _namespace})
        self._operations = manager.informer(Operation)
        self._instances = manager.informer(Instance, indexers={INDEX: _of_instance})
        self._runs = manager.informer(WorkflowRun, indexers={INDEX: _of_run})

    async def reconcile(self, key: ObjectKey) -> Result:
        """Write what each Resource of the namespace should say."""
        namespace = key.name
        resources = {one.metadata.name: one for one in self._resources.by_index("namespace", namespace)}
        places: dict[str, int] = {}
        for one in resources.values():
            for place, claim in enumerate(one.status.waiting):
                places[claim.uid] = max(place, places.get(claim.uid, 0))
        holders = {holder.wish.uid: holder for holder in self._holders(namespace, places)}
        held: dict[str, dict[str, Mode]] = {
            name: {claim.uid: claim.mode for claim in one.status.reservations} for name, one in resources.items()
        }
        closed = self._closed(holders.values(), resources, held)
        standings = grant([holder.wish for holder in holders.values()], held, closed)
        for name, resource in sorted(resources.items()):
            await self._write(resource, standings.get(name, Standing()), holders)
        await self._end_intolerant(holders, resources)
        return Result.wait_for_change()

    def _holders(self, namespace: str, places: dict[str, int]) -> Iterable[_Holder]:
        for instance in self._instances.by_index(INDEX, namespace):
            template = instance.spec.template
            yield _Holder(_wish("Instance", instance, template.reservations, places), template.tolerations, instance)
        for run in self._runs.by_index(INDEX, namespace):
            yield _Holder(_wish("WorkflowRun", run, run.spec.reservations, places), (), run)

    def _closed(
        self, holders: Iterable[_Holder], resources: dict[str, Resource], held: dict[str, dict[str, Mode]]
    ) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for holder in holders:
            for name, mode in holder.wish.resources.items():
                resource, uid = resources.get(name), holder.wish.uid
                if resource is None:
                    found[name, uid] = f"there is no Resource {name}"
                elif uid in held.get(name, {}):
                    continue
                elif (taint := repelling(resource.spec.taints, holder.tolerations)) is not None:
                    found[name, uid] = f"{name} has taint {text_of(taint)}"
                elif mode == "Exclusive" and (busy := self._busy(resource, holder)):
                    found[name, uid] = f"operation {busy} of somebody else is under way on {name}"
        return found

    def _busy(self, resource: Resource, holder: _Holder) -> str:
        """An operation that its host has, and that is not the holder's."""
        claim = {"kind": holder.wish.kind, "name": holder.wish.name, "uid": holder.wish.uid}
        reserved = {"status": {"reservations": [claim]}}
        for key in self._turns.with_host(resource.key):
            operation = self._operations.get(key)
            if operation is None:
                continue
            owners: dict[str, Any] = {"ownerReferences": msgspec.to_builtins(operation.metadata.owner_references)}
            if blocking_claim(reserved, msgspec.to_builtins(operation.spec), owners) is not None:
                return key.name
        return ""

    async def _write(self, resource: Resource, standing: Standing, holders: dict[str, _Holder]) -> None:
        status, now = resource.status, self._clock.now()
        since = {claim.uid: claim.since for claim in status.reservations}
        reservations = [_claim(holders[uid], mode, since=since.get(uid) or now) for uid, mode in sorted(standing.holders.items())]
        name = resource.metadata.name
        waiting = [_claim(holders[uid], holders[uid].wish.resources[name], reason=why) for uid, why in standing.waiting.items()]
        if reservations != status.reservations or waiting != status.waiting:
            changed = msgspec.structs.replace(status, reservations=reservations, waiting=waiting)
            await self._api.write_status(msgspec.structs.replace(resource, status=changed))

    async def _end_intolerant(self, holders: dict[str, _Holder], resources: dict[str, Resource]) -> None:
        for resource in resources.values():
            taints = [taint for taint in resource.spec.taints if taint.effect == "NoExecute"]
            for claim in resource.status.reservations if taints else ():
                holder = holders.get(claim.uid)
                if holder is None or all(stay_seconds(holder.tolerations, taint) != 0.0 for taint in taints):
                    continue
                if isinstance(holder.found, Instance):
                    if holder.found.metadata.deletion_timestamp is None:
                        await self._api.delete(Instance, holder.found.key, uid=claim.uid)
                elif holder.found.spec.state != "Canceled":
                    await self._api.patch(WorkflowRun, holder.found.key, {"spec": {"state": "Canceled"}})


def _wish(kind: str, found: Instance | WorkflowRun, reservations: Sequence[Reservation], places: dict[str, int]) -> Wish:
    created = found.metadata.creation_timestamp
    return Wish(
        kind,
        found.metadata.name,
        found.metadata.uid,
        created.timestamp() if created is not None else 0.0,
        {one.resource: one.mode for one in reservations},
        places.get(found.metadata.uid, 1_000_000),
    )


def _claim(holder: _Holder, mode: Mode, **more: Any) -> Claim:
    wish = holder.wish
    kind = "Instance" if wish.kind == "Instance" else "WorkflowRun"
    return Claim(kind=kind, name=wish.name, uid=wish.uid, mode=mode, **more)  # type: ignore[arg-type]


def _namespace(resource: Resource) -> Sequence[str]:
    return [resource.metadata.namespace]


def _of_instance(instance: Instance) -> Sequence[str]:
    """Until the object is gone: while it is being deleted, it may still run."""
    reserves = bool(instance.spec.template.reservations) and instance.status.phase not in ENDED
    return [instance.metadata.namespace] if reserves else []


def _of_run(run: WorkflowRun) -> Sequence[str]:
    reserves = bool(run.spec.reservations) and run.status.phase not in TERMINAL_RUN_PHASES
    return [run.metadata.namespace] if reserves else []


def add_to(manager: Manager, turns: Turns) -> None:
    """Register the controller."""
    controller = Controller("reservations", ReservationReconciler(manager, turns), workers=2)

    def look(namespace: str) -> None:
        controller.enqueue(ObjectKey("", namespace))

    def reserving_changed(old: Any, new: Any) -> None:
        index = _of_instance if isinstance(old or new, Instance) else _of_run
        before, after = (index(one) if one is not None else [] for one in (old, new))
        if before != after:
            look((old or new).metadata.namespace)

    def resource_changed(old: Resource | None, new: Resource | None) -> None:
        if old is None or new is None or old.spec.taints != new.spec.taints or _claims(old) != _claims(new):
            look((old or new).metadata.namespace)  # type: ignore[union-attr]

    def operation_changed(old: Operation | None, new: Operation | None) -> None:
        operation = old or new
        if operation is None:
            return
        resource = manager.informer(Resource).get(ObjectKey(operation.metadata.namespace, operation.spec.resource_ref))
        if resource is not None and resource.status.waiting:
            look(operation.metadata.namespace)

    manager.informer(Instance).add_handler(reserving_changed)
    manager.informer(WorkflowRun).add_handler(reserving_changed)
    manager.informer(Resource).add_handler(resource_changed)
    manager.informer(Operation).add_handler(operation_changed)
    manager.add(controller)


def _claims(resource: Resource) -> tuple[list[Claim], list[Claim]]:
    return resource.status.reservations, resource.status.waiting
