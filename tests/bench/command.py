"""How long the `plum` command takes to start."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.programs import controller
from tests.bench.table import Row

RUNS = 10


def _median_ms(arguments: list[str]) -> float:
    took = []
    for _ in range(RUNS):
        started = time.perf_counter()
        subprocess.run(arguments, check=True, capture_output=True)
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1000


async def measure(data_dir: Path) -> list[Row]:
    """`plum --help` and `plum get deployments` against a running controller."""
    plum = str(Path(sys.executable).parent / "plum")
    async with controller(data_dir) as program:
        helped = await asyncio.to_thread(_median_ms, [plum, "--help"])
        got = await asyncio.to_thread(_median_ms, ["env", f"PLUM_SERVER={program.url}", plum, "get", "deployments"])
    return [
        Row("plum --help", helped, "ms", 250, False),
        Row("plum get deployments", got, "ms", 250, False),
    ]
