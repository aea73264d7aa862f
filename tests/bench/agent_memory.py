"""Memory of one real agent with 50 instances: processes with probes, services and output, some of them from a package."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plum_client.http_transport import HttpTransport
from plum_client.packages.transfer import Transfers

from tests.bench.fleet import DEPLOYMENTS, INSTANCES_PATH, ask, nodes_ready, until
from tests.bench.programs import Program, agents, controller, cpu_seconds, resident_mb
from tests.bench.table import Row
from tests.support.artifact_site import package

PLAIN, PROBED, PACKAGED = 20, 20, 10
SETTLE_SECONDS = 20
"""After the last start: buffers of the start are given back by then, and probes and heartbeats have run."""
GOAL_MB = 40


def deployment(name: str, replicas: int, **template: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}}, **template}},
    }  # fmt: skip


def proportional_mb(pid: int) -> float:
    """Memory of a process in MiB, what it shares with others divided among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


@asynccontextmanager
async def fifty(data_dir: Path) -> AsyncIterator[tuple[Program, asyncio.subprocess.Process]]:
    """A controller and an agent whose 50 instances run; they are ended with the block."""
    probe = {"readiness": {"exec": {"command": ["true"]}, "period": "5s"}}
    talk = "while true; do echo still here; sleep 1; done"
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="process") as agent:
        await nodes_ready(program, 1)
        transport = HttpTransport(program.url)
        await Transfers(transport, "default").push(io.BytesIO(package()))
        await transport.close()
        wanted = [
            deployment("plain", PLAIN, command=["sh", "-c", talk]),
            deployment("probed", PROBED, command=["sleep", "1000"], probes=probe, env=[{"name": "MODE", "value": "demo"}]),
            deployment("packaged", PACKAGED, artifact={"name": "demo-app", "version": "1.0.0"}),
        ]
        for one in wanted:
            await ask(program, "POST", DEPLOYMENTS, one)

        async def all_run() -> bool:
            items = (await ask(program, "GET", INSTANCES_PATH))["items"]
            return sum(bool((item.get("status") or {}).get("ready")) for item in items) == PLAIN + PROBED + PACKAGED

        await until(all_run, 120, 0.2)
        try:
            yield program, agent
        finally:
            for one in wanted:
                await ask(program, "DELETE", f"{DEPLOYMENTS}/{one['metadata']['name']}")

            async def none_left() -> bool:
                return not (await ask(program, "GET", INSTANCES_PATH))["items"]

            await until(none_left, 60, 0.2)


async def measure(data_dir: Path) -> list[Row]:
    """Resident and proportional memory, and the processor that it takes to look after them."""
    async with fifty(data_dir) as (_, agent):
        await asyncio.sleep(SETTLE_SECONDS)
        before = cpu_seconds(agent.pid)
        await asyncio.sleep(SETTLE_SECONDS)
        busy = (cpu_seconds(agent.pid) - before) / SETTLE_SECONDS * 100
        rows = [
            Row("agent with 50 instances: resident", resident_mb(agent.pid), "MiB", GOAL_MB, False),
            Row("agent with 50 instances: its share of memory (PSS)", proportional_mb(agent.pid), "MiB", GOAL_MB, False),
            Row("agent with 50 instances, 20 of them probed: processor", busy, "%", 10, False),
        ]
        shims = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _is_shim_of(pid, data_dir)]
        each = sum(proportional_mb(pid) for pid in shims) / max(1, len(shims))
        rows.append(Row(f"its shims, one for each instance ({len(shims)} processes): each", each, "MiB", 1, False))
        return rows


def _is_shim_of(pid: int, data_dir: Path) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.startswith(f"{data_dir}/shim-".encode()) for word in words)
