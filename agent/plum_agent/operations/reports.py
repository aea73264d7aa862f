"""What devices of this node reported and the controller does not have yet: in order, the newest of each value for sure.

    report -> queue -> POST /agent/v1/devices, many at once -> 200 to the device
                |  the controller is away, or slow to answer
                +-> journal -> 200 to the device; sent when the controller is back, also by the agent after this one

The room is bounded. When it is full, old values give way to newer ones of the same property; the newest of each is kept.
How old a value is travels with it, so that no clock of this machine is believed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from random import Random
from typing import Any

import msgspec
from plum_client.backoff import Backoff, Pause
from plum_client.devices.protocol import DeviceError, Reading, Received, away
from plum_client.devices.tickets import Moment
from plum_client.errors import ApiUnavailableError
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey, Struct

from plum_agent.operations.journal import Journal

logger = logging.getLogger(__name__)

PATH = "/agent/v1/devices"
MOST_VALUES = 20_000
"""Values that wait. Some megabytes."""
AT_ONCE = 200
"""Reports in one request."""
PATIENCE_SECONDS = 1.0
"""A device is not kept waiting longer for the controller; then the report goes to the disk."""
RETRY = Backoff(initial=0.1, maximum=15.0)
KEY = "v/"


class Waiting(Struct):
    """One report that waits."""

    namespace: str
    name: str
    values: dict[str, Reading]
    seconds: float
    boot_id: str
    at: datetime
    session: str = ""

    @property
    def device(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


_decode = msgspec.json.Decoder(Waiting).decode


class Reports:
    """The queue of one node."""

    def __init__(
        self, node: str, transport: HttpTransport | None, journal: Journal, moment: Callable[[], Moment], random: Random
    ) -> None:
        self._node = node
        self._transport = transport
        self._journal = journal
        self._moment = moment
        self._random = random
        self._queue: dict[int, Waiting] = {}
        self._stored: set[int] = set()
        self._futures: dict[int, asyncio.Future[None]] = {}
        self._presence: dict[ObjectKey, tuple[bool, str, str]] = {}
        self._values = 0
        self._next = 0
        self._away = False
        self._wake = asyncio.Event()
        self._pause = Pause()

    def __len__(self) -> int:
        """Reports that wait."""
        return len(self._queue)

    def restore(self, entries: dict[str, bytes]) -> None:
        """Those that an agent before this one could not send."""
        for key in sorted(key for key in entries if key.startswith(KEY)):
            with suppress(msgspec.MsgspecError, ValueError):
                number = int(key.removeprefix(KEY))
                self._queue[number] = _decode(entries[key])
                self._values += len(self._queue[number].values)
                self._stored.add(number)
                self._next = max(self._next, number + 1)
        self._wake.set()

    async def add(self, key: ObjectKey, session: str, values: dict[str, Reading]) -> Received:
        """In the store, or on the disk here, when it returns. Raises `DeviceError`; then it is in neither."""
        moment = self._moment()
        number, self._next = self._next, self._next + 1
        waiting = Waiting(
            namespace=key.namespace, name=key.name, values=values, seconds=moment.seconds, boot_id=moment.boot_id,
            at=moment.now, session=session,
        )  # fmt: skip
        self._queue[number] = waiting
        self._values += len(values)
        dropped = self._make_room() if self._values > MOST_VALUES else 0
        future = self._futures[number] = asyncio.get_running_loop().create_future()
        self._wake.set()
        try:
            if not self._away:
                done, _ = await asyncio.wait({future}, timeout=PATIENCE_SECONDS)
                if done:
                    future.result()
                    return Received(dropped=dropped)
            if number in self._queue:
                await self._store(number)
            elif future.done():
                future.result()
        finally:
            self._futures.pop(number, None)
        return Received(dropped=dropped)

    async def _store(self, number: int) -> None:
        waiting = self._queue[number]
        try:
            await self._journal.put((f"{KEY}{number:016d}", waiting))
        except OSError as error:
            if self._queue.pop(number, None) is not None:
                self._values -= len(waiting.values)
            raise away(f"the node cannot keep this report, and the controller is away: {error}; report again") from error
        if number in self._queue:
            self._stored.add(number)
        else:
            await self._forget([number])  # sent meanwhile

    def _make_room(self) -> int:
        """Values that are not the newest of their property give way, the oldest first."""
        newest: dict[tuple[ObjectKey, str], int] = {}
        for number, waiting in self._queue.items():
            newest.update({(waiting.device, name): number for name in waiting.values})
        dropped, wanted = 0, self._values - MOST_VALUES + MOST_VALUES // 10
        for number, waiting in list(self._queue.items()):
            if dropped >= wanted:
                break
            kept = {name: reading for name, reading in waiting.values.items() if newest[waiting.device, name] == number}
            dropped += len(waiting.values) - len(kept)
            self._values -= len(waiting.values) - len(kept)
            if kept:
                waiting.values = kept
            else:
                self._take_out(number, None)
        return dropped

    def presence(self, key: ObjectKey, online: bool, session: str, reason: str = "") -> None:
        """A device came or went; the newest counts."""
        self._presence[key] = (online, session, reason)
        self._wake.set()

    def try_now(self) -> None:
        """The controller answers again."""
        self._pause.end()

    async def run(self) -> None:
        """Send, until cancelled."""
        failures = 0
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue or self._presence:
                try:
                    await self._send()
                    failures, self._away = 0, False
                except ApiUnavailableError as error:
                    failures += 1
                    if not self._away:
                        logger.info("reports of devices wait for the controller", extra={"error": error.message})
                    self._away = True
                    for future in self._futures.values():
                        if not future.done():
                            future.set_result(None)  # `add` looks whether it is still waiting, and writes it down
                    await self._pause.wait(max(error.retry_after, RETRY.delay(failures, self._random)))

    async def _send(self) -> None:
        if self._transport is None:
            raise ApiUnavailableError("there is no controller")
        moment = self._moment()
        numbers = list(self._queue)[:AT_ONCE]
        presence = dict(list(self._presence.items())[:AT_ONCE])
        items: list[dict[str, Any]] = [_presence_item(key, *state) for key, state in presence.items()]
        items += [_item(self._queue[number], moment) for number in numbers]
        body = msgspec.json.encode({"node": self._node, "items": items})
        response = await self._transport.request("POST", PATH, {"Content-Type": "application/json"}, body)
        if response.status != 200:
            raise ApiUnavailableError(f"the controller answered {response.status} to reports of devices")
        results = msgspec.json.decode(response.body)["results"]
        for (key, state), result in zip(presence.items(), results[: len(presence)], strict=True):
            if self._presence.get(key) == state and result["code"] < 500:
                del self._presence[key]
        stored: list[int] = []
        for number, result in zip(numbers, results[len(presence) :], strict=True):
            if result["code"] >= 500:
                raise ApiUnavailableError(str(result.get("message")))
            if number in self._stored:
                stored.append(number)
            self._take_out(number, result if result["code"] >= 400 else None)
        await self._forget(stored)

    def _take_out(self, number: int, refusal: dict[str, Any] | None) -> None:
        waiting = self._queue.pop(number, None)
        if waiting is None:
            return
        self._values -= len(waiting.values)
        future = self._futures.get(number)
        if refusal is None:
            if future is not None and not future.done():
                future.set_result(None)
            return
        error = DeviceError(refusal["code"], refusal.get("reason", "Invalid"), refusal.get("message", ""))
        if future is not None and not future.done():
            future.set_exception(error)
            future.exception()  # whoever waits gets it; nobody may
        else:
            logger.warning("report was refused", extra={"key": str(waiting.device), "error": error.message})

    async def _forget(self, numbers: list[int]) -> None:
        self._stored.difference_update(numbers)
        with suppress(OSError):  # sent twice at worst, which changes nothing
            await self._journal.put(*[(f"{KEY}{number:016d}", None) for number in numbers])


def _item(waiting: Waiting, moment: Moment) -> dict[str, Any]:
    same_boot = waiting.boot_id == moment.boot_id
    age = moment.seconds - waiting.seconds if same_boot else (moment.now - waiting.at).total_seconds()
    return {
        "namespace": waiting.namespace,
        "name": waiting.name,
        "session": waiting.session,
        "age": max(0.0, age),
        "values": waiting.values,
    }


def _presence_item(key: ObjectKey, online: bool, session: str, reason: str) -> dict[str, Any]:
    item = {"namespace": key.namespace, "name": key.name, "session": session, "online": online, "age": 0.0, "values": {}}
    return {**item, "reason": reason} if reason else item
