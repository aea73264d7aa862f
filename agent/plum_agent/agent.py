"""The agent of one node: its parts, connected.

informer (Instances of this node) -+
ledger (before the first list) ----+-> queue -> workers -> InstanceReconciler -> driver, ledger
exits, probes, lease, timers ------+                             |
                                                                 v
tunnel (streams) reporter (Node)                         delivery queue -> /status
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from plum_client.backoff import FAST, Backoff
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiUnavailableError, ConflictError, NotFoundError, TooManyRequestsError
from plum_client.events import EventRecorder
from plum_client.http_transport import HttpTransport
from plum_client.informer import Informer
from plum_client.link import Link
from plum_client.work_queue import QueueClosedError, WorkQueue
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.node import Link as LinkFigures

from plum_agent.delivery import DeliveryQueue
from plum_agent.devices import Devices
from plum_agent.drivers.base import Driver
from plum_agent.engine.errors import EngineError
from plum_agent.environment import Place
from plum_agent.errors import StartError
from plum_agent.identity import NodeIdentity
from plum_agent.instances import InstanceReconciler
from plum_agent.lease import RENEWALS, NodeLease
from plum_agent.ledger import Ledger
from plum_agent.link_figures import figures
from plum_agent.node import Facts, NodeReporter
from plum_agent.operations.host import DeviceHost, boottime
from plum_agent.output import OutputKeeper
from plum_agent.ports import PortBook
from plum_agent.pressure import Pressure
from plum_agent.starter import Starter
from plum_agent.status_sending import StatusSender
from plum_agent.streams import InstanceStreams
from plum_agent.tasks.allow import AllowList
from plum_agent.tasks.launching import TaskLauncher
from plum_agent.tasks.record import TaskLedger
from plum_agent.tasks.runner import NodeTasks, from_controller
from plum_agent.tasks.surroundings import Surroundings
from plum_agent.tunnel import Tunnel
from plum_agent.workflows.switch import DelegationSwitch

if TYPE_CHECKING:
    from plum_agent.artifacts.cache import ArtifactCache
    from plum_agent.container_runtime import ContainerRuntime
    from plum_agent.workflows.runs import NodeRuns

logger = logging.getLogger(__name__)

MAX_SPREAD_SECONDS = 5.0
"""Within which the agents of a large fleet come back after a long outage."""
RELIST_SECONDS = 10.0
"""Without the controller. After a shorter time the changes of this node are fewer than its instances."""
WORKERS = 32
"""Reconciles at the same time; most of one is waiting for a process or the disk."""
RETRY = Backoff(initial=0.1, maximum=15.0)


@dataclass(frozen=True, slots=True)
class Shared:
    """What all nodes of one agent process share."""

    api: ApiClient
    driver: Driver
    clock: Clock
    facts: Facts
    keeper: OutputKeeper | None
    ports: PortBook
    events: EventRecorder | None
    tunnels: HttpTransport | None
    """None: no tunnel is opened (simulations)."""
    identity: NodeIdentity | None = None
    """None: this node has not joined; it has a token, or is beside its controller."""
    transport: HttpTransport | None = None
    """What `api` sends over; None where that is no network (simulations)."""
    controller: str = ""
    """Base address of the controller, for workloads."""
    controller_grpc: str = ""
    """`host:port` of the controller for workers, for workloads."""
    devices: Devices = field(default_factory=Devices)
    """What templates may ask for by name."""
    artifact_bytes: int = 0
    """How much of packages is kept beyond what runs."""
    containers: ContainerRuntime | None = None
    """None: no containers on this machine."""
    link: Link | None = None
    """The way to the controller; None where there is none to measure (simulations)."""
    task_allow: AllowList = field(default_factory=AllowList)
    """What tasks may run."""
    tasks_at_once: int = 32
    """Attempts of tasks at the same time."""
    outgoing_allow: str = "*"
    """Addresses that http tasks of delegated runs may call."""
    random: Random | None = None
    """Source of all chance; None takes one that cannot be repeated."""


class NodeAgent:
    """Makes one node match what is wanted of it, until `run` is cancelled. Then nothing is watched, and everything runs on."""

    def __init__(self, name: str, directory: Path | None, lease: NodeLease, shared: Shared, workers: int = WORKERS) -> None:
        self.name = name
        self.lease = lease
        self._shared = shared
        self._workers = workers
        self._chance = shared.random or Random()  # noqa: S311 -- spreads returns
        self.ledger = Ledger(directory)
        self.informer: Informer[Instance] = Informer(
            shared.api, Instance, fields=f"spec.nodeName={name}", random=shared.random, relist_after=RELIST_SECONDS
        )
        self.queue: WorkQueue[ObjectKey] = WorkQueue(RETRY, shared.random)
        outbox = directory / "outbox" if directory is not None else None
        sender = StatusSender(shared.api, self.informer, lambda: self.reconciler.units, shared.transport)
        self.delivery = DeliveryQueue(
            sender.send, outbox, shared.random, sender.send_together if shared.transport is not None else None,
            delivered=lambda key: self.queue.add(key) if sender.is_overwritten(key) else None,
        )  # fmt: skip
        self.devices = DeviceHost(
            name,
            directory,
            shared.api,
            shared.transport,
            shared.clock,
            shared.facts.boot_id,
            self._chance,
            boottime if directory is not None else shared.clock.monotonic,
            shared.outgoing_allow,
        )
        address = self.devices.address
        place = Place(name, shared.facts.address, shared.controller, shared.controller_grpc, shared.devices)
        starter = Starter(
            place=place if address is None else replace(place, device_address=address.url, device_folder=address.folder_of),
            api=shared.api,
            driver=shared.driver,
            ledger=self.ledger,
            ports=shared.ports,
            clock=shared.clock,
            boot_id=shared.facts.boot_id,
            fence_file=lease.fence_file.absolute() if lease.fence_file is not None else None,
            containers=shared.containers.defaults if shared.containers is not None else None,
        )
        self.reconciler = InstanceReconciler(
            self.informer, starter, self.delivery, self.queue, shared.keeper, shared.events, lease.fence,
            make_cache=None if directory is None else partial(self._make_cache, directory.absolute() / "artifacts"),
            prepare_image=None if shared.containers is None else partial(shared.containers.prepare, shared.api),
        )  # fmt: skip
        link_figures = None if shared.link is None else partial(self._link_figures, shared.link)
        self.reporter = NodeReporter(
            shared.api, name, shared.facts, self._set_lease_seconds, shared.containers, link_figures, shared.identity,
            shared.devices, None if directory is None else Pressure(directory.absolute()),
        )  # fmt: skip
        if shared.identity is not None:
            shared.identity.on_change = self.reporter.check_soon
        if shared.link is not None:
            shared.link.on_return.append(self._on_return)
        self.tasks = self._make_tasks(directory, starter.place)
        self.delegated = DelegationSwitch(
            directory / "delegated" if directory is not None else None, partial(self._make_runs, self.tasks.around)
        )
        self.reporter.on_node = lambda node: self.delegated.tell(node.status.delegated_runs)
        streams = InstanceStreams(
            name, self.reconciler.units, self.ledger, shared.keeper, shared.driver, shared.clock, self.tasks, self.delegated
        )
        self._tunnel = Tunnel(shared.tunnels, name, streams.serves()) if shared.tunnels is not None else None

    def _make_tasks(self, directory: Path | None, place: Place) -> NodeTasks:
        shared, ledger = self._shared, TaskLedger(directory)
        launcher = TaskLauncher(place, shared.api, shared.driver, ledger, shared.task_allow, shared.containers)
        around = Surroundings(
            self.name,
            shared.facts.boot_id,
            shared.api,
            shared.clock,
            shared.driver,
            ledger,
            launcher,
            shared.keeper,
            self._chance,
            shared.events,
        )
        source = from_controller(shared.api, self.name, self._chance)
        return NodeTasks(around, f"{self.ledger.agent_id}-task.", shared.tasks_at_once, source)

    def _make_runs(self, around: Surroundings, directory: Path) -> NodeRuns:
        """Loaded with the first delegated run."""
        from plum_client.outgoing import OutgoingClient

        from plum_agent.workflows.runs import NodeRuns

        shared = self._shared
        outgoing = OutgoingClient(shared.outgoing_allow, user_agent="plum-agent")
        prefix = f"{self.ledger.agent_id}-flow."
        return NodeRuns(around, shared.api, directory, prefix, shared.tasks_at_once, outgoing)

    def _make_cache(self, directory: Path) -> ArtifactCache:
        """Loaded with the first package: an agent without any does without all of it."""
        from plum_agent.artifacts.cache import ArtifactCache
        from plum_agent.artifacts.fetch import Fetcher
        from plum_agent.artifacts.store import ZipStore

        store = ZipStore(directory, self._shared.artifact_bytes, self.reconciler.packages)
        return ArtifactCache(self._shared.api, store, Fetcher(self._shared.tunnels))

    async def run(self) -> None:
        """Start with what the ledger says, then follow the controller whenever it answers."""
        await self.reconciler.load()
        self.delivery.load()
        self.informer.add_raw_handler(lambda key, old, new: self.queue.add(key))
        parts: list[Coroutine[Any, Any, None]] = [
            self.informer.run(),
            self.delivery.run(),
            self.reporter.run(),
            self.tasks.run(),
            self.delegated.run(),
            self.devices.run(),
            self._on_first_list(),
            *([self._follow_engine(shared)] if (shared := self._shared.containers) is not None else ()),
            *(self._work() for _ in range(self._workers)),
        ]
        if self._tunnel is not None:
            parts.append(self._tunnel.run())
        tasks = [asyncio.get_running_loop().create_task(part) for part in parts]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.queue.close()
            self.reconciler.close()
            self.delivery.close()
            self.ledger.close()

    async def stop_all(self) -> None:
        """End everything that runs here, as `onStop: stop` wants it."""
        runs = self.delegated.runs
        await asyncio.gather(
            self.reconciler.stop_all(), self.tasks.stop_all(), *([runs.tasks.stop_all()] if runs is not None else ())
        )

    def hold(self) -> Callable[[], int]:
        """Begin no further task. Answers with what counts what is left that can go elsewhere."""
        self.tasks.hold()
        return lambda: len(self.reconciler.units) + len(self.tasks)

    def on_lease(self, held: bool) -> None:
        """The lease was got or lost: exclusive instances depend on it, and the controller may have forgotten this node."""
        self.reconciler.enqueue_exclusive()
        if not held:
            return
        if self._shared.link is not None:
            self._shared.link.reached()
        if self._shared.transport is not None:
            # What was cut sends again only after as long as the cut was. A new connection begins at once.
            self._shared.transport.drop_quiet_streams(self.lease.seconds / RENEWALS)
        self._try_now()

    def _on_return(self, seconds: float) -> None:
        """The controller answers again after an outage. The longer it was, the more agents come back with this one."""
        spread = min(MAX_SPREAD_SECONDS, seconds / 4) * self._chance.random()
        asyncio.get_running_loop().call_later(spread, self._try_now)

    def _try_now(self) -> None:
        """Whatever waits before it tries again would wait up to half a minute."""
        self.informer.try_now()
        self.tasks.try_now()
        self.delegated.try_now()
        self.devices.try_now()
        self.reporter.try_now()
        if self._tunnel is not None:
            self._tunnel.try_now()

    def _link_figures(self, link: Link) -> LinkFigures:
        return figures(link, len(self.delivery), self._shared.clock.now(), self._shared.clock.monotonic())

    async def _follow_engine(self, containers: ContainerRuntime) -> None:
        """When the engine comes or goes, and once at the beginning: tell it, go on with what waited, clear away what is left."""
        changed = asyncio.Event()
        changed.set()
        containers.monitor.add_listener(changed.set)
        while True:
            await changed.wait()
            changed.clear()
            self.reporter.check_soon()
            self.reconciler.on_engine()
            if containers.monitor.facts.available:
                try:
                    await containers.driver.clean(f"{self.ledger.agent_id}.", self.reconciler.needs)
                    await containers.driver.clean(self.tasks.prefix, self.tasks.needs)
                    if (runs := self.delegated.runs) is not None:
                        await containers.driver.clean(runs.tasks.prefix, runs.tasks.needs)
                except EngineError as error:
                    logger.info("leftovers of containers stay for now", extra={"node": self.name, "error": str(error)})

    async def _on_first_list(self) -> None:
        await self.informer.wait_synced()
        self.reconciler.on_synced()
        await self.reconciler.end_strays()

    def _set_lease_seconds(self, seconds: float) -> None:
        if seconds != self.lease.seconds:
            logger.info("lease has a new length", extra={"node": self.name, "seconds": seconds})
            self.lease.change(seconds)

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except QueueClosedError:
                return
            try:
                result = await self.reconciler.reconcile(key)
                self.queue.forget(key)
                if result.after is not None:
                    self.queue.add_after(key, result.after)
            except Exception as error:
                self._after_error(key, error)
            finally:
                self.queue.done(key)

    def _after_error(self, key: ObjectKey, error: Exception) -> None:
        fields = {"key": str(key), "error": str(error)}
        if isinstance(error, (ConflictError, NotFoundError)):
            self.queue.retry(key, FAST)
        elif isinstance(error, TooManyRequestsError):
            self.queue.retry(key, at_least=error.retry_after)
        elif isinstance(error, (ApiUnavailableError, StartError)):
            self.queue.retry(key)
            logger.info("reconcile waits", extra=fields)
        else:
            self.queue.retry(key)
            logger.error("reconcile failed", extra=fields, exc_info=error)
