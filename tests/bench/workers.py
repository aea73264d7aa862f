"""How soon a worker has a task: from the request that creates the run to the assignment at a gRPC worker, and runs per second."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectMeta
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun, TaskRunSpec

from tests.bench.fleet import until
from tests.bench.programs import controller
from tests.bench.table import Row
from tests.support.raw_worker import RawWorker, raw_worker, succeeded

SINGLES = 300
MANY = 2000
AT_ONCE = 32
FINISHED = 10_000


def make(name: str) -> TaskRun:
    spec = TaskRunSpec(task=TaskDefinitionSpec(task="bench"), payload={"n": 1})
    return TaskRun(metadata=ObjectMeta(name=name, namespace="default"), spec=spec)


async def measure(data_dir: Path) -> list[Row]:
    """One controller with its store on disk; the worker answers at once."""
    async with controller(data_dir) as program:
        api = ApiClient(HttpTransport(program.url), field_manager="bench")
        try:
            async with raw_worker(program.workers, "bench", "default", tasks=["bench"], capacity=64) as worker:
                rows = [*await _singles(api, worker, "single"), await _many(api, worker)]
            await _finish_many(api)
            async with raw_worker(program.workers, "later", "default", tasks=["bench"], capacity=64) as worker:
                return [*rows, (await _singles(api, worker, "later", f", beside {FINISHED:,} finished runs"))[0]]
        finally:
            await api.close()


async def _finish_many(api: ApiClient) -> None:
    """As many finished runs as a namespace keeps: each further one makes an old one go."""
    numbers = iter(range(FINISHED))

    async def creator() -> None:
        for number in numbers:
            spec = TaskRunSpec(task_ref="builtin.echo")
            await api.create(TaskRun(metadata=ObjectMeta(name=f"old-{number}", namespace="default"), spec=spec))

    await asyncio.gather(*(creator() for _ in range(16)))

    async def done() -> bool:
        going = await api.list(TaskRun, "default", fields="status.phase!=Succeeded")
        return not going.items

    await until(done, 120)


async def _singles(api: ApiClient, worker: RawWorker, prefix: str, where: str = "") -> list[Row]:
    """One after the other: each run is assigned, then done."""
    assigned, recorded = [], []
    for number in range(SINGLES):
        began = time.perf_counter()
        creating = asyncio.create_task(api.create(make(f"{prefix}-{number}")))
        assignment = await worker.expect("assignment")
        assigned.append(time.perf_counter() - began)
        await worker.say(result=succeeded(assignment, b"{}"))
        await worker.expect("recorded")
        recorded.append(time.perf_counter() - began)
        await creating
    return [
        Row(f"task dispatch to a gRPC worker, from the request that creates the run{where}, p50", _p50(assigned), "ms", 5, False),
        Row("the same until its result is on disk, p50", _p50(recorded), "ms", 10, False),
    ]


async def _many(api: ApiClient, worker: RawWorker) -> Row:
    """Created by many at once, and done as fast as they come."""
    began = time.perf_counter()
    numbers = iter(range(MANY))

    async def create() -> None:
        for number in numbers:
            await api.create(make(f"many-{number}"))

    async def work() -> None:
        for _ in range(MANY):
            assignment: Any = await worker.expect("assignment")
            await worker.say(result=succeeded(assignment))

    async def records() -> None:
        done = 0
        while done < MANY:
            await asyncio.sleep(0.05)
            done = worker.drop("recorded") + done

    await asyncio.gather(work(), records(), *(create() for _ in range(AT_ONCE)))
    return Row("runs by one gRPC worker, created by 32 at once, until recorded", MANY / (time.perf_counter() - began), "/s", 250)


def _p50(seconds: list[float]) -> float:
    return statistics.median(seconds) * 1000
