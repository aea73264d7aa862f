"""Everything at once: 10,000 objects, 1,000 watchers and 50 fake nodes on one controller. Is it responsive, and does it idle?"""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path

from tests.bench.fanout import hold_watchers
from tests.bench.fleet import ask, nodes_ready
from tests.bench.objects import OBJECTS, PREFIX, creates, define_machines, gets, load, merge_patches
from tests.bench.programs import agents, controller, cpu_seconds
from tests.bench.table import Row

WATCHERS = 1000
NODES = 50
IDLE_SECONDS = 10.0


async def measure(data_dir: Path) -> list[Row]:
    """Latency of reads and writes of one client, and the CPU of the whole when nobody asks for anything."""
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="fake", count=NODES):
        await define_machines(program)
        await load(program, creates(OBJECTS))
        await nodes_ready(program, NODES)
        here, there = multiprocessing.get_context("spawn").Pipe()
        since = (await ask(program, "GET", f"{PREFIX}?limit=1"))["metadata"]["resourceVersion"]
        arguments = (program.host, program.port, WATCHERS, there, since)
        process = multiprocessing.get_context("spawn").Process(target=hold_watchers, args=arguments)
        process.start()
        try:
            await asyncio.to_thread(here.recv)
            await asyncio.sleep(5)
            reads = await load(program, gets(2000), 1)
            writes = await load(program, merge_patches(50), 1)
            await asyncio.sleep(5)
            before = cpu_seconds(program.process.pid)
            await asyncio.sleep(IDLE_SECONDS)
            idle = (cpu_seconds(program.process.pid) - before) / IDLE_SECONDS * 100
        finally:
            process.kill()
            process.join()
    what = "with 10,000 objects, 1,000 watchers, 50 nodes"
    return [
        Row(f"GET, p99, {what}", reads.percentile(0.99), "ms", 10, more_is_better=False),
        Row(f"merge patch that all watchers see, p99, {what}", writes.percentile(0.99), "ms", 100, more_is_better=False),
        Row(f"idle CPU {what}", idle, "% of a core", 10, more_is_better=False),
    ]
