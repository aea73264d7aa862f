"""The audit log: nothing in it can be changed unseen, it has a bound, and it survives what happens to processes and disks."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.audit import log as log_module
from plum_controller.audit.log import AuditLog
from plum_controller.audit.records import START, Record, chained, read_lines

LIMIT = 16 * 4096


def add(log: AuditLog, number: int, **more: Any) -> None:
    log.add(**({"user": f"user-{number}", "verb": "create", "code": 201} | more))


def records(log: AuditLog, before: int = 0) -> list[Record]:
    return list(log.newest(before, lambda record: True))


async def test_records_come_back_newest_first_and_are_numbered(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, LIMIT)
    for number in range(5):
        add(log, number)

    assert [record.seq for record in records(log)] == [5, 4, 3, 2, 1]
    assert [record.user for record in records(log, before=3)] == ["user-1", "user-0"]
    assert log.check()[:4] == (True, 5, 1, 5)
    log.close()


async def test_a_record_is_in_the_file_before_its_answer(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, LIMIT)
    add(log, 1)

    # Nothing was flushed or closed: what the kernel has, a killed process leaves behind.
    assert len(list(read_lines(next(tmp_path.glob("*.log")).read_bytes()))) == 1
    log.close()


async def test_the_next_process_goes_on_with_the_chain(tmp_path: Path) -> None:
    first = AuditLog(tmp_path, LIMIT)
    add(first, 1)
    first.close()
    second = AuditLog(tmp_path, LIMIT)
    add(second, 2)

    assert [record.seq for record in records(second)] == [2, 1]
    assert second.check().intact
    second.close()


async def test_what_a_power_cut_left_half_is_cut_off(tmp_path: Path) -> None:
    first = AuditLog(tmp_path, LIMIT)
    add(first, 1)
    add(first, 2)
    first.close()
    path = next(tmp_path.glob("*.log"))
    path.write_bytes(path.read_bytes()[:-30])

    second = AuditLog(tmp_path, LIMIT)
    add(second, 3)

    assert [(record.seq, record.user) for record in records(second)] == [(2, "user-3"), (1, "user-1")]
    assert second.check().intact
    second.close()


async def test_the_log_has_a_bound_and_the_oldest_goes(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, LIMIT)
    for number in range(2000):
        add(log, number)

    size = sum(path.stat().st_size for path in tmp_path.glob("*.log"))
    verdict = log.check()
    assert LIMIT / 2 < size <= LIMIT + 4096
    assert (verdict.intact, verdict.last) == (True, 2000)
    assert verdict.first > 1
    log.close()


@given(st.data())
def test_no_change_of_a_byte_goes_unseen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("audit")

    async def write() -> None:
        log = AuditLog(folder, LIMIT)
        for number in range(4):
            add(log, number, name=f"n{number}")
        log.close()

    asyncio.run(write())
    path = next(folder.glob("*.log"))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))

    assert not AuditLog(folder, LIMIT).check().intact


@pytest.mark.parametrize("change", ["remove", "swap", "duplicate"])
async def test_no_line_is_taken_out_or_moved_unseen(tmp_path: Path, change: str) -> None:
    log = AuditLog(tmp_path, LIMIT)
    for number in range(4):
        add(log, number)
    log.close()
    path = next(tmp_path.glob("*.log"))
    lines = path.read_bytes().splitlines(keepends=True)
    changed = {
        "remove": [lines[0], *lines[2:]],
        "swap": [lines[0], lines[2], lines[1], lines[3]],
        "duplicate": [*lines[:2], *lines[1:]],
    }[change]
    path.write_bytes(b"".join(changed))

    assert not AuditLog(tmp_path, LIMIT).check().intact


async def test_a_writer_sees_that_the_end_was_cut_off_or_forged(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, LIMIT)
    add(log, 1)
    add(log, 2)
    path = next(tmp_path.glob("*.log"))
    whole = path.read_bytes()

    path.write_bytes(whole.splitlines(keepends=True)[0])
    shortened = log.check()
    forged = chained(START, Record(seq=1, time="2026-01-01T00:00:00.000Z", user="x", verb="get", code=200))
    second = chained(forged[0], Record(seq=2, time="2026-01-01T00:00:00.000Z", user="x", verb="get", code=200))
    path.write_bytes(forged[1] + second[1])
    rewritten = log.check()

    assert (shortened.intact, rewritten.intact) == (False, False)
    assert "gone" in shortened.problem
    log.close()


async def test_a_full_disk_stops_nobody_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = AuditLog(tmp_path, LIMIT)
    add(log, 1)
    real = os.write

    def no_room(descriptor: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_module.os, "write", lambda descriptor, data: real(descriptor, data[:10]))
    add(log, 2)
    monkeypatch.setattr(log_module.os, "write", no_room)
    add(log, 3)
    monkeypatch.setattr(log_module.os, "write", real)
    add(log, 4)

    assert records(log)[0].unrecorded == 2
    log.close()


async def test_strangers_cannot_push_out_what_matters(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, LIMIT)
    for number in range(3000):
        add(log, number, code=401, refused=True)
    add(log, 1)

    found = records(log)
    assert len(found) < 300
    assert found[0].unrecorded > 2700
    assert log.check().intact
    log.close()


async def test_a_record_that_was_replaced_with_its_own_right_hash_breaks_the_next_one(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, LIMIT)
    for number in range(3):
        add(log, number)
    log.close()
    path = next(tmp_path.glob("*.log"))
    lines = path.read_bytes().splitlines(keepends=True)
    before = lines[0][:64].decode()
    forged = chained(before, Record(seq=2, time="2026-01-01T00:00:00.000Z", user="innocent", verb="get", code=200))

    path.write_bytes(lines[0] + forged[1] + lines[2])
    verdict = AuditLog(tmp_path, LIMIT).check()

    assert not verdict.intact
    assert "record 3 was changed, or the one before it" in verdict.problem
