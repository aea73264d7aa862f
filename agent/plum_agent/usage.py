"""What the node and its instances use at this moment: measured when somebody asks, never sent on its own.

    /proc (all processes) -> Sample -> wait -> Sample -> cpu over the time between, memory at its end
    open "usage" -> {"window": 1.0, "node": {"cpu": 0.2, "memory": 1073741824}, "instances": [...]}

Cpu counts children that have ended; memory is the proportional share (PSS), so that pages which the processes of an
instance share are counted once. Containers are measured in the same way: their processes carry the same marker.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey

from plum_agent.drivers.process_table import ProcessTable, members
from plum_agent.drivers.procfs import PROC, read_bytes
from plum_agent.unit import Unit

WINDOW_SECONDS = 1.0
"""Time between two samples when there is no recent one: the kernel counts in hundredths of a second."""
RECENT_SECONDS = 30.0
"""A sample up to this age is the beginning of the next window, so that who asks again gets an answer at once."""
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")


@dataclass(slots=True)
class Sample:
    """Counters at one moment. Cpu is in seconds since the start of the process, or of the machine."""

    at: float
    """Monotonic seconds."""
    node_cpu: float
    node_memory: int
    """Bytes that could not be given to somebody else."""
    processes: dict[ObjectKey, dict[tuple[int, int], float]] = field(default_factory=dict)
    """Cpu of each process of a run, by pid and start time."""
    memory: dict[ObjectKey, int] = field(default_factory=dict)


@dataclass(slots=True)
class Usage:
    """Measures one node. Callers that come at the same time share one measurement. `units` is the reconciler's own dictionary."""

    units: Mapping[ObjectKey, Unit]
    _table: ProcessTable = field(default_factory=ProcessTable)
    _last: Sample | None = None
    _running: asyncio.Task[dict[str, Any]] | None = None

    async def measure(self) -> bytes:
        """What is used, as JSON."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._measure())
        return msgspec.json.encode(await asyncio.shield(self._running))

    async def _measure(self) -> dict[str, Any]:
        before = self._last
        if before is None or not self._still_begins(before):
            before = await self._sample()
            await asyncio.sleep(WINDOW_SECONDS)
        after = self._last = await self._sample()
        return compare(before, after)

    def _still_begins(self, sample: Sample) -> bool:
        """Whether a window may begin with this sample: neither too short nor too long ago, and nothing is new since."""
        recent = WINDOW_SECONDS <= time.monotonic() - sample.at <= RECENT_SECONDS
        return recent and self._runs().keys() <= sample.processes.keys()

    async def _sample(self) -> Sample:
        return await asyncio.to_thread(self._read, self._runs())

    def _runs(self) -> dict[ObjectKey, tuple[str, int]]:
        """Marker and first process of every run."""
        return {
            key: (unit.run.marker, unit.record.run.handle.pid if unit.record.run.handle is not None else 0)
            for key, unit in self.units.items()
            if unit.alive and unit.run is not None and unit.record.run is not None
        }

    def _read(self, runs: Mapping[ObjectKey, tuple[str, int]]) -> Sample:
        sample = Sample(time.monotonic(), node_cpu_seconds(), node_memory_bytes())
        entries = self._table.read() if runs else []
        for key, (marker, leader) in runs.items():
            family = members(entries, marker, leader)
            sample.processes[key] = {(one.pid, one.start_ticks): cpu_seconds(one.pid) for one in family}
            sample.memory[key] = sum(memory_bytes(one.pid) for one in family)
        return sample


def compare(before: Sample, after: Sample) -> dict[str, Any]:
    """Cores in use between two samples, and bytes at the second. An instance that is new has no cpu to tell yet."""
    seconds = max(after.at - before.at, 0.001)
    instances = []
    for key, processes in after.processes.items():
        earlier = before.processes.get(key)
        if earlier is None or not processes:
            continue
        used = sum(max(0.0, cpu - earlier.get(identity, 0.0)) for identity, cpu in processes.items())
        cores = round(used / seconds, 4)
        instances.append({"namespace": key.namespace, "name": key.name, "cpu": cores, "memory": after.memory[key]})
    node = {"cpu": round(max(0.0, after.node_cpu - before.node_cpu) / seconds, 4), "memory": after.node_memory}
    return {"window": round(seconds, 3), "node": node, "instances": instances}


def cpu_seconds(pid: int) -> float:
    """Of a process and of its children that have ended; 0 for one that is gone."""
    fields = read_bytes(f"{PROC}/{pid}/stat").rpartition(b") ")[2].split()
    return sum(int(value) for value in fields[11:15]) / TICKS_PER_SECOND if len(fields) > 15 else 0.0


def memory_bytes(pid: int) -> int:
    """Its share of the memory; all that it has mapped in where the kernel does not tell the share."""
    for line in read_bytes(f"{PROC}/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    fields = read_bytes(f"{PROC}/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if len(fields) > 1 else 0


def node_cpu_seconds() -> float:
    """Time all processors together were not idle, since boot."""
    words = Path(PROC, "stat").read_bytes().split(b"\n", 1)[0].split()[1:9]  # guest time is in user time already
    ticks = [int(word) for word in words]
    return (sum(ticks) - ticks[3] - ticks[4]) / TICKS_PER_SECOND


def node_memory_bytes() -> int:
    """Memory in use: all of it less what is free or could be freed."""
    found = {}
    for line in Path(PROC, "meminfo").read_text(encoding="ascii").splitlines()[:5]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    return found["MemTotal"] - found.get("MemAvailable", found.get("MemFree", 0))
