"""What a driver is asked for: operations and desired values, one after the other, and readings of its properties.

    command --take--> queue --may it begin?--> function of the driver --> outcome, recorded --> told by the session

The answer to `Accepted` decides: an operation that was refused there (expired, cancelled, given to another session) is never
begun. What was executed under a key is not executed again, whoever asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.durations import parse_duration

from plum_worker.context import TaskCanceledError
from plum_worker.device import OperationCall
from plum_worker.device_errors import DeviceError, DeviceRefusedError
from plum_worker.device_outcomes import Outcome, Outcomes

if TYPE_CHECKING:
    from plum_worker.device import Device, DeviceProperty

logger = logging.getLogger("plum_worker.device")

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
"""Seconds before somebody who did not answer is asked again."""
WRITE_PAUSE, LONGEST_WRITE_PAUSE = 2.0, 60.0
"""Seconds before a desired value is written again that the driver could not write."""
PROGRESS_SECONDS = 1.0
NOT_ANNOUNCED = "NotAnnounced"
"""Why a host refuses that was started anew: the device is announced again in a moment."""

Move = Callable[[str, Mapping[str, Any]], Awaitable[Any]]
"""Tells a step of an operation. Raises `DeviceError`."""


class Executor:
    """Runs the functions of one driver, for one session."""

    def __init__(self, device: Device, move: Move, is_online: Callable[[], bool], ended: Callable[[], None]) -> None:
        """`ended` is called when there is an outcome to tell."""
        self.device = device
        self.outcomes = Outcomes(device.folder, f"{device.namespace}.{device.name}")
        self._loop = asyncio.get_running_loop()
        self._move = move
        self._is_online = is_online
        self._ended = ended
        self._jobs: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()
        self._calls: dict[str, OperationCall] = {}
        """Operations that were heard of and have not ended."""
        self._driver = ThreadPoolExecutor(1, "plum-device-driver")
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._pauses: dict[str, float] = {}
        self._telling: set[asyncio.Task[None]] = set()
        self._closed = False

    def close(self) -> None:
        """What goes on is to stop; nobody is told how far it came, and that is the truth."""
        self._closed = True
        for call in self._calls.values():
            call.cancellation.cancel("the driver ends")
        for handle in self._retries.values():
            handle.cancel()
        self._driver.shutdown(wait=False, cancel_futures=True)
        self.outcomes.close()

    # ---- commands

    def take(self, command: Any) -> None:
        kind = command.get("type") if isinstance(command, dict) else None
        if kind == "operation":
            self._take_operation(command)
        elif kind == "desired":
            self.want(command.get("values") or {})
        elif kind == "cancel":
            call = self._calls.get(str(command.get("id")))
            if call is not None:
                call.cancellation.cancel(str(command.get("reason") or "cancelled"))
        else:
            logger.debug("command is of a kind that this driver does not know", extra={"command": str(command)[:200]})

    def _take_operation(self, command: Mapping[str, Any]) -> None:
        identity = str(command["id"])
        if identity in self._calls:
            return  # it was sent twice, and goes on
        key = str(command.get("idempotencyKey") or identity)
        known = self.outcomes.find(key)
        if known is not None:
            self._jobs.put_nowait(lambda: self._answer_again(known, identity))
            return
        tell = self._progress_of(identity)
        call = OperationCall(identity, str(command.get("method")), int(command.get("attempt") or 1), key, tell)
        self._calls[identity] = call
        self._jobs.put_nowait(lambda: self._operate(call, command))

    def want(self, values: Mapping[str, Any]) -> None:
        """Desired values: write those that the device does not have."""
        self.device.desired_values.update(values)
        for name, value in values.items():
            found = self.device.properties.get(name)
            newest = self.device.reports.newest
            if found is None or found.write is None or (name in newest and newest[name] == value):
                continue
            self._jobs.put_nowait(lambda found=found, value=value: self._write(found, value))  # type: ignore[misc]

    # ---- work, one after the other

    async def work(self) -> None:
        while True:
            job = await self._jobs.get()
            await job()

    async def _write(self, found: DeviceProperty, value: Any) -> None:
        name, device = found.name, self.device
        if device.desired_values.get(name) != value or found.write is None:
            return  # something else is wanted by now
        try:
            told = await self._call(found.write, (value,), {})
            if found.getter is not None:
                read = await self._call(found.getter, (), {})
                told = read if told is None else told
            device.reports.add({name: value if told is None else told}, datetime.now(UTC))
            self._pauses.pop(name, None)
        except Exception as error:
            pause = self._pauses.get(name, WRITE_PAUSE)
            self._pauses[name] = min(LONGEST_WRITE_PAUSE, pause * 2)
            logger.warning("desired value was not written", extra={"device": device.name, "property": name, "error": str(error)})
            again = lambda: self._jobs.put_nowait(lambda: self._write(found, value))  # noqa: E731
            self._retries[name] = self._loop.call_later(pause, again)

    async def _answer_again(self, known: Outcome, identity: str) -> None:
        """It was executed under this key before: tell the end, execute nothing."""
        if await self._accept(identity):
            self.outcomes.again(known, identity)
            self._ended()

    async def _operate(self, call: OperationCall, command: Mapping[str, Any]) -> None:
        try:
            if not await self._accept(call.id):
                return
            outcome = await self._execute(call, command)
        finally:
            self._calls.pop(call.id, None)
        await self._loop.run_in_executor(None, self.outcomes.record, outcome)
        self._ended()
        await self.read([found for found in self.device.properties.values() if found.getter is not None])

    async def _accept(self, identity: str) -> bool:
        """Ask whether it may begin. No answer is no."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._move(identity, {"phase": "Accepted"})
                return True
            except DeviceError as error:
                if isinstance(error, DeviceRefusedError) and error.reason != NOT_ANNOUNCED:
                    logger.info("operation refused", extra={"operation": identity, "reason": str(error)})
                    return False
                if not self._is_online():  # it is sent again with the next stream, if it may still begin then
                    logger.info("operation not begun", extra={"operation": identity, "reason": str(error)})
                    return False
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)

    async def _execute(self, call: OperationCall, command: Mapping[str, Any]) -> Outcome:
        def failed(error: str) -> Outcome:
            return Outcome(call.id, call.idempotency_key, "Failed", error=error)

        found = self.device.operations.get(call.method)
        if found is None:
            return failed(
                f"{self.device.name} has no operation {call.method!r}; it has {', '.join(self.device.operations) or 'none'}"
            )
        try:
            arguments = found.fill(command.get("arguments") or {}, call)
            limit = _seconds(command.get("timeout"))
        except ValueError as error:
            return failed(str(error))
        if _is_past(command.get("notAfter")):
            return failed("its time had passed when the device could begin")
        with contextlib.suppress(DeviceError):
            await self._move(call.id, {"phase": "Running"})
        try:
            result = msgspec.to_builtins(await self._call(found.function, (), arguments, call, limit))
        except TimeoutError:
            return failed(f"it took longer than {limit:g} s")
        except (TaskCanceledError, asyncio.CancelledError):
            if self._closed or not call.canceled:
                raise  # the driver ends: nobody knows how far it came, and that is what is told
            return failed(call.cancellation.reason or "cancelled")
        except DeviceError as error:
            return failed(error.message)
        except Exception as error:
            logger.warning("operation failed", extra={"operation": call.id, "method": call.method}, exc_info=error)
            return failed(f"{type(error).__name__}: {error}")
        return Outcome(call.id, call.idempotency_key, "Succeeded", result)

    async def _call(
        self,
        function: Callable[..., Any],
        positional: tuple[Any, ...],
        named: Mapping[str, Any],
        call: OperationCall | None = None,
        limit: float | None = None,
    ) -> Any:
        """A function of the driver. Raises `TimeoutError` behind the limit: a plain function goes on, and what follows waits."""
        if inspect.iscoroutinefunction(function):
            work: asyncio.Future[Any] = asyncio.ensure_future(function(*positional, **named))
        else:
            work = self._loop.run_in_executor(self._driver, lambda: function(*positional, **named))
        if call is None:
            return await work
        if isinstance(work, asyncio.Task):
            call.cancellation.on_cancel(lambda: soon(self._loop, work.cancel))
        done, _ = await asyncio.wait([work], timeout=limit)
        if not done:
            call.cancellation.cancel("it took too long", is_timeout=True)
            work.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            raise TimeoutError
        return work.result()

    # ---- reading

    async def poll(self, found: DeviceProperty) -> None:
        due = self._loop.time()
        while True:
            await self.read([found])
            due = max(due + found.every, self._loop.time())
            await asyncio.sleep(due - self._loop.time())

    async def read(self, properties: list[DeviceProperty]) -> None:
        for found in properties:
            assert found.getter is not None  # noqa: S101
            try:
                value = await self._call(found.getter, (), {})
                if value is not None:
                    self.device.reports.add({found.name: value}, datetime.now(UTC))
            except Exception as error:
                logger.warning("property not read", extra={"property": found.name, "error": str(error)})

    def _progress_of(self, identity: str) -> Callable[[float], None]:
        last = 0.0

        def tell(progress: float) -> None:
            nonlocal last
            if time.monotonic() - last < PROGRESS_SECONDS or self._closed:
                return
            last = time.monotonic()
            body = {"phase": "Running", "progress": progress}
            with contextlib.suppress(RuntimeError):
                soon(self._loop, lambda: self._keep(self._move(identity, body)))

        return tell

    def _keep(self, work: Awaitable[Any]) -> None:
        async def quietly() -> None:
            with contextlib.suppress(DeviceError):
                await work

        task = self._loop.create_task(quietly())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


def soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], Any]) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended
        loop.call_soon_threadsafe(callback)


def _seconds(limit: Any) -> float | None:
    """A timeout as seconds or as a duration; None: no limit."""
    if limit in (None, "", 0):
        return None
    return parse_duration(limit) if isinstance(limit, str) else float(limit)


def _is_past(moment: Any) -> bool:
    if not moment:
        return False
    found = datetime.fromisoformat(str(moment))
    return datetime.now(UTC) > (found if found.tzinfo is not None else found.replace(tzinfo=UTC))
