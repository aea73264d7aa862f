"""The SDK for applications against a real controller: cache, modes, conditions, locks, coroutines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from plum_worker import KV, AsyncKV, KvConflictError, KvRefusedError, LockLostError
from plum_worker.kv_cache import Change

from tests.support.command import eventually
from tests.support.server import RunningServer

Open = Callable[..., KV]


@pytest.fixture
def connect(server: RunningServer, tmp_path: Path) -> Iterator[Open]:
    """Opens the store as one of several programs: each with a folder of its own."""
    opened: list[KV] = []

    def make(namespace: str, **options: Any) -> KV:
        folder = tmp_path / str(len(opened))
        kv = KV(namespace, **{"base": server.url, "folder": folder, "poll_seconds": 0.1, **options})
        opened.append(kv)
        return kv

    yield make
    for kv in opened:
        kv.close()


def same(ask: Callable[[], Any], expected: Any) -> None:
    """Wait until something has a value."""
    eventually(lambda: ask() == expected)
    assert ask() == expected


VALUES = {"int": 7, "double": 2.5, "text": "h\u00e9", "bool": True, "bytes": b"\x00\xff", "json": {"a": [1, None]}, "a/b //..": 1}


@pytest.mark.parametrize("mode", ["sse", "polling", "disabled"])
def test_values_of_every_type_reach_another_program(connect: Open, mode: str) -> None:
    writer, reader = connect(f"sdk-{mode}", sync=mode), connect(f"sdk-{mode}", sync=mode)
    for key, value in VALUES.items():
        assert writer.put(key, value) > 0
        assert writer.get(key) == value

    for key, value in VALUES.items():
        same(lambda key=key: reader.get(key), value)  # type: ignore[misc]
        assert type(reader.get(key)) is type(value)
    assert reader.keys() == sorted(VALUES)
    assert dict(reader.items("a/")) == {"a/b //..": 1}
    writer.delete("int")
    same(lambda: reader.get("int", "gone"), "gone")
    assert writer.get("int") is None
    writer.delete("int")  # a missing one is a success


@pytest.mark.parametrize("mode", ["sse", "polling"])
def test_subscribers_are_told_of_changes_and_deletions(connect: Open, mode: str) -> None:
    writer, reader = connect(f"told-{mode}", sync=mode), connect(f"told-{mode}", sync=mode)
    writer.put("alarm/1", "high")
    same(lambda: reader.get("alarm/1"), "high")
    changes: list[Change] = []

    with reader.subscribe(changes.append, "alarm/"):
        writer.put("other", 1)
        writer.put("alarm/1", "low")
        same(lambda: [(one.key, one.value, one.old) for one in changes], [("alarm/1", "low", "high")])
        writer.delete("alarm/1")
        same(lambda: [(one.key, one.value, one.deleted) for one in changes[1:]], [("alarm/1", None, True)])
    writer.put("alarm/1", "high")
    same(lambda: reader.get("alarm/1"), "high")

    assert len(changes) == 2


def test_writes_with_a_demand_are_refused_when_it_is_not_met(connect: Open) -> None:
    one, two = connect("demands"), connect("demands")
    revision = one.put("n", 1, new=True)
    assert two.put("n", 2, if_revision=revision) > revision

    for refused in ({"if_revision": revision}, {"new": True}):
        with pytest.raises(KvConflictError):
            one.put("n", 3, **refused)  # type: ignore[arg-type]
    with pytest.raises(KvRefusedError, match="of type int"):
        one.put("n", "text")
    with pytest.raises(KvRefusedError):
        one.put("", 1)

    fresh = one.fresh("n")
    assert fresh is not None and fresh.value == 2


def test_a_counter_of_many_threads_and_programs_is_exact(connect: Open) -> None:
    programs = [connect("count") for _ in range(4)]

    def work(kv: KV) -> None:
        for _ in range(10):
            kv.add("added")
            kv.update("updated", lambda value: (value or 0) + 1)

    threads = [threading.Thread(target=work, args=(kv,)) for kv in programs for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [programs[0].fresh(key).value for key in ("added", "updated")] == [80, 80]  # type: ignore[union-attr]


def test_a_batch_and_a_transaction_are_all_or_nothing(connect: Open) -> None:
    kv = connect("batches")
    kv.put("old", 1)
    assert kv.batch({"a": 1, "b c": b"\x01"}, ["old"]) > 0
    assert kv.get("b c") == b"\x01" and kv.get("old") is None

    result = kv.txn([{"key": "a", "value": 1}], [{"put": {"key": "a", "value": 2}}], [{"get": {"key": "a"}}])
    again = kv.txn([{"key": "a", "value": 1}], [{"put": {"key": "a", "value": 3}}], [{"get": {"key": "a"}}])

    assert result["succeeded"] and not again["succeeded"]
    assert again["results"][0]["object"]["spec"]["value"] == 2


def test_a_lock_is_renewed_held_by_one_and_fences_writes(connect: Open) -> None:
    one, two = connect("locked"), connect("locked")
    with one.lock("the lock", ttl="600ms") as held:
        with pytest.raises(KvConflictError, match="is held by"):
            two.lock("the lock", wait=1.5).acquire()  # longer than the ttl: it was renewed
        held.check()
        one.put("state", "of one", lock=held)
        token = held.token
    with two.lock("the lock") as next_one:
        assert next_one.token > token
        held.token = token  # as if it had not noticed
        with pytest.raises(KvConflictError, match=f"not with {token}"):
            one.put("state", "too late", lock=held)
        two.put("state", "of two", lock=next_one)
    held.token = 0

    with pytest.raises(LockLostError):
        one.put("state", "x", lock=held)
    fresh = one.fresh("state")
    assert fresh is not None and fresh.value == "of two"


def test_the_environment_of_an_instance_says_everything(
    server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTROLLER_BASE", server.url)
    monkeypatch.setenv("PLUM_INSTANCE_ID", "web-1.x")
    monkeypatch.setenv("PLUM_KV_SYNC_MODE", "disabled")
    monkeypatch.setenv("PLUM_KV_DIR", str(tmp_path))
    with KV() as kv:
        assert (kv.namespace, kv.mode) == ("web-1-x", "disabled")
        kv.put("mine", 1)
        assert kv.get("mine") == 1

    monkeypatch.setenv("PLUM_KV_SYNC_MODE", "often")
    with pytest.raises(KvRefusedError, match="sse, polling, disabled"):
        KV()
    monkeypatch.delenv("PLUM_INSTANCE_ID")
    with pytest.raises(KvRefusedError, match="name a namespace"):
        KV()


async def test_coroutines_use_it_without_waiting_for_each_other(server: RunningServer, tmp_path: Path) -> None:
    async with AsyncKV("coroutines", base=server.url, folder=tmp_path) as kv:
        changes = kv.changes("n")
        first = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)

        await asyncio.gather(*(kv.add("n") for _ in range(8)))

        assert (await first).key == "n"
        assert kv.get("n") == 8
        async with kv.lock("the lock") as lock:
            await kv.put("state", "busy", lock=lock)
        while await kv.keys() != ["n", "state"]:
            await asyncio.sleep(0.01)  # the end of the lock is on its way into the cache
        await kv.delete("state")
        assert (await kv.fresh("state")) is None
        await changes.aclose()  # type: ignore[attr-defined]
