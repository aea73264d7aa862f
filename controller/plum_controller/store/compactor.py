"""Keeps the history bounded: decides now and then how far back it may go, and has the store forget the rest.

    samples (when, revision, rows and bytes so far) -> target revision -> store.compact

Within `least_seconds` nothing is forgotten, so that a list being paged and a watch being resumed find what they need.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from plum_controller.store.base import LogEntry, Revision, Store
from plum_controller.store.errors import StoreClosedError, StoreError

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 30.0


class KeepWindow(NamedTuple):
    """How much history stays. The first bound that is reached counts, but never within `least_seconds`."""

    seconds: float = 3600.0
    rows: int = 1_000_000
    bytes: int = 1 << 30
    least_seconds: float = 300.0


class Sample(NamedTuple):
    """Where the store stood at a moment."""

    time: float
    """Monotonic seconds: the wall clock may be set, the age of history must not jump."""
    revision: Revision
    rows: int
    bytes: int


class Compactor:
    """Runs beside one open store."""

    def __init__(
        self,
        store: Store,
        keep: KeepWindow,
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._keep = keep
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._rows = 0
        self._bytes = 0
        self._samples: deque[Sample] = deque()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, once the store is open. History of earlier runs is kept for one whole window more."""
        self._store.subscribe(self.count)
        self.sample()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Safe to repeat."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    def count(self, entries: Sequence[LogEntry]) -> None:
        """Take in what was committed. A listener of the store."""
        self._rows += len(entries)
        self._bytes += sum(len(entry.value) for entry in entries)

    def sample(self) -> None:
        """Remember where the store stands now."""
        revision = self._store.revision
        # An older sample of the same revision says more: nothing has happened since then.
        if not self._samples or self._samples[-1].revision != revision:
            self._samples.append(Sample(self._monotonic(), revision, self._rows, self._bytes))

    def target(self) -> Revision:
        """Up to where history may be forgotten now; 0 for not at all."""
        keep = self._keep
        now = self._monotonic()
        found = 0
        rows, size = 0, 0  # counts at `found`: what came after them stays
        for sample in self._samples:
            age = now - sample.time
            needed = age >= keep.seconds or self._rows - rows > keep.rows or self._bytes - size > keep.bytes
            if age < keep.least_seconds or not needed:
                break
            found, rows, size = sample.revision, sample.rows, sample.bytes
        return found

    async def compact(self) -> int:
        """Forget what may be forgotten now. Answers with the number of entries removed."""
        target = self.target()
        if target <= self._store.compacted:
            return 0
        removed = await self._store.compact(target)
        while self._samples and self._samples[0].revision < target:
            self._samples.popleft()
        logger.debug("history compacted", extra={"revision": target, "removed": removed})
        return removed

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            self.sample()
            try:
                await self.compact()
            except StoreClosedError:
                return
            except StoreError as error:  # such as a full disk: the next round tries again
                logger.warning("compaction failed", extra={"reason": str(error)})
