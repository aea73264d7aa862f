"""What this machine runs short of: room on the disk of the agent's data, memory, process numbers.

    statvfs, /proc/meminfo, /proc/loadavg -> Shortage of each -> conditions DiskPressure, MemoryPressure, PIDPressure of the Node

A shortage ends only when there is half as much again as where it began: what goes up and down at the border is one shortage.
Its message names amounts of the moment it began, so that nothing is written while it lasts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from plum_client.conditions import is_true, set_condition
from plum_schemas.base import Condition
from plum_schemas.node import DISK_PRESSURE, MEMORY_PRESSURE, PID_PRESSURE

MIB, GIB = 2**20, 2**30
DISK_SHARE, DISK_BYTES = 0.05, GIB
"""Less than both of it free is a shortage: packages, output and the ledger need room, and a large disk is not full at 5 %."""
INODE_SHARE = 0.02
MEMORY_SHARE, MEMORY_BYTES = 0.05, 256 * MIB
"""The kernel begins to end programs not far below."""
PID_SHARE = 0.05
AGAIN = 1.5


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is left of one thing, and where a shortage of it begins."""

    left: float
    low: float
    text: str
    """For people: what is left of what."""


@dataclass(frozen=True, slots=True)
class Pressure:
    """Asked now and then."""

    folder: Path
    """On the disk that is looked at."""
    proc: Path = Path("/proc")

    def conditions(self, known: Sequence[Condition], now: datetime) -> list[Condition]:
        """The conditions of the Node with ours. What cannot be read stays as it was told."""
        found = list(known)
        looks: tuple[tuple[str, str, Callable[[], Iterator[Amount]]], ...] = (
            (DISK_PRESSURE, "Disk", self._disk),
            (MEMORY_PRESSURE, "Memory", self._memory),
            (PID_PRESSURE, "PIDs", self._pids),
        )
        for kind, word, look in looks:
            with suppress(OSError, ValueError, IndexError, KeyError):
                found = self._told(found, kind, word, list(look()), now)
        return found

    @staticmethod
    def _told(known: list[Condition], kind: str, word: str, amounts: list[Amount], now: datetime) -> list[Condition]:
        lasts = is_true(known, kind)
        short = [amount for amount in amounts if amount.left < amount.low * (AGAIN if lasts else 1.0)]
        if not short:
            return set_condition(known, Condition(type=kind, status="False", reason=f"Enough{word}"), now)
        if lasts:
            return known
        message = "; ".join(amount.text for amount in short)
        return set_condition(known, Condition(type=kind, status="True", reason=f"Short{word}", message=message), now)

    def _disk(self) -> Iterator[Amount]:
        stat = os.statvfs(self.folder)
        free, total = stat.f_bavail * stat.f_frsize, stat.f_blocks * stat.f_frsize
        low = min(total * DISK_SHARE, DISK_BYTES)
        yield Amount(free, low, f"{free // MIB} of {total // MIB} MiB are free on the disk of {self.folder}")
        if stat.f_files:
            text = f"{stat.f_favail} of {stat.f_files} inodes are free on the disk of {self.folder}"
            yield Amount(stat.f_favail, stat.f_files * INODE_SHARE, text)

    def _memory(self) -> Iterator[Amount]:
        lines = (self.proc / "meminfo").read_text(encoding="ascii").splitlines()
        values = {name: int(rest.split()[0]) * 1024 for name, _, rest in (line.partition(":") for line in lines) if rest}
        left, total = values["MemAvailable"], values["MemTotal"]
        low = min(total * MEMORY_SHARE, MEMORY_BYTES)
        yield Amount(left, low, f"{left // MIB} of {total // MIB} MiB of memory are available")

    def _pids(self) -> Iterator[Amount]:
        there = int((self.proc / "loadavg").read_text(encoding="ascii").split()[3].partition("/")[2])
        limits = (self.proc / "sys/kernel" / name for name in ("pid_max", "threads-max"))
        most = min(int(limit.read_text(encoding="ascii")) for limit in limits)
        yield Amount(most - there, most * PID_SHARE, f"{there} of {most} process numbers are in use")


def disk_of(folder: Path) -> str:
    """The size of the disk of a folder, as a quantity."""
    stat = os.statvfs(folder)
    return f"{stat.f_blocks * stat.f_frsize // 1024}Ki"
