"""The host of a node's devices: takes their operations, keeps what must not be forgotten, and tells the controller.

    Operation (informer: status.node is this node) -> journal -> Delivered, guarded -> Desk -> device
    Desk -> Keeper.note -> journal -> device hears it; told to the API, newest first, until it has it
    Resource (informer: spec.nodeName is this node) -> journal -> Desk, also after a boot without a controller

`notAfter` is a promise of the controller's clock. The answer to the write that says Delivered carries that clock, so the host
knows how long is left when it asked, and counts that down by its own clock, however wrong its wall clock is.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from urllib.parse import quote

import msgspec
from plum_client.backoff import FAST, Backoff
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.devices import tickets as steps
from plum_client.devices.desk import Desk
from plum_client.devices.drivers import Device, Drivers
from plum_client.devices.protocol import Announcement, DeviceError, Reading, Received, away
from plum_client.devices.tickets import Moment, Ticket, delivered, status_of, ticket_of
from plum_client.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from plum_client.http_transport import HttpTransport
from plum_client.informer import Informer
from plum_client.work_queue import QueueClosedError, WorkQueue
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.operation import TERMINAL_OPERATION_PHASES, Operation, OperationStatus
from plum_schemas.operation_states import TRANSITIONS, is_final
from plum_schemas.resource import Resource

from plum_agent.operations.address import DeviceAddress
from plum_agent.operations.journal import Journal
from plum_agent.operations.listener import DeviceListener
from plum_agent.operations.reports import Reports

logger = logging.getLogger(__name__)

RETRY = Backoff(initial=0.1, maximum=15.0)
RELIST_SECONDS = 10.0
TRIES = 5
"""Versions of an operation that are looked at before the step is tried again later."""
TELLERS = 8
"""Operations told to the API at the same time."""
TICKET, RESOURCE = "t/", "r/"
"""Keys in the journal begin with one of them."""
_encode = msgspec.json.Encoder().encode
_ticket = msgspec.json.Decoder(Ticket).decode
_resource = msgspec.json.Decoder(Resource).decode
_endings = ",".join(f"status.phase!={phase}" for phase in sorted(TERMINAL_OPERATION_PHASES))


def boottime() -> float:
    """Seconds that count on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class DeviceHost:
    """Serves the devices of one node until `run` is cancelled."""

    def __init__(
        self,
        node: str,
        directory: Path | None,
        api: ApiClient,
        transport: HttpTransport | None,
        clock: Clock,
        boot_id: str,
        random: Random,
        seconds: Callable[[], float],
        outgoing_allow: str = "*",
    ) -> None:
        folder = None if directory is None else directory / "devices"
        self.node = node
        self.address = None if folder is None else DeviceAddress(folder)
        self.desk = Desk(self)
        self._api = api
        self._transport = transport
        self._clock = clock
        self._boot_id = boot_id
        self._seconds = seconds
        self._outgoing_allow = outgoing_allow
        self._journal = Journal(folder)
        self._resources: Informer[Resource] = Informer(
            api, Resource, fields=f"spec.nodeName={node}", random=random, relist_after=RELIST_SECONDS
        )
        self._operations: Informer[Operation] = Informer(
            api, Operation, fields=f"status.node={node},{_endings}", random=random, relist_after=RELIST_SECONDS
        )
        self._reports = Reports(node, transport, self._journal, self.moment, random)
        self._drivers = Drivers(self.desk, self._make_driver)
        self._known: dict[ObjectKey, Resource] = {}
        """Resources as they were seen last, also by agents before this one."""
        self._tickets: dict[str, Ticket] = {}
        """Everything that the journal holds, by uid."""
        self._queue: WorkQueue[tuple[ObjectKey, str]] = WorkQueue(RETRY, random)
        self._needed = asyncio.Event()

    async def run(self) -> None:
        """Go on with what the journal says, then follow the controller."""
        self._load()
        self._resources.add_handler(self._resource_changed)
        self._operations.add_handler(self._operation_changed)
        loop = asyncio.get_running_loop()
        parts = [self._resources.run(), self._after_first_list(), self._follow_operations(), self._reports.run()]
        if self.address is not None:
            parts.append(DeviceListener(self.desk, self.address).run())
        tasks = [loop.create_task(part) for part in (*parts, *(self._work() for _ in range(TELLERS)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            self._drivers.close()
            self.desk.close()
            self._queue.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._journal.close()

    def try_now(self) -> None:
        """The controller answers again."""
        self._resources.try_now()
        self._operations.try_now()
        self._reports.try_now()
        for ticket in self._tickets.values():
            self._queue.add((ticket.key, ticket.uid))

    def _load(self) -> None:
        entries = self._journal.load()
        for key, value in entries.items():
            try:
                if key.startswith(RESOURCE):
                    resource = _resource(value)
                    self._known[resource.key] = resource
                    self.desk.set_resource(resource.key, resource)
                    self._drivers.set_resource(resource.key, resource)
                elif key.startswith(TICKET):
                    ticket = steps.after_restart(_ticket(value), self.moment())
                    self._tickets[ticket.uid] = ticket
                    if ticket.phase != "Queued":
                        self.desk.restore(ticket)
            except msgspec.MsgspecError as error:
                logger.warning("entry of the journal of devices makes no sense", extra={"key": key, "error": str(error)})
        self._reports.restore(entries)
        if self._known or self._tickets:
            self._needed.set()

    async def _after_first_list(self) -> None:
        await self._resources.wait_synced()
        for key in [key for key in self._known if key not in self._resources]:
            await self._resource_gone(key)

    async def _follow_operations(self) -> None:
        """Watched from the first Resource of this node on: most nodes have no devices."""
        await self._needed.wait()
        following = asyncio.ensure_future(self._operations.run())
        try:
            await self._operations.wait_synced()
            for ticket in list(self._tickets.values()):
                self._queue.add((ticket.key, ticket.uid))
            await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    # ---- what the API says

    def _resource_changed(self, old: Resource | None, new: Resource | None) -> None:
        if new is None:
            if old is not None:
                self._queue.add((old.key, ""))
            return
        self._needed.set()
        self._remember(new)
        served = new if new.spec.driver.worker is None else None
        self.desk.set_resource(new.key, served)
        self._drivers.set_resource(new.key, served)
        device = self.desk.device(new.key)
        online = device is not None and device.online
        if online != new.status.connection.online:
            session, why = ("", "") if device is None else (device.session, device.why)
            self._reports.presence(new.key, online, session, "" if online else why)

    def _make_driver(self, resource: Resource) -> Device | None:
        """The device of a Resource that this node reaches by itself."""
        driver = resource.spec.driver.http
        if driver is None:
            return None
        from plum_client.devices.http_driver import HttpDevice  # with what it needs, megabytes that most nodes do without
        from plum_client.outgoing import OutgoingClient

        return HttpDevice(resource, driver, OutgoingClient(self._outgoing_allow, user_agent="plum-agent"))

    def _remember(self, resource: Resource) -> None:
        known = self._known.get(resource.key)
        metadata = resource.metadata
        slim = Resource(
            metadata=ObjectMeta(
                name=metadata.name, namespace=metadata.namespace, uid=metadata.uid, resource_version=metadata.resource_version
            ),
            spec=resource.spec,
        )
        self._known[resource.key] = slim
        if known is None or known.spec != resource.spec or known.metadata.uid != metadata.uid:
            self._queue.add((resource.key, ""))

    def _operation_changed(self, old: Operation | None, new: Operation | None) -> None:
        operation = new or old
        if operation is not None:
            self._queue.add((operation.key, operation.metadata.uid))

    # ---- one step at a time for each operation

    async def _work(self) -> None:
        while True:
            try:
                item = await self._queue.get()
            except QueueClosedError:
                return
            try:
                key, uid = item
                await (self._look(key, uid) if uid else self._keep_resource(key))
                self._queue.forget(item)
            except (ConflictError, NotFoundError):
                self._queue.retry(item, FAST)
            except (ApiError, DeviceError, OSError) as error:
                self._queue.retry(item)
                if not isinstance(error, ApiUnavailableError):
                    logger.info("step of an operation waits", extra={"key": str(item[0]), "error": str(error)})
            except Exception as error:
                self._queue.retry(item)
                logger.error("step of an operation failed", extra={"key": str(item[0])}, exc_info=error)
            finally:
                self._queue.done(item)

    async def _keep_resource(self, key: ObjectKey) -> None:
        resource = self._resources.get(key)
        if resource is None:
            if self._resources.is_synced:
                await self._resource_gone(key)
            return
        await self._journal.put((f"{RESOURCE}{key}", self._known.get(key, resource)))

    async def _resource_gone(self, key: ObjectKey) -> None:
        self._known.pop(key, None)
        self._drivers.set_resource(key, None)
        self.desk.set_resource(key, None)
        await self._journal.put((f"{RESOURCE}{key}", None))

    async def _look(self, key: ObjectKey, uid: str) -> None:
        """Bring one operation and the API one step closer."""
        operation, ticket = self._operations.get(key), self._tickets.get(uid)
        if operation is not None and operation.metadata.uid != uid:
            operation = None
        if ticket is None:
            if operation is not None and operation.status.node == self.node and not is_final(operation.status.phase):
                await self._meet(operation)
            return
        if ticket.phase == "Queued" and ticket.reason != "Returned":
            if operation is not None and operation.status.node == self.node:
                await self._take(operation)
            elif self._operations.is_synced:
                await self._forget(ticket)
            return
        if operation is not None and operation.spec.canceled and not ticket.canceled:
            await self.desk.cancel(ticket.device, uid)
        await self._tell(key, uid, operation)

    async def _meet(self, operation: Operation) -> None:
        """An operation that the journal knows nothing of."""
        status = operation.status
        if status.phase == "Queued" or operation.spec.delivery == "AtLeastOnce":
            await self._take(operation)
            return
        text = f"node {self.node} knows nothing of it: its data directory is a new one, and nobody knows what became of it"
        lost = msgspec.structs.replace(status, phase="Unknown", reason="RecordLost", error=text, finished_at=self._clock.now())
        await self._api.write_status(msgspec.structs.replace(operation, status=lost))

    async def _take(self, operation: Operation) -> None:
        """On disk first, then Delivered, guarded: of all hosts and the controller one decides about it from here on."""
        ticket, status = ticket_of(operation), operation.status
        if (known := self._tickets.get(ticket.uid)) is not None:
            ticket.attempt = max(ticket.attempt, known.attempt)
        if operation.spec.canceled and status.phase == "Queued":
            return  # the controller ends it
        if status.phase not in ("Queued", "Delivered"):
            ticket.attempt = max(ticket.attempt, 1)  # AtLeastOnce, of a journal that is lost
        await self._journal.put((f"{TICKET}{ticket.uid}", ticket))
        self._tickets[ticket.uid] = ticket
        asked = self._seconds()
        taken = msgspec.structs.replace(status, phase="Delivered", deliveries=status.deliveries + 1)
        stored = await self._api.write_status(msgspec.structs.replace(operation, status=taken))
        ticket = delivered(ticket, time_left(stored.status), asked, self.moment())
        await self._journal.put((f"{TICKET}{ticket.uid}", ticket))
        self._tickets[ticket.uid] = ticket
        await self.desk.offer(ticket)
        if self._resources.is_synced and self._resources.get(ticket.device) is None:
            self.desk.set_resource(ticket.device, None)  # its Resource went while it was written down: it is given back

    async def _tell(self, key: ObjectKey, uid: str, operation: Operation | None) -> None:
        """The API gets the newest; what has ended is forgotten when the API has it."""
        ticket = self._tickets[uid]
        for _ in range(TRIES):
            if operation is None:
                operation = await self._api.get(Operation, key)
            gone = operation is None or operation.metadata.uid != uid or operation.status.node != self.node
            if operation is None or gone or is_final(operation.status.phase):
                self.desk.withdraw(ticket.device, uid)
                await self._forget(ticket)
                return
            if await self._write(operation, ticket):
                break
            operation = None  # another version is there: look at that one
        else:
            raise ConflictError(f"operation {key} changes all the time")
        if self._tickets.get(uid) is ticket and (is_final(ticket.phase) or ticket.phase == "Queued"):
            await self._forget(ticket)

    async def _write(self, operation: Operation, ticket: Ticket) -> bool:
        """Whether the API has it. False: look again."""
        status = status_of(ticket, operation.status)
        if ticket.phase == "Queued":
            status = msgspec.structs.replace(status, node="")
        if status == operation.status:
            return True
        if status.phase != operation.status.phase and (operation.status.phase, status.phase) not in TRANSITIONS:
            return False
        try:
            await self._api.write_status(msgspec.structs.replace(operation, status=status))
        except ConflictError:
            return False
        return True

    async def _forget(self, ticket: Ticket) -> None:
        await self._journal.put((f"{TICKET}{ticket.uid}", None))
        self._tickets.pop(ticket.uid, None)

    # ---- Keeper

    def moment(self) -> Moment:
        return Moment(self._seconds(), self._clock.now(), self._boot_id)

    async def announce(self, key: ObjectKey, announcement: Announcement) -> Resource:
        path = f"/devices/{quote(key.namespace, '')}/{quote(key.name, '')}?node={quote(self.node, '')}"
        try:
            if self._transport is None:
                raise ApiUnavailableError("there is no controller")
            body = _encode(announcement)
            response = await self._transport.request("PUT", path, {"Content-Type": "application/json"}, body)
        except ApiUnavailableError as error:
            known = self._known.get(key)
            if known is not None:
                return known
            text = f"device {key} is not known on node {self.node} yet, and the controller is away: {error.message}; try again"
            raise away(text) from error
        if response.status != 200:
            raise _refusal(response.status, response.body)
        resource = _resource(response.body)
        self._needed.set()
        self._remember(resource)
        with suppress(OSError):  # kept for a boot without the controller, and told again by the watch
            await self._journal.put((f"{RESOURCE}{key}", self._known[key]))
        return resource

    async def note(self, ticket: Ticket) -> None:
        try:
            await self._journal.put((f"{TICKET}{ticket.uid}", ticket))
        except OSError as error:
            raise away(f"the node cannot write down this step of operation {ticket.name}: {error}; do not go on") from error
        self._tickets[ticket.uid] = ticket
        self._queue.add((ticket.key, ticket.uid))

    async def report(self, key: ObjectKey, readings: dict[str, Reading]) -> Received:
        device = self.desk.device(key)
        return await self._reports.add(key, "" if device is None else device.session, readings)

    def presence(self, key: ObjectKey, online: bool, session: str, reason: str = "") -> None:
        self._reports.presence(key, online, session, reason)


def time_left(status: OperationStatus) -> float | None:
    """Seconds in which it may be started, from when the controller wrote this. Both times are of its clock."""
    if status.expires_at is None:
        return None
    if status.delivered_at is None:
        return 0.0
    return (status.expires_at - status.delivered_at).total_seconds()


def _refusal(code: int, body: bytes) -> DeviceError:
    try:
        status = msgspec.json.decode(body)
        causes = (status.get("details") or {}).get("causes") or []
        return DeviceError(code, str(status.get("reason")), str(status.get("message")), causes)
    except (msgspec.MsgspecError, AttributeError):
        return DeviceError(code, "Unknown", f"the controller answered {code}")
