"""`make bench`: measures the numbers of docs/architecture.md and prints them beside the goal.

    python -m tests.bench [PART ...]   parts: yardstick store objects kv fanout fleet agent links
                                              services tasks workers workflows together ui cli

Every part starts the real programs with a store on disk in a temporary folder and flushes on. No test asserts these
figures: a busy machine must not fail a build.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench import (
    agent_memory,
    calibration,
    command,
    devices,
    fanout,
    fleet,
    kv,
    links,
    objects,
    services,
    store,
    sync,
    tasks,
    together,
    ui,
    workers,
    workflows,
)
from tests.bench.table import Row, render

PARTS = {
    "yardstick": calibration.measure,
    "store": store.rows,
    "objects": objects.measure,
    "kv": kv.measure,
    "fanout": fanout.measure,
    "fleet": fleet.measure,
    "agent": agent_memory.measure,
    "links": links.measure,
    "services": services.measure,
    "tasks": tasks.measure,
    "workers": workers.measure,
    "devices": devices.measure,
    "workflows": workflows.measure,
    "sync": sync.measure,
    "together": together.measure,
    "ui": ui.measure,
    "cli": command.measure,
}


async def main(names: list[str]) -> int:
    """Measure the named parts, or all."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"no part {unknown[0]}; use {' '.join(PARTS)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="plum-bench-") as folder:
        for name in names or PARTS:
            part = Path(folder) / name
            part.mkdir()
            print(f"measuring {name} ...", file=sys.stderr)
            rows += await PARTS[name](part)
    print(render(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(sys.argv[1:])))
