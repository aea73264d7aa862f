"""Many watchers that come back at once to a store that was restarted: each gets its own, and they hold the memory of a few."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Sequence

from plum_controller.store.base import LogEntry, Revision
from plum_controller.store.cache import REPLAYS_AT_ONCE, WatchCache
from plum_controller.store.events import WatchEvent
from plum_controller.store.memory import MemoryStore
from plum_schemas.selectors import parse_field_selector

from tests.support.store import RESOURCE, index, opened, put, transaction, until

WATCHERS = 40
CHANGES = 600


class CountingStore(MemoryStore):
    """Says how many read at the same time."""

    reading = 0
    most = 0

    async def read(self, since: Revision, limit: int = 1000) -> Sequence[LogEntry]:
        CountingStore.reading += 1
        CountingStore.most = max(CountingStore.most, CountingStore.reading)
        try:
            await asyncio.sleep(0)
            found = await super().read(since, limit)
            return [entry._replace(value=bytes(bytearray(entry.value))) for entry in found]  # as read from a disk
        finally:
            CountingStore.reading -= 1


async def test_watchers_that_return_at_once_take_turns_and_get_what_is_theirs() -> None:
    async with opened(CountingStore(time.time)) as store:
        for number in range(CHANGES):
            await store.commit(transaction(put(f"o{number % 120}", "x" * 1000, node=f"n{number % WATCHERS}")))
        cache = WatchCache(store, index)
        await cache.load()  # after a restart there is nothing in the window
        got: dict[int, list[WatchEvent]] = {number: [] for number in range(WATCHERS)}
        never = asyncio.Event()
        watchers = []
        tracemalloc.start()

        for number in range(WATCHERS):
            fields = parse_field_selector(f"spec.node=n{number}")
            watcher = cache.watch(RESOURCE, "", None, fields, 1, got[number].extend)
            if number < 2 * REPLAYS_AT_ONCE:
                watcher.drained = never.wait  # type: ignore[assignment]  # these read nothing, and hold up nobody
            watchers.append(watcher)
        await until(lambda: all(watcher.attached for watcher in watchers[2 * REPLAYS_AT_ONCE :]))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        never.set()
        await until(lambda: all(watcher.attached for watcher in watchers))

        assert CountingStore.most <= min(REPLAYS_AT_ONCE, 8)
        assert peak < 8_000_000, "a few pieces, and not the log for each of them"
        for number in range(WATCHERS):
            revisions = [event.revision for event in got[number]]
            mine = [r for r in range(2, CHANGES + 1) if (r - 1) % WATCHERS == number]
            assert revisions == mine, number
        for watcher in watchers:
            watcher.close()
