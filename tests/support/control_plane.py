"""A whole control plane in one event loop: store in memory, resources, API, controllers. Only time and disk are not real.

    ControlPlane.start() -> store -> registry, cache -> service -> Api -> LocalTransport -> Manager with the built-in controllers

`stop_controllers` and `start_controllers` are a controller that dies and comes back: what it knew is lost, the store is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.manager import Manager
from plum_controller.api.api import Api
from plum_controller.api.local import LocalTransport
from plum_controller.controllers import ControllerSettings, build
from plum_controller.resources.registry import Registry
from plum_controller.resources.service import ResourceService
from plum_controller.settings import Settings
from plum_controller.store.base import LogEntry, Revision
from plum_controller.store.cache import WatchCache
from plum_controller.store.memory import MemoryStore


class ControlPlane:
    """Started once, closed once; controllers may be stopped and started in between."""

    def __init__(self, clock: Clock, settings: Settings | None = None) -> None:
        self.clock = clock
        self.settings = settings or Settings()
        self.store = MemoryStore(clock=lambda: clock.now().timestamp())
        self.manager: Manager | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self, entries: Sequence[LogEntry] = (), revision: Revision = 0) -> None:
        """Begin with the live objects of another store, or empty."""
        if entries:
            self.store.adopt(entries, revision)
        await self.store.open()
        self.registry = Registry()
        await self.registry.load_definitions(self.store)
        self.cache = WatchCache(self.store, self.registry.index)
        await self.cache.load()
        self.registry.follow(self.cache)
        self.service = ResourceService(self.store, self.cache, self.registry, self.clock)
        await self.service.start()
        self.api = Api(self.service, self.store, self.settings)

    def client(self, field_manager: str) -> ApiClient:
        """A client of its own, as another program would have."""
        return ApiClient(LocalTransport(self.api), field_manager=field_manager)

    def start_controllers(
        self,
        extra: Callable[[Manager], None] | None = None,
        settings: ControllerSettings | None = None,
        *,
        watch_nodes: bool = True,
    ) -> Manager:
        """Run the built-in controllers, and what `extra` adds. `watch_nodes` false: nodes stay as they are, without leases."""
        self.manager = Manager(self.client("plum-controller"), self.clock)
        build(self.manager, settings or self.settings, watch_nodes=watch_nodes)
        if extra is not None:
            extra(self.manager)
        self._running = asyncio.create_task(self.manager.run(), name="controllers")
        return self.manager

    async def stop_controllers(self) -> None:
        """As `kill -9` of a controller that shares nothing but the store."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None

    async def close(self) -> None:
        """Stop everything. Safe to repeat."""
        await self.stop_controllers()
        self.api.close()
        await self.service.close()
        self.registry.close()
        await self.store.close()
