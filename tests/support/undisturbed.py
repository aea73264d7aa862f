"""A fleet at rest, and the proof that a fault did not disturb it: neither now, nor in any state in between."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from plum_client.client import ApiClient
from plum_schemas.base import Object, ObjectMeta
from plum_schemas.core import ConfigMap
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from tests.support.programs import ControllerProgram, Sandbox, is_running

NODES = ("node-1", "node-2")
K = TypeVar("K", bound=Object)


async def changes_since(api: ApiClient, kind: type[K], since: str, namespace: str = "") -> AsyncGenerator[K, None]:
    """Every state the objects of a kind have had since a revision, up to now: the store's own history, by a watch."""
    mark = await api.create(ConfigMap(metadata=ObjectMeta(generate_name="mark-", namespace="default")))
    end = int(mark.metadata.resource_version)
    listed = (await api.list(kind, namespace)).items
    newest = max((int(item.metadata.resource_version) for item in listed), default=0)
    if newest <= int(since):
        return
    async with aclosing(api.watch(kind, namespace, since=since)) as events:
        async for event in events:
            yield event.object
            if int(event.revision) >= min(newest, end):
                return


async def fleet_at_rest(
    box: Sandbox, controller: ControllerProgram, lease: int, env: Mapping[str, Mapping[str, str]] | None = None, **template: Any
) -> dict[str, int]:
    """Two nodes with two instances of `web` each. The pid of every instance by its uid. `env` is for the agents, by node."""
    for name in NODES:
        await box.node(name, controller, lease_seconds=lease, env=(env or {}).get(name))
    await box.deploy("web", ["sleep", "1000"], replicas=4, template=template)
    await box.until(lambda: box.available("web", 4))
    return {i.metadata.uid: i.status.pid or 0 for i in await box.instances("web")}


async def revision_now(box: Sandbox) -> str:
    """Where a look back begins."""
    return str((await box.api().list(Instance, "default")).revision)


async def assert_undisturbed(box: Sandbox, since: str, before: dict[str, int]) -> None:
    """Neither in what is now nor in any state between."""
    api = box.api()
    instances: Sequence[Instance] = await box.instances("web")
    assert {i.metadata.uid: i.status.pid for i in instances} == before, "no replacement"
    assert all(i.status.restarts == 0 for i in instances), "no restart"
    assert all(is_running(pid) for pid in before.values())
    async for node in changes_since(api, Node, since):
        ready = [c.status for c in node.status.conditions if c.type == "Ready"]
        assert ready == ["True"], f"{node.metadata.name} was said to be {ready}"
        assert not node.spec.taints
    async for instance in changes_since(api, Instance, since, "default"):
        assert instance.metadata.uid in before
        assert (instance.status.phase, instance.status.ready) == ("Running", True)
