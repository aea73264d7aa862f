"""The manager: runs controllers on shared informers.

    Manager.add(controller)     -> informers of its kinds, shared with the other controllers
    Manager.run()               -> lists -> (leader election) -> workers, until cancelled

Two properties reconcilers rely on: no worker starts before every cache holds its first list, and the next reconcile of
a key sees what the last one of that key wrote.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, TypeAlias, overload

from plum_schemas.base import KindInfo, Object

from plum_client.cache import Indexer
from plum_client.client import ApiClient
from plum_client.clock import Clock, SystemClock
from plum_client.codec import JsonObject, T, codec_of
from plum_client.controller import Controller
from plum_client.events import EventRecorder
from plum_client.informer import Informer
from plum_client.leader import LeaderElection
from plum_client.writes import Written

logger = logging.getLogger(__name__)

OWN_WRITE_SECONDS = 5.0
"""Longest wait for the watch to bring back an own write. A reconcile on an old cache is allowed, only wasteful."""
DRAIN_SECONDS = 5.0
"""Longest wait at the end for what workers are doing."""
Expected: TypeAlias = dict[Informer[Any], int]
"""Revisions that informers have yet to reach."""


class Manager:
    """Controllers, the informers they share, and their life."""

    def __init__(
        self,
        api: ApiClient,
        clock: Clock | None = None,
        leader_election: LeaderElection | None = None,
        random: Random | None = None,
    ) -> None:
        self.api = api
        self.clock: Clock = clock or SystemClock()
        self.leader_election = leader_election
        self.controllers: list[Controller] = []
        self._random = random or Random()  # noqa: S311  spreads reconnects
        self._informers: dict[tuple[Any, ...], Informer[Any]] = {}
        self._recorders: dict[str, EventRecorder] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped: asyncio.Future[None] | None = None

    # ---- putting together

    @overload
    def informer(
        self,
        kind: type[T],
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        *,
        indexers: Mapping[str, Indexer[T]] | None = None,
    ) -> Informer[T]: ...
    @overload
    def informer(
        self,
        kind: KindInfo,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        *,
        indexers: Mapping[str, Indexer[JsonObject]] | None = None,
    ) -> Informer[JsonObject]: ...
    @overload
    def informer(
        self,
        kind: type[Object] | KindInfo,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        *,
        indexers: Mapping[str, Indexer[Any]] | None = None,
    ) -> Informer[Any]: ...
    def informer(
        self,
        kind: type[Any] | KindInfo,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        *,
        indexers: Mapping[str, Indexer[Any]] | None = None,
    ) -> Informer[Any]:
        """The shared informer of this kind and selection; made on first use, with these indexes added to those it has."""
        info = codec_of(kind).info
        identity = (kind, namespace if info.namespaced else "", labels, fields)
        informer = self._informers.get(identity)
        if informer is None:
            informer = self._informers[identity] = Informer(self.api, kind, namespace, labels, fields, random=self._random)
            if self._stopped is not None:
                self._start(informer.run(), f"informer-{info.plural}")
        informer.add_indexers(indexers or {})
        return informer

    def recorder(self, component: str) -> EventRecorder:
        """The event recorder of a component; sends while the manager runs."""
        recorder = self._recorders.get(component)
        if recorder is None:
            recorder = self._recorders[component] = EventRecorder(self.api, component, self.clock)
        return recorder

    def add(self, controller: Controller) -> None:
        """Have this controller run with the others. Before `run`."""
        controller.connect(self)
        self.controllers.append(controller)

    # ---- running

    async def run(self) -> None:
        """Run until cancelled. Raises what a part of the machinery raises; errors of reconcilers are retried instead."""
        self._stopped = asyncio.get_running_loop().create_future()
        for informer in self._informers.values():
            self._start(informer.run(), f"informer-{informer.info.plural}")
        if self.leader_election is None:
            self._start(self._work(), "controllers")
        else:
            self._start(self.leader_election.run(self._work), "leader-election")
        try:
            await self._stopped
        finally:
            self._stopped = None
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for recorder in self._recorders.values():
                await recorder.close()

    async def wait_synced(self) -> None:
        """Return when every informer holds its first list."""
        for informer in list(self._informers.values()):
            await informer.wait_synced()

    async def idle(self) -> None:
        """Return when nothing is left to do: queues empty, nothing runs or waits for a retry, own writes seen.

        What was asked to be requeued later does not count. For tests and simulations; writes of other clients are
        covered as far as they have arrived.
        """
        await self.wait_synced()
        while True:
            for controller in self.controllers:
                for expected in controller.expected():
                    await self.wait_for(expected)
            # What the writes set off in other controllers arrives with the turns of the loop that follow.
            for _ in range(3):
                await asyncio.sleep(0)
            busy = [controller for controller in self.controllers if not controller.queue.is_idle]
            if not busy:
                return
            for controller in busy:
                await controller.queue.wait_idle()

    def resync(self) -> None:
        """Reconcile everything once more, after the changes that wait."""
        for controller in self.controllers:
            controller.enqueue_all()

    def expect(self, writes: Sequence[Written]) -> Expected:
        """The informers that must still bring back these writes, and up to which revision. Ask right after the writes."""
        expected: Expected = {}
        for written in writes:
            for informer in self._informers.values():
                if informer.info.resource != written.info.resource or informer.revision >= written.revision:
                    continue
                if informer.will_see(written.key, written.value):
                    expected[informer] = max(written.revision, expected.get(informer, 0))
        return expected

    async def wait_for(self, expected: Expected) -> bool:
        """Wait until the informers are so far; False if one is not within `OWN_WRITE_SECONDS`."""
        seen = True
        for informer, revision in expected.items():
            if not await informer.wait_for(revision, OWN_WRITE_SECONDS):
                logger.info("own write was not seen in time", extra={"resource": informer.info.resource, "revision": revision})
                seen = False
        return seen

    async def _work(self) -> None:
        await self.wait_synced()
        tasks = [asyncio.create_task(controller.work(self), name=controller.name) for controller in self.controllers]
        try:
            await asyncio.gather(*tasks)
            await asyncio.get_running_loop().create_future()  # no controllers: informers alone may be wanted
        finally:
            for task in tasks:
                task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._stopped is None or self._stopped.done():
            return
        error = task.exception()
        if error is not None:
            self._stopped.set_exception(error)
