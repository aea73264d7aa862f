"""Operations until their host has them, and after it is gone.

Operation -> OperationReconciler: cancelled, expired, Resource gone, node gone -> ends
Operation, Resource -> TurnReconciler, one device at a time: the next ones -> released to their host, in order
                       status.node = the node, whose agent takes it; or taken here, for devices without a node
"""

from __future__ import annotations

import msgspec
from plum_client.client import ApiClient
from plum_client.controller import Controller, Watch
from plum_client.errors import ConflictError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.node import Node
from plum_schemas.operation import Operation
from plum_schemas.operation_states import is_final
from plum_schemas.resource import Resource

from plum_controller.devices.host import ControllerHost
from plum_controller.devices.turns import Turns
from plum_controller.domain.operation_plan import End, Hold, NodeView, host_of, plan_end, plan_turn

AT_ONCE = 64
"""Operations of one device that are released in one reconcile."""


def device_of(operation: Operation) -> ObjectKey:
    return ObjectKey(operation.metadata.namespace, operation.spec.resource_ref)


class OperationReconciler:
    """Ends what its host does not end, and hands the user's wish to stop to the desk of the controller."""

    def __init__(self, manager: Manager, host: ControllerHost, turns: Turns, lost_seconds: float) -> None:
        self._api: ApiClient = manager.api
        self._clock = manager.clock
        self._host = host
        self._turns = turns
        self._lost_seconds = lost_seconds
        self._operations = manager.informer(Operation)
        self._resources = manager.informer(Resource)
        self._nodes = manager.informer(Node)

    async def reconcile(self, key: ObjectKey) -> Result:
        operation = self._operations.get(key)
        if operation is None or is_final(operation.status.phase):
            if operation is not None:
                self._host.desk.withdraw(device_of(operation), operation.metadata.uid)
            return Result.wait_for_change()
        status, now = operation.status, self._clock.now()
        resource = self._resources.get(device_of(operation))
        ending = plan_end(operation, resource, self._node(status.node), self._lost_seconds, now)
        if ending is not None:
            await self._end(operation, ending)
            return Result.wait_for_change()
        if not status.node and status.phase != "Queued":
            self._host.restore(operation)
            if operation.spec.canceled:
                await self._host.desk.cancel(device_of(operation), operation.metadata.uid)
        return self._again(operation)

    def _again(self, operation: Operation) -> Result:
        status, now = operation.status, self._clock.now()
        if status.phase == "Queued" and status.expires_at is not None:
            return Result.requeue(after=max(0.001, (status.expires_at - now).total_seconds()))
        node = self._node(status.node)
        if status.phase != "Queued" and node is not None and node.away_seconds is not None:
            return Result.requeue(after=max(0.001, self._lost_seconds - node.away_seconds))
        return Result.wait_for_change()

    def _node(self, name: str) -> NodeView | None:
        if not name:
            return None
        node = self._nodes.get(ObjectKey("", name))
        if node is None:
            return NodeView(exists=not self._nodes.is_synced)
        ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
        if ready is None or ready.status != "Unknown" or ready.last_transition_time is None:
            return NodeView()
        return NodeView(away_seconds=max(0.0, (self._clock.now() - ready.last_transition_time).total_seconds()))

    async def _end(self, operation: Operation, ending: End) -> None:
        status = msgspec.structs.replace(
            operation.status, phase=ending.phase, reason=ending.reason, error=ending.error, finished_at=self._clock.now()
        )
        await self._api.write_status(msgspec.structs.replace(operation, status=status))
        self._host.desk.withdraw(device_of(operation), operation.metadata.uid)


class TurnReconciler:
    """Releases the operations of one device in their order, as many as its host may have."""

    def __init__(self, manager: Manager, host: ControllerHost, turns: Turns) -> None:
        self._api: ApiClient = manager.api
        self._host = host
        self._turns = turns
        self._operations = manager.informer(Operation)
        self._resources = manager.informer(Resource)

    async def reconcile(self, key: ObjectKey) -> Result:
        resource = self._resources.get(key)
        self._host.desk.set_resource(key, resource if resource is not None and not host_of(resource.spec) else None)
        if resource is None:
            return Result.wait_for_change()
        released = self._turns.released(key)
        for position, waiting in enumerate(self._turns.queued(key)):
            operation = self._operations.get(waiting)
            if operation is None or operation.status.phase != "Queued" or operation.status.node or operation.spec.canceled:
                continue
            turn = plan_turn(operation, resource, released, self._is_online(key))
            if isinstance(turn, Hold):
                await self._say_why(operation, turn)
                if turn.reason not in ("Tainted", "Reserved"):
                    break  # the same for all that follow
                continue
            if position >= AT_ONCE:
                return Result.requeue(after=0.001)
            await self._release(operation, turn.node)
            released += 1
        return Result.wait_for_change()

    def _is_online(self, key: ObjectKey) -> bool:
        device = self._host.desk.device(key)
        return device is not None and device.online

    async def _release(self, operation: Operation, node: str) -> None:
        try:
            if node:
                status = msgspec.structs.replace(operation.status, node=node, reason="", error="")
                await self._api.write_status(msgspec.structs.replace(operation, status=status))
            else:
                await self._host.take(operation)
        except ConflictError:
            pass  # its change brings it here again

    async def _say_why(self, operation: Operation, hold: Hold) -> None:
        status = operation.status
        if hold.reason and (status.reason, status.error) != (hold.reason, hold.error):
            changed = msgspec.structs.replace(status, reason=hold.reason, error=hold.error)
            await self._api.write_status(msgspec.structs.replace(operation, status=changed))


def add_to(manager: Manager, host: ControllerHost, lost_seconds: float) -> Turns:
    """Register both controllers."""
    turns = Turns(lambda device: turning.enqueue(device))
    ending = Controller(
        "operation",
        OperationReconciler(manager, host, turns, lost_seconds),
        Operation,
        watches=[Watch(Node, lambda old, new: _of_node(manager, old, new))],
        workers=8,
    )
    turning = Controller("operation-turns", TurnReconciler(manager, host, turns), Resource, workers=8)
    operations = manager.informer(Operation, indexers={"node": lambda one: [one.status.node] if one.status.node else []})
    operations.add_handler(turns.changed)

    def resource_changed(old: Resource | None, new: Resource | None) -> None:
        if new is None or old is None or old.spec.taints != new.spec.taints or old.spec.model != new.spec.model:
            resource = new or old
            for key in turns.open(resource.key) if resource is not None else ():
                ending.enqueue(key)

    manager.informer(Resource).add_handler(resource_changed)
    manager.add(ending)
    manager.add(turning)
    return turns


def _of_node(manager: Manager, old: Node | None, new: Node | None) -> list[ObjectKey]:
    """Operations of a node that went or came."""
    node = new or old
    if node is None or (old is not None and new is not None and _ready(old) == _ready(new)):
        return []
    return list(manager.informer(Operation).index_keys("node", node.metadata.name))


def _ready(node: Node) -> str:
    return next((one.status for one in node.status.conditions if one.type == "Ready"), "")
