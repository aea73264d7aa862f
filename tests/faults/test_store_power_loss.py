"""Power loss at any moment: no acknowledged commit is lost, no refused one comes back, none is half there, the file opens.

The disk forgets any part of what was not flushed: whole writes, single sectors, parts of sectors, in any combination.
Now and then a write or a flush fails before, so that refused commits leave their traces as well. Each image is named by
its seed, which is printed when something is wrong with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest
from plum_controller.store import database, writer
from plum_controller.store.base import LogEntry
from plum_controller.store.errors import StoreFullError, StoreUnavailableError
from plum_controller.store.sqlite import SqliteStore

from tests.support.store import collect, data_of, delete, put, read_all, transaction
from tests.support.store_disk import FaultyDisk


@dataclass
class Image:
    """What a power loss left, and what had been promised by then."""

    seed: str
    operation: str
    acknowledged: int
    published: int
    """Commits up to here had their final content. The next one may still have been refused after the image was taken."""
    refused: frozenset[int]
    """Numbers of the transactions that were refused by then: they must not come back."""
    files: dict[str, bytes]


class PowerLosses:
    """Takes an image at random moments of a run."""

    def __init__(self, seed: str, disk: FaultyDisk, wanted: int, share: float) -> None:
        self.seed = seed
        self.images: list[Image] = []
        self.acknowledged = 0
        self.refused: set[int] = set()
        self.begun = 0
        self.published = 0
        self._refused_before = 0
        self._due = 0
        """Images to take at the next operations, because a commit was just refused."""
        self._disk = disk
        self._wanted = wanted
        self._share = share
        self._chance = random.Random(seed)

    def __call__(self, operation: str, path: str) -> None:
        # Flushes are where everything hangs on order; writes are many and alike.
        if self._due > 0 or self._chance.random() < self._share * (4 if operation == "sync" else 1):
            self._due -= 1
            self._take(f"after {operation} {Path(path).name}")

    def fail_sometimes(self, operation: str, path: str) -> None:
        """The disk is full, a flush fails, a log cannot be deleted."""
        if len(self.refused) > self._refused_before:
            # Whatever the refused commit left is still there, before anything is written over it.
            self._refused_before = len(self.refused)
            self._due = 3
            self._take(f"before {operation} {Path(path).name}, after a refusal")
        chance = {"sync": 0.04, "delete": 0.5}.get(operation, 0.005)
        if path.endswith("-wal") and self.begun > 3 and self._chance.random() < chance:
            raise apsw.FullError("injected") if operation == "write" else apsw.IOError("injected")

    def _take(self, where: str) -> None:
        if len(self.images) < self._wanted:
            seed = f"{self.seed}-{len(self.images)}"
            files = self._disk.power_loss(random.Random(seed))
            self.images.append(Image(seed, where, self.acknowledged, self.published, frozenset(self.refused), files))


async def work(store: SqliteStore, losses: PowerLosses, chance: random.Random, rounds: int) -> None:
    """Pairs of objects that are always written together, deletions, compactions; several callers at once."""

    async def commit(number: int) -> None:
        left, right = f"left{number}", f"right{number}"
        alive = any(entry.key.name == left for entry in await store.read_at(store.revision, "things.plum.dev", "default", left))
        losses.begun += 1
        mine = losses.begun
        # No two pages alike: SQLite tells a torn commit by checksums, and an old page with the very bytes of the one that
        # was not written would complete it.
        content = [mine, chance.randbytes(chance.choice([5, 350, 4500])).hex()]
        make = delete if alive and chance.random() < 0.3 else put
        try:
            revision = await store.commit(transaction(make(left, content), make(right, content)))
            losses.acknowledged = max(losses.acknowledged, revision)
        except (StoreFullError, StoreUnavailableError):
            losses.refused.add(mine)

    for turn in range(rounds):
        await asyncio.gather(*(commit(number) for number in chance.sample(range(12), chance.randint(1, 6))))
        if turn % 10 == 9:
            with contextlib.suppress(StoreFullError, StoreUnavailableError):
                await store.compact(store.revision - 8)


async def check(image: Image, folder: Path, published: dict[int, list[LogEntry]]) -> None:
    folder.mkdir()
    for name, content in image.files.items():
        (folder / name).write_bytes(content)
    where = f"seed {image.seed}, power lost {image.operation}"

    store = SqliteStore(folder / "plum.db")
    await store.open()
    try:
        assert store.revision >= image.acknowledged, f"{where}: acknowledged {image.acknowledged}, found {store.revision}"
        found: dict[int, list[LogEntry]] = {}
        for entry in await read_all(store, store.compacted):
            found.setdefault(entry.revision, []).append(entry)
            assert data_of(entry.value)[0] not in image.refused, f"{where}: revision {entry.revision} had been refused"
        for revision in range(store.compacted + 1, store.revision + 1):
            assert len(found[revision]) == 2, f"{where}: revision {revision} is half there"
            if revision <= image.published:
                assert found[revision] == published[revision], f"{where}: revision {revision} differs"
        pairs: dict[str, list[tuple[int, object]]] = {}
        for entry in await collect(store):
            number = entry.key.name.removeprefix("left").removeprefix("right")
            pairs.setdefault(number, []).append((entry.revision, data_of(entry.value)))
        assert all(len(pair) == 2 and pair[0] == pair[1] for pair in pairs.values()), f"{where}: a pair is torn"
        assert await store.commit(transaction(put("after"))) == store.revision > image.acknowledged
    finally:
        await store.close()
    connection = apsw.Connection(str(folder / "plum.db"))
    assert connection.execute("PRAGMA integrity_check").get == "ok", where
    connection.close()


async def lose_power(seed: str, folder: Path, images: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """One run, then every image of it. Answers with how many there were."""
    monkeypatch.setattr(writer, "RECOVERY_SECONDS", (0.001, 0.01))
    pages = random.Random(seed).choice([8, 30])
    monkeypatch.setattr(writer, "CHECKPOINT_PAGES", pages)  # so that checkpoints are among the moments
    monkeypatch.setattr(database, "TRUNCATE_PAGES", random.Random(seed).choice([1, 2]) * pages)
    disk = FaultyDisk()
    losses = PowerLosses(seed, disk, images, share=0.03)
    published: dict[int, list[LogEntry]] = {}
    folder.mkdir()
    store = SqliteStore(folder / "plum.db", vfs=disk.vfs_name)

    def publish(entries: Sequence[LogEntry]) -> None:
        for entry in entries:
            published.setdefault(entry.revision, []).append(entry)
        losses.published = entries[-1].revision

    store.subscribe(publish)
    disk.before, disk.after = losses.fail_sometimes, losses
    await store.open()
    await work(store, losses, random.Random(seed), rounds=max(40, images))
    await store.close()

    for number, image in enumerate(losses.images):
        await check(image, folder / f"image-{number}", published)
    return len(losses.images)


@pytest.mark.parametrize("run", range(4))
async def test_power_loss_loses_no_acknowledged_commit(run: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = f"{random.SystemRandom().randrange(1 << 32):08x}"
    print(f"seed {seed}")

    assert await lose_power(seed, tmp_path / seed, 60, monkeypatch) >= 30


@pytest.mark.soak
async def test_power_loss_at_thousands_of_moments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = 0
    while images < 10_000:
        seed = f"{random.SystemRandom().randrange(1 << 32):08x}"
        print(f"seed {seed}")
        images += await lose_power(seed, tmp_path / seed, 100, monkeypatch)
        for file in sorted((tmp_path / seed).rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
