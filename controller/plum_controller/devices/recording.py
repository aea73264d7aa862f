"""What devices say becomes the status of their Resources, one guarded write after the other for each.

    announcement -> type, model, node of the Resource, where nobody else decided about them
    report, presence -> status.reported, status.connection; delta and conditions follow in the same write

How old a value is comes with it; its time is that of the controller, less its age.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.devices.device import check_values
from plum_client.devices.protocol import Announcement, DeviceError, Reading, away, refused
from plum_client.errors import AlreadyExistsError, ApiError, ApiUnavailableError, ConflictError, InvalidObjectError, NotFoundError
from plum_client.informer import Informer
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.durations import parse_duration
from plum_schemas.resource import Connection, Reported, Resource, ResourceSpec, ResourceStatus

from plum_controller.domain.twin import same_value

MANAGER = "plum-device"
"""Owner of the fields that a device announced: it may change those again, and no others."""
TRIES = 20
REFRESH_SECONDS = 60.0
"""A value that was reported again and is the same is written anew no more often."""
MOST_LOCKS = 10_000


class Presence(NamedTuple):
    """What is known of whether a device is there."""

    online: bool | None
    """None: nothing but that it reported."""
    session: str
    reason: str
    """Why it is away; empty: it is silent."""


class Recorder:
    """Writes Resources in the name of devices."""

    def __init__(self, api: ApiClient, resources: Informer[Resource], clock: Clock) -> None:
        self._api = ApiClient(api.transport, field_manager=MANAGER)
        self._resources = resources
        self._clock = clock
        self._newest: dict[ObjectKey, Resource] = {}
        """What was written last, until the informer has it."""
        self._locks: dict[ObjectKey, asyncio.Lock] = {}

    # ---- announcements

    async def announce(self, key: ObjectKey, announcement: Announcement, node: str) -> Resource:
        """The Resource of a device that is connected to a node (empty: to the controller). Raises `DeviceError`."""
        try:
            for _ in range(TRIES):
                live = await self._api.get(Resource, key)
                try:
                    return await (
                        self._create(key, announcement, node) if live is None else self._adopt(live, announcement, node)
                    )
                except (ConflictError, AlreadyExistsError, NotFoundError):
                    continue
        except ApiError as error:
            raise error_of(error) from error
        raise away(f"resource {key} changes all the time; announce again")

    async def _create(self, key: ObjectKey, announcement: Announcement, node: str) -> Resource:
        spec = ResourceSpec(type=announcement.type, node_name=node)
        if announcement.model is not None:
            spec.model = announcement.model
        if announcement.heartbeat is not None:
            spec.heartbeat = announcement.heartbeat
        made = Resource(metadata=ObjectMeta(name=key.name, namespace=key.namespace), spec=spec)
        return await self._api.create(made, field_validation="Strict")

    async def _adopt(self, live: Resource, announcement: Announcement, node: str) -> Resource:
        """Change what only devices decided so far."""
        spec, taken = live.spec, owned_by_others(live)
        wanted: dict[str, Any] = {}
        if announcement.type and "type" not in taken and spec.type != announcement.type:
            wanted["type"] = announcement.type
        if announcement.heartbeat is not None and "heartbeat" not in taken and spec.heartbeat != announcement.heartbeat:
            wanted["heartbeat"] = announcement.heartbeat
        if announcement.model is not None and "model" not in taken and spec.model != announcement.model:
            model = msgspec.to_builtins(announcement.model)
            wanted["model"] = {"properties": model.get("properties") or [], "operations": model.get("operations") or []}
        if spec.node_name != node and spec.driver.worker is None:
            if "nodeName" in taken:
                where = f"node {spec.node_name}" if spec.node_name else "the controller"
                text = f"resource {live.key} is connected to {where} by its spec.nodeName; announce it there, or change that"
                raise refused(text, "OtherNode")
            wanted["nodeName"] = node
        if not wanted:
            return live
        patch = {"metadata": {"resourceVersion": live.metadata.resource_version}, "spec": wanted}
        return await self._api.patch(Resource, live.key, patch)

    # ---- reports

    async def report(
        self,
        key: ObjectKey,
        node: str,
        values: Mapping[str, Reading],
        age: float = 0.0,
        online: bool | None = None,
        session: str = "",
        reason: str = "",
    ) -> None:
        """Put values, and whether the device is there (or why not), into the status. Raises `DeviceError`."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        if len(self._locks) > MOST_LOCKS:
            self._locks = {one: held for one, held in self._locks.items() if held.locked()}
        moment = self._clock.now() - timedelta(seconds=age)
        async with lock:
            try:
                await self._write(key, node, values, moment, Presence(online, session, reason))
            except ApiError as error:
                raise error_of(error) from error

    async def _write(
        self, key: ObjectKey, node: str, values: Mapping[str, Reading], moment: datetime, presence: Presence
    ) -> None:
        live = self._newest_of(key)
        for _ in range(TRIES):
            live = live or await self._api.get(Resource, key)
            if live is None:
                raise DeviceError(404, "NotFound", f"there is no resource {key}; announce the device")
            if serving_node(live) != node:
                raise refused(
                    f"resource {key} is not served by {f'node {node}' if node else 'the controller'} any more", "OtherNode"
                )
            check_values(live.spec.model, dict(values))
            status = next_status(live, values, moment, presence, node)
            if status is None:
                return
            try:
                self._newest[key] = await self._api.write_status(msgspec.structs.replace(live, status=status))
                return
            except (ConflictError, NotFoundError):
                live = None
        raise away(f"resource {key} changes all the time; report again")

    def _newest_of(self, key: ObjectKey) -> Resource | None:
        seen, written = self._resources.get(key), self._newest.get(key)
        if written is None or seen is None:
            return seen or written
        if (
            int(seen.metadata.resource_version) >= int(written.metadata.resource_version)
            or seen.metadata.uid != written.metadata.uid
        ):
            del self._newest[key]
            return seen
        return written


def serving_node(resource: Resource) -> str:
    return "" if resource.spec.driver.worker is not None else resource.spec.node_name


def next_status(
    live: Resource, values: Mapping[str, Reading], moment: datetime, presence: Presence, node: str
) -> ResourceStatus | None:
    """The status with these values in it; None when that is what it says already."""
    online, session, reason = presence
    status, reported, changed = live.status, dict(live.status.reported), False
    for name, reading in values.items():
        known = reported.get(name)
        if known is not None and not _is_news(live, name, known, reading, moment):
            continue
        changed = True
        reported[name] = Reported(value=reading.value, time=moment, device_time=reading.device_time, quality=reading.quality)
    connection = status.connection
    if online is None and values and not connection.online:
        online = True
    came = online is not None and connection.online != online
    moved = bool(online) and (connection.session, connection.node) != (session, node)
    explained = online is False and bool(reason) and connection.reason != reason
    changed = changed or came or moved or explained
    if not changed:
        return None
    there = connection.online if online is None else online
    seen = moment if there else connection.last_seen
    if seen is not None and connection.last_seen is not None:
        seen = max(seen, connection.last_seen)
    why = "" if there else reason or (connection.reason if online is None else "")
    connection = Connection(online=there, last_seen=seen, node=node, session=session, reason=why)
    return msgspec.structs.replace(status, reported=reported, connection=connection)


def _is_news(live: Resource, name: str, known: Reported, reading: Reading, moment: datetime) -> bool:
    if known.time is not None and moment < known.time:
        return False  # a newer one is there
    if known.quality != reading.quality or not same_value(known.value, reading.value):
        return True
    if known.time is None:
        return True
    after = stale_seconds(live.spec, name)
    return (moment - known.time).total_seconds() >= min(REFRESH_SECONDS, REFRESH_SECONDS if after is None else after / 2)


def stale_seconds(spec: ResourceSpec, name: str) -> float | None:
    """After how long a value of this property is stale; None never."""
    own = next((one.stale_after for one in spec.model.properties if one.name == name), None)
    text = own or spec.stale_after
    return None if text is None else parse_duration(text)


def owned_by_others(live: Resource) -> set[str]:
    """Fields of the spec that somebody else than a device decided about."""
    found: set[str] = set()
    for entry in live.metadata.managed_fields:
        if entry.get("manager") != MANAGER and not entry.get("subresource"):
            fields = (entry.get("fieldsV1") or {}).get("f:spec") or {}
            found.update(name.removeprefix("f:") for name in fields if name.startswith("f:"))
    return found


def error_of(error: ApiError) -> DeviceError:
    """An answer of the API as a device gets it."""
    if isinstance(error, ApiUnavailableError):
        return away(f"the store does not answer: {error.message}")
    causes = [{"reason": one.reason, "message": one.message, "field": one.field} for one in error.causes]
    code = 422 if isinstance(error, InvalidObjectError) else error.code or 500
    return DeviceError(code, error.reason or "Invalid", error.message, causes)
