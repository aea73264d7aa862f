"""Output: nothing is lost by rotation, every part has a time, readers get whole lines in order."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plum_agent.log_reader import LogQuery, LogReader
from plum_agent.output import OutputKeeper, index_of, read_index


@pytest.fixture
async def keeper() -> AsyncIterator[OutputKeeper]:
    made = OutputKeeper()
    yield made
    made.close()


def append(folder: Path, stream: str, text: bytes) -> None:
    with (folder / f"{stream}.log").open("ab") as file:
        file.write(text)


async def read(folder: Path, keeper: OutputKeeper | None = None, running: bool = False, **query: object) -> bytes:
    reader = LogReader(folder, LogQuery(**query), keeper, lambda: running, time.time)  # type: ignore[arg-type]
    return b"".join([chunk async for chunk in reader.read()])


async def wait_for_entries(folder: Path, stream: str, count: int) -> None:
    deadline = time.monotonic() + 5
    while len(read_index(index_of(folder / f"{stream}.log"))) < count:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_streams_are_merged_in_the_order_of_their_times(keeper: OutputKeeper, tmp_path: Path) -> None:
    keeper.add(tmp_path, 1 << 20, 2)
    for number, stream in enumerate(("stdout", "stderr", "stdout")):
        append(tmp_path, stream, f"{number}\n".encode())
        keeper.flush(tmp_path)

    assert await read(tmp_path) == b"0\n1\n2\n"
    assert await read(tmp_path, stream="stderr") == b"1\n"
    assert await read(tmp_path, tail_lines=2) == b"1\n2\n"
    assert await read(tmp_path, tail_lines=0) == b""
    assert await read(tmp_path, since_seconds=3600) == b"0\n1\n2\n"


async def test_growth_is_noticed_and_dated(keeper: OutputKeeper, tmp_path: Path) -> None:
    keeper.add(tmp_path, 1 << 20, 2)
    append(tmp_path, "stdout", b"early\n")
    await wait_for_entries(tmp_path, "stdout", 1)
    await asyncio.sleep(1.2)
    append(tmp_path, "stdout", b"late\n")
    await wait_for_entries(tmp_path, "stdout", 2)

    assert await read(tmp_path, since_seconds=0.8) == b"late\n"
    lines = (await read(tmp_path, timestamps=True)).split(b"\n")
    assert lines[0].endswith(b"Z early")
    assert lines[0][:24] < lines[1][:24]


async def test_what_was_written_while_no_agent_was_there_is_dated_by_the_file(tmp_path: Path) -> None:
    append(tmp_path, "stdout", b"alone\n")
    os.utime(tmp_path / "stdout.log", (1000.0, 1000.0))
    keeper = OutputKeeper()

    keeper.add(tmp_path, 1 << 20, 2)

    assert (await read(tmp_path, timestamps=True)).startswith(b"1970-01-01T00:16:40.000Z alone")
    keeper.close()


async def test_rotation_frees_blocks_and_loses_no_later_line(keeper: OutputKeeper, tmp_path: Path) -> None:
    keeper.add(tmp_path, 64 << 10, 3)
    lines = [b"line %06d %s\n" % (number, b"x" * 80) for number in range(20_000)]
    for start in range(0, len(lines), 500):
        append(tmp_path, "stdout", b"".join(lines[start : start + 500]))
        keeper.flush(tmp_path)

    status = (tmp_path / "stdout.log").stat()
    kept = (await read(tmp_path)).splitlines(keepends=True)

    assert status.st_size == sum(map(len, lines))
    assert status.st_blocks * 512 <= 3 * (64 << 10) + 3 * 4096 + 50_000
    assert kept == lines[-len(kept) :]
    assert 2 * (64 << 10) <= sum(map(len, kept)) <= 3 * (64 << 10) + 50_000
    assert await read(tmp_path, tail_lines=3) == b"".join(lines[-3:])


async def test_a_follower_gets_every_line_once_and_ends_with_the_run(keeper: OutputKeeper, tmp_path: Path) -> None:
    keeper.add(tmp_path, 1 << 20, 2)
    running = True
    reader = LogReader(tmp_path, LogQuery(follow=True), keeper, lambda: running, time.time)
    got: list[bytes] = []

    async def follow() -> None:
        got.extend([chunk async for chunk in reader.read()])

    task = asyncio.create_task(follow())
    for number in range(50):
        append(tmp_path, "stdout", f"{number}\n".encode())
        await asyncio.sleep(0.005)
    append(tmp_path, "stdout", b"no newline")
    await asyncio.sleep(0.05)
    running = False
    keeper.remove(tmp_path)
    await asyncio.wait_for(task, 5)

    assert b"".join(got) == b"".join(f"{number}\n".encode() for number in range(50)) + b"no newline"


async def test_a_follower_of_a_run_that_is_being_started_keeps_nobody_from_starting_it(
    keeper: OutputKeeper, tmp_path: Path
) -> None:
    running = True
    reader = LogReader(tmp_path, LogQuery(follow=True), keeper, lambda: running, time.time)

    async def follow() -> bytes:
        return b"".join([chunk async for chunk in reader.read()])

    task = asyncio.create_task(follow())
    await asyncio.sleep(0.05)
    append(tmp_path, "stdout", b"hello\n")
    keeper.add(tmp_path, 1 << 20, 2)
    running = False
    keeper.remove(tmp_path)

    assert await asyncio.wait_for(task, 5) == b"hello\n"


async def test_a_torn_index_entry_is_left_out(keeper: OutputKeeper, tmp_path: Path) -> None:
    append(tmp_path, "stdout", b"one\n")
    keeper.add(tmp_path, 1 << 20, 2)
    keeper.remove(tmp_path)
    with index_of(tmp_path / "stdout.log").open("ab") as index:
        index.write(b"\x01\x02\x03")

    keeper.add(tmp_path, 1 << 20, 2)

    assert await read(tmp_path) == b"one\n"


PIECES = st.lists(st.sampled_from([b"a", b"\n", b"bb\n", b"\n\n", b"c" * 70_000]), max_size=6)
WRITES = st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), PIECES), max_size=12)


@given(WRITES, st.integers(0, 12))
@settings(deadline=None, max_examples=25)
def test_any_pieces_are_read_back_as_their_lines(writes: list[tuple[str, list[bytes]]], tail: int) -> None:
    import tempfile

    async def check(folder: Path) -> None:
        keeper = OutputKeeper()
        keeper.add(folder, 64 << 20, 2)
        whole = {"stdout": b"", "stderr": b""}
        for stream, pieces in writes:
            for piece in pieces:
                append(folder, stream, piece)
                whole[stream] += piece
            keeper.flush(folder)
        for stream, text in whole.items():
            assert await read(folder, stream=stream) == text
            lines = text.split(b"\n")
            expected = lines[:-1] + ([lines[-1]] if lines[-1] else [])
            got = await read(folder, stream=stream, tail_lines=tail)
            assert got.removesuffix(b"\n").split(b"\n") == expected[-tail:] if tail and expected else got == b""
        merged = await read(folder)
        assert sorted(merged.replace(b"\n", b"")) == sorted((whole["stdout"] + whole["stderr"]).replace(b"\n", b""))
        keeper.close()

    with tempfile.TemporaryDirectory() as name:
        asyncio.run(check(Path(name)))
