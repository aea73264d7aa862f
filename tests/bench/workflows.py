"""Durable workflow steps: one sequential run, fifty at once, fan-out and fan-in, long ones, and many that have ended.

Every step is a transaction that is on disk before the next one starts. Times are those of the runs' own statuses.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from statistics import median
from typing import Any

from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.bench.programs import controller, resident_mb
from tests.bench.table import Row

STEPS = 1000
RUNS, RUN_STEPS = 50, 100
WIDTH = 100
NODES = 10_000
ITERATIONS = 100_000
FINISHED = 10_000
AT_ONCE = 50
WAIT_SECONDS = 600.0
Json = dict[str, Any]


def echo(name: str, *after: str) -> Json:
    return {"name": name, "taskRef": "builtin.echo", "payload": {"n": 1}, "dependsOn": list(after)}


def sequence(count: int) -> list[Json]:
    return [echo(f"n{number}", *([f"n{number - 1}"] if number else [])) for number in range(count)]


def fan(width: int) -> list[Json]:
    between = [echo(f"n{number}", "first") for number in range(width)]
    return [echo("first"), *between, echo("last", *(node["name"] for node in between))]


def chains(count: int, wide: int = 100) -> list[Json]:
    """Chains side by side. Short names: an object may have 1.5 MiB, with who owns its fields."""
    nodes = []
    for number in range(count):
        after = [f"{number - wide:x}"] if number >= wide else []
        nodes.append({"name": f"{number:x}", "taskRef": "builtin.echo", "dependsOn": after})
    return nodes


async def measure(data_dir: Path) -> list[Row]:
    """All figures of workflows."""
    async with controller(data_dir) as program:
        api = ApiClient(HttpTransport(program.url))
        try:
            return await _measure(api, program.process.pid)
        finally:
            await api.close()


async def _measure(api: ApiClient, pid: int) -> list[Row]:
    await define(api, "sequence", sequence(STEPS))
    await define(api, "many", sequence(RUN_STEPS))
    await define(api, "fan", fan(WIDTH))
    await define(api, "dag", chains(NODES))
    await define(api, "loop", [{"name": "again", "type": "loop", "count": ITERATIONS, "body": {"nodes": [echo("sweep")]}}])
    await define(api, "short", sequence(3))
    one = await seconds(api, "sequence", ["one"])
    many = await seconds(api, "many", [f"many-{number}" for number in range(RUNS)])
    fans = [await seconds(api, "fan", [f"fan-{number}"]) for number in range(10)]
    first = median([await seconds(api, "short", [f"first-{number}"]) for number in range(10)])
    before = resident_mb(pid)
    dag = await seconds(api, "dag", ["dag"])
    between = resident_mb(pid)
    loop = await seconds(api, "loop", ["loop"])
    after = resident_mb(pid)
    names = [f"done-{number}" for number in range(FINISHED)]
    for start in range(0, FINISHED, AT_ONCE):
        await seconds(api, "short", names[start : start + AT_ONCE])
    then = median([await seconds(api, "short", [f"then-{number}"]) for number in range(10)])
    return [
        Row("durable builtin.echo steps, one sequential run", STEPS / one, "/s", 700, reference="DBOS on SQLite 660 to 680"),
        Row(f"durable builtin.echo steps, {RUNS} runs at once", RUNS * RUN_STEPS / many, "/s", 2000, reference="Temporal 80"),
        Row(f"{WIDTH}-way fan-out and fan-in", median(fans) * 1000, "ms", 150, more_is_better=False, reference="DBOS 750"),
        Row(f"a DAG of {NODES:,} nodes", NODES / dag, "nodes/s", 700),
        Row(f"memory that a DAG of {NODES:,} nodes leaves", between - before, "MiB", 150, more_is_better=False),
        Row(f"a loop of {ITERATIONS:,} iterations", ITERATIONS / loop, "/s", 700),
        Row(f"memory that a loop of {ITERATIONS:,} iterations leaves", after - between, "MiB", 20, more_is_better=False),
        Row(f"a run of 3 steps after {FINISHED:,} runs, against before", then / first, "times", 1.5, more_is_better=False),
    ]


async def define(api: ApiClient, name: str, nodes: list[Json]) -> None:
    metadata = {"name": name, "namespace": "default"}
    spec = {"nodes": nodes, "keepRuns": {"succeeded": 2 * FINISHED}}
    await api.create({"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": metadata, "spec": spec}, kind=Workflow.info)


async def seconds(api: ApiClient, workflow: str, names: list[str]) -> float:
    """From the start of the first of these runs to the end of the last."""
    for name in names:
        metadata = {"name": name, "namespace": "default"}
        run = {"apiVersion": "plum.dev/v1", "kind": "WorkflowRun", "metadata": metadata, "spec": {"workflowRef": workflow}}
        await api.create(run, kind=WorkflowRun.info)
    found = [await ended(api, name) for name in names]
    starts = [run.status.started_at for run in found if run.status.started_at is not None]
    ends = [run.status.finished_at for run in found if run.status.finished_at is not None]
    return max((max(ends) - min(starts)).total_seconds(), 0.001)


async def ended(api: ApiClient, name: str) -> WorkflowRun:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            run = await api.get(WorkflowRun, name, "default")
            if run is not None and run.status.phase in TERMINAL_RUN_PHASES:
                assert run.status.phase == "Succeeded", run.status.message
                return run
            await asyncio.sleep(0.02)
