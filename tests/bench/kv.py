"""The key-value store over HTTP, 16 connections: puts and gets of values of 100 bytes, against the whole controller."""

from __future__ import annotations

import asyncio
import time
import timeit
from collections.abc import Iterator
from pathlib import Path

from plum_worker import KV

from tests.bench.load import request_bytes, run_load
from tests.bench.objects import call
from tests.bench.programs import controller, cpu_seconds
from tests.bench.table import Row

ENTRIES = 10_000
KEYS = 1_000
"""Of the second round of puts and of the gets: an entry is written more often than it is made."""
CACHED_READS = 100_000
VALUE = b"x" * 100


def puts(count: int, keys: int, value: bytes = VALUE) -> Iterator[bytes]:
    """One PUT each, every time with another value."""
    return iter(
        [
            request_bytes("PUT", f"/kv/bench/entry-{index % keys:05}", b"%b-%d" % (value, index), "text/plain")
            for index in range(count)
        ]
    )


def gets(count: int) -> Iterator[bytes]:
    return iter([request_bytes("GET", f"/kv/bench/entry-{index % KEYS:05}") for index in range(count)])


def adds(count: int) -> Iterator[bytes]:
    """All to one number."""
    return iter([request_bytes("POST", "/kv/bench/counter?add=1") for _ in range(count)])


def cached_reads(url: str) -> float:
    """Microseconds of a read from the copy of a namespace that the SDK keeps, best of 5."""
    with KV("bench", base=url) as kv:
        deadline = time.monotonic() + 30
        while kv.get("entry-00007") is None:
            if time.monotonic() > deadline:
                raise RuntimeError("the SDK's copy of the namespace did not come")
            time.sleep(0.01)
        get = kv.get
        return min(timeit.repeat(lambda: get("entry-00007"), number=CACHED_READS, repeat=5)) / CACHED_READS * 1e6


async def measure(folder: Path) -> list[Row]:
    """The rows of the key-value store."""
    async with controller(folder) as program:
        host, port, pid = program.host, program.port, program.process.pid
        made = await run_load(host, port, puts(ENTRIES, ENTRIES))
        before = cpu_seconds(pid)
        changed = await run_load(host, port, puts(2 * ENTRIES, KEYS))
        putting = (cpu_seconds(pid) - before) / changed.count * 1e6
        before = cpu_seconds(pid)
        read = await run_load(host, port, gets(3 * ENTRIES))
        getting = (cpu_seconds(pid) - before) / read.count * 1e6
        counted = await run_load(host, port, adds(2_000))
        total = int(await asyncio.to_thread(call, program, "GET", "/kv/bench/counter"))
        if total != 2_000:
            raise RuntimeError(f"the counter is {total} after 2000 increments")
        cached = await asyncio.to_thread(cached_reads, program.url)
    reference = "etcd 3.6 through its HTTP gateway: "
    return [
        Row("KV put of a new entry of 100 bytes, 16 connections", made.rate, "/s", 9_000),
        Row("KV put of an entry that is there", changed.rate, "/s", 9_000, reference=f"{reference}8,700"),
        Row("KV get", read.rate, "/s", 20_000, reference=f"{reference}16,300"),
        Row("KV put, p99", changed.percentile(0.99), "ms", 5, False),
        Row("KV put: processor time of the controller", putting, "us", 110, False),
        Row("KV get: processor time of the controller", getting, "us", 50, False),
        Row("the same of the load generator, a get", read.generator_us, "us", 50, False),
        Row("KV increments of one counter by 16 clients at once, all counted", counted.rate, "/s", 1_000),
        Row("KV read from the SDK's copy", cached, "us", 1, False),
    ]
