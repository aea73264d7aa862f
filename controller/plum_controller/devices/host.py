"""Serves the devices that are connected to no node: the store is their journal.

    Operation, its turn has come -> Delivered, guarded -> Desk -> device
    Desk -> Keeper.note -> status of the Operation, guarded -> the device hears it

After a restart everything is made again from the objects; sessions go on when their programs come back with them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.devices.desk import Desk
from plum_client.devices.protocol import Announcement, DeviceError, Reading, Received, refused
from plum_client.devices.tickets import Moment, Ticket, delivered, status_of, ticket_of
from plum_client.errors import ApiError, ConflictError, NotFoundError
from plum_client.informer import Informer
from plum_schemas.base import ObjectKey
from plum_schemas.operation import Operation
from plum_schemas.operation_states import TRANSITIONS, is_final
from plum_schemas.resource import Resource

from plum_controller.devices.recording import Recorder, error_of

logger = logging.getLogger(__name__)

TRIES = 5


class ControllerHost:
    """Keeper of the controller's own desk."""

    def __init__(self, api: ApiClient, clock: Clock, recorder: Recorder, operations: Informer[Operation]) -> None:
        self.desk = Desk(self)
        self.recorder = recorder
        self._api = api
        self._clock = clock
        self._operations = operations
        self._boot = f"{os.getpid()}-{time.monotonic_ns()}"
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_restored: Callable[[ObjectKey], None] = lambda device: None
        """Told of a device that has an operation again which an earlier process gave out."""

    def close(self) -> None:
        self.desk.close()
        for task in self._tasks:
            task.cancel()

    def restore(self, operation: Operation) -> None:
        """One that an earlier process of the controller gave out."""
        if self.desk.ticket(ObjectKey(operation.metadata.namespace, operation.spec.resource_ref), operation.metadata.uid):
            return
        ticket, status, moment = ticket_of(operation), operation.status, self.moment()
        age = 0.0 if status.accepted_at is None else max(0.0, (moment.now - status.accepted_at).total_seconds())
        left = None if status.expires_at is None else (status.expires_at - moment.now).total_seconds()
        ticket = msgspec.structs.replace(
            delivered(ticket, left, moment.seconds, moment),
            deliveries=status.deliveries,
            phase=status.phase,
            session=status.session,
            accepted=moment.seconds - age,
            accepted_at=status.accepted_at,
            started_at=status.started_at,
            progress=status.progress,
            canceled=operation.spec.canceled,
        )
        self.desk.restore(ticket)
        self.on_restored(ticket.device)

    async def take(self, operation: Operation) -> None:
        """Queued -> Delivered, guarded, and to the desk. Raises API errors."""
        status, asked = operation.status, self.moment().seconds
        taken = msgspec.structs.replace(status, phase="Delivered", deliveries=status.deliveries + 1, node="", reason="", error="")
        stored = await self._api.write_status(msgspec.structs.replace(operation, status=taken))
        left = None
        if stored.status.expires_at is not None and stored.status.delivered_at is not None:
            left = (stored.status.expires_at - stored.status.delivered_at).total_seconds()
        await self.desk.offer(delivered(ticket_of(operation), left, asked, self.moment()))

    # ---- Keeper

    def moment(self) -> Moment:
        return Moment(self._clock.monotonic(), self._clock.now(), self._boot)

    async def announce(self, key: ObjectKey, announcement: Announcement) -> Resource:
        return await self.recorder.announce(key, announcement, "")

    async def note(self, ticket: Ticket) -> None:
        operation = self._operations.get(ticket.key)
        try:
            for attempt in range(TRIES):
                if operation is None or attempt:
                    operation = await self._api.get(Operation, ticket.key)
                if operation is None or operation.metadata.uid != ticket.uid:
                    raise refused(f"operation {ticket.name} is gone; do not execute it", "NotFound")
                status = status_of(ticket, operation.status)
                if status == operation.status:
                    return
                phase = operation.status.phase
                if is_final(phase):
                    raise refused(f"operation {ticket.name} ended as {phase}: {operation.status.error}", phase)
                if phase != status.phase and (phase, status.phase) not in TRANSITIONS:
                    continue  # an old version
                try:
                    await self._api.write_status(msgspec.structs.replace(operation, status=status))
                    return
                except (ConflictError, NotFoundError):
                    continue
        except ApiError as error:
            raise error_of(error) from error
        raise DeviceError(503, "ServiceUnavailable", f"operation {ticket.name} changes all the time; try again")

    async def report(self, key: ObjectKey, readings: dict[str, Reading]) -> Received:
        device = self.desk.device(key)
        await self.recorder.report(key, "", readings, session="" if device is None else device.session, online=True)
        return Received()

    def presence(self, key: ObjectKey, online: bool, session: str, reason: str = "") -> None:
        async def tell() -> None:
            while True:
                device = self.desk.device(key)
                if device is not None and device.online != online:
                    return  # it has changed meanwhile
                try:
                    await self.recorder.report(key, "", {}, online=online, session=session, reason=reason)
                    return
                except DeviceError as error:
                    if error.code < 500:
                        return
                    await asyncio.sleep(1.0)

        task = asyncio.get_running_loop().create_task(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
