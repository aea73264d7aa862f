"""The lease: renewed in time, lost in time, and the deadline of exclusive runs never moves on its own."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plum_agent.drivers.procfs import uptime_centiseconds
from plum_agent.lease import LeaseKeeper, LeaseThread, NodeLease
from plum_client.clock import SystemClock
from plum_client.fake import FakeApi
from plum_schemas.lease import Lease
from plum_schemas.node import NODE_LEASE_NAMESPACE


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def keep(api: FakeApi, lease: NodeLease, seconds: float) -> list[bool]:
    changes: list[bool] = []
    keeper = LeaseKeeper([lease], SystemClock(), lambda node, held: changes.append(held))
    task = asyncio.create_task(keeper.run(api.client()))
    await asyncio.sleep(seconds)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return changes


async def test_a_missing_lease_is_made_and_then_renewed_every_third(tmp_path: Path) -> None:
    api = FakeApi()
    lease = NodeLease("n1", 0.6, SystemClock(), tmp_path / "fence")

    changes = await keep(api, lease, 1.1)

    stored = api.get(Lease, "n1", NODE_LEASE_NAMESPACE)
    assert stored is not None
    assert stored.spec.holder_identity == "n1"
    assert changes == [True]
    assert 4 <= api.writes <= 8


async def test_the_deadline_counts_from_sending_and_is_written_for_the_shim(tmp_path: Path) -> None:
    lease = NodeLease("n1", 10.0, SystemClock(), tmp_path / "fence")
    sent_at = time.monotonic() - 2

    lease.acknowledged(sent_at)

    left = (int((tmp_path / "fence").read_text()) - uptime_centiseconds()) / 100
    assert 7.3 < left < 7.6
    assert abs(lease.deadline - (sent_at + 9.5)) < 1e-6
    fence = lease.fence()
    assert fence.kill_at == lease.deadline
    assert fence.stop_at == lease.deadline - 2.5
    assert fence.may_start


async def test_an_unanswered_lease_is_lost_and_comes_back(tmp_path: Path) -> None:
    api = FakeApi()
    lease = NodeLease("n1", 0.6, SystemClock(), tmp_path / "fence")
    changes: list[bool] = []
    keeper = LeaseKeeper([lease], SystemClock(), lambda node, held: changes.append(held))
    task = asyncio.create_task(keeper.run(api.client()))
    await until(lambda: changes == [True])

    api.faults.refuse = 1.0
    deadline = lease.deadline
    await until(lambda: changes == [True, False])
    assert lease.deadline <= deadline + 0.6
    assert time.monotonic() >= lease.deadline
    assert not lease.fence().may_start
    api.faults.refuse = 0.0
    await until(lambda: changes == [True, False, True])

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_wall_clock_that_jumps_moves_no_deadline(tmp_path: Path) -> None:
    class JumpingClock(SystemClock):
        offset = timedelta()

        def now(self) -> datetime:
            return super().now() + self.offset

    clock = JumpingClock()
    lease = NodeLease("n1", 15.0, clock, tmp_path / "fence")
    lease.acknowledged(clock.monotonic())
    text = (tmp_path / "fence").read_text()

    for days in (365, -365):
        before = lease.fence()
        clock.offset = timedelta(days=days)
        after = lease.fence()
        assert (after.stop_at, after.kill_at, after.may_start) == (before.stop_at, before.kill_at, before.may_start)
        lease.acknowledged(clock.monotonic())
        assert abs(int((tmp_path / "fence").read_text()) - int(text)) < 100


async def test_a_shorter_lease_is_told_at_once_because_its_deadline_comes_earlier(tmp_path: Path) -> None:
    api, changes = FakeApi(), list[bool]()
    lease = NodeLease("n1", 15.0, SystemClock(), tmp_path / "fence")
    task = asyncio.create_task(LeaseKeeper([lease], SystemClock(), lambda node, held: changes.append(held)).run(api.client()))
    await until(lambda: changes == [True])
    long = lease.deadline

    lease.change(1.0)

    await until(lambda: changes == [True, True])
    assert lease.deadline < long
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_the_deadline_of_the_agent_before_still_holds(tmp_path: Path) -> None:
    (tmp_path / "fence").write_text(f"{uptime_centiseconds() + 500}\n")

    lease = NodeLease("n1", 15.0, SystemClock(), tmp_path / "fence")

    assert 4.8 < lease.deadline - time.monotonic() < 5.2
    assert not lease.held
    assert not lease.fence().may_start


def test_a_broken_fence_file_is_no_lease(tmp_path: Path) -> None:
    (tmp_path / "fence").write_text("nonsense")

    assert NodeLease("n1", 15.0, SystemClock(), tmp_path / "fence").deadline == 0.0


async def test_the_thread_renews_while_the_agents_loop_is_blocked() -> None:
    api = FakeApi()
    lease = NodeLease("n1", 0.3, SystemClock(), None)
    thread = LeaseThread(LeaseKeeper([lease], SystemClock(), lambda node, held: None), api.client)
    thread.start()
    try:
        await until(lambda: lease.held)
        before = api.writes

        time.sleep(0.6)  # nothing else runs on this loop now

        assert api.writes >= before + 4
        lease.change(0.15)
    finally:
        thread.stop()


def no_room(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_has_room_for_the_next_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = NodeLease("n1", 10.0, SystemClock(), tmp_path / "fence")
    lease.acknowledged(time.monotonic() - 8)
    number = (tmp_path / "fence").stat().st_ino
    monkeypatch.setattr(Path, "write_text", no_room)

    lease.acknowledged(time.monotonic())

    assert (tmp_path / "fence").stat().st_ino == number, "written over in its place"
    left = (int((tmp_path / "fence").read_text()) - uptime_centiseconds()) / 100
    assert 9.2 < left < 9.6
    assert lease.fence().may_start


async def test_a_deadline_that_cannot_be_written_ends_exclusive_runs_and_not_the_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = FakeApi()
    lease = NodeLease("n1", 0.6, SystemClock(), tmp_path / "fence")
    await keep(api, lease, 0.1)
    written, before = (tmp_path / "fence").read_text(), lease.deadline
    monkeypatch.setattr(Path, "write_text", no_room)
    monkeypatch.setattr(os, "pwrite", no_room)

    await keep(api, lease, 0.7)

    assert api.writes >= 3, "the lease is renewed all the same"
    assert lease.held
    assert (tmp_path / "fence").read_text() == written
    assert lease.deadline == before, "never later than what the shims know"
    assert not lease.fence().may_start
