"""kill -9 of the writing process, again and again: what was acknowledged is there, and revisions only grow."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import apsw
import pytest
from plum_controller.store.base import LogEntry
from plum_controller.store.sqlite import SqliteStore

from tests.support.store import collect, data_of, opened, read_all

ROOT = Path(__file__).parents[2]


async def write_until_killed(path: Path, seconds: float) -> list[tuple[int, int, int]]:
    """Run the writer, kill it `seconds` after its first acknowledgement. Answers with (revision, writer, number) of each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.store_writer_process",
        str(path),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=os.environ,
    )
    assert process.stdout is not None
    lines = [await process.stdout.readline()]
    try:
        async with asyncio.timeout(seconds):
            while line := await process.stdout.readline():
                lines.append(line)
    except TimeoutError:
        pass
    process.send_signal(signal.SIGKILL)
    lines += (await process.stdout.read()).splitlines(keepends=True)
    assert await process.wait() == -signal.SIGKILL, "the writer ended by itself"
    found = [tuple(map(int, line.split())) for line in lines if line.endswith(b"\n")]
    return [(revision, writer, number) for revision, writer, number in found]


async def check(path: Path, acknowledged: list[tuple[int, int, int]], before: int) -> int:
    """Answers with the revision that is on disk."""
    async with opened(SqliteStore(path)) as store:
        assert acknowledged[0][0] > before, "a revision was given twice"
        assert max(revision for revision, _, _ in acknowledged) <= store.revision
        log: dict[tuple[int, str], LogEntry] = {(e.revision, e.key.name): e for e in await read_all(store, store.compacted)}
        for revision, writer, number in acknowledged:
            for name in (f"w{writer}", f"x{writer}"):
                if revision > store.compacted:
                    assert data_of(log[revision, name].value)[:2] == [writer, number]
        latest = {writer: number for _, writer, number in sorted(acknowledged)}
        state = {entry.key.name: entry for entry in await collect(store)}
        for writer, number in latest.items():
            assert data_of(state[f"w{writer}"].value)[1] >= number
            assert state[f"w{writer}"].revision == state[f"x{writer}"].revision
        return store.revision


async def kill_again_and_again(path: Path, rounds: int) -> None:
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    revision = 0
    for _ in range(rounds):
        acknowledged = await write_until_killed(path, chance.uniform(0.0, 0.15))
        revision = await check(path, acknowledged, revision)
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    connection.close()


@pytest.mark.slow
async def test_kill_9_loses_no_acknowledged_commit(tmp_path: Path) -> None:
    await kill_again_and_again(tmp_path / "plum.db", 15)


@pytest.mark.soak
async def test_kill_9_loses_no_acknowledged_commit_in_500_rounds(tmp_path: Path) -> None:
    await kill_again_and_again(tmp_path / "plum.db", 500)
