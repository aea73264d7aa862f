"""What tests of the store share: the engines, objects to store, and a model to compare with.

A new engine joins the contract suite by one entry in `ENGINES`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plum_controller.store.base import ANY, Key, LogEntry, Revision, Store, Transaction, Write
from plum_controller.store.cache import Entry, Indexed
from plum_controller.store.memory import MemoryStore
from plum_controller.store.sqlite import SqliteStore

RESOURCE = "things.plum.dev"


@dataclass(frozen=True)
class Engine:
    """One way to store things."""

    name: str
    make: Callable[[Path, Callable[[], float]], Store]
    """A closed store in a folder, with a wall clock. The same folder means the same data, if the engine is durable."""
    restore: Callable[[Path, Callable[[], float]], Store]
    """A closed store that starts from the file that `backup` wrote."""
    durable: bool


ENGINES: dict[str, Engine] = {
    "memory": Engine(
        "memory",
        lambda folder, clock: MemoryStore(clock),
        lambda path, clock: MemoryStore(clock, str(path)),
        durable=False,
    ),
    "sqlite": Engine(
        "sqlite",
        lambda folder, clock: SqliteStore(folder / "plum.db", clock=clock),
        lambda path, clock: SqliteStore(path, clock=clock),
        durable=True,
    ),
}


class Clock:
    """A wall clock that tests set."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def key(name: str, namespace: str = "default", resource: str = RESOURCE) -> Key:
    return Key(resource, namespace, name)


def put(
    name: str | Key, data: Any = "", expect: Revision = ANY, *, labels: Mapping[str, str] | None = None, **fields: str
) -> Write:
    """Write an object that carries its revision where real ones do."""
    return _write(name, data, expect, labels or {}, fields, deleted=False)


def delete(
    name: str | Key, data: Any = "", expect: Revision = ANY, *, labels: Mapping[str, str] | None = None, **fields: str
) -> Write:
    """Delete an object; `data`, `labels` and `fields` are its last state."""
    return _write(name, data, expect, labels or {}, fields, deleted=True)


def _write(
    name: str | Key, data: Any, expect: Revision, labels: Mapping[str, str], fields: Mapping[str, str], deleted: bool
) -> Write:
    where = key(name) if isinstance(name, str) else name
    rest = json.dumps({"name": where.name, "labels": labels})[1:] + "," + json.dumps({"fields": fields, "data": data})[1:]
    return Write(where, b'{"metadata":{"resourceVersion":"', b'",' + rest.encode(), expect, deleted)


def transaction(*writes: Write) -> Transaction:
    return Transaction(writes)


def data_of(value: bytes) -> Any:
    return json.loads(value)["data"]


def revision_in(value: bytes) -> int:
    return int(json.loads(value)["metadata"]["resourceVersion"])


def index(_key: Key, value: bytes) -> Indexed:
    """What `put` objects are found by. Fields are named with a dot in front of `spec.`-less names, such as `spec.node`."""
    content = json.loads(value)
    fields = {f"spec.{name}": text for name, text in content["fields"].items()}
    owner = content["fields"].get("owner")
    return Indexed(content["metadata"]["labels"], (owner,) if owner else (), fields)


async def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Return when it holds; fail when it does not in time."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.001)


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Model:
    """The store as a list: what every engine must agree with."""

    def __init__(self) -> None:
        self.log: list[LogEntry] = []
        self.compacted: Revision = 0
        self.revision: Revision = 0

    def live(self, at: Revision | None = None) -> dict[Key, LogEntry]:
        state: dict[Key, LogEntry] = {}
        for entry in self.log:
            if at is not None and entry.revision > at:
                break
            if entry.deleted:
                state.pop(entry.key, None)
            else:
                state[entry.key] = entry
        return dict(sorted(state.items()))

    def current(self, where: Key) -> Revision:
        entry = self.live().get(where)
        return entry.revision if entry is not None else 0

    def accepts(self, wanted: Transaction) -> bool:
        live = self.live()
        for where, expect in [(w.key, w.expect) for w in wanted.writes] + list(wanted.checks):
            actual = live[where].revision if where in live else 0
            if expect not in (ANY, actual):
                return False
        return all(write.key in live for write in wanted.writes if write.deleted)

    def apply(self, wanted: Transaction, time: float) -> None:
        if not wanted.writes:
            return
        self.revision += 1
        live = self.live()
        for write in wanted.writes:
            previous = live[write.key].revision if write.key in live else 0
            value = write.head + str(self.revision).encode() + write.tail
            self.log.append(LogEntry(self.revision, write.key, value, write.deleted, previous, time))

    def since(self, revision: Revision) -> list[LogEntry]:
        return [entry for entry in self.log if entry.revision > revision]

    def kept_history(self, where: Key) -> list[LogEntry]:
        """Newest first: everything after the compacted revision, and the state at it."""
        own = [entry for entry in self.log if entry.key == where]
        after = [entry for entry in own if entry.revision > self.compacted]
        before = [entry for entry in own if entry.revision <= self.compacted]
        kept = before[-1:] if before and not before[-1].deleted else []
        return (kept + after)[::-1]

    def expected_events(self, since: Revision, selects: Callable[[Entry], bool]) -> list[tuple[str, Key, Revision]]:
        """What a watcher that resumed after `since` has to see up to now."""
        found = []
        state = self.live(since)
        for entry in self.since(since):
            before = state.get(entry.key)
            was = before is not None and selects(entry_of(before))
            now = not entry.deleted and selects(entry_of(entry))
            if was or now:
                kind = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
                found.append((kind, entry.key, entry.revision))
            if entry.deleted:
                state.pop(entry.key, None)
            else:
                state[entry.key] = entry
        return found


def entry_of(logged: LogEntry) -> Entry:
    return Entry(logged.key, logged.revision, logged.value, index(logged.key, logged.value))


async def collect(store: Store) -> list[LogEntry]:
    """The whole snapshot."""
    return [entry async for piece in store.snapshot() for entry in piece]


async def read_all(store: Store, since: Revision = 0, limit: int = 1000) -> list[LogEntry]:
    """The log after a revision, piece by piece."""
    found: list[LogEntry] = []
    while entries := await store.read(found[-1].revision if found else since, limit):
        found += entries
    return found


def names(entries: Sequence[LogEntry] | Sequence[Entry]) -> list[str]:
    return [entry.key.name for entry in entries]
