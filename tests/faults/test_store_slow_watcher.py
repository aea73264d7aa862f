"""Watchers that are too slow, and watchers that come back late: nothing is lost in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from plum_controller.store.base import Store
from plum_controller.store.cache import WatchCache, Watcher, WatchEvent
from plum_controller.store.errors import CompactedError

from tests.support.store import ENGINES, RESOURCE, Clock, index, opened, put, transaction

BOUND = 50
"""Events that the client's buffer takes before the watch is cut."""


class SlowClient:
    """Takes events into a bounded buffer, as the API does with a socket, and is cut when it overflows."""

    def __init__(self, cache: WatchCache) -> None:
        self.seen: list[int] = []
        self.cuts = 0
        self._cache = cache
        self._buffer: list[int] = []
        self._watcher: Watcher | None = None
        self._overflowed = False

    def watch(self) -> None:
        since = self.seen[-1] if self.seen else 0
        self._overflowed = False
        self._watcher = self._cache.watch(RESOURCE, "", None, None, since, self._deliver)

    def _deliver(self, events: Sequence[WatchEvent]) -> None:
        assert not self._overflowed, "a cut watcher must hear nothing"
        for event in events:
            if len(self._buffer) >= BOUND:
                self.cuts += 1
                self._overflowed = True
                if self._watcher is not None:
                    self._watcher.close()
                return
            self._buffer.append(event.revision)

    def read(self, count: int) -> None:
        """Read some of what waits. After a cut, read it all and resume from the last revision that was read."""
        taken = len(self._buffer) if self._overflowed else count
        self.seen += self._buffer[:taken]
        del self._buffer[:taken]
        if self._overflowed:
            assert self._watcher is not None
            self._watcher.close()
            self.watch()


@pytest.mark.parametrize("engine", list(ENGINES))
async def test_a_slow_watcher_is_cut_and_resumes_without_loss(engine: str, tmp_path: Path) -> None:
    async with opened(ENGINES[engine].make(tmp_path, Clock())) as store:
        cache = WatchCache(store, index, window_changes=20)
        await cache.load()
        client = SlowClient(cache)
        client.watch()

        for number in range(1500):
            await store.commit(transaction(put(f"a{number % 9}", number)))
            client.read(number % 2)
        async with asyncio.timeout(20):
            while not client.seen or client.seen[-1] < store.revision:
                await asyncio.sleep(0)
                client.read(10)

        assert client.seen == list(range(1, 1501))
        assert client.cuts > 0


@pytest.mark.parametrize("engine", list(ENGINES))
async def test_a_watcher_that_comes_back_too_late_is_told_to_list_again(engine: str, tmp_path: Path) -> None:
    async with opened(ENGINES[engine].make(tmp_path, Clock())) as store:
        cache = WatchCache(store, index, window_changes=5)
        await cache.load()
        await fill(store, 100)
        await store.compact(60)

        for since in (0, 59):
            with pytest.raises(CompactedError) as caught:
                cache.watch(RESOURCE, "", None, None, since, lambda events: None)
            assert caught.value.compacted == 60

        # Listing again and watching from there is exact.
        listed, seen = cache.list(RESOURCE), list[int]()
        cache.watch(RESOURCE, "", None, None, cache.revision, lambda events: seen.extend(event.revision for event in events))
        await fill(store, 3)
        assert max(entry.revision for entry in listed) == 100
        assert seen == [101, 102, 103]


async def fill(store: Store, commits: int) -> None:
    for number in range(commits):
        await store.commit(transaction(put("a", number)))
