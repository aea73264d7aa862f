"""The APIs that the contract suite runs against, by name: one in memory, the real one in this process, the real one over HTTP.

Whoever adds another way to reach an API (another transport, another server) adds a line to `TARGETS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from plum_client.client import ApiClient
from plum_client.fake import FakeApi
from plum_client.watch import WatchEvent
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap
from plum_schemas.deployment import Deployment, DeploymentSpec
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.lease import Lease
from plum_schemas.template import Template


@dataclass
class Target:
    """One API under test."""

    name: str
    api: ApiClient
    compact: Callable[[], Awaitable[None]]
    """Forget the history."""


@asynccontextmanager
async def _fake() -> AsyncGenerator[Target, None]:
    fake = FakeApi(kinds=[Deployment, Instance, ConfigMap, Lease])

    async def compact() -> None:
        fake.compact()

    yield Target("fake", fake.client(), compact)


@asynccontextmanager
async def _local() -> AsyncGenerator[Target, None]:
    from plum_controller.api.local import LocalTransport
    from plum_controller.main import build
    from plum_controller.settings import Settings

    async with build(Settings(store="memory:", controllers_enabled=False)) as api:
        transport = LocalTransport(api)

        async def compact() -> None:
            await _compact(api)

        yield Target("local", ApiClient(transport, "test"), compact)
        await transport.close()


@asynccontextmanager
async def _http() -> AsyncGenerator[Target, None]:
    from plum_client.http_transport import HttpTransport
    from plum_controller.api.server import ApiServer
    from plum_controller.main import bind, build
    from plum_controller.settings import Settings

    settings = Settings(store="memory:", controllers_enabled=False)
    async with build(settings) as api:
        server = ApiServer(api, settings, bind("127.0.0.1", 0))
        await server.start()
        transport = HttpTransport(server.url)

        async def compact() -> None:
            await _compact(api)

        try:
            yield Target("http", ApiClient(transport, "test"), compact)
        finally:
            await transport.close()
            await server.close()


async def _compact(api: Any) -> None:
    await api.store.compact(api.service.cache.revision)


TARGETS: dict[str, Callable[[], AbstractAsyncContextManager[Target]]] = {"fake": _fake, "local": _local, "http": _http}


# ---- objects


def make_deployment(name: str = "web", replicas: int = 2, **metadata: Any) -> Deployment:
    spec = DeploymentSpec(replicas=replicas, template=Template(command=["sleep", "60"]))
    return Deployment(metadata=ObjectMeta(name=name, namespace="default", **metadata), spec=spec)


def make_instance(name: str, node: str = "", **metadata: Any) -> Instance:
    spec = InstanceSpec(node_name=node, template=Template(command=["sleep", "60"]))
    return Instance(metadata=ObjectMeta(name=name, namespace="default", **metadata), spec=spec)


def make_settings(name: str, labels: dict[str, str] | None = None, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="default", labels=labels or {}), data=data)


# ---- watching


class Watching:
    """Collects the events of one watch."""

    def __init__(self, events: AsyncGenerator[WatchEvent[Any], None]) -> None:
        self.events: list[WatchEvent[Any]] = []
        self._task = asyncio.create_task(self._collect(events))

    @property
    def seen(self) -> list[tuple[str, str]]:
        """(type, name) of each event."""
        return [(event.type, _name(event.object)) for event in self.events]

    async def until(self, count: int, seconds: float = 40.0) -> list[tuple[str, str]]:
        """The events, once there are so many."""
        async with asyncio.timeout(seconds):
            while len(self.events) < count and not self._task.done():
                await asyncio.sleep(0.002)
        if self._task.done() and len(self.events) < count:
            self._task.result()
        return self.seen

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _collect(self, events: AsyncGenerator[WatchEvent[Any], None]) -> None:
        async with aclosing(events):
            async for event in events:
                self.events.append(event)


@asynccontextmanager
async def watching(events: AsyncGenerator[WatchEvent[Any], None]) -> AsyncGenerator[Watching, None]:
    watch = Watching(events)
    try:
        yield watch
    finally:
        await watch.stop()


def _name(obj: Any) -> str:
    return str(obj["metadata"]["name"]) if isinstance(obj, dict) else str(obj.metadata.name)


async def settle(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for a condition, fail after a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
