"""The way of status to the API: one pending state per instance, the newest; in order; on disk while it cannot be delivered.

    put(key, patch) -> pending (a newer one replaces an older) -> send -> delivered
                                   | the API does not answer
                                   v
                       <data>/<node>/outbox/<sequence>   survives the agent, sent before anything newer of another instance

While the API answers, several instances are sent at once. After a failure one probing request goes first, and then what
waited goes in the order in which it came, many in one request, until nothing is left. There is one report for each instance
of the node at most, so the queue is as long as the node is full: beyond `MOST_STORED` nothing is written to the disk, and a
report that an end of the agent loses is made again from the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import msgspec
from plum_client.backoff import Backoff
from plum_client.errors import ApiError, ApiUnavailableError, TooManyRequestsError
from plum_schemas.base import Condition, ObjectKey, Struct

logger = logging.getLogger(__name__)

TOGETHER = 100
"""Reports in one request, where several wait."""
TOGETHER_FROM = 8
"""Waiting reports from which they are sent together: below that, side by side is as fast and each arrives by itself."""
SENDERS = 16
"""Requests at the same time while the API answers."""
RETRY = Backoff(initial=0.1, maximum=5.0)
MOST_STORED = 5000
"""Reports on disk; a node takes 1,000 instances unless it says otherwise."""


class Report(Struct):
    """The newest state of one instance."""

    namespace: str
    name: str
    uid: str
    """The incarnation it speaks of: a report never reaches a later object of the same name."""
    status: dict[str, Any]
    """The agent's fields as a merge patch."""
    conditions: list[Condition] = []
    """The agent's conditions; those of others are added when it is sent."""

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.name)


Send = Callable[[Report], Awaitable[None]]
SendTogether = Callable[[Sequence[Report]], Awaitable[Sequence[Report]]]
"""Sends several in one request, in order. Answers with those that have to be sent one by one."""


class DeliveryQueue:
    """Sends reports until cancelled. `directory` None keeps them in memory only."""

    def __init__(
        self,
        send: Send,
        directory: Path | None,
        random: Random | None = None,
        send_together: SendTogether | None = None,
        delivered: Callable[[ObjectKey], None] = lambda key: None,
    ) -> None:
        """`delivered` is told of each instance whose status has arrived and of which nothing else is on its way."""
        self._on_delivered = delivered
        self._send = send
        self._send_together = send_together
        self._directory = directory
        self._random = random or Random()  # noqa: S311 -- spreads retries
        self._pending: OrderedDict[ObjectKey, Report] = OrderedDict()
        self._sending: dict[ObjectKey, Report] = {}
        self._places: dict[ObjectKey, int] = {}
        """Place in the order of each instance that waits or is being sent; also the name of its file."""
        self._stored: dict[ObjectKey, Path] = {}
        self._sequence = 0
        self._failures = 0
        self._wake = asyncio.Event()
        self._executor = ThreadPoolExecutor(1, "outbox") if directory is not None else None
        self._idlers: dict[ObjectKey, list[asyncio.Future[None]]] = {}

    def load(self) -> None:
        """Take in what an agent before this one could not deliver."""
        if self._directory is None or not self._directory.exists():
            return
        for path in sorted(self._directory.glob("[0-9]*")):
            try:
                report = msgspec.json.decode(path.read_bytes(), type=Report)
            except (OSError, msgspec.MsgspecError):
                logger.warning("undelivered status is unreadable, dropped", extra={"path": str(path)})
                path.unlink(missing_ok=True)
                continue
            self._pending[report.key] = report
            self._stored[report.key] = path
            self._places[report.key] = int(path.name)
            self._sequence = max(self._sequence, int(path.name))
        self._wake.set()

    def put(self, report: Report) -> None:
        """Deliver this; it replaces what waits for the same instance, and keeps its place in the order."""
        self._pending[report.key] = report
        if report.key not in self._places:
            self._sequence += 1
            self._places[report.key] = self._sequence
        if self._failures:
            self._store(report)
        self._wake.set()

    def drop(self, key: ObjectKey) -> None:
        """The instance is gone: nothing is left to tell."""
        self._pending.pop(key, None)
        self._places.pop(key, None)
        self._unstore(key)
        self._tell_idle(key)

    def newest(self, key: ObjectKey) -> Report | None:
        """What waits or is being sent."""
        return self._pending.get(key) or self._sending.get(key)

    def __len__(self) -> int:
        return len(self._pending) + len(self._sending)

    async def wait_delivered(self, key: ObjectKey, timeout_seconds: float) -> bool:
        """Return True once nothing of this instance waits; False when the time is over."""
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while self.newest(key) is not None:
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or self._failures:
                return False
            idler: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idlers.setdefault(key, []).append(idler)
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await idler
        return True

    async def run(self) -> None:
        """Deliver until cancelled."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                while self._pending and len(tasks) < (1 if self._failures or self._stored else SENDERS):
                    reports = self._take()
                    if not reports:
                        break
                    task = asyncio.get_running_loop().create_task(self._deliver(reports))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    task.add_done_callback(lambda _: self._wake.set())
                self._wake.clear()
                await self._wake.wait()
        finally:
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def close(self) -> None:
        """Write down what is not delivered."""
        for report in [*self._sending.values(), *self._pending.values()]:
            if report.key in self._places:
                self._store(report)
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def _take(self) -> list[Report]:
        """What is sent next: one, or many together where many wait and the API is known to answer."""
        free = [key for key in self._pending if key not in self._sending]
        together = self._send_together is not None and not self._failures and len(free) >= TOGETHER_FROM
        taken = free[: TOGETHER if together else 1]
        for key in taken:
            self._sending[key] = self._pending.pop(key)
        return [self._sending[key] for key in taken]

    async def _deliver(self, reports: Sequence[Report]) -> None:
        refused: Collection[ObjectKey] = [report.key for report in reports]
        try:
            alone = reports
            if len(reports) > 1 and self._send_together is not None:
                alone = await self._send_together(reports)
            refused = [report.key for report in alone if not await self._send_one(report)]
        except (ApiUnavailableError, TooManyRequestsError) as error:
            await self._put_back(reports, error)
            return
        except asyncio.CancelledError:
            for report in reports:
                self._pending.setdefault(report.key, report)
                self._sending.pop(report.key, None)
            raise
        except Exception:
            logger.exception("statuses could not be sent", extra={"keys": [str(report.key) for report in reports]})
        self._failures = 0
        for report in reports:
            self._delivered(report.key, report.key not in refused)

    async def _send_one(self, report: Report) -> bool:
        try:
            await self._send(report)
        except (ApiUnavailableError, TooManyRequestsError):
            raise
        except ApiError as error:
            logger.warning("status was refused", extra={"key": str(report.key), "error": str(error)})
            return False
        return True

    def _delivered(self, key: ObjectKey, arrived: bool) -> None:
        self._sending.pop(key, None)
        if key not in self._pending:
            self._places.pop(key, None)
            self._unstore(key)
            if arrived:
                self._on_delivered(key)
        self._tell_idle(key)

    async def _put_back(self, reports: Sequence[Report], error: ApiError) -> None:
        """Back to their places, unless something newer waits there already; then wait before the next try."""
        first = not self._failures
        self._failures += 1
        for report in reports:
            self._sending.pop(report.key, None)
            if report.key in self._places:
                self._pending.setdefault(report.key, report)
        self._pending = OrderedDict(sorted(self._pending.items(), key=lambda item: self._places.get(item[0], 0)))
        if first:
            logger.info("status waits until the api answers again", extra={"error": str(error)})
        for waiting in list(self._pending.values()):
            if waiting.key not in self._stored:
                self._store(waiting)
        for waiting_key in list(self._idlers):
            self._tell_idle(waiting_key)
        await asyncio.sleep(max(error.retry_after, RETRY.delay(self._failures, self._random)))

    def _store(self, report: Report) -> None:
        if self._directory is None or self._executor is None:
            return
        path = self._stored.get(report.key)
        if path is None and len(self._stored) >= MOST_STORED:
            return
        if path is None:
            path = self._stored[report.key] = self._directory / f"{self._places[report.key]:016d}"
        self._executor.submit(_write, path, msgspec.json.encode(report))

    def _unstore(self, key: ObjectKey) -> None:
        path = self._stored.pop(key, None)
        if path is not None and self._executor is not None:
            self._executor.submit(path.unlink, missing_ok=True)

    def _tell_idle(self, key: ObjectKey) -> None:
        for idler in self._idlers.pop(key, ()):
            if not idler.done():
                idler.set_result(None)


def _write(path: Path, body: bytes) -> None:
    """Atomic, and not flushed one by one: the state can be made again from the ledger, this only keeps the order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"new-{path.name}")
    temporary.write_bytes(body)
    temporary.rename(path)
