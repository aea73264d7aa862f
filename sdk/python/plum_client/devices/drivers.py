"""Devices without a program of their own: their host speaks for them, through the same desk as everybody.

    Resource with spec.driver -> Drivers -> a Driver as a task -> announce, heartbeats, commands -> Call -> the device

A Driver accepts an operation before it calls the device, as programs do. A call of which nobody knows whether it happened
ends an AtMostOnce operation as Unknown.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.resource import Driver as DriverSpec
from plum_schemas.resource import Resource

from plum_client.devices.desk import Desk
from plum_client.devices.device import Commands, command_of
from plum_client.devices.protocol import Announcement, DeviceError, Move, Report

logger = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between two tries to reach a device."""


class CallError(Exception):
    """A call of a device that brought no good answer."""

    def __init__(self, message: str, happened: bool | None) -> None:
        super().__init__(message)
        self.message = message
        self.happened = happened
        """True: the device refused or failed. False: it was never reached. None: nobody knows."""


class NobodyThereError(CallError):
    """There is nobody to call, and that is known for sure."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, False)
        self.reason = reason
        """CamelCase word for why the device is away."""


class TooLateError(CallError):
    """Its time was over before it could be begun; it never was."""

    def __init__(self, message: str) -> None:
        super().__init__(message, False)


class Device(Protocol):
    """How one kind of driver speaks to its device. Methods raise `CallError`."""

    session: str

    async def operate(self, key: ObjectKey, command: Mapping[str, Any]) -> Any:
        """Carry out an operation; its result."""

    async def stop(self, key: ObjectKey, command: Mapping[str, Any]) -> None:
        """An operation whose call was given up because its user wants it to stop."""

    async def desire(self, key: ObjectKey, values: Mapping[str, Any]) -> None:
        """Make these values so."""

    async def read(self, key: ObjectKey) -> dict[str, Any] | None:
        """Values it has now; None where it only can be looked at whether it is there. Raises `NobodyThereError` as well."""


class Driver:
    """Speaks for one device until its task is cancelled."""

    def __init__(self, desk: Desk, resource: Resource, device: Device) -> None:
        self._desk = desk
        self._key = resource.key
        self._device = device
        poll = resource.spec.driver.http.poll if resource.spec.driver.http is not None else None
        heartbeat = parse_duration(resource.spec.heartbeat)
        self._pause = min(parse_duration(poll) if poll else 1e9, heartbeat)
        self._patience = 2 * heartbeat
        self._wake = asyncio.Event()
        self._calls: dict[str, asyncio.Task[None]] = {}
        self._stopped: set[str] = set()
        """Operations that their users want to stop: otherwise a call that ends early is one that the host gave up."""

    async def run(self) -> None:
        """Look after it: there while it answers, and then its commands are carried out."""
        following: asyncio.Task[None] | None = None
        announced, failures, failing_since = False, 0, 0.0
        clock = asyncio.get_running_loop().time
        try:
            while True:
                try:
                    values = await self._device.read(self._key)
                    if not announced or following is None or following.done():
                        await self._desk.announce(self._key, Announcement(session=self._device.session))
                        announced = True
                        following = asyncio.ensure_future(self._follow(self._desk.commands(self._key, self._device.session)))
                    readings = {name: {"value": value} for name, value in (values or {}).items()}
                    await self._desk.report(self._key, _report(self._device.session, readings))
                    failures = 0
                    self._go_on()
                except (CallError, DeviceError) as error:
                    failures += 1
                    if failures == 1:
                        failing_since = clock()
                        logger.info("device does not answer", extra={"key": str(self._key), "error": error.message})
                    if isinstance(error, CallError):
                        self._desk.not_reached(
                            self._key,
                            error.reason if isinstance(error, NobodyThereError) else "DriverFailed",
                            certain=isinstance(error, NobodyThereError) or clock() - failing_since >= self._patience,
                        )
                pause = self._pause if not failures else min(LONGEST_PAUSE, self._pause, FIRST_PAUSE * 2 ** min(failures, 10))
                try:
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            tasks = [*self._calls.values(), *([following] if following is not None else [])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def look(self) -> None:
        """Something has changed: do not wait for the next look at the device."""
        self._wake.set()

    def _go_on(self) -> None:
        """With what this session had accepted before the host was started anew."""
        for ticket in self._desk.under_way(self._key, self._device.session):
            if ticket.uid not in self._calls:
                begun = {**command_of(ticket), "attempt": ticket.attempt}
                task = self._calls[ticket.uid] = asyncio.ensure_future(self._carry_out(begun, stop=ticket.canceled))
                task.add_done_callback(partial(self._done, ticket.uid))

    async def _follow(self, commands: Commands) -> None:
        try:
            async for line in commands.lines():
                if not line.strip():
                    continue
                command = json.loads(line)
                if command["type"] == "operation":
                    task = self._calls[command["id"]] = asyncio.ensure_future(self._operate(command))
                    task.add_done_callback(partial(self._done, command["id"]))
                elif command["type"] == "cancel" and (known := self._calls.get(command["id"])) is not None:
                    self._stopped.add(command["id"])
                    known.cancel()
                elif command["type"] == "desired":
                    await self._desire(command["values"])
        finally:
            self._desk.left(self._key, commands)

    def _done(self, uid: str, task: asyncio.Task[None]) -> None:
        self._calls.pop(uid, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("call of a device broke off", extra={"key": str(self._key), "error": str(error)}, exc_info=error)

    async def _operate(self, command: Mapping[str, Any]) -> None:
        if await self._accept(command["id"]):
            await self._carry_out(command)

    async def _accept(self, uid: str) -> bool:
        try:
            await self._desk.move(self._key, uid, Move(session=self._device.session, phase="Accepted"))
        except DeviceError as error:
            logger.info("operation is not carried out", extra={"key": str(self._key), "error": error.message})
            return False
        return True

    async def _carry_out(self, command: Mapping[str, Any], *, stop: bool = False) -> None:
        """Of one that was accepted. `stop`: its user wants it to stop, and who was to be told is not there any more."""
        uid, session = command["id"], self._device.session
        try:
            if stop:
                await self._device.stop(self._key, command)
            result = await self._device.operate(self._key, command)
            end = Move(session=session, phase="Succeeded", result=result)
        except TooLateError as error:
            if not await self._accept(uid):
                return  # the host knows that it is too late, and has said so
            end = Move(session=session, phase="Failed", error=error.message)
        except CallError as error:
            if error.happened is None:
                why = error.message
                await self._say(lambda: self._desk.lose(self._key, uid, "NoAnswer", why))
                return
            end = Move(session=session, phase="Failed", error=error.message)
        except asyncio.CancelledError:
            if uid not in self._stopped:
                raise
            self._stopped.discard(uid)
            await self._device.stop(self._key, command)
            end = Move(session=session, phase="Failed", error="stopped before the device answered")
        await self._say(lambda: self._desk.move(self._key, uid, end))
        self._wake.set()  # what it changed can be read now

    async def _say(self, tell: Callable[[], Awaitable[None]]) -> None:
        """Until it is written down, or refused for good."""
        pause = FIRST_PAUSE
        while True:
            try:
                await tell()
                return
            except DeviceError as error:
                if error.code < 500:
                    return
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _desire(self, values: Mapping[str, Any]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._device.desire(self._key, values)
                self._wake.set()
                return
            except CallError as error:
                logger.info("device does not take desired values", extra={"key": str(self._key), "error": error.message})
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def _report(session: str, readings: Mapping[str, Any]) -> Report:
    from msgspec import convert

    return convert({"session": session, "values": readings}, Report)


Make = Callable[[Resource], Device | None]
"""The device of a Resource; None: it has a program of its own."""


class Drivers:
    """The drivers of one host."""

    def __init__(self, desk: Desk, make: Make) -> None:
        self._desk = desk
        self._make = make
        self._running: dict[ObjectKey, tuple[DriverSpec, str, asyncio.Task[None], Driver]] = {}

    def set_resource(self, key: ObjectKey, resource: Resource | None) -> None:
        """Begin, change or end the driver of a Resource."""
        known = self._running.get(key)
        spec = None if resource is None else resource.spec.driver
        heartbeat = "" if resource is None else resource.spec.heartbeat
        if known is not None and (known[0], known[1]) != (spec, heartbeat):
            known[2].cancel()
            del self._running[key]
            known = None
        if known is None and resource is not None and spec is not None and (device := self._make(resource)) is not None:
            driver = Driver(self._desk, resource, device)
            task = asyncio.get_running_loop().create_task(driver.run(), name=f"driver {key}")
            task.add_done_callback(_ended)
            self._running[key] = (spec, heartbeat, task, driver)

    def look(self, key: ObjectKey) -> None:
        """Have the driver of a Resource, if it has one, look at its device now."""
        if (known := self._running.get(key)) is not None:
            known[3].look()

    def specs(self) -> Iterable[tuple[ObjectKey, DriverSpec]]:
        """Resources with a driver, and what they say of it."""
        return [(key, running[0]) for key, running in self._running.items()]

    def close(self) -> None:
        for _, _, task, _ in self._running.values():
            task.cancel()
        self._running.clear()


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("driver broke off", extra={"task": task.get_name(), "error": str(error)}, exc_info=error)
