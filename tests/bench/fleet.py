"""A thousand instances on fifty fake nodes; with one real agent: apply to running, a killed process, a lost node, memory."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from pathlib import Path
from typing import Any

from tests.bench.objects import call
from tests.bench.programs import Program, agents, controller, resident_mb
from tests.bench.table import Row

INSTANCES = 1000
NODES = 50
APPLIES = 20
DEPLOYMENTS = "/apis/plum.dev/v1/namespaces/default/deployments"
INSTANCES_PATH = "/apis/plum.dev/v1/namespaces/default/instances"
NODES_PATH = "/apis/plum.dev/v1/nodes"


def deployment(name: str, replicas: int, command: list[str]) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": name}}, "command": command}},
    }


async def ask(program: Program, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await asyncio.to_thread(call, program, method, path, body))
    return answer


async def until(condition: Any, seconds: float = 60.0, pause: float = 0.005) -> float:
    """Wait until `await condition()` is true; seconds it took. Raises `TimeoutError`."""
    started = time.perf_counter()
    while not await condition():
        if time.perf_counter() - started > seconds:
            raise TimeoutError(f"not reached within {seconds} s")
        await asyncio.sleep(pause)
    return time.perf_counter() - started


async def nodes_ready(program: Program, count: int) -> None:
    """Wait until `count` nodes are Ready."""

    async def ready() -> bool:
        items = (await ask(program, "GET", NODES_PATH))["items"]
        states = [c["status"] for item in items for c in item.get("status", {}).get("conditions", []) if c["type"] == "Ready"]
        return states.count("True") >= count

    await until(ready, pause=0.2)


async def measure_thousand(data_dir: Path) -> list[Row]:
    """From the apply until the Deployment's status says that all are ready."""
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="fake", count=NODES):
        await nodes_ready(program, NODES)
        await asyncio.sleep(2)
        started = time.perf_counter()
        await ask(program, "POST", DEPLOYMENTS, deployment("thousand", INSTANCES, ["sleep", "1000"]))

        async def all_ready() -> bool:
            return bool(
                (await ask(program, "GET", f"{DEPLOYMENTS}/thousand")).get("status", {}).get("readyReplicas", 0) == INSTANCES
            )

        await until(all_ready, pause=0.05)
        seconds = time.perf_counter() - started
        running = (await ask(program, "GET", INSTANCES_PATH))["items"]
        if sum(item["status"].get("phase") == "Running" for item in running) != INSTANCES:
            raise RuntimeError("the status says 1,000 and the instances do not")
        return [
            Row("1 Deployment x 1,000 instances on 50 fake nodes", seconds, "s", 2.0, False, "3.1 to 3.8 s, 49.5 s by default")
        ]


async def measure_processes(data_dir: Path) -> list[Row]:
    """One real agent: apply to running, detection of a kill, memory."""
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="process") as agent:
        await nodes_ready(program, 1)
        took = []
        for index in range(APPLIES):
            marker = data_dir / f"started-{index}"
            started = time.perf_counter()
            await ask(
                program, "POST", DEPLOYMENTS, deployment(f"one-{index}", 1, ["sh", "-c", f"date > {marker}; exec sleep 1000"])
            )

            async def exists(marker: Path = marker) -> bool:
                return marker.exists()

            await until(exists, pause=0.001)
            took.append(time.perf_counter() - started)
        rows = [Row("apply to process running, p50", statistics.median(took) * 1000, "ms", 50, False)]
        rows.append(Row("detection of a killed process", await _detect_kill(program) * 1000, "ms", 100, False))
        rows.append(Row("agent with 20 instances: resident", resident_mb(agent.pid), "MiB", 40, False))
        rows.append(await _detect_lost_node(program, agent.pid))
        agent.send_signal(signal.SIGCONT)
        for index in range(APPLIES):
            await ask(program, "DELETE", f"{DEPLOYMENTS}/one-{index}")

        async def none_left() -> bool:
            return not (await ask(program, "GET", INSTANCES_PATH))["items"]

        await until(none_left, pause=0.1)
        return rows


async def _detect_kill(program: Program) -> float:
    """Median seconds from SIGKILL of a workload until the API shows that it does not run."""
    took = []
    for index in range(5):

        async def running(index: int = index) -> dict[str, Any] | None:
            items = (await ask(program, "GET", f"{INSTANCES_PATH}?labelSelector=plum.dev/deployment=one-{index}"))["items"]
            return items[0] if items and items[0]["status"].get("phase") == "Running" and items[0]["status"].get("pid") else None

        await until(running)
        before = await running()
        assert before is not None
        started = time.perf_counter()
        os.kill(before["status"]["pid"], signal.SIGKILL)

        async def noticed(before: dict[str, Any] = before) -> bool:
            now = await ask(program, "GET", f"{INSTANCES_PATH}/{before['metadata']['name']}")
            return now["status"].get("phase") != "Running" or now["status"].get("pid") != before["status"]["pid"]

        took.append(await until(noticed, pause=0.002))
        del started
    return statistics.median(took)


async def _detect_lost_node(program: Program, pid: int) -> Row:
    """Seconds from stopping the agent until its node is not Ready; the lease is set to 3 s first."""
    lease = 3
    name = (await ask(program, "GET", NODES_PATH))["items"][0]["metadata"]["name"]
    node = await ask(program, "GET", f"{NODES_PATH}/{name}")
    node["spec"]["leaseSeconds"] = lease
    await ask(program, "PUT", f"{NODES_PATH}/{name}", node)
    await asyncio.sleep(2 * lease)
    os.kill(pid, signal.SIGSTOP)
    started = time.perf_counter()

    async def lost() -> bool:
        conditions = (await ask(program, "GET", f"{NODES_PATH}/{name}"))["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] != "True" for c in conditions)

    await until(lost, pause=0.05)
    return Row(f"detection of a lost node, lease {lease} s", time.perf_counter() - started, "s", lease + 1, False)


async def measure(data_dir: Path) -> list[Row]:
    """All of it, each part on a fresh controller."""
    rows = []
    for part in (measure_thousand, measure_processes):
        folder = data_dir / part.__name__
        folder.mkdir(parents=True)
        rows += await part(folder)
    return rows
