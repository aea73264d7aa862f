"""A partition that heals: noticed within the lease, replaced elsewhere, and nothing healthy is restarted when it is over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from plum_schemas.instance import Instance

from tests.support.programs import Sandbox, is_running, sandbox
from tests.support.proxy import Way, proxy

LEASE = 2
SLACK = 0.5
"""For this test's own asking on a busy machine."""


async def ready_on(box: Sandbox, node: str, count: int) -> list[Instance] | None:
    """The ready instances of `web` on a node, when there are so many."""
    found = [i for i in await box.instances("web") if i.spec.node_name == node and i.status.ready]
    return found if len(found) == count else None


@pytest.mark.slow
@pytest.mark.parametrize(("way", "reconcile"), [("silent", "keepOriginal"), ("reset", "keepReplacement")])
async def test_a_partition_that_heals_restarts_nothing(tmp_path: Path, way: Way, reconcile: str) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        with proxy(controller.url) as cable:
            await box.node("node-1", controller, url=cable.url, lease_seconds=LEASE)
            template = {"disconnect": {"reconcile": reconcile}}
            await box.deploy("web", ["sleep", "1000"], replicas=3, template=template)
            originals = await box.until(lambda: ready_on(box, "node-1", 3), what="three run on node-1")
            await box.node("node-2", controller, lease_seconds=LEASE)
            pids = {i.metadata.uid: i.status.pid or 0 for i in originals}

            cable.cut(way)
            cut_at = time.monotonic()
            await box.until(lambda: box.node_is("node-1", "Unknown"), what="node-1 is not ready")
            assert time.monotonic() - cut_at < LEASE + 1 + SLACK
            replacements = await box.until(lambda: ready_on(box, "node-2", 3), what="three replacements run")
            assert all(is_running(pid) for pid in pids.values()), "healthy workloads on a cut-off node go on"
            new_pids = {i.metadata.uid: i.status.pid or 0 for i in replacements}

            cable.heal()
            await box.until(lambda: box.node_is("node-1", "True"), what="node-1 is back")
            await box.until(lambda: box.available("web", 3), what="three again")

            left = {i.metadata.uid: i for i in await box.instances("web")}
            kept, gone = (pids, new_pids) if reconcile == "keepOriginal" else (new_pids, pids)
            assert {uid: i.status.pid for uid, i in left.items()} == kept, "the same processes as before"
            assert all(i.status.restarts == 0 for i in left.values())
            assert all(is_running(pid) for pid in kept.values())
            assert not any(is_running(pid) for pid in gone.values())


@pytest.mark.slow
async def test_an_instance_that_is_not_to_be_replaced_waits_for_its_node(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        with proxy(controller.url) as cable:
            await box.node("node-1", controller, url=cable.url, lease_seconds=LEASE)
            await box.deploy("web", ["sleep", "1000"], replicas=1, template={"disconnect": {"replace": False}})
            original = (await box.until(lambda: ready_on(box, "node-1", 1)))[0]
            await box.node("node-2", controller, lease_seconds=LEASE)

            cable.cut()
            await box.until(lambda: _unknown(box), what="the instance is unknown")
            deadline = time.monotonic() + 2 * LEASE
            while time.monotonic() < deadline:  # long after a replacement would have come
                assert [i.metadata.uid for i in await box.instances("web")] == [original.metadata.uid]
            cable.heal()
            await box.until(lambda: box.available("web", 1))

            (back,) = await box.instances("web")
            assert (back.metadata.uid, back.status.pid, back.status.restarts) == (original.metadata.uid, original.status.pid, 0)


async def _unknown(box: Sandbox) -> bool:
    return any(i.status.phase == "Unknown" for i in await box.instances("web"))
