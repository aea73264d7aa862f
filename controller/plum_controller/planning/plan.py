"""What an apply would do: the real controllers and the real scheduler, run to rest on a copy of the store.

    manifests, live objects --> copy in memory, virtual time, a thread of its own --> Plan(changes, hash)

Nodes keep the state they have; starts and stops take no time and succeed. So the plan says what would be created, changed,
stopped, moved and restarted if everything works, and refusals where something would find no place.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiError
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.deployment import DEPLOYMENT_LABEL, REVISION_LABEL, Deployment
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from plum_controller.planning.control_plane import ControlPlane
from plum_controller.planning.nodes import SimulatedNodes
from plum_controller.resources.errors import ApiStatusError
from plum_controller.settings import Settings
from plum_controller.store.base import LogEntry, Store

Action = Literal["create", "change", "unchanged", "delete", "stop", "start", "move", "restart", "refuse"]
HORIZON_SECONDS = 2 * 3600.0
"""Virtual time after which a rollout that still waits (a canary, a long minReadySeconds) is reported as it is then."""
STEP_SECONDS = 5.0
QUIET_STEPS = 3
"""Steps of virtual time without a write after which everything has come to rest."""


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a plan."""

    action: Action
    kind: str
    namespace: str
    name: str
    detail: str = ""


@dataclass(slots=True)
class Plan:
    """What would happen."""

    changes: list[Change] = field(default_factory=list)
    hash: str = ""
    """Names this plan: the same manifests on the same state give the same hash."""

    def to_json(self) -> dict[str, Any]:
        return {"hash": self.hash, "changes": [msgspec.to_builtins(change) for change in self.changes]}


async def make_plan(
    store: Store, manifests: Sequence[Mapping[str, Any]], settings: Settings, field_manager: str = "plum"
) -> Plan:
    """Plan an apply of these manifests. Raises `ApiStatusError` for the first one that the API would refuse."""
    entries: list[LogEntry] = []
    async for batch in store.snapshot():
        entries += batch
    revision = store.revision
    return await asyncio.to_thread(_plan_in_thread, entries, revision, manifests, settings, field_manager)


def _plan_in_thread(
    entries: Sequence[LogEntry], revision: int, manifests: Sequence[Mapping[str, Any]], settings: Settings, field_manager: str
) -> Plan:
    start = datetime.now(UTC).replace(microsecond=0)

    async def main(loop: SimulatedLoop) -> Plan:
        plane = ControlPlane(SimulatedClock(loop, start), settings)
        await plane.start(entries, revision)
        try:
            return await _plan(plane, manifests, field_manager)
        finally:
            await plane.close()

    return run_simulated(main)


async def _plan(plane: ControlPlane, manifests: Sequence[Mapping[str, Any]], field_manager: str) -> Plan:
    api = plane.client(field_manager)
    nodes = SimulatedNodes(plane.client("agents"), plane.clock, [n.metadata.name for n in await api.list(Node)])
    plane.start_controllers(nodes.add_to, watch_nodes=False)
    await _rest(plane)
    before = await _instances(api)
    plan = Plan()
    for manifest in manifests:
        plan.changes.append(await _apply(plane, api, manifest))
    await _rest(plane)
    plan.changes += _compare(before, await _instances(api))
    plan.changes += await _refusals(api)
    content = [msgspec.to_builtins(change) for change in plan.changes if change.action != "unchanged"]
    plan.hash = hashlib.sha256(msgspec.json.encode([content, [dict(m) for m in manifests]], order="deterministic")).hexdigest()[
        :16
    ]
    return plan


async def _rest(plane: ControlPlane) -> None:
    """Let virtual time pass until nothing is written any more."""
    assert plane.manager is not None  # noqa: S101  the caller started the controllers
    quiet = 0
    end = plane.clock.monotonic() + HORIZON_SECONDS
    while quiet < QUIET_STEPS and plane.clock.monotonic() < end:
        revision = plane.store.revision
        await plane.manager.idle()
        await asyncio.sleep(STEP_SECONDS)
        quiet = quiet + 1 if plane.store.revision == revision else 0


async def _apply(plane: ControlPlane, api: ApiClient, manifest: Mapping[str, Any]) -> Change:
    """Apply one manifest to the copy; what that changed."""
    api_version, kind = str(manifest.get("apiVersion") or ""), str(manifest.get("kind") or "")
    served = plane.registry.by_kind(api_version, kind)
    if served is None:
        raise ApiStatusError(400, "BadRequest", f"no kind {kind!r} is served in {api_version!r}")
    info: KindInfo = served.info
    metadata = manifest.get("metadata") or {}
    key = ObjectKey(str(metadata.get("namespace") or ("default" if info.namespaced else "")), str(metadata.get("name") or ""))
    old = await api.get(info, key)
    body = {**manifest, "metadata": {**metadata, **({"namespace": key.namespace} if key.namespace else {})}}
    try:
        new = await api.apply(body, kind=info, force=True)
    except ApiError as error:
        raise ApiStatusError(error.code or 422, error.reason or "Invalid", f"{kind} {key}: {error.message}") from error
    if old is None:
        return Change("create", kind, key.namespace, key.name)
    if old["metadata"]["resourceVersion"] == new["metadata"]["resourceVersion"]:
        return Change("unchanged", kind, key.namespace, key.name)
    return Change("change", kind, key.namespace, key.name, ", ".join(_paths(old, new)))


def _paths(old: Any, new: Any, path: str = "") -> list[str]:
    """The fields of two objects that differ, server-owned ones left out: `spec.replicas: 2 -> 3`."""
    if path in (".status", ".metadata.managedFields", ".metadata.resourceVersion", ".metadata.generation"):
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            found for name in sorted(old.keys() | new.keys()) for found in _paths(old.get(name), new.get(name), f"{path}.{name}")
        ]
    return [f"{path[1:]}: {_short(old)} -> {_short(new)}"] if old != new else []


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


async def _instances(api: ApiClient) -> dict[ObjectKey, Instance]:
    """The instances that are to stay."""
    return {i.key: i for i in await api.list(Instance) if i.metadata.deletion_timestamp is None}


def _compare(before: Mapping[ObjectKey, Instance], after: Mapping[ObjectKey, Instance]) -> list[Change]:
    """What becomes of instances: pairs of one that goes and one that comes are moved or restarted, the rest starts or stops."""
    changes: list[Change] = []
    gone = [instance for key, instance in sorted(before.items()) if key not in after]
    come = [instance for key, instance in sorted(after.items()) if key not in before]
    for old in gone:
        new = _successor(old, come)
        if new is None:
            changes.append(_line("stop", old, f"on {old.spec.node_name}" if old.spec.node_name else ""))
            continue
        come.remove(new)
        where = (old.spec.node_name or "no node", new.spec.node_name or "no node")
        same = old.metadata.labels.get(REVISION_LABEL) == new.metadata.labels.get(REVISION_LABEL)
        if same and where[0] != where[1]:
            changes.append(_line("move", old, f"{where[0]} -> {where[1]} as {new.metadata.name}"))
        else:
            changes.append(_line("restart", old, f"as {new.metadata.name} on {where[1]}"))
    changes += [_line("start", new, f"on {new.spec.node_name}" if new.spec.node_name else "") for new in come]
    for key, old in sorted(before.items()):
        now = after.get(key)
        if now is not None and now.spec.state != old.spec.state:
            changes.append(_line("stop" if now.spec.state == "Stopped" else "start", now, f"on {now.spec.node_name}"))
    return changes


def _successor(old: Instance, come: Sequence[Instance]) -> Instance | None:
    """The new instance of the same Deployment that takes the place of one that goes, on the same node if there is one."""
    owner = old.metadata.labels.get(DEPLOYMENT_LABEL)
    same = [
        i for i in come if i.metadata.namespace == old.metadata.namespace and i.metadata.labels.get(DEPLOYMENT_LABEL) == owner
    ]
    if not owner or not same:
        return None
    return next((i for i in same if i.spec.node_name == old.spec.node_name), same[0])


def _line(action: Action, instance: Instance, detail: str) -> Change:
    return Change(action, "Instance", instance.metadata.namespace, instance.metadata.name, detail)


async def _refusals(api: ApiClient) -> list[Change]:
    """Instances that would find no node, with the reason; and Deployments that would name nodes in vain."""
    changes = []
    for instance in await api.list(Instance):
        refused = next((c for c in instance.status.conditions if c.type == "Scheduled" and c.status == "False"), None)
        if refused is not None and not instance.spec.node_name:
            changes.append(_line("refuse", instance, refused.message))
    for deployment in await api.list(Deployment):
        missing = next((c for c in deployment.status.conditions if c.reason == "NodeMissing"), None)
        if missing is not None:
            changes.append(
                Change("refuse", "Deployment", deployment.metadata.namespace, deployment.metadata.name, missing.message)
            )
    return changes
