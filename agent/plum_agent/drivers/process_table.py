"""One pass over `/proc`, shared by everybody who looks for the processes of a run at the same moment.

    scan -> table of (pid, parent, group, session, start, marker) -> members(marker, leader): the whole family of a run

A process belongs to a run when it carries the run's marker, is in the session or group of its first process, or
descends from one that does. The marker survives double forks and new sessions; a program that overwrites its
environment (nginx, PostgreSQL) is found by its family.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import Executor
from dataclasses import dataclass

from plum_agent.drivers.base import MARKER
from plum_agent.drivers.procfs import ProcessStat, list_pids, read_stat, read_variable


@dataclass(frozen=True, slots=True)
class Entry:
    """One living process."""

    stat: ProcessStat
    marker: str
    """Value of `PLUM_RUN`; empty without one."""
    shim_of: str
    """Value of `PLUM_SHIM`: this is the shim of that run, or the run before it became its program."""


class ProcessTable:
    """Reads `/proc`. Environments are read once per process: a marker is inherited, never acquired later."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor
        self._known: dict[tuple[int, int], tuple[str, str]] = {}
        self._running: asyncio.Task[list[Entry]] | None = None
        self._next: asyncio.Task[list[Entry]] | None = None

    async def scan(self) -> list[Entry]:
        """A table read entirely after this call; callers that come while one is read share the next."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._scan_after(self._running))
        return await asyncio.shield(self._next)

    async def _scan_after(self, before: asyncio.Task[list[Entry]] | None) -> list[Entry]:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await asyncio.get_running_loop().run_in_executor(self._executor, self.read)

    def read(self) -> list[Entry]:
        """The same, on this thread."""
        entries = []
        known: dict[tuple[int, int], tuple[str, str]] = {}
        for pid in list_pids():
            stat = read_stat(pid)
            if stat is None or not stat.alive:
                continue
            identity = (pid, stat.start_ticks)
            marks = self._known.get(identity)
            if marks is None or (marks[1] and not marks[0]):  # a shim's child still has the shim's environment before its exec
                marks = (read_variable(pid, MARKER), read_variable(pid, SHIM_MARKER))
            known[identity] = marks
            entries.append(Entry(stat, *marks))
        self._known = known
        return entries


SHIM_MARKER = "PLUM_SHIM"
"""Environment variable of the shim itself."""


def members(entries: Iterable[Entry], marker: str, leader: int = 0) -> list[ProcessStat]:
    """Every living process of a run, shim excluded. `leader` must be verified by the caller; 0 looks by marker only."""
    entries = list(entries)
    found: dict[int, ProcessStat] = {}
    for entry in entries:
        stat = entry.stat
        in_session = leader and leader in (stat.session, stat.group, stat.pid)
        if entry.marker == marker or in_session:
            found[stat.pid] = stat
    children: dict[int, list[ProcessStat]] = {}
    for entry in entries:
        children.setdefault(entry.stat.parent, []).append(entry.stat)
    queue = list(found)
    while queue:
        for child in children.get(queue.pop(), ()):
            if child.pid not in found:
                found[child.pid] = child
                queue.append(child.pid)
    return list(found.values())
