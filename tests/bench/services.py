"""How soon everybody knows: readiness to a watcher of endpoints, and an address by HTTP and from the SDK's cache."""

from __future__ import annotations

import asyncio
import statistics
import time
from contextlib import aclosing
from pathlib import Path
from typing import Any

from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_client.resolver import Resolver
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance

from tests.bench.fleet import DEPLOYMENTS, ask, nodes_ready, until
from tests.bench.programs import Program, agents, controller
from tests.bench.table import Row

SINGLES = 50
COPIES = 200
LOOKUPS = 3000


def offering(name: str, replicas: int) -> dict[str, Any]:
    template = {
        "command": ["sleep", "1000"],
        "ports": [{"name": "http", "port": 0}],
        "services": [{"name": name, "port": "http"}],
    }
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"replicas": replicas, "template": template},
    }


async def measure(data_dir: Path) -> list[Row]:
    """One controller, ten fake nodes."""
    async with controller(data_dir) as program, agents(program.url, data_dir, driver="fake", count=10):
        await nodes_ready(program, 10)
        api = ApiClient(HttpTransport(program.url), field_manager="bench")
        try:
            return await _announcements(program, api) + await _lookups(program, api)
        finally:
            await api.close()


class Watched:
    """When each instance was seen ready, and when its endpoint was seen to take requests, by one watcher of each."""

    def __init__(self, api: ApiClient) -> None:
        self.ready: dict[str, float] = {}
        self.taken: dict[str, float] = {}
        self._tasks = [asyncio.create_task(self._instances(api)), asyncio.create_task(self._endpoints(api))]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _instances(self, api: ApiClient) -> None:
        async with aclosing(api.watch(Instance, "default")) as events:
            async for event in events:
                if event.object.status.ready:
                    self.ready.setdefault(event.object.metadata.name, time.perf_counter())

    async def _endpoints(self, api: ApiClient) -> None:
        async with aclosing(api.watch(Endpoint, "default")) as events:
            async for event in events:
                if event.object.state == "passing":
                    self.taken.setdefault(event.object.spec.instance_name, time.perf_counter())


async def _announcements(program: Program, api: ApiClient) -> list[Row]:
    """Instances that become ready one after the other, then many at once."""
    watched = Watched(api)
    try:
        for number in range(SINGLES):
            await ask(program, "POST", DEPLOYMENTS, offering(f"single-{number}", 1))
            await _until_taken(watched, number + 1)
            await asyncio.sleep(0.05)
        took = [watched.taken[name] - watched.ready[name] for name in watched.taken]
        await ask(program, "POST", DEPLOYMENTS, offering("many", COPIES))
        await _until_taken(watched, SINGLES + COPIES)
        together = max(watched.taken.values()) - max(watched.ready.values())
    finally:
        await watched.close()
    return [
        Row("readiness to a watcher of endpoints, p50", statistics.median(took) * 1000, "ms", 20, False),
        Row(f"the same, worst of {SINGLES}", max(took) * 1000, "ms", 100, False),
        Row(f"{COPIES} at once: last readiness to last endpoint", max(0.0, together) * 1000, "ms", 500, False),
    ]


async def _until_taken(watched: Watched, count: int) -> None:
    async def there() -> bool:
        return len(watched.taken) >= count and len(watched.ready) >= count

    await until(there)


async def _lookups(program: Program, api: ApiClient) -> list[Row]:
    """One endpoint of ten: by HTTP on one connection, and from the cache of the SDK."""
    await ask(program, "POST", DEPLOYMENTS, offering("ten", 10))
    async with Resolver(api) as resolver:

        async def there() -> bool:
            return len(await resolver.endpoints("ten")) == 10

        await until(there)
        started = time.perf_counter()
        for _ in range(LOOKUPS):
            await resolver.resolve("ten")
        cached = LOOKUPS / (time.perf_counter() - started)
    transport = HttpTransport(program.url)
    took = []
    for _ in range(LOOKUPS // 3):
        began = time.perf_counter()
        answer = await transport.request("GET", "/v1/discovery/one?service=ten")
        took.append(time.perf_counter() - began)
        if answer.status != 200:
            raise RuntimeError(answer.body.decode())
    await transport.close()
    return [
        Row("an endpoint of ten from the SDK's cache, one caller", cached, "per second", 10_000),
        Row("an endpoint of ten by HTTP, p50", statistics.median(took) * 1000, "ms", 2, False),
    ]
