"""A controller that stood still (SIGSTOP, suspended machine) blames nobody: no false NotReady, no replacement, no restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar

import pytest
from plum_client.client import ApiClient
from plum_schemas.base import Object, ObjectMeta
from plum_schemas.core import ConfigMap
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from tests.support.programs import Sandbox, is_running, sandbox

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


async def fleet(box: Sandbox, lease: int) -> dict[str, int]:
    """Two nodes with two instances each, all at rest. The pid of every instance."""
    controller = await box.controller()
    for name in NODES:
        await box.node(name, controller, lease_seconds=lease)
    await box.deploy("web", ["sleep", "1000"], replicas=4)
    await box.until(lambda: box.available("web", 4))
    return {i.metadata.uid: i.status.pid or 0 for i in await box.instances("web")}


async def nothing_happened(box: Sandbox, since: str, before: dict[str, int]) -> None:
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


async def pause(box: Sandbox, *, lease: int, seconds: float) -> None:
    before = await fleet(box, lease)
    since = str((await box.api().list(Instance, "default")).revision)
    controller = next(p for p in box.programs if p.name == "controller")

    controller.pause()
    await asyncio.sleep(seconds)
    controller.resume()
    await asyncio.sleep(2 * lease + 1)  # a false judgement would come within this time

    await nothing_happened(box, since, before)


@pytest.mark.slow
async def test_a_pause_of_the_controller_over_several_leases_changes_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        await pause(box, lease=2, seconds=8)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_a_pause_of_the_controller_for_a_minute_changes_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        await pause(box, lease=15, seconds=60)


@pytest.mark.slow
async def test_a_controller_that_was_killed_and_away_over_several_leases_changes_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        before = await fleet(box, 2)
        since = str((await box.api().list(Instance, "default")).revision)
        controller = next(p for p in box.programs if p.name == "controller")

        controller.kill()
        await asyncio.sleep(5)
        await box.restarted(controller)  # type: ignore[arg-type]
        await asyncio.sleep(5)

        await nothing_happened(box, since, before)
