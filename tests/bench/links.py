"""Nodes that go and come back: from the loss of a node to its replacement, and 500 agents that return at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from urllib.error import HTTPError

from tests.bench.fleet import DEPLOYMENTS, INSTANCES_PATH, NODES_PATH, ask, deployment, nodes_ready, until
from tests.bench.programs import Program, agents, controller, cpu_seconds
from tests.bench.table import Row

AGENTS = 500
AWAY_SECONDS = 20
LEASE = 3
LOSSES = 5


async def measure(data_dir: Path) -> list[Row]:
    """Both, each on a fresh controller."""
    rows = []
    for part in (measure_replacement, measure_return):
        folder = data_dir / part.__name__
        folder.mkdir(parents=True)
        rows += await part(folder)
    return rows


async def measure_replacement(data_dir: Path) -> list[Row]:
    """From the stop of an agent until its only instance runs, ready, on the other node. The worst of some."""
    took = []
    folders = [data_dir / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    async with (
        controller(data_dir) as program,
        agents(program.url, folders[0], driver="process", node="a") as first,
        agents(program.url, folders[1], driver="process", node="b") as second,
    ):
        pids = {"a": first.pid, "b": second.pid}
        await nodes_ready(program, 2)
        for name in pids:
            await _set_lease(program, name)
        await ask(program, "POST", DEPLOYMENTS, deployment("one", 1, ["sleep", "1000"]))

        async def where(but: str = "") -> str:
            items = (await ask(program, "GET", INSTANCES_PATH))["items"]
            found = [item["spec"]["nodeName"] for item in items if item.get("status", {}).get("ready")]
            return found[0] if len(found) == 1 and found[0] != but else ""

        for _ in range(LOSSES):
            await until(where)
            node = await where()
            await asyncio.sleep(2 * LEASE)
            os.kill(pids[node], signal.SIGSTOP)
            took.append(await until(lambda node=node: where(node), pause=0.02))  # type: ignore[misc]
            os.kill(pids[node], signal.SIGCONT)
            await nodes_ready(program, 2)

            async def one_left() -> bool:
                return len((await ask(program, "GET", INSTANCES_PATH))["items"]) == 1

            await until(one_left, pause=0.1)
        await ask(program, "DELETE", f"{DEPLOYMENTS}/one")

        async def none_left() -> bool:
            return not (await ask(program, "GET", INSTANCES_PATH))["items"]

        await until(none_left, pause=0.1)
    return [Row(f"node lost to replacement ready, lease {LEASE} s, worst of {LOSSES}", max(took), "s", LEASE + 2, False)]


async def _set_lease(program: Program, name: str) -> None:
    while True:
        node = await ask(program, "GET", f"{NODES_PATH}/{name}")
        node["spec"]["leaseSeconds"] = LEASE
        try:
            await ask(program, "PUT", f"{NODES_PATH}/{name}", node)
        except HTTPError as error:  # the agent or the controller wrote in between
            if error.code != 409:
                raise
        else:
            return


async def measure_return(data_dir: Path) -> list[Row]:
    """The controller is killed and comes back after a while; all agents find out at once, and somebody else asks meanwhile."""
    async with controller(data_dir) as before, agents(before.url, data_dir, driver="fake", count=AGENTS):
        await nodes_ready(before, AGENTS)
        await ask(before, "POST", DEPLOYMENTS, deployment("many", 2 * AGENTS, ["sleep", "1000"]))

        async def all_ready() -> bool:
            status = (await ask(before, "GET", f"{DEPLOYMENTS}/many")).get("status", {})
            return bool(status.get("readyReplicas", 0) == 2 * AGENTS)

        await until(all_ready, pause=0.2)
        before.process.kill()
        await before.process.wait()
        await asyncio.sleep(AWAY_SECONDS)
        async with controller(data_dir, "--listen", f"{before.host}:{before.port}") as after:
            return await _watch_return(after)


async def _watch_return(program: Program) -> list[Row]:
    """Until every node has renewed its lease and every watch is open again."""
    started = time.perf_counter()
    took: list[float] = []
    asking = asyncio.create_task(_ask_all_the_time(program, took))
    leases = "/apis/coordination.k8s.io/v1/namespaces/plum-node-lease/leases"
    first = {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in (await ask(program, "GET", leases))["items"]}

    async def all_back() -> bool:
        now = {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in (await ask(program, "GET", leases))["items"]}
        return len(now) == AGENTS and all(now[name] != first.get(name) for name in now)

    seconds = await until(all_back, pause=0.2)
    await asyncio.sleep(max(0.0, 15 - (time.perf_counter() - started)))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    nodes = (await ask(program, "GET", NODES_PATH))["items"]
    not_ready = sum(c["status"] != "True" for node in nodes for c in node["status"]["conditions"] if c["type"] == "Ready")
    took.sort()
    cpu = cpu_seconds(program.process.pid)
    print(f"  not ready {not_ready}, controller used {cpu:.1f} s of CPU in 15 s, {len(took)} reads beside it")
    return [
        Row(f"{AGENTS} agents come back at once: all leases renewed", seconds, "s", 15, False),
        Row("  a read beside that, p99", took[int(len(took) * 0.99)] * 1000, "ms", 250, False),
        Row("  controller with them: resident", program.resident_mb, "MiB", 250, False),
    ]


async def _ask_all_the_time(program: Program, took: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await ask(program, "GET", f"{DEPLOYMENTS}/many")
        took.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)
