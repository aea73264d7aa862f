"""Runs of tasks: how soon one is done, by the controller and by a process on a node, and how many per second."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun

from tests.bench.fleet import nodes_ready, until
from tests.bench.programs import agents, controller
from tests.bench.table import Row

SINGLES = 100
MANY = 2000
FINISHED = 10_000
PROCESSES = 50


class Seen:
    """When each run was seen for the first time in a phase, by one watcher."""

    def __init__(self, api: ApiClient) -> None:
        self.at: dict[tuple[str, str], float] = {}
        self.ended = 0
        self._task = asyncio.create_task(self._watch(api))

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _watch(self, api: ApiClient) -> None:
        async with aclosing(api.watch(TaskRun, "default")) as events:
            async for event in events:
                run = event.object
                key = (run.metadata.name, run.status.phase)
                if key not in self.at:
                    self.at[key] = time.perf_counter()
                    self.ended += run.status.phase in TERMINAL_PHASES

    async def wait(self, name: str, phase: str) -> float:
        """When the run was seen so."""
        deadline = time.perf_counter() + 60
        while (name, phase) not in self.at:
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{name} is not {phase}")
            await asyncio.sleep(0.0005)
        return self.at[name, phase]


async def measure(data_dir: Path) -> list[Row]:
    """One controller, one real agent."""
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="process"):
        await nodes_ready(program, 1)
        api = ApiClient(HttpTransport(program.url, max_connections=16), field_manager="bench")
        seen = Seen(api)
        try:
            await create(api, "warm", {"taskRef": "builtin.echo"})
            await seen.wait("warm", "Succeeded")
            singles = await _one_by_one(api, seen, "single")
            rate = await _many(api, seen, "many", MANY)
            processes = await _processes(api, seen)
            await _many(api, seen, "old", FINISHED - MANY)
            later = await _one_by_one(api, seen, "later")
        finally:
            await seen.close()
            await api.close()
    return [
        Row("TaskRun of builtin.echo, created to Succeeded, p50", singles * 1000, "ms", 15, False),
        Row(f"the same, beside {FINISHED:,} finished runs", later * 1000, "ms", 15, False),
        Row(f"TaskRuns of builtin.echo, {MANY:,} at once, done", rate, "per second", 500),
        Row("TaskRun of a process on a node, created to Succeeded, p50", processes * 1000, "ms", 60, False),
    ]


async def create(api: ApiClient, name: str, spec: dict[str, Any]) -> None:
    """A run in the namespace default."""
    manifest = {"apiVersion": "plum.dev/v1", "kind": "TaskRun", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    await api.create(manifest, kind=TaskRun.info)


async def _one_by_one(api: ApiClient, seen: Seen, prefix: str) -> float:
    took = []
    for number in range(SINGLES):
        began = time.perf_counter()
        await create(api, f"{prefix}-{number}", {"taskRef": "builtin.echo", "payload": {"n": number}})
        took.append(await seen.wait(f"{prefix}-{number}", "Succeeded") - began)
    return statistics.median(took)


async def _many(api: ApiClient, seen: Seen, prefix: str, count: int) -> float:
    """Runs per second from the first creation to the last end, with 16 creators."""
    before, names = seen.ended, iter(range(count))
    began = time.perf_counter()

    async def creator() -> None:
        for number in names:
            await create(api, f"{prefix}-{number}", {"taskRef": "builtin.echo"})

    await asyncio.gather(*(creator() for _ in range(16)))

    async def done() -> bool:
        return seen.ended >= before + count

    await until(done, 300)
    return count / (time.perf_counter() - began)


async def _processes(api: ApiClient, seen: Seen) -> float:
    took = []
    for number in range(PROCESSES):
        began = time.perf_counter()
        spec = {"task": {"executor": "os_process", "process": {"command": ["true"]}}}
        await create(api, f"process-{number}", spec)
        took.append(await seen.wait(f"process-{number}", "Succeeded") - began)
    return statistics.median(took)
