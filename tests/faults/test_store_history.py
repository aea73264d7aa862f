"""Many clients at once, and a checker of what they saw: no stale read, no lost update, no gap in a watch.

    clients --invoke, complete--> operations
    store   --listener---------> the log           -> checker

Revisions give the total order that a linearizability checker otherwise has to search for. What is left to check is that
every answer is true at a revision between the operation's beginning and its end.
"""

from __future__ import annotations

import asyncio
import random
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from plum_controller.store.base import ABSENT, Key, LogEntry, Revision, Store
from plum_controller.store.cache import Entry, WatchCache, Watcher, WatchEvent
from plum_controller.store.errors import CompactedError, PreconditionError
from plum_schemas.selectors import parse_label_selector

from tests.support.store import ENGINES, RESOURCE, Clock, data_of, delete, entry_of, index, key, put, transaction, until

KEYS = [key(f"k{number}") for number in range(8)]
CLIENTS = 24


@dataclass(frozen=True)
class Operation:
    """One call and its answer."""

    kind: str
    where: Key
    began: Revision
    """The highest revision that anybody had been told when the call was made."""
    ended: Revision
    """The last published revision when the answer came."""
    found: Revision
    """The revision of the object that the answer speaks of; 0 for none."""
    expected: Revision = 0


@dataclass
class Recorder:
    """The clients' common notebook."""

    told: Revision = 0
    operations: list[Operation] = field(default_factory=list)
    log: list[LogEntry] = field(default_factory=list)

    def tell(self, revision: Revision) -> None:
        self.told = max(self.told, revision)


class Client:
    """Does random things, one after another."""

    def __init__(self, store: Store, cache: WatchCache, recorder: Recorder, chance: random.Random) -> None:
        self._store = store
        self._cache = cache
        self._recorder = recorder
        self._chance = chance

    async def run(self, operations: int) -> None:
        for _ in range(operations):
            where = self._chance.choice(KEYS)
            began = self._recorder.told
            await self._chance.choice([self.read, self.read, self.swap, self.swap, self.remove, self.read_past, self.list])(
                where, began
            )
            await asyncio.sleep(0)

    def note(self, kind: str, where: Key, began: Revision, found: Revision, expected: Revision = 0) -> None:
        self._recorder.operations.append(Operation(kind, where, began, self._store.revision, found, expected))

    async def read(self, where: Key, began: Revision) -> None:
        entry = self._cache.get(where)
        self.note("read", where, began, entry.revision if entry is not None else 0)
        self._recorder.tell(entry.revision if entry is not None else 0)

    async def list(self, where: Key, began: Revision) -> None:
        found = {entry.key: entry.revision for entry in self._cache.list(RESOURCE)}
        for one in KEYS:
            self.note("read", one, began, found.get(one, 0))

    async def swap(self, where: Key, began: Revision) -> None:
        """Count up, if nobody else does meanwhile."""
        entry = self._cache.get(where)
        expected = entry.revision if entry is not None else ABSENT
        if self._chance.random() < 0.5:
            await asyncio.sleep(0)
        count = data_of(entry.value) + 1 if entry is not None else 1
        labels = {"odd": str(count % 2)}
        await self._commit("swap", where, began, expected, put(where, count, expected, labels=labels))

    async def remove(self, where: Key, began: Revision) -> None:
        entry = self._cache.get(where)
        if entry is not None and self._chance.random() < 0.2:
            write = delete(where, data_of(entry.value), entry.revision, labels=entry.indexed.labels)
            await self._commit("remove", where, began, entry.revision, write)

    async def _commit(self, kind: str, where: Key, began: Revision, expected: Revision, write) -> None:
        try:
            revision = await self._store.commit(transaction(write))
        except PreconditionError as error:
            self.note("refused", where, began, error.actual, expected)
            return
        self.note(kind, where, began, revision, expected)
        self._recorder.tell(revision)

    async def read_past(self, where: Key, began: Revision) -> None:
        revision = max(began - self._chance.randint(0, 40), 0)
        try:
            found = await self._store.read_at(revision, *where)
        except CompactedError:
            assert revision < self._store.compacted
            return
        self.note(f"read at {revision}", where, began, found[0].revision if found else 0)


class Watching:
    """A watcher that breaks off at random and resumes where it was."""

    def __init__(self, cache: WatchCache, labels: str) -> None:
        self.selector = parse_label_selector(labels)
        self.seen: list[tuple[str, Key, Revision]] = []
        self._cache = cache
        self.watcher: Watcher = self._watch(0)

    def _watch(self, since: Revision) -> Watcher:
        return self._cache.watch(RESOURCE, "", self.selector, None, since, self._deliver)

    def _deliver(self, events: Sequence[WatchEvent]) -> None:
        self.seen += [(event.type, event.entry.key, event.revision) for event in events]

    def resume(self) -> None:
        self.watcher.close()
        self.watcher = self._watch(self.watcher.revision)

    def selects(self, entry: Entry) -> bool:
        return self.selector.matches(entry.indexed.labels)


async def disturb(store: Store, watching: Sequence[Watching], chance: random.Random, done: Callable[[], bool]) -> None:
    """Break watches off, and compact what no watcher stands before."""
    while not done():
        await asyncio.sleep(0.002)
        chance.choice(list(watching)).resume()
        oldest = min(one.watcher.revision for one in watching)
        if chance.random() < 0.2:
            await store.compact(min(oldest, store.revision - 60))


def check_operations(operations: Sequence[Operation], log: Sequence[LogEntry]) -> None:
    """Every answer was true at a revision between the beginning and the end of its call."""
    versions: dict[Key, list[Revision]] = {where: [0] for where in KEYS}
    alive: dict[tuple[Key, Revision], bool] = {(where, 0): False for where in KEYS}
    for entry in log:
        versions[entry.key].append(entry.revision)
        alive[entry.key, entry.revision] = not entry.deleted

    def state(where: Key, revision: Revision) -> Revision:
        last = versions[where][bisect_right(versions[where], revision) - 1]
        return last if alive[where, last] else 0

    for one in operations:
        if one.kind in ("swap", "remove"):
            assert state(one.where, one.found - 1) == one.expected, f"lost update: {one}"
            assert one.began < one.found <= one.ended, f"out of order: {one}"
            assert one.found in versions[one.where], f"acknowledged but not in the log: {one}"
            continue
        if one.kind.startswith("read at"):
            assert state(one.where, int(one.kind.removeprefix("read at "))) == one.found, f"wrong past: {one}"
            continue
        turns = [r for r in versions[one.where] if one.began < r <= one.ended]
        possible = {state(one.where, revision) for revision in [one.began, *turns]}
        assert one.found in possible, f"stale {one.kind}: {one}, possible {possible}"
        if one.kind == "refused":
            assert one.found != one.expected, f"refused for nothing: {one}"


def check_watch(watching: Watching, log: Sequence[LogEntry]) -> None:
    """Each change that concerns the selection once, in order, with the type that it has for the selection."""
    expected = []
    selected: dict[Key, bool] = {}
    for entry in log:
        was = selected.get(entry.key, False)
        now = not entry.deleted and watching.selects(entry_of(entry))
        if was or now:
            expected.append(("MODIFIED" if was and now else "ADDED" if now else "DELETED", entry.key, entry.revision))
        selected[entry.key] = now
    assert watching.seen == expected


async def run(engine: str, folder: Path, operations: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    store = ENGINES[engine].make(folder, Clock())
    await store.open()
    recorder = Recorder()
    store.subscribe(recorder.log.extend)
    cache = WatchCache(store, index, window_changes=50)
    await cache.load()
    watching = [Watching(cache, labels) for labels in ("", "", "odd=1", "odd=0", "odd!=1", "!odd")]
    clients = [Client(store, cache, recorder, random.Random(f"{seed}-{number}")) for number in range(CLIENTS)]

    tasks = [asyncio.create_task(client.run(operations // CLIENTS)) for client in clients]
    await disturb(store, watching, chance, lambda: all(task.done() for task in tasks))
    await asyncio.gather(*tasks)
    await until(lambda: all(one.watcher.revision == store.revision for one in watching))
    await store.close()

    assert [entry.revision for entry in recorder.log] == list(range(1, len(recorder.log) + 1))
    check_operations(recorder.operations, recorder.log)
    for one in watching:
        check_watch(one, recorder.log)
    kinds = {operation.kind.split()[0] for operation in recorder.operations}
    assert kinds == {"read", "swap", "remove", "refused"}


@pytest.mark.parametrize("engine", list(ENGINES))
async def test_ten_thousand_operations_leave_a_true_history(engine: str, tmp_path: Path) -> None:
    await run(engine, tmp_path, 10_000)


@pytest.mark.soak
@pytest.mark.parametrize("engine", list(ENGINES))
async def test_a_hundred_thousand_operations_leave_a_true_history(engine: str, tmp_path: Path) -> None:
    await run(engine, tmp_path, 100_000)
