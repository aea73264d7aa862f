"""The work queue: which keys wait for a reconcile, and which one is next.

    add ------------------> lane CHANGE \\
    add(lane=RESYNC) -----> lane RESYNC  +-> get -> (reconcile) -> done
    add_after, retry -> timer -> a lane /

A key is in the queue once, however often it is added, and never with two workers at once: what is added while its
reconcile runs waits for `done`. Changes come before resyncs, but every eighth turn belongs to the resyncs. Keys of one
lane are served in the order in which they came. Times are those of the running event loop.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from collections.abc import Hashable
from enum import IntEnum
from random import Random
from typing import Generic, NamedTuple, TypeVar

from plum_client.backoff import Backoff

K = TypeVar("K", bound=Hashable)

RESYNC_TURN = 8
"""Every so many turns a resync goes before the changes, so that a flood of changes does not starve it."""


class Lane(IntEnum):
    """Why a key is in the queue."""

    CHANGE = 0
    """Something happened: it goes first."""
    RESYNC = 1
    """Nothing is known to have happened."""


class QueueClosedError(Exception):
    """The queue was closed: there is no more work."""


class _Delayed(NamedTuple):
    when: float
    lane: Lane
    retry: bool


class WorkQueue(Generic[K]):
    """Keys that wait. Not for use from several threads."""

    def __init__(self, backoff: Backoff | None = None, random: Random | None = None) -> None:
        self._backoff = backoff or Backoff()
        self._random = random or Random()  # noqa: S311  spreads retries, protects nothing
        self._lanes: tuple[OrderedDict[K, None], OrderedDict[K, None]] = (OrderedDict(), OrderedDict())
        self._running: set[K] = set()
        self._again: dict[K, Lane] = {}
        """Added while running: queued by `done`."""
        self._delayed: dict[K, _Delayed] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_when = 0.0
        """When the timer fires, by the loop's clock. Kept here: not every event loop's timers can be asked."""
        self._failures: dict[K, int] = {}
        self._getters: deque[asyncio.Future[None]] = deque()
        self._idlers: list[asyncio.Future[None]] = []
        self._turn = 0
        self._sequence = 0
        self._retries = 0
        self._closed = False

    def __len__(self) -> int:
        """Keys that could run now."""
        return len(self._lanes[0]) + len(self._lanes[1])

    @property
    def running(self) -> int:
        """Keys that a worker has now."""
        return len(self._running)

    @property
    def delayed(self) -> int:
        """Keys that wait for a time."""
        return len(self._delayed)

    @property
    def is_idle(self) -> bool:
        """Nothing runs, nothing could run, nothing waits for a retry. Keys that asked to be requeued later do not count."""
        return not (self._running or self._lanes[0] or self._lanes[1] or self._retries)

    def failures(self, key: K) -> int:
        """Failures in a row of this key."""
        return self._failures.get(key, 0)

    def add(self, key: K, lane: Lane = Lane.CHANGE) -> None:
        """Ask for a reconcile of this key as soon as a worker is free."""
        if self._closed:
            return
        if key in self._running:
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        changes, resyncs = self._lanes
        if key in changes:
            return
        if lane is Lane.CHANGE:
            resyncs.pop(key, None)
            changes[key] = None
        elif key in resyncs:
            return
        else:
            resyncs[key] = None
        self._wake()

    def add_after(self, key: K, seconds: float, lane: Lane = Lane.CHANGE) -> None:
        """Ask for a reconcile in so many seconds. Of several times of one key the earliest counts."""
        if seconds <= 0:
            self.add(key, lane)
        else:
            self._delay(key, seconds, lane, retry=False)

    def retry(self, key: K, backoff: Backoff | None = None, at_least: float = 0.0) -> float:
        """Ask again after a failure; the wait grows with each failure in a row. Returns the seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        seconds = max(at_least, (backoff or self._backoff).delay(failures, self._random))
        self._delay(key, seconds, Lane.CHANGE, retry=True)
        return seconds

    def forget(self, key: K) -> None:
        """The key succeeded: its next failure waits shortly again."""
        self._failures.pop(key, None)

    async def get(self) -> K:
        """The next key, for this worker alone until `done`. Raises `QueueClosedError`."""
        while not len(self):
            if self._closed:
                raise QueueClosedError
            getter = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            except asyncio.CancelledError:
                if getter in self._getters:
                    self._getters.remove(getter)
                else:
                    self._wake()  # this worker took the wake-up of another and goes without using it
                raise
        key = self._take()
        self._running.add(key)
        self._undelay(key)  # the reconcile that starts now says anew when it wants to run again
        return key

    def done(self, key: K) -> None:
        """The worker is finished with this key; what was added meanwhile is queued."""
        self._running.discard(key)
        lane = self._again.pop(key, None)
        if lane is not None:
            self.add(key, lane)
        self._tell_idle()

    def close(self) -> None:
        """End the workers after what they are doing. Everything that waits is dropped."""
        self._closed = True
        for lane in self._lanes:
            lane.clear()
        self._again.clear()
        self._delayed.clear()
        self._heap.clear()
        self._retries = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._getters:
            self._wake()
        self._tell_idle()

    async def wait_idle(self) -> None:
        """Return when `is_idle` holds."""
        while not self.is_idle:
            idler = asyncio.get_running_loop().create_future()
            self._idlers.append(idler)
            await idler

    def _take(self) -> K:
        changes, resyncs = self._lanes
        self._turn += 1
        if resyncs and (not changes or self._turn % RESYNC_TURN == 0):
            return resyncs.popitem(last=False)[0]
        return changes.popitem(last=False)[0]

    def _delay(self, key: K, seconds: float, lane: Lane, retry: bool) -> None:
        if self._closed:
            return
        when = asyncio.get_running_loop().time() + seconds
        known = self._delayed.get(key)
        if known is not None:
            lane = min(lane, known.lane)
            retry = retry or known.retry
            if known.when <= when:
                when = known.when
        self._undelay(key)
        self._delayed[key] = _Delayed(when, lane, retry)
        self._retries += retry
        self._sequence += 1
        heapq.heappush(self._heap, (when, self._sequence, key))
        self._set_timer()

    def _undelay(self, key: K) -> None:
        known = self._delayed.pop(key, None)
        if known is not None:
            self._retries -= known.retry

    def _set_timer(self) -> None:
        """One timer for the earliest key, however many wait."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        when = self._heap[0][0] if self._heap else None
        if self._timer is not None:
            if self._timer_when == when:
                return
            self._timer.cancel()
            self._timer = None
        if when is not None:
            self._timer_when = when
            self._timer = asyncio.get_running_loop().call_at(when, self._release)

    def _is_current(self, item: tuple[float, int, K]) -> bool:
        known = self._delayed.get(item[2])
        return known is not None and known.when == item[0]

    def _release(self) -> None:
        """The time of the first delayed keys has come."""
        now = self._timer_when
        self._timer = None
        while self._heap and self._heap[0][0] <= now:
            item = heapq.heappop(self._heap)
            if self._is_current(item):
                lane = self._delayed[item[2]].lane
                self._undelay(item[2])
                self.add(item[2], lane)
        self._set_timer()

    def _wake(self) -> None:
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return

    def _tell_idle(self) -> None:
        if self._idlers and self.is_idle:
            idlers, self._idlers = self._idlers, []
            for idler in idlers:
                if not idler.done():
                    idler.set_result(None)
