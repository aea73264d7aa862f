"""What becomes of a Resource when nobody says anything: values grow stale, devices of lost nodes are offline.

    Resource -> the next value that grows stale, by a timer -> quality stale
    Node, not ready for want of a lease, or gone            -> its devices are offline
    a device of the controller that did not come back after its restart -> offline, two heartbeats later

The host of a device says when it falls silent; this is for when the host cannot. A device never touches its node.
"""

from __future__ import annotations

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.node import Node
from plum_schemas.resource import Resource, ResourceStatus

from plum_controller.devices.host import ControllerHost
from plum_controller.domain.operation_plan import host_of
from plum_controller.domain.twin import becomes_stale


class PresenceReconciler:
    """Looks after one Resource."""

    def __init__(self, manager: Manager, host: ControllerHost) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._host = host
        self._resources = manager.informer(Resource)
        self._nodes = manager.informer(Node)
        self._since = manager.clock.monotonic()

    async def reconcile(self, key: ObjectKey) -> Result:
        """Write what time and lost nodes made of it."""
        resource = self._resources.get(key)
        if resource is None:
            return Result.wait_for_change()
        stale, wait = becomes_stale(resource.spec, resource.status.reported, self._clock.now())
        why, grace = self._offline(resource)
        status = resource.status
        if stale:
            reported = {
                name: msgspec.structs.replace(value, quality="stale") if name in stale else value
                for name, value in status.reported.items()
            }
            status = msgspec.structs.replace(status, reported=reported)
        if why:
            status = _gone(status, why)
        if status is not resource.status:
            await self._api.write_status(msgspec.structs.replace(resource, status=status))
        waits = [seconds for seconds in (wait, grace) if seconds is not None]
        return Result.requeue(after=max(0.001, min(waits))) if waits else Result.wait_for_change()

    def _offline(self, resource: Resource) -> tuple[str, float | None]:
        """Why it is offline though its status says online, and the seconds until that may be so."""
        if not resource.status.connection.online:
            return "", None
        name = host_of(resource.spec)
        if not name:
            return self._at_controller(resource)
        node = self._nodes.get(ObjectKey("", name))
        if node is None:
            return ("NodeGone", None) if self._nodes.is_synced else ("", None)
        ready = next((one.status for one in node.status.conditions if one.type == "Ready"), "")
        return ("NodeLost", None) if ready == "Unknown" else ("", None)

    def _at_controller(self, resource: Resource) -> tuple[str, float | None]:
        device = self._host.desk.device(resource.key)
        if device is not None and device.online:
            return "", None
        left = self._since + 2 * parse_duration(resource.spec.heartbeat) - self._clock.monotonic()
        why = device.why if device is not None else ""
        return ("", left) if left > 0 else (why or "Silent", None)


def _gone(status: ResourceStatus, why: str) -> ResourceStatus:
    return msgspec.structs.replace(status, connection=msgspec.structs.replace(status.connection, online=False, reason=why))


def add_to(manager: Manager, host: ControllerHost) -> None:
    """Register the controller."""
    resources = manager.informer(Resource, indexers={"node": lambda one: [host_of(one.spec)]})

    def of_node(old: Node | None, new: Node | None) -> list[ObjectKey]:
        node = new or old
        return [] if node is None else list(resources.index_keys("node", node.metadata.name))

    watch = Watch(Node, of_node)
    manager.add(Controller("device-presence", PresenceReconciler(manager, host), Resource, watches=[watch], workers=4))
