"""The key-value store while things die: the controller is killed, a lock holder stops, the clock jumps, the link is away."""

from __future__ import annotations

import asyncio
import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from plum_worker import KV, KvConflictError, KvError, KvUnavailableError
from plum_worker.kv_cache import Change

from tests.support.clocks import compiler, make_clock
from tests.support.programs import Sandbox, sandbox, state_of

CLIENTS = 16
KEPT = "last good"


async def soon(box: Sandbox, condition: Callable[[], bool], seconds: float, *, what: str) -> None:
    """Wait for something that may block to become true."""

    async def ask() -> bool:
        return await asyncio.to_thread(condition)

    await box.until(ask, seconds, what=what)


def agrees(kv: KV, expected: dict[str, object]) -> bool:
    return dict(kv.items()) == expected


class Increments:
    """One client that adds to one counter as fast as it is answered, and keeps account."""

    def __init__(self, kv: KV) -> None:
        self.kv = kv
        self.acknowledged = 0
        self.unknown = 0
        """Without an answer: each may or may not have happened."""
        self.sums: list[int] = []
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self.sums.append(self.kv.add("counter"))
                self.acknowledged += 1
            except KvUnavailableError as error:
                # A refused connection never reached anybody; everything else may have.
                self.unknown += "refused" not in str(error)
                time.sleep(0.02)


def counted(clients: list[Increments], least: int) -> bool:
    return sum(one.acknowledged for one in clients) > least


@pytest.mark.slow
async def test_a_counter_of_16_clients_is_exact_over_kill_9(tmp_path: Path) -> None:
    """Every acknowledged increment counts once, none is seen twice, over three kills of the controller."""
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        stores = [KV("count", base=controller.url, folder=tmp_path / f"kv{number}", sync="disabled") for number in range(CLIENTS)]
        clients = [Increments(kv) for kv in stores]
        before = 0
        for _ in range(3):
            before = sum(client.acknowledged for client in clients)
            await soon(box, partial(counted, clients, before + 60), 60, what="increments")
            controller.kill()
            controller = await box.restarted(controller)
        for client in clients:
            client.stop.set()
        for client in clients:
            await asyncio.to_thread(client.thread.join, 30)

        entry = stores[0].fresh("counter")
        for kv in stores:
            await asyncio.to_thread(kv.close)

    sums = [number for client in clients for number in client.sums]
    acknowledged, unknown = len(sums), sum(client.unknown for client in clients)
    assert entry is not None
    assert acknowledged <= entry.value <= acknowledged + unknown
    assert len(set(sums)) == len(sums)
    for client in clients:
        assert client.sums == sorted(client.sums)


@pytest.mark.slow
async def test_writes_wait_in_order_while_the_controller_is_away_and_over_a_crash_of_the_program(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        folder = tmp_path / "kv"
        watcher = KV("line", base=controller.url, folder=tmp_path / "other")
        kv = KV("line", base=controller.url, folder=folder)
        assert kv.put(KEPT, 7) > 0 and kv.put("old", 1) > 0
        await soon(box, lambda: watcher.get("old") == 1, 20, what="the other program sees it")
        kept = folder / "line.json"
        await soon(box, lambda: kept.exists() and KEPT in kept.read_text(), 20, what="the last good values are on disk")
        seen: list[Change] = []
        watcher.subscribe(seen.append)
        controller.kill()

        assert kv.put("a", 1) == 0
        assert kv.put("a", 2) == 0 and kv.put("b", 1) == 0 and kv.delete("old") == 0
        assert (kv.get("a"), kv.get("old"), kv.get(KEPT)) == (2, None, 7)
        with pytest.raises(KvUnavailableError):
            kv.put("a", 3, if_revision=1)
        assert kv.waiting == 4
        # The program dies without a word; the next one finds its folder. A copy stands for the dead program's files.
        copied = tmp_path / "copied"
        copied.mkdir()
        for file in folder.iterdir():
            (copied / file.name).write_bytes(file.read_bytes())
        await asyncio.to_thread(kv._syncing.close)
        again = KV("line", base=controller.url, folder=copied)
        assert again.waiting == 4
        assert again.get(KEPT) == 7  # offline, from the disk

        await box.restarted(controller)

        assert await asyncio.to_thread(again.flush, 30)
        await soon(box, lambda: watcher.get("b") == 1 and watcher.get("old") is None, 30, what="the other program sees it")
        assert watcher.get("a") == 2
        told = [(change.key, change.value) for change in seen]
        assert told[-1] == ("old", None) and ("b", 1) in told
        for one in (watcher, again, kv):
            await asyncio.to_thread(one.close)


@dataclass(slots=True)
class Act:
    """One operation as its client saw it."""

    began: float
    ended: float
    revision: int
    """Of the entry that was written or read; 0 for a read of nothing."""
    value: object
    wrote: bool


class Historian:
    """One client that writes, swaps, deletes and reads at random, and keeps account of what was answered."""

    def __init__(self, kv: KV, number: int, stop: threading.Event) -> None:
        self.kv = kv
        self.acts: dict[str, list[Act]] = {key: [] for key in ("a", "b c", "d/e")}
        self._dice = random.Random(number)
        self._number = number
        self._stop = stop
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        count = 0
        while not self._stop.is_set():
            count += 1
            key = self._dice.choice(list(self.acts))
            value = f"{self._number}-{count}"
            began = time.monotonic()
            try:
                revision, seen, wrote = self._act(key, value)
            except KvConflictError:
                continue
            except KvError:
                time.sleep(0.02)  # it may have happened; its value is then seen without its write
                continue
            self.acts[key].append(Act(began, time.monotonic(), revision, seen, wrote))

    def _act(self, key: str, value: str) -> tuple[int, object, bool]:
        choice = self._dice.random()
        if choice < 0.4:
            entry = self.kv.fresh(key)
            return (entry.revision, entry.value, False) if entry is not None else (0, None, False)
        if choice < 0.6:
            entry = self.kv.fresh(key)
            revision = entry.revision if entry is not None else None
            return self.kv.put(key, value, if_revision=revision, new=entry is None), value, True
        if choice < 0.7:
            return self.kv.delete(key, wait=True), None, True
        return self.kv.put(key, value, wait=True), value, True


def judged(acts: list[Act]) -> None:
    """Revisions order all writes of a key. A read shows the write of its revision, and nobody sees less than was already
    over when they began."""
    written = {act.revision: act for act in acts if act.wrote and act.revision}
    assert len(written) == sum(act.wrote and act.revision > 0 for act in acts), "two writes of one revision"
    for act in acts:
        if not act.wrote and act.revision in written:
            assert act.value == written[act.revision].value, act
    newest = 0
    ends = sorted(acts, key=lambda act: act.ended)
    position = 0
    for act in sorted(acts, key=lambda act: act.began):
        while position < len(ends) and ends[position].ended < act.began:
            newest = max(newest, ends[position].revision)
            position += 1
        if act.revision:
            assert act.revision >= newest, (act, newest)


@pytest.mark.slow
async def test_random_histories_are_strictly_serializable_over_kill_9(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        stop = threading.Event()
        stores = [KV("history", base=controller.url, folder=tmp_path / f"kv{number}", sync="disabled") for number in range(6)]
        clients = [Historian(kv, number, stop) for number, kv in enumerate(stores)]

        def acts() -> list[Act]:
            return [act for client in clients for kept in list(client.acts.values()) for act in list(kept)]

        for least in (300, 600):
            await soon(box, partial(lambda count: len(acts()) > count, least), 90, what="operations")
            controller.kill()
            controller = await box.restarted(controller)
        await soon(box, lambda: len(acts()) > 800, 90, what="operations after the last restart")
        stop.set()
        for client in clients:
            await asyncio.to_thread(client.thread.join, 30)
        for kv in stores:
            await asyncio.to_thread(kv.close)

    for key in ("a", "b c", "d/e"):
        judged([act for client in clients for act in client.acts[key]])


HOLDER = """
import sys, time
from plum_worker import KV, KvError
kv = KV("fence", base=sys.argv[1], folder=sys.argv[2])
lock = kv.lock("leader", ttl="1s").acquire()
print("held", lock.token, flush=True)
number = 0
while True:
    number += 1
    try:
        kv.put("state", f"one-{number}", lock=lock)
    except KvError as error:
        print("refused", type(error).__name__, flush=True)
        time.sleep(60)
    time.sleep(0.01)
"""


@pytest.mark.slow
async def test_a_paused_lock_holder_cannot_write_when_it_goes_on(tmp_path: Path) -> None:
    """SIGSTOP until another has the lock, SIGCONT: the writes it was about to make are refused."""
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        command = [sys.executable, "-c", HOLDER, controller.url, str(tmp_path / "one")]
        holder = box.start("holder", command, stdout=subprocess.PIPE)
        assert holder.process.stdout is not None
        held = (await asyncio.to_thread(holder.process.stdout.readline)).split()
        kv = KV("fence", base=controller.url, folder=tmp_path / "two")
        await soon(box, lambda: str(kv.get("state", "")).startswith("one-"), 20, what="the holder writes")
        holder.pause()
        assert state_of(holder.pid) == "T"

        with kv.lock("leader", wait=30) as mine:
            assert mine.token > int(held[1])
            kv.put("state", "two", lock=mine)
            holder.resume()
            said = (await asyncio.to_thread(holder.process.stdout.readline)).split()

            assert said[0] == b"refused"
            fresh = kv.fresh("state")
            assert fresh is not None and fresh.value == "two"
            with pytest.raises(KvConflictError):
                kv.lock("leader", wait=0).acquire()
        await asyncio.to_thread(kv.close)


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="moving the clock of a real program needs a C compiler")
async def test_clock_jumps_neither_end_entries_early_nor_keep_them(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        clock = make_clock(tmp_path, "controller")
        controller = await box.controller(env=clock.environment)
        kv = KV("time", base=controller.url, folder=tmp_path / "kv", sync="disabled")
        kv.put("long", 1, ttl="10m")
        kv.put("short", 1, ttl="6s")

        clock.shift(3600)
        await asyncio.sleep(0.5)
        assert kv.get("long") == 1 and kv.get("short") == 1
        clock.shift(-3600)
        await soon(box, lambda: kv.get("short") is None, 30, what="the short one ends though the clock went back")
        kv.put("back", 1, ttl="2s")
        await soon(box, lambda: kv.get("back") is None, 30, what="one that was written then ends too")
        assert kv.get("long") == 1

        controller.kill()
        controller = await box.restarted(controller, env=clock.environment)
        kv.put("after", 1, ttl="1s")
        await soon(box, lambda: kv.get("after") is None, 30, what="one that was written after a restart ends")
        assert kv.get("long") == 1
        await asyncio.to_thread(kv.close)


@pytest.mark.slow
async def test_caches_agree_with_the_store_whatever_was_killed(tmp_path: Path) -> None:
    """Two programs write and delete at random while the controller is killed; in the end all see the same, deletions too."""
    dice = random.Random(11)
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        modes = ("sse", "polling", "sse")
        stores = [
            KV("agree", base=controller.url, folder=tmp_path / f"kv{number}", sync=mode, poll_seconds=0.2)  # type: ignore[arg-type]
            for number, mode in enumerate(modes)
        ]
        for round_ in range(3):
            for step in range(40):
                kv, key = stores[dice.randrange(2)], f"k{dice.randrange(12)}"
                with contextlib.suppress(KvError):
                    kv.delete(key) if dice.random() < 0.3 else kv.put(key, round_ * 100 + step)
                if step == 15:
                    controller.kill()
                if step == 30:
                    controller = await box.restarted(controller)
        for kv in stores:
            assert await asyncio.to_thread(kv.flush, 30)

        truth = KV("agree", base=controller.url, folder=tmp_path / "truth", sync="disabled")
        expected = dict(truth.items())
        for kv in stores:
            await soon(box, partial(agrees, kv, expected), 30, what=f"the cache of a program agrees with {expected}")
        for kv in (*stores, truth):
            await asyncio.to_thread(kv.close)
