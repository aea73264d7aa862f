"""Takes up orphans as process 1 of a container: workloads lose their parents, and nobody else would let them end.

    SIGCHLD -> a second later -> children that ended and that nobody has waited for -> gone

Children of this program are waited for by those who started them, long before that second is over.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

PAUSE_SECONDS = 1.0


def take_up(loop: asyncio.AbstractEventLoop) -> None:
    """Wait for orphans as long as the loop runs. Call it only in the process that gets them."""
    due = False

    def later() -> None:
        nonlocal due
        if not due:
            due = True
            loop.call_later(PAUSE_SECONDS, reap)

    def reap() -> None:
        nonlocal due
        due = False
        for pid in ended_children():
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue  # somebody waited for it after all

    loop.add_signal_handler(signal.SIGCHLD, later)


def ended_children() -> list[int]:
    """Children of the main thread that ended and are waited for by nobody yet."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return [int(pid) for pid in children if _has_ended(pid)]


def _has_ended(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state == "Z"
