"""Agents behind bad links: far away and lossy, away for a day, back all at once. What they cost, and what they say of it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from plum_controller.store.sqlite import SqliteStore
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.node import Link, Node

from tests.support.programs import ControllerProgram, Sandbox, resident_mb, sandbox
from tests.support.proxy import Proxy, proxy
from tests.support.undisturbed import changes_since

INSTANCES = 12


async def link_of(box: Sandbox, node: str) -> Link | None:
    found = await box.api().get(Node, ObjectKey("", node))
    return found.status.link if found is not None else None


def sort_of(line: str) -> str:
    """Method and kind of object of a request line."""
    method, path = line.split(" ", 1)
    plain, _, query = path.partition("?")
    kinds = ("leases", "instances", "nodes", "events", "connect", "statuses")
    kind = next((part for part in kinds if f"/{part}" in plain), plain)
    return f"{'WATCH' if 'watch=' in query else method} {kind}"


def asked(cable: Proxy, since: int = 0) -> Counter[str]:
    """How many requests of each sort went through, by method and kind of object."""
    return Counter(map(sort_of, cable.requests[since:]))


@pytest.mark.slow
async def test_five_percent_loss_and_300_ms_disturb_nothing_and_are_shown(tmp_path: Path) -> None:
    lease = 4
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        with proxy(controller.url, round_trip=0.3, loss=0.05) as cable:
            await box.node("far", controller, url=cable.url, lease_seconds=lease)
            since = str((await box.api().list(Node)).revision)
            started = time.monotonic()
            await box.deploy("web", ["sh", "-c", "echo from afar; exec sleep 1000"], replicas=INSTANCES)
            await box.until(lambda: box.available("web", INSTANCES), 25, what="all run")
            took = time.monotonic() - started
            assert took < 20, "statuses go several at a time"

            async def told() -> bool:
                link = await link_of(box, "far")
                return link is not None and link.answer_milliseconds >= 250

            await box.until(told, 25, what="the node says how far it is")
            await asyncio.sleep(max(0.0, 2.5 * lease - (time.monotonic() - started)))
            async for node in changes_since(box.api(), Node, since):
                ready = [c.status for c in node.status.conditions if c.type == "Ready"]
                assert ready == ["True"], f"a slow link is no dead node: {ready}"
            after = await box.instances("web")
            assert all(i.status.restarts == 0 and i.status.ready for i in after)
            link = await link_of(box, "far")
            assert link is not None
            assert 10 <= link.timeout_seconds <= 30
            assert (link.breaker, link.outages) == ("Closed", 0)
            shown = (await box.plum("describe", "node", "far")).out
            assert "Link to the controller:" in shown
            assert "breaker closed" in shown
            (logs,) = {(await box.plum("logs", after[0].metadata.name)).out}
            assert logs == "from afar\n", "through the tunnel, too"


@pytest.mark.slow
async def test_an_agent_that_was_away_comes_back_with_one_list_and_a_few_requests(tmp_path: Path) -> None:
    """Away for longer than the history is kept, while everything of the node changed again and again."""
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        with proxy(controller.url) as cable:
            template = {"disconnect": {"replace": False}, "probes": {"readiness": {"exec": {"command": ["true"]}}}}
            await box.node("away", controller, url=cable.url, lease_seconds=2)
            await box.deploy("web", ["sleep", "1000"], replicas=INSTANCES, template=template)
            await box.until(lambda: box.available("web", INSTANCES))
            before = {i.metadata.uid: i.status.pid for i in await box.instances("web")}

            cable.cut("reset")
            await box.until(lambda: box.node_is("away", "Unknown"))
            for instance in await box.instances("web"):
                os.kill(instance.status.pid or 0, 9)  # each has something to tell: restarted, with an exit
            for number in range(20):
                for instance in await box.instances("web"):
                    patch = {"metadata": {"annotations": {"test/number": str(number)}}}
                    await box.api().patch(Instance, instance.key, patch)
            await controller.stop()
            await forget_history(controller.data_dir)
            controller = await box.restarted(controller)
            outbox = tmp_path / "agents" / "away" / "outbox"

            async def on_disk() -> bool:
                return outbox.exists() and len(list(outbox.glob("[0-9]*"))) <= INSTANCES

            await box.until(on_disk)
            mark = len(cable.requests)
            cable.heal()
            await box.until(lambda: box.node_is("away", "True"), what="it is back")
            await box.until(lambda: box.available("web", INSTANCES), what="all are told")
            await box.until(lambda: _all_restarted(box), what="each with its end and its new run")

            sorts = asked(cable, mark)
            assert sorts["GET instances"] <= 1 + INSTANCES, f"one list, and what was changed meanwhile: {sorts}"
            lists = [line for line in cable.requests[mark:] if line.startswith("GET") and "fieldSelector=spec.nodeName" in line]
            assert len([line for line in lists if "watch=" not in line and "/instances" in line]) == 1, lists
            told = [kind for kind in map(sort_of, cable.requests[mark:]) if kind in ("POST statuses", "PATCH instances")]
            assert "POST statuses" in told[:2], f"one shows that the link works, then what has waited goes together: {told}"
            assert told.count("PATCH instances") <= 2 * INSTANCES, f"and only what happens afterwards by itself: {told}"
            assert 1 <= sorts["POST statuses"] <= 6, sorts
            after = await box.instances("web")
            assert {i.metadata.uid for i in after} == set(before), "no replacement"
            link = await link_of(box, "away")
            assert link is not None
            assert link.outages == 1
            assert link.last_outage is not None


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_500_agents_that_return_at_once_do_not_topple_the_controller(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        command = ["-m", "plum_agent", "--node", "far", "--controller", controller.url, "--data-dir", str(tmp_path / "agents")]
        box.start("agents", [sys.executable, *command, "--driver", "fake", "--count", "500"])

        async def all_ready() -> bool:
            nodes = (await box.api().list(Node)).items
            return sum(c.status == "True" for n in nodes for c in n.status.conditions if c.type == "Ready") == 500

        await box.until(all_ready, 60, what="500 nodes", every=0.5)
        await box.deploy("many", ["sleep", "1000"], replicas=1000)
        await box.until(lambda: box.available("many", 1000), 60, what="1,000 instances", every=0.5)
        controller.kill()
        await asyncio.sleep(20)
        since = await _restart_at(box, controller)
        await asyncio.sleep(45)  # two leases and what follows from them

        async for node in changes_since(box.api(), Node, since):
            assert [c.status for c in node.status.conditions if c.type == "Ready"] == ["True"]
        instances = await box.instances("many")
        assert len(instances) == 1000
        assert all(i.status.ready and not i.status.restarts for i in instances)
        restarted = next(p for p in reversed(box.programs) if p.name == controller.name)
        assert resident_mb(restarted.pid) < 300


async def _restart_at(box: Sandbox, controller: ControllerProgram) -> str:
    """The next controller, and the revision it began with."""
    await box.restarted(controller)
    return str((await box.api().list(Node)).revision)


async def forget_history(data_dir: Path) -> None:
    """What a controller does in an hour: everything before now can be neither read nor watched any more."""
    store = SqliteStore(data_dir / "plum.db")
    await store.open()
    await store.compact(store.revision)
    await store.close()


async def _all_restarted(box: Sandbox) -> bool:
    return all(i.status.restarts == 1 and i.status.ready for i in await box.instances("web"))
