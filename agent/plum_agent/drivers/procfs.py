"""What `/proc` says about processes: identity, family, environment, and the clock of this boot.

Every function answers None for a process that is gone or not ours to look at; nothing here signals anything.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path

PROC = "/proc"
_GONE = (errno.ENOENT, errno.ESRCH, errno.EACCES, errno.EPERM)


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """One line of `/proc/<pid>/stat`, as far as it is needed."""

    pid: int
    state: str
    """One letter; `Z` and `X` are dead."""
    parent: int
    group: int
    session: int
    start_ticks: int

    @property
    def alive(self) -> bool:
        return self.state not in ("Z", "X")


def parse_stat(text: str) -> ProcessStat | None:
    """The line as the kernel writes it. The name in parentheses may itself hold blanks and parentheses."""
    head, _, tail = text.rpartition(") ")
    fields = tail.split()
    if not head or len(fields) < 20:
        return None
    try:
        pid = int(head.split(" ", 1)[0])
        return ProcessStat(pid, fields[0], int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))
    except ValueError:
        return None


def read_zombie_status(pid: int, start_ticks: int) -> int | None:
    """The wait status of a process that has ended and was not reaped; None for any other, or if we may not see it."""
    text = read_bytes(f"{PROC}/{pid}/stat").decode("utf-8", "replace")
    stat = parse_stat(text)
    if stat is None or stat.start_ticks != start_ticks or stat.alive:
        return None
    fields = text.rpartition(") ")[2].split()
    return int(fields[49]) if len(fields) > 49 else None


def read_stat(pid: int) -> ProcessStat | None:
    """None for a process that is gone."""
    text = read_bytes(f"{PROC}/{pid}/stat")
    return parse_stat(text.decode("utf-8", "replace")) if text else None


def is_alive(pid: int, start_ticks: int) -> bool:
    """Is exactly this process there and not a zombie?"""
    stat = read_stat(pid)
    return stat is not None and stat.start_ticks == start_ticks and stat.alive


def read_variable(pid: int, name: str) -> str:
    """A variable of the environment a process was started with; empty when it has none or we may not look."""
    prefix = name.encode() + b"="
    for entry in read_bytes(f"{PROC}/{pid}/environ").split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("utf-8", "replace")
    return ""


def list_pids() -> list[int]:
    return [int(name) for name in os.listdir(PROC) if name.isdigit()]  # noqa: PTH208 -- every process, thousands of times


def read_bytes(path: str, enough: int = 4096) -> bytes:
    """Empty for what is gone or forbidden: `/proc` changes while it is read. Any other error is raised: being out of
    file descriptors must never look like the end of a process.

    A piece of fewer than `enough` bytes is the last one, which spares a call for each file of a process. Tables come in whole
    lines: of those only an empty piece is the end (`enough=1`).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return b""
        raise
    try:
        pieces = []
        while piece := os.read(descriptor, 65536):
            pieces.append(piece)
            if len(piece) < enough:
                break
        return b"".join(pieces)
    except OSError as error:
        if error.errno in _GONE:
            return b""
        raise
    finally:
        os.close(descriptor)


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def uptime_centiseconds() -> int:
    """Hundredths of a second since boot, suspended time included: the clock of `/proc/uptime`, which the shim reads."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100)
