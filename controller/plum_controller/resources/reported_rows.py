"""The history of reported values: rows of a status write, read in pieces, trimmed to the age and count that each Resource says.

    status write of a Resource --ReportedRules--> rows in the same transaction
    ReportedHistory.read <-- API                    ReportedKeeper --trim_rows, drop_rows--> store

Trimming costs what was written: a Resource is looked at after every sixteenth of its count, and when its oldest value is due.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec
from plum_schemas.durations import parse_duration
from plum_schemas.resource import History

from plum_controller.domain.reported_values import (
    SPACE,
    Point,
    bound_of,
    micros_of,
    prefix_of,
    read_point,
    samples,
    space_of,
    split_key,
)
from plum_controller.resources.context import Clock
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.rules import KindRules
from plum_controller.store.base import Key, RowChange, RowPut, Store
from plum_controller.store.cache import Entry, WatchCache, WatchEvent
from plum_controller.store.errors import StoreError
from plum_controller.store.statements import LAST_TEXT

if TYPE_CHECKING:
    from plum_controller.resources.context import Context

logger = logging.getLogger(__name__)

RESOURCES = "resources.plum.dev"
PIECE = 1000
SLACK = 16
"""A property may hold a sixteenth more than its count, and values a sixteenth older than its age."""
RETRY_SECONDS = 5.0
"""Before rows are trimmed again that the store refused to trim."""
LONGEST_WAIT = 86_400.0


class ReportedRules(KindRules):
    """A value that was reported is kept with the status that shows it: both or none."""

    def rows(self, context: Context, entry: Entry, new: Json) -> Sequence[RowChange]:
        after = (new.get("status") or {}).get("reported")
        if not after:
            return ()
        live = decode(entry.value)
        before = (live.get("status") or {}).get("reported") or {}
        space = space_of(new["metadata"]["uid"])
        found = samples(before, after, entry.revision, context.moment())
        return [RowPut(space, key, value, live=False) for key, value in found]


class ReportedHistory:
    """Reads what is kept. Holds nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def properties(self, uid: str, after: str = "") -> AsyncIterator[str]:
        """Names of the properties that have values, in key order; one look each, however many values they have."""
        space = space_of(uid)
        while found := await self._store.rows(space, after=after, limit=1):
            name, _ = split_key(found[0][0])
            yield name
            after = prefix_of(name) + LAST_TEXT

    async def points(self, uid: str, name: str, since: int, until: int, after: str = "") -> AsyncIterator[Point]:
        """Values of a property from `since` to `until` (microseconds, both with it), behind the key `after`."""
        space, prefix = space_of(uid), prefix_of(name)
        after = max(after, bound_of(name, since))
        while found := await self._store.rows(space, prefix=prefix, after=after, limit=PIECE):
            for key, value in found:
                point = read_point(key, value)
                if point.micros > until:
                    return
                yield point
            after = found[-1][0]


class _Facts(msgspec.Struct):
    """What the keeper reads of a Resource."""

    class Metadata(msgspec.Struct):
        uid: str = ""

    class Spec(msgspec.Struct):
        history: History = msgspec.field(default_factory=History)

    metadata: Metadata
    spec: Spec = msgspec.field(default_factory=Spec)


class ReportedKeeper:
    """Keeps every history within its bounds, and forgets those of Resources that are gone."""

    def __init__(self, store: Store, cache: WatchCache, clock: Clock) -> None:
        self._store = store
        self._cache = cache
        self._clock = clock
        self._history = ReportedHistory(store)
        self._uids: dict[Key, str] = {}
        self._left: dict[str, int] = {}
        """Writes of a Resource until it is looked at again. Absent: it has not been written since the start."""
        self._due: list[tuple[float, str]] = []
        self._next: dict[str, float] = {}
        self._keys: dict[str, Key] = {}
        self._gone: list[str] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the Resources. What nobody looked at since the last start is swept in the background."""
        self._watcher = self._cache.watch(RESOURCES, "", None, None, None, self._changed)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="reported-history")

    async def close(self) -> None:
        """Safe to repeat."""
        if self._task is not None:
            self._watcher.close()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def _changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            key = event.entry.key
            if event.type == "DELETED":
                uid = self._uids.pop(key, "") or _facts(event.entry.value).metadata.uid
                self._keys.pop(uid, None)
                self._left.pop(uid, None)
                self._next.pop(uid, None)
                self._gone.append(uid)
                self._wake.set()
                continue
            known = self._uids.get(key)
            if known is None or event.type == "ADDED":
                facts = _facts(event.entry.value)
                known = self._uids[key] = facts.metadata.uid
                self._keys[known] = key
                # Spread by a part of their age, so that a start does not look at all of them at once.
                share = (int(known[-4:] or "0", 16) if _is_hex(known[-4:]) else 0) / 65_536
                self._plan(known, share * parse_duration(facts.spec.history.max_age) / SLACK)
                continue
            left = self._left.get(known, 1) - 1
            self._left[known] = left
            if left <= 0:
                self._plan(known, 0.0)

    def _plan(self, uid: str, seconds: float) -> None:
        """Look at a Resource in a while, unless it is looked at before."""
        at = asyncio.get_running_loop().time() + seconds
        if uid in self._next and self._next[uid] <= at:
            return
        self._next[uid] = at
        heappush(self._due, (at, uid))
        if self._due[0] == (at, uid):
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        swept = False
        while True:
            self._wake.clear()
            try:
                if not swept:
                    await self._sweep()
                    swept = True
                while self._gone:
                    await self._store.drop_rows(space_of(self._gone[-1]))
                    self._gone.pop()
                while self._due and self._due[0][0] <= loop.time():
                    at, uid = heappop(self._due)
                    if self._next.get(uid) == at:
                        del self._next[uid]
                        await self._look(uid)
            except StoreError as error:
                logger.warning("history of reported values could not be trimmed", extra={"error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)
                continue
            pause = self._due[0][0] - loop.time() if self._due else LONGEST_WAIT
            try:
                await asyncio.wait_for(self._wake.wait(), max(0.0, min(pause, LONGEST_WAIT)))
            except TimeoutError:
                continue

    async def _look(self, uid: str) -> None:
        """Trim one Resource, and know when to look again."""
        key = self._keys.get(uid)
        entry = self._cache.get(key) if key is not None else None
        if entry is None:
            return
        limits = _facts(entry.value).spec.history
        self._left[uid] = max(1, limits.max_count // SLACK)
        age = parse_duration(limits.max_age)
        cutoff = micros_of(self._clock.now() - timedelta(seconds=min(age, 10 * 365 * LONGEST_WAIT)))
        oldest: int | None = None
        try:
            async for name in self._history.properties(uid):
                prefix = prefix_of(name)
                await self._store.trim_rows(space_of(uid), prefix, limits.max_count, bound_of(name, cutoff))
                for row, _ in await self._store.rows(space_of(uid), prefix=prefix, limit=1):
                    first = split_key(row)[1]
                    oldest = first if oldest is None else min(oldest, first)
        except StoreError:
            self._plan(uid, RETRY_SECONDS)
            raise
        if oldest is not None:
            wait = (oldest - cutoff) / 1e6 + age / SLACK
            self._plan(uid, max(1.0, wait))

    async def _sweep(self) -> None:
        """Forget histories of Resources that were deleted while nobody looked."""
        after = ""
        while spaces := await self._store.row_spaces(SPACE, after):
            after = spaces[-1]
            for space in spaces:
                if space.removeprefix(SPACE) not in self._keys:
                    await self._store.drop_rows(space)


def _is_hex(text: str) -> bool:
    return len(text) == 4 and all(digit in "0123456789abcdef" for digit in text)


_facts = msgspec.json.Decoder(_Facts).decode
