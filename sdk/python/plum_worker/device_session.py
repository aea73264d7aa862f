"""A driver's connection: announces the device, listens for commands, tells what it reports and how operations ended.

    announce -> commands stream --operation, desired, cancel--> Executor
        ^            |
        +-- broken --+        reports, ends --> told in order, again and again until somebody took them

A cut costs nothing but time: what was measured and what ended meanwhile is told when somebody is there again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from plum_schemas.durations import format_duration, parse_duration

from plum_worker.device_errors import DeviceRefusedError, DeviceUnavailableError
from plum_worker.device_executor import FIRST_PAUSE, LONGEST_PAUSE, NOT_ANNOUNCED, Executor, soon
from plum_worker.device_link import path_of
from plum_worker.device_outcomes import Outcome
from plum_worker.kv_http import Stop

if TYPE_CHECKING:
    from plum_worker.device import Device

logger = logging.getLogger("plum_worker.device")

FAREWELL_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""An end that its host knows no operation for is told again so long."""
GONE = 404
OTHER_SESSION = "OtherSession"


class Session:
    """One run of a driver. `session` in its requests tells it from an earlier run of the same device."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.id = uuid.uuid4().hex
        self.online = False
        self._link = device.link
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._reachable = asyncio.Event()
        self._stopping = asyncio.Event()
        self._broken = asyncio.Event()
        self._stream = Stop()
        self._senders = ThreadPoolExecutor(2, "plum-device-link")
        self._heard = time.monotonic()
        self._unheard: dict[str, float] = {}
        """Ends that the host knew no operation for, and since when."""
        self._announced = 0
        """How often it was taken."""
        self._heartbeat = device.heartbeat
        """Seconds; the Resource may ask for a shorter one than the driver."""
        self._executor = Executor(device, self._move, lambda: self.online, self._wake.set)

    def stop(self) -> None:
        """End soon. Safe to repeat."""
        self._stopping.set()
        self._stream.set()

    async def run(self) -> None:
        """Raises `DeviceRefusedError` when the device is not taken."""
        self.device.reports.wake = lambda: soon(self._loop, self._wake.set)
        polls = [
            self._executor.poll(found)
            for found in self.device.properties.values()
            if found.getter is not None and found.every > 0
        ]
        first = [found for found in self.device.properties.values() if found.getter is not None and found.every <= 0]
        tasks = [
            asyncio.create_task(work)
            for work in (self._connect(), self._tell(), self._executor.work(), self._executor.read(first), *polls)
        ]
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            done, _ = await asyncio.wait([*tasks[:3], stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()
            await self._say_farewell(tasks[1])
        finally:
            self.online = False
            self._stream.set()
            self._executor.close()
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)
            self.device.reports.wake = lambda: None
            await self._loop.run_in_executor(None, self._end_senders)

    def _end_senders(self) -> None:
        self._senders.shutdown(cancel_futures=True)  # a request ends after its timeout at the latest
        self._link.close()

    async def _say_farewell(self, sender: asyncio.Task[None]) -> None:
        """Tell what waits, if somebody is there."""
        deadline = self._loop.time() + FAREWELL_SECONDS
        while self.online and (len(self.device.reports) or self._executor.outcomes.untold) and self._loop.time() < deadline:
            if sender.done():
                return
            await asyncio.sleep(0.02)

    # ---- connecting

    async def _connect(self) -> None:
        device, pause = self.device, FIRST_PAUSE
        while True:
            try:
                announced = {
                    "session": self.id,
                    "type": device.type,
                    "model": device.model,
                    "heartbeat": format_duration(device.heartbeat),
                }
                self._broken.clear()  # before it is announced: what is found broken after that is
                answer = await self._ask("PUT", (), announced)
                self._announced += 1
                self.online = True
                self._reachable.set()
                pause = FIRST_PAUSE
                logger.info("device announced", extra={"device": device.name, "address": self._link.address})
                welcome = answer or {}
                if welcome.get("heartbeat"):
                    self._heartbeat = min(device.heartbeat, parse_duration(welcome["heartbeat"]))
                self._executor.want(welcome.get("desired") or {})
                self._wake.set()
                await self._listen()
                reason: object = "the stream ended"
            except DeviceUnavailableError as error:
                reason = error
            except DeviceRefusedError as error:
                if not _must_announce(error) or not self.online:
                    raise
                reason = error
            self.online = False
            self._reachable.clear()
            logger.info("device is not heard, trying again", extra={"device": device.name, "reason": str(reason)})
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _listen(self) -> None:
        """Take commands until the stream ends."""
        path = f"{path_of(self.device.namespace, self.device.name, 'commands')}?session={self.id}"
        self._stream = Stop()
        if self._stopping.is_set():
            return
        ended: asyncio.Future[None] = self._loop.create_future()

        def finish(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_exception(error) if error is not None else ended.set_result(None)

        def read(stream: Stop) -> None:
            problem: BaseException | None = None
            try:
                for command in self._link.lines(path, stream):
                    self._loop.call_soon_threadsafe(self._executor.take, command)
            except BaseException as error:
                problem = error
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(finish, problem)

        threading.Thread(target=read, args=(self._stream,), name="plum-device-commands", daemon=True).start()
        broken = asyncio.ensure_future(self._wait_broken())
        try:
            await asyncio.wait([ended, broken], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
        finally:
            self._stream.set()
            broken.cancel()
            if ended.done() and not ended.cancelled():
                ended.exception()

    async def _wait_broken(self) -> None:
        await self._broken.wait()

    async def _move(self, identity: str, body: Mapping[str, Any]) -> Any:
        return await self._ask("POST", ("operations", identity), {"session": self.id, **body})

    async def _ask(self, method: str, rest: tuple[str, ...], body: Any) -> Any:
        path = path_of(self.device.namespace, self.device.name, *rest)
        return await self._loop.run_in_executor(self._senders, self._link.ask, method, path, body)

    # ---- telling

    async def _tell(self) -> None:
        """Ends first, then values; an empty report when there is nothing to tell for half a heartbeat."""
        device, pause = self.device, FIRST_PAUSE
        while True:
            await self._reachable.wait()
            self._wake.clear()
            try:
                for outcome in list(self._executor.outcomes.untold.values()):
                    await self._tell_end(outcome)
                reports = device.reports.take()
                silent = time.monotonic() - self._heard
                if reports or silent >= self._heartbeat / 2:
                    await self._tell_values(reports)
                    pause = FIRST_PAUSE
                if len(device.reports):
                    continue
            except DeviceUnavailableError as error:
                logger.debug("nothing could be told", extra={"device": device.name, "reason": str(error)})
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
                continue
            wait = max(0.01, self._heartbeat / 2 - (time.monotonic() - self._heard))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), wait)

    async def _tell_end(self, outcome: Outcome) -> None:
        announced = self._announced
        try:
            await self._move(outcome.id, outcome.body())
            self._heard = time.monotonic()
        except DeviceRefusedError as error:
            if _must_announce(error):
                self._announce_again(error, announced)
            first = self._unheard.setdefault(outcome.id, time.monotonic())
            patient = outcome.id in self._executor.outcomes.fresh and time.monotonic() - first < PATIENCE_SECONDS
            if error.reason == "NotFound" and patient:
                return  # a host that was started anew learns of its operations a moment later than of its devices
            logger.info("end of an operation refused", extra={"operation": outcome.id, "reason": str(error)})
        self._unheard.pop(outcome.id, None)
        self._executor.outcomes.confirm(outcome.id)

    async def _tell_values(self, reports: Mapping[str, Any]) -> None:
        body = {"session": self.id, "values": {name: report.body() for name, report in reports.items()}}
        announced = self._announced
        try:
            await self._ask("POST", ("reports",), body)
            self._heard = time.monotonic()
        except DeviceUnavailableError:
            self.device.reports.give_back(reports)
            raise
        except DeviceRefusedError as error:
            if _must_announce(error):
                self.device.reports.give_back(reports)
                self._announce_again(error, announced)
            if error.reason == OTHER_SESSION:
                raise
            if len(reports) <= 1:
                logger.warning("value refused", extra={"values": str(body["values"])[:500], "reason": str(error)})
                return
            for name, report in reports.items():  # the others are not to blame
                await self._tell_values({name: report})

    def _announce_again(self, error: DeviceRefusedError, announced: int) -> None:
        """Whoever hears did not know this device. Raises `DeviceUnavailableError`: what was told is told again."""
        if announced == self._announced:  # else it was announced while the answer was on its way
            self.online = False
            self._reachable.clear()
            self._broken.set()
        raise DeviceUnavailableError(error.message, error.status) from error


def _must_announce(error: DeviceRefusedError) -> bool:
    """The host was started anew, or the Resource was deleted."""
    return error.reason == NOT_ANNOUNCED or error.status == GONE
