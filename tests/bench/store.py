"""What the store costs on this machine: durable commits, compaction beside a writer, reads from the cache, telling watchers.

python -m tests.bench.store
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from plum_controller.store.base import Key, LogEntry, Transaction, Write
from plum_controller.store.cache import Indexed, WatchCache, WatchEvent
from plum_controller.store.sqlite import SqliteStore
from plum_schemas.selectors import parse_label_selector

from tests.bench.table import Row

Figure = tuple[str, float, str, str]
"""Name, value, unit, goal."""

RESOURCE = "things.plum.dev"
OBJECTS = 10_000
BODY = b'","labels":{"app":"app-%d"}},"spec":{"text":"' + b"x" * 860 + b'"}}'


async def measure() -> list[Figure]:
    """All figures. Takes about ten seconds."""
    with tempfile.TemporaryDirectory() as folder:
        return [*await commits(Path(folder)), *await history(Path(folder)), *await cache(Path(folder))]


async def rows(folder: Path) -> list[Row]:
    """The figures that have a goal, for `make bench`."""
    figures = [*await commits(folder), *await history(folder), *await cache(folder)]
    return [Row(name, value, unit, float(goal), more_is_better=unit == "/s") for name, value, unit, goal in figures if goal]


async def commits(folder: Path) -> list[Figure]:
    """Rows per second that are durable, one caller and many."""
    figures: list[Figure] = []
    store = SqliteStore(folder / "commits.db")
    await store.open()
    for callers, goal in ((1, "1445"), (16, "8014"), (64, "17638")):
        each = 6000 // callers if callers > 1 else 2000

        async def write(caller: int, each: int = each, callers: int = callers) -> None:
            for number in range(each):
                await store.commit(Transaction([thing(f"c{callers}-{caller}-{number % 50}", caller)]))

        began = time.perf_counter()
        await asyncio.gather(*(write(caller) for caller in range(callers)))
        rate = callers * each / (time.perf_counter() - began)
        name = "durable commits, one caller" if callers == 1 else f"durable commits, {callers} callers at once"
        figures.append((name, rate, "/s", goal))
    await store.close()
    return figures


async def history(folder: Path) -> list[Figure]:
    """How late a commit gets while 50,000 rows of history are compacted, and how large the write-ahead log grows."""
    path = folder / "history.db"
    store = SqliteStore(path)
    await store.open()
    for start in range(0, 50_000, 250):
        await store.commit(Transaction([thing(f"h{number % 500}", 0) for number in range(start, start + 250)]))
    latencies: list[float] = []
    compaction = asyncio.create_task(store.compact(store.revision - 1))
    began = time.perf_counter()
    while not compaction.done():
        moment = time.perf_counter()
        await store.commit(Transaction([thing("late", 0)]))
        latencies.append(time.perf_counter() - moment)
    took = time.perf_counter() - began
    removed = await compaction
    log_size = path.with_name(path.name + "-wal").stat().st_size
    await store.close()
    latencies.sort()
    return [
        ("commit during compaction, p99", percentile(latencies, 0.99) * 1000, "ms", ""),
        ("rows compacted beside a writer", removed / took, "/s", ""),
        ("write-ahead log after it", log_size / (1 << 20), "MiB", "16"),
    ]


async def cache(folder: Path) -> list[Figure]:
    """Reads from memory, the cost of telling watchers, and what 10,000 objects weigh."""
    path = folder / "cache.db"
    store = SqliteStore(path)
    await store.open()
    for start in range(0, OBJECTS, 100):
        await store.commit(Transaction([thing(f"o{number:05}", number % 1000) for number in range(start, start + 100)]))
    await store.close()

    gc.collect()
    before = resident()
    store = SqliteStore(path)
    began = time.perf_counter()
    await store.open()
    objects = WatchCache(store, index)
    await objects.load()
    loaded = time.perf_counter() - began
    gc.collect()
    figures: list[Figure] = [
        ("open and load 10,000 objects", loaded * 1000, "ms", ""),
        ("resident for 10,000 objects of 1 KB", resident() - before, "MiB", ""),
    ]

    keys = objects.keys(RESOURCE)
    began = time.perf_counter()
    for key in keys:
        objects.get(key)
    figures.append(("GET from the cache", len(keys) / (time.perf_counter() - began), "/s", ""))
    figures.append(("LIST of 10,000 objects, joined", best(lambda: join(objects)) * 1000, "ms", "40"))
    selector = parse_label_selector("app=app-7")
    figures.append(("LIST of 10 by label out of 10,000", best(lambda: objects.list(RESOURCE, labels=selector)) * 1e6, "us", ""))

    def deliver(events: Sequence[WatchEvent]) -> None:
        for event in events:
            event.line()

    for number in range(1000):
        labels = parse_label_selector(f"app=app-{number}")
        objects.watch(RESOURCE, "default", labels, None, objects.revision, deliver)
    figures.append(("publish to 1,000 watchers with selectors of their own", publish(objects) * 1e6, "us", ""))
    for _ in range(1000):
        objects.watch(RESOURCE, "", None, None, objects.revision, deliver)
    figures.append(("publish to 1,000 watchers of everything", publish(objects) * 1e6, "us", ""))
    await store.close()
    return figures


def thing(name: str, number: int) -> Write:
    return Write(Key(RESOURCE, "default", name), b'{"metadata":{"resourceVersion":"', BODY % number)


def index(_key: Key, value: bytes) -> Indexed:
    """Cheap on purpose: what objects are found by is the resource service's to read, and not measured here."""
    start = value.index(b"app-")
    return Indexed({"app": value[start : value.index(b'"', start)].decode()}, (), {})


def join(objects: WatchCache) -> bytes:
    return b",".join([entry.value for entry in objects.list(RESOURCE)])


def publish(objects: WatchCache) -> float:
    """Median seconds from the commit to the last watcher."""
    seconds = []
    for number in range(300):
        write = thing(f"o{number:05}", number)
        revision = objects.revision + 1
        entry = LogEntry(revision, write.key, write.head + b"%d" % revision + write.tail, False, 1, 0.0)
        began = time.perf_counter()
        objects.publish([entry])
        seconds.append(time.perf_counter() - began)
    return percentile(sorted(seconds), 0.5)


def best(action: object, rounds: int = 7) -> float:
    assert callable(action)
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def resident() -> float:
    """MiB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)


def main() -> int:
    for name, value, unit, goal in asyncio.run(measure()):
        print(f"{name:58} {value:12,.1f} {unit:4} {goal and 'goal ' + goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
