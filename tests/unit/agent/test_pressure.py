"""Shortages of a machine: when they begin and end, and that nothing is written while nothing changes."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from plum_agent.pressure import GIB, MIB, Pressure
from plum_schemas.base import Condition

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
READY = Condition(type="Ready", status="True", reason="LeaseRenewed")


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    (tmp_path / "sys/kernel").mkdir(parents=True)
    set_memory(tmp_path, 8000)
    set_processes(tmp_path, 300)
    (tmp_path / "sys/kernel/pid_max").write_text("32768\n")
    (tmp_path / "sys/kernel/threads-max").write_text("10000\n")
    return tmp_path


def set_memory(proc: Path, available_mib: int) -> None:
    (proc / "meminfo").write_text(f"MemTotal: {16 * 1024**2} kB\nMemFree: 1 kB\nMemAvailable: {available_mib * 1024} kB\n")


def set_processes(proc: Path, count: int) -> None:
    (proc / "loadavg").write_text(f"0.1 0.2 0.3 2/{count} 12345\n")


def disk(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 100 * GIB, inodes: int = 1000) -> None:
    values = SimpleNamespace(
        f_bavail=free // 4096, f_blocks=total // 4096, f_frsize=4096, f_files=1000, f_favail=inodes
    )  # fmt: skip
    monkeypatch.setattr(os, "statvfs", lambda path: values)


def states(conditions: list[Condition]) -> dict[str, str]:
    return {one.type: one.status for one in conditions}


def test_a_machine_with_room_says_so_once_and_then_nothing_new(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 50 * GIB)
    pressure = Pressure(proc, proc)

    first = pressure.conditions([READY], NOW)
    disk(monkeypatch, 40 * GIB)
    set_memory(proc, 4000)

    assert first[0] == READY
    assert states(first[1:]) == {"DiskPressure": "False", "MemoryPressure": "False", "PIDPressure": "False"}
    assert pressure.conditions(first, NOW + timedelta(hours=1)) == first


def test_a_shortage_names_amounts_lasts_over_the_border_and_ends_well_above_it(
    proc: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pressure = Pressure(proc, proc)
    disk(monkeypatch, 900 * MIB)
    begun = pressure.conditions([READY], NOW)
    told = next(one for one in begun if one.type == "DiskPressure")
    assert (told.status, told.message) == ("True", f"900 of 102400 MiB are free on the disk of {proc}")

    disk(monkeypatch, 1200 * MIB)
    again = Pressure(proc, proc).conditions(begun, NOW + timedelta(minutes=1))  # also for the next agent
    disk(monkeypatch, 300 * MIB)
    assert pressure.conditions(again, NOW) == again == begun
    disk(monkeypatch, 1600 * MIB)
    ended = next(one for one in pressure.conditions(begun, NOW + timedelta(minutes=2)) if one.type == "DiskPressure")

    assert (ended.status, ended.last_transition_time) == ("False", NOW + timedelta(minutes=2))


def test_small_disks_are_short_by_their_share_and_inodes_count(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressure = Pressure(proc, proc)
    disk(monkeypatch, 900 * MIB, total=8 * GIB)
    assert states(pressure.conditions([], NOW))["DiskPressure"] == "False"
    disk(monkeypatch, 900 * MIB, total=8 * GIB, inodes=10)
    told = pressure.conditions([], NOW)[0]
    assert (told.status, told.message) == ("True", f"10 of 1000 inodes are free on the disk of {proc}")


def test_memory_and_process_numbers(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 50 * GIB)
    set_memory(proc, 100)
    set_processes(proc, 9800)
    told = {one.type: one for one in Pressure(proc, proc).conditions([], NOW)}

    assert told["MemoryPressure"].message == "100 of 16384 MiB of memory are available"
    assert told["PIDPressure"].message == "9800 of 10000 process numbers are in use"


def test_what_cannot_be_read_stays_as_it_was_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch, 50 * GIB)
    before = [Condition(type="MemoryPressure", status="True", reason="ShortMemory", message="x")]

    assert Pressure(tmp_path, tmp_path / "none").conditions(before, NOW)[0] == before[0]
