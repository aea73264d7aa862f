"""The desk of a host: the devices it serves, their sessions, and the operations that wait for them.

    Announcement, Report, Move --HTTP--> Desk --Ticket, written down by its Keeper--> Command --stream--> device
    Resource, Operation --informers--> Desk
    heartbeats, deadlines, timeouts: one timer for each device

What changes for one device happens one after the other, and nothing is told to a device before its Keeper has written down
what makes it true. Everything that is not written down can be made again: the Resource, and what the device says next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.operation_states import is_final
from plum_schemas.resource import Resource

from plum_client.devices import tickets as steps
from plum_client.devices.device import Commands, Device, Keeper, check_values, command_of
from plum_client.devices.protocol import Announcement, DeviceError, Move, Received, Report, Welcome, refused
from plum_client.devices.tickets import Moment, Ticket

logger = logging.getLogger(__name__)

REMEMBERED = 256
"""Ended operations of a device that are remembered, for a device that says an end again because the answer was lost."""
RETRY_SECONDS = 1.0
"""Before a step is tried again that could not be written down."""


class Desk:
    """Serves the devices of one host. All methods are called on one event loop."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._devices: dict[ObjectKey, Device] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    # ---- what devices say

    async def announce(self, key: ObjectKey, announcement: Announcement) -> Welcome:
        """A device is there. Raises `DeviceError`."""
        resource = await self._keeper.announce(key, announcement)
        async with self._locked(key) as device:
            self._take_in(device, resource)
            if device.session != announcement.session:
                await self._begin_session(device, announcement.session)
            self._hear(device)
            spec = resource.spec
            return Welcome(
                desired=dict(spec.desired),
                model=spec.model,
                cursor=resource.metadata.resource_version,
                heartbeat=spec.heartbeat,
            )

    async def _begin_session(self, device: Device, session: str) -> None:
        """The program of the device started anew: operations it had accepted are nobody's now."""
        moment = self._keeper.moment()
        for ticket in self._in_order(device):
            await self._note(device, steps.new_session(ticket, session, moment))
        if device.stream is not None:
            device.stream.close()
            device.stream = None
        device.session = session

    async def report(self, key: ObjectKey, report: Report) -> Received:
        """Values, or a heartbeat. Raises `DeviceError`."""
        device = self._of_session(key, report.session)
        check_values(device.model(), report.values)
        received = await self._keeper.report(key, report.values) if report.values else Received()
        for name, reading in report.values.items():
            device.reported[name] = reading.value
        self._hear(device)
        self._tell_desired(device)
        return received

    async def move(self, key: ObjectKey, operation: str, asked: Move) -> None:
        """How far an operation is. Raises `DeviceError`: 409 when the device must not go on with it."""
        device = self._of_session(key, asked.session)
        async with device.lock:
            self._of_session(key, asked.session)
            ticket = device.tickets.get(operation) or device.ended.get(operation)
            if ticket is None:
                raise refused(f"operation {operation} is not one that device {key} has to do; do not execute it", "NotFound")
            self._hear(device)
            after, refusal = steps.move(ticket, asked, self._keeper.moment())
            await self._note(device, after)
            self._pump(device)
            if refusal is not None:
                raise refusal

    def commands(self, key: ObjectKey, session: str) -> Commands:
        """Open the stream of a device; one that it had before ends. Raises `DeviceError`."""
        device = self._of_session(key, session)
        if device.stream is not None:
            device.stream.close()
        stream = device.stream = Commands()
        device.sent.clear()
        device.told.clear()
        self._hear(device)
        self._tell_desired(device)
        self._pump(device)
        for ticket in device.tickets.values():
            if ticket.is_under_way and (ticket.canceled or ticket.timed_out):
                stream.put({"type": "cancel", "id": ticket.uid})
        return stream

    def left(self, key: ObjectKey, stream: Commands) -> None:
        """The reader of a stream has gone."""
        stream.close()
        device = self._devices.get(key)
        if device is not None and device.stream is stream:
            device.stream = None
            device.sent.clear()

    def not_reached(self, key: ObjectKey, why: str, *, certain: bool) -> None:
        """The driver of a device does not reach it. `certain`: it is away now; else two heartbeats decide. Safe to repeat."""
        device = self._devices.get(key)
        if device is None:
            return
        device.why = why
        if device.online and certain:
            self._leave(device)
            self._set_timer(device)
        elif not device.online and certain and device.said_why != why:
            device.said_why = why
            self._keeper.presence(key, False, device.session, why)

    def under_way(self, key: ObjectKey, session: str) -> list[Ticket]:
        """Operations that a session has accepted and has not ended: a driver that begins anew goes on with these."""
        device = self._devices.get(key)
        if device is None:
            return []
        return [ticket for ticket in self._in_order(device) if ticket.is_under_way and ticket.session == session]

    # ---- what the API says

    def set_resource(self, key: ObjectKey, resource: Resource | None) -> None:
        """The Resource changed; None when this host does not serve it any more."""
        device = self._devices.get(key)
        if resource is not None:
            device = self._device(key)
            self._take_in(device, resource)
            self._tell_desired(device)
            self._pump(device)
            self._set_timer(device)
        elif device is not None:
            self._spawn(self._drop(device))

    async def _drop(self, device: Device) -> None:
        async with device.lock:
            moment = self._keeper.moment()
            for ticket in self._in_order(device):
                lost = steps.lose(ticket, "ResourceGone", "its Resource was deleted or moved away while it was under way", moment)
                if lost.phase == "Delivered":
                    lost = msgspec.structs.replace(lost, phase="Queued", reason="Returned")
                await self._note(device, lost)
            if device.stream is not None:
                device.stream.close()
            if device.timer is not None:
                device.timer.cancel()
            device.session = ""
            device.online = False
            if not device.tickets:
                self._devices.pop(device.key, None)

    def restore(self, ticket: Ticket) -> None:
        """A ticket that an earlier run of this host wrote down."""
        device = self._device(ticket.device)
        ticket = steps.after_restart(ticket, self._keeper.moment())
        if is_final(ticket.phase):
            self._remember(device, ticket)
            return
        device.tickets[ticket.uid] = ticket
        if ticket.is_under_way and not device.session:
            device.session = ticket.session  # it may come back as if nothing had happened
            device.heard = self._keeper.moment().seconds
        if ticket.is_under_way and ticket.session != device.session:
            self._spawn(self._disown(device, ticket))  # its program started anew before this was known here
        self._set_timer(device)

    async def _disown(self, device: Device, ticket: Ticket) -> None:
        """What a session that is over had accepted is nobody's."""
        while device.tickets.get(ticket.uid) is ticket and ticket.session != device.session:
            try:
                async with device.lock:
                    await self._note(device, steps.new_session(ticket, device.session, self._keeper.moment()))
                    self._pump(device)
                return
            except DeviceError as error:
                logger.info("step of an operation waits", extra={"key": str(device.key), "error": error.message})
                await asyncio.sleep(RETRY_SECONDS)

    async def offer(self, ticket: Ticket) -> None:
        """A ticket that is Delivered: written down before. Safe to repeat."""
        async with self._locked(ticket.device) as device:
            if ticket.uid in device.tickets or ticket.uid in device.ended:
                return
            device.tickets[ticket.uid] = ticket
            self._pump(device)
            self._set_timer(device)

    async def cancel(self, device_key: ObjectKey, uid: str) -> None:
        """The user of an operation wants it to stop. Safe to repeat."""
        device = self._devices.get(device_key)
        if device is None:
            return
        async with device.lock:
            ticket = device.tickets.get(uid)
            if ticket is None or ticket.canceled:
                return
            await self._note(device, steps.cancel(ticket, self._keeper.moment()))
            self._look(device)

    async def lose(self, device_key: ObjectKey, uid: str, reason: str, why: str) -> None:
        """Nobody will say how an operation under way ends. Raises `DeviceError`."""
        device = self._devices.get(device_key)
        if device is None:
            return
        async with device.lock:
            ticket = device.tickets.get(uid)
            if ticket is not None:
                await self._note(device, steps.lose(ticket, reason, why, self._keeper.moment()))
                self._pump(device)

    def withdraw(self, device_key: ObjectKey, uid: str) -> None:
        """The API has no such operation any more, or it has ended there."""
        device = self._devices.get(device_key)
        if device is None or uid not in device.tickets:
            return
        ticket = device.tickets.pop(uid)
        if ticket.is_under_way and device.stream is not None:
            device.stream.put({"type": "cancel", "id": uid})
        self._pump(device)

    def ticket(self, device_key: ObjectKey, uid: str) -> Ticket | None:
        device = self._devices.get(device_key)
        return None if device is None else device.tickets.get(uid) or device.ended.get(uid)

    def device(self, key: ObjectKey) -> Device | None:
        return self._devices.get(key)

    def devices(self) -> Iterable[Device]:
        return self._devices.values()

    def try_again(self) -> None:
        """What could not be written down may be, now."""
        for device in self._devices.values():
            self._look(device)

    def close(self) -> None:
        """End all streams. What is written down stays."""
        self._closed = True
        for device in self._devices.values():
            if device.stream is not None:
                device.stream.close()
            if device.timer is not None:
                device.timer.cancel()
        for task in self._tasks:
            task.cancel()

    # ---- inside

    def _device(self, key: ObjectKey) -> Device:
        device = self._devices.get(key)
        if device is None:
            device = self._devices[key] = Device(key)
        return device

    @asynccontextmanager
    async def _locked(self, key: ObjectKey) -> AsyncIterator[Device]:
        """The device for a step that may begin one. Who waited while it was dropped gets the one that is there now."""
        while True:
            device = self._device(key)
            async with device.lock:
                if self._devices.get(key) is device:
                    yield device
                    return

    def _of_session(self, key: ObjectKey, session: str) -> Device:
        device = self._devices.get(key)
        if device is None or not device.session or device.spec is None:
            raise refused(f"device {key} is not announced here; PUT /devices/{key.namespace}/{key.name} first", "NotAnnounced")
        if device.session != session:
            raise refused(f"device {key} speaks in session {device.session} now; announce a new one", "OtherSession")
        return device

    def _take_in(self, device: Device, resource: Resource) -> None:
        device.spec = resource.spec
        device.revision = resource.metadata.resource_version
        for name, reported in resource.status.reported.items():
            device.reported.setdefault(name, reported.value)

    def _hear(self, device: Device) -> None:
        device.heard, device.why, device.said_why = self._keeper.moment().seconds, "", ""
        if not device.online:
            device.online = True
            self._keeper.presence(device.key, True, device.session)
        self._set_timer(device)

    def _leave(self, device: Device) -> None:
        """It is away; whoever is there comes back."""
        device.online = False
        if device.stream is not None:
            device.stream.close()
            device.stream = None
            device.sent.clear()
        device.said_why = device.why
        self._keeper.presence(device.key, False, device.session, device.why)

    def _silent(self, device: Device, moment: Moment) -> float:
        """Seconds of silence; 0 for a device that is there."""
        return 0.0 if device.online else max(moment.seconds - device.heard, 0.001)

    async def _note(self, device: Device, ticket: Ticket) -> None:
        """Written down, then true."""
        known = device.tickets.get(ticket.uid)
        if known is ticket or known is None:
            return
        await self._keeper.note(ticket)
        if ticket.phase == "Delivered":
            device.sent.discard(ticket.uid)
        if is_final(ticket.phase) or ticket.phase == "Queued":
            device.tickets.pop(ticket.uid, None)
            device.sent.discard(ticket.uid)
            self._remember(device, ticket)
        else:
            device.tickets[ticket.uid] = ticket
        self._set_timer(device)

    def _remember(self, device: Device, ticket: Ticket) -> None:
        if ticket.phase == "Queued":
            return
        device.ended[ticket.uid] = ticket
        while len(device.ended) > REMEMBERED:
            device.ended.pop(next(iter(device.ended)))

    @staticmethod
    def _in_order(device: Device) -> list[Ticket]:
        return sorted(device.tickets.values(), key=lambda ticket: (ticket.sequence, ticket.name))

    def _pump(self, device: Device) -> None:
        """Send what is next, as many at once as the Resource allows, in the order in which they were asked for."""
        if device.stream is None or device.spec is None:
            return
        places = device.spec.operations_at_once
        for ticket in self._in_order(device):
            if ticket.is_under_way or ticket.uid in device.sent:
                places -= 1
            if places <= 0 and not ticket.is_under_way:
                return
            if ticket.phase == "Delivered" and ticket.uid not in device.sent and not ticket.canceled:
                places -= 1
                device.sent.add(ticket.uid)
                device.stream.put(command_of(ticket))

    def _tell_desired(self, device: Device) -> None:
        """Desired values that are not what was reported, and were not told on this stream."""
        if device.stream is None or device.spec is None:
            return
        values = {
            name: value
            for name, value in device.spec.desired.items()
            if (name not in device.reported or device.reported[name] != value)
            and (name not in device.told or device.told[name] != value)
        }
        if values:
            device.told.update(values)
            device.stream.put({"type": "desired", "values": values})

    def _set_timer(self, device: Device) -> None:
        if device.timer is not None:
            device.timer.cancel()
            device.timer = None
        if self._closed:
            return
        moment = self._keeper.moment()
        silent = self._silent(device, moment)
        waits = [seconds for ticket in device.tickets.values() if (seconds := steps.due(ticket, moment, silent)) is not None]
        if device.online:
            waits.append(device.heard + device.silence - moment.seconds)
        if waits:
            later = asyncio.get_running_loop().call_later
            device.timer = later(max(0.001, min(min(waits), 3600.0)), self._look, device)

    def _look(self, device: Device) -> None:
        self._spawn(self._tick(device))

    async def _tick(self, device: Device) -> None:
        """What time does to a device and its operations."""
        async with device.lock:
            moment = self._keeper.moment()
            if device.online and moment.seconds >= device.heard + device.silence:
                self._leave(device)
            silent = self._silent(device, moment)
            try:
                for ticket in self._in_order(device):
                    await self._note(device, self._asked_to_stop(device, steps.tick(ticket, moment, silent), moment))
            except DeviceError as error:
                logger.info("step of an operation waits", extra={"key": str(device.key), "error": error.message})
                if device.timer is not None:
                    device.timer.cancel()
                device.timer = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._look, device)
                return
            self._pump(device)
            self._set_timer(device)

    def _asked_to_stop(self, device: Device, ticket: Ticket, moment: Moment) -> Ticket:
        """Tell a connected device to stop what is cancelled or late."""
        wanted = ticket.is_under_way and (ticket.canceled or ticket.timed_out) and ticket.cancel_sent is None
        if not wanted or device.stream is None or not device.online:
            return ticket
        device.stream.put({"type": "cancel", "id": ticket.uid})
        return msgspec.structs.replace(ticket, cancel_sent=moment.seconds)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("work on a device broke off", extra={"error": str(error)}, exc_info=error)
