"""`POST /plan`: what manifests would do, by doing it: on a copy of everything in memory, under virtual time.

    live objects --copied--> MemoryStore -> ResourceService -> LocalTransport -> the real controllers and the scheduler
    manifests ---applied--->                                                 -> PlannedAgents: every instance starts well
                                        before | after  -->  changes, hash

The controllers run in a thread with an event loop of its own whose clock jumps, so a rollout of minutes is planned in
moments and the running system does not wait. The plan assumes that nodes stay as they are and that what is started
becomes ready. The hash stands for manifests and outcome: equal hash, equal plan.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.controller import Controller
from plum_client.finalizers import remove_finalizer
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_schemas.base import Condition, ObjectKey
from plum_schemas.instance import INSTANCE_FINALIZER, Instance

from plum_controller.api.plan_changes import Change, changes_between, without_bookkeeping
from plum_controller.resources.encode import decode, split
from plum_controller.resources.errors import ApiStatusError, bad_request, no_such_resource, timeout
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.registry import Registry
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key, Transaction, Write
from plum_controller.store.cache import Entry, WatchCache
from plum_controller.store.memory import MemoryStore

AddControllers = Callable[[Manager], None]

QUIET_SECONDS = 30.0
"""Virtual seconds without a write after which the plan is complete, above the longest `minReadySeconds`."""
LONGEST_SECONDS = 24 * 3600.0
"""Virtual seconds after which a plan is cut: something flaps."""
WORK_SECONDS = 30.0
"""Real seconds a plan may take."""
LEFT_OUT = frozenset({"events", "leases.coordination.k8s.io"})
"""Not copied: what happened, and who is alive, do not change what is planned."""


class Planner:
    """Makes plans, one at a time. `add_controllers` registers the controllers that are tried out."""

    def __init__(self, service: ResourceService, settings: Any, add_controllers: AddControllers) -> None:
        self._service = service
        self._settings = settings
        self._add_controllers = add_controllers
        self._one = asyncio.Lock()

    async def plan(self, manifests: Any, namespace: str = "default", manager: str = "plum") -> dict[str, Any]:
        """`{"hash": ..., "changes": [...]}`. Raises `ApiStatusError`: what an apply of a manifest would."""
        if not isinstance(manifests, list) or not all(isinstance(manifest, dict) for manifest in manifests):
            raise bad_request("manifests must be a list of objects")
        async with self._one:
            copy = self._copy()
            now = datetime.now(UTC)
            trial = _Trial(copy, now, self._settings, self._add_controllers)
            changes = await asyncio.to_thread(run_simulated, lambda loop: trial.run(loop, manifests, namespace, manager))
        listed = [change.as_json() for change in changes]
        digest = hashlib.sha256(msgspec.json.encode([manifests, listed], order="deterministic")).hexdigest()
        return {"hash": digest, "changes": listed}

    def _copy(self) -> list[Entry]:
        cache = self._service.cache
        resources = {kind.info.resource for kind in self._service.registry.all()} - LEFT_OUT
        return [entry for resource in sorted(resources) for entry in cache.list(resource)]


class _Trial:
    """One plan being made, inside its own event loop."""

    def __init__(self, copy: Sequence[Entry], now: datetime, settings: Any, add_controllers: AddControllers) -> None:
        self._copy = copy
        self._now = now
        self._settings = settings
        self._add_controllers = add_controllers
        self._deadline = time.monotonic() + WORK_SECONDS

    async def run(self, loop: SimulatedLoop, manifests: list[dict[str, Any]], namespace: str, manager: str) -> list[Change]:
        from plum_controller.api.api import Api
        from plum_controller.api.local import LocalTransport

        clock = SimulatedClock(loop, self._now)
        store = MemoryStore(clock=lambda: clock.now().timestamp())
        await store.open()
        writes = [Write(entry.key, *split(entry.value, entry.revision)) for entry in self._copy]
        if writes:
            await store.commit(Transaction(writes))
        registry = Registry()
        await registry.load_definitions(store)
        cache = WatchCache(store, registry.index)
        await cache.load()
        registry.follow(cache)
        service = ResourceService(store, cache, registry, clock)
        await service.start()
        before = _objects(cache, registry)
        named = await self._apply(service, manifests, namespace, manager)
        transport = LocalTransport(Api(service, store, self._settings))
        running = asyncio.create_task(self._control(ApiClient(transport, field_manager="plum-controller"), clock))
        try:
            await self._settle(store, running, _longest_wait(cache))
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await service.close()
            registry.close()
        return changes_between(before, _objects(cache, registry), named)

    async def _apply(self, service: ResourceService, manifests: list[dict[str, Any]], namespace: str, manager: str) -> set[Key]:
        """Apply all, namespaces and definitions first. Answers with what they name."""
        named = set()
        for manifest in sorted(manifests, key=_order):
            kind, key = _target(service.registry, manifest, namespace)
            named.add(Key(kind.info.resource, key.namespace, key.name))
            options = WriteOptions(field_manager=manager, force=True)
            await service.patch(kind, key, "apply", decode(msgspec.json.encode(manifest)), options)
        return named

    async def _control(self, api: ApiClient, clock: SimulatedClock) -> None:
        manager = Manager(api, clock)
        self._add_controllers(manager)
        manager.add(Controller("planned-agents", PlannedAgents(api, clock), Instance, workers=16))
        await manager.run()

    async def _settle(self, store: MemoryStore, running: asyncio.Task[None], wait: float) -> None:
        """Let virtual time pass until nothing has been written for a while."""
        loop = asyncio.get_running_loop()
        seen, since = store.revision, loop.time()
        while loop.time() - since < QUIET_SECONDS + wait and loop.time() < LONGEST_SECONDS:
            await asyncio.sleep(1.0)
            if running.done():
                running.result()
            if time.monotonic() > self._deadline:
                raise timeout("the plan takes too long; plan fewer manifests at once")
            if store.revision != seen:
                seen, since = store.revision, loop.time()


class PlannedAgents:
    """Stands for the agents of all nodes: what is bound runs and is ready, what is deleted goes."""

    def __init__(self, api: ApiClient, clock: SimulatedClock) -> None:
        self._api = api
        self._clock = clock

    async def reconcile(self, key: ObjectKey) -> Result:
        instance = await self._api.get(Instance, key.name, key.namespace)
        if instance is None:
            return Result.wait_for_change()
        if instance.metadata.deletion_timestamp is not None:
            await remove_finalizer(self._api, instance, INSTANCE_FINALIZER)
            return Result.wait_for_change()
        if not instance.spec.node_name:
            return Result.wait_for_change()
        runs = instance.spec.state == "Running"
        phase = "Running" if runs else "Stopped"
        generation = instance.metadata.generation
        if instance.status.phase != phase or instance.status.ready != runs or instance.status.observed_generation != generation:
            now = self._clock.now()
            ready = Condition(type="Ready", status="True" if runs else "False", reason="Planned", last_transition_time=now)
            kept = [condition for condition in instance.status.conditions if condition.type != "Ready"]
            status = msgspec.structs.replace(
                instance.status,
                phase=phase,
                ready=runs,
                observed_generation=generation,
                started_at=now,
                conditions=[*kept, ready],
            )
            await self._api.write_status(msgspec.structs.replace(instance, status=status))
        return Result.wait_for_change()


def _objects(cache: WatchCache, registry: Registry) -> dict[Key, dict[str, Any]]:
    """All objects, decoded, without what every write moves."""
    resources = {kind.info.resource for kind in registry.all()} - LEFT_OUT
    return {entry.key: without_bookkeeping(decode(entry.value)) for resource in resources for entry in cache.list(resource)}


def _target(registry: Registry, manifest: Mapping[str, Any], namespace: str) -> tuple[ResourceKind, ObjectKey]:
    """What a manifest names. Raises `ApiStatusError`."""
    api_version, kind_name = manifest.get("apiVersion"), manifest.get("kind")
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping):
        metadata = {}
    name = metadata.get("name")
    if not all(isinstance(text, str) and text for text in (api_version, kind_name, name)):
        raise bad_request("every manifest needs apiVersion, kind and metadata.name")
    kind = registry.by_kind(str(api_version), str(kind_name))
    if kind is None:
        error = no_such_resource()
        raise ApiStatusError(error.code, error.reason, f'no kind "{kind_name}" in {api_version}; is its definition applied?')
    where = (metadata.get("namespace") or namespace) if kind.info.namespaced else ""
    return kind, ObjectKey(str(where), str(name))


def _order(manifest: Mapping[str, Any]) -> int:
    return {"Namespace": 0, "CustomResourceDefinition": 1}.get(str(manifest.get("kind")), 2)


def _longest_wait(cache: WatchCache) -> float:
    """The longest `minReadySeconds`: a rollout may be silent that long."""
    longest = 0.0
    for entry in cache.list("deployments.plum.dev"):
        strategy = decode(entry.value).get("spec", {}).get("strategy", {})
        wait = strategy.get("minReadySeconds", 0)
        longest = max(longest, float(wait) if isinstance(wait, (int, float)) else 0.0)
    return longest
