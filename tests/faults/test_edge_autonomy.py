"""Nodes on machines of their own, over TLS, with links that are cut for real: both ways and one way, in the middle of everything.

What runs goes on, what may run once runs once, what must be replaced is replaced in time, and nothing is restarted when the
link is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.node import HOSTNAME_LABEL, Node

from tests.support.clocks import compiler, make_clock
from tests.support.namespaces import FleetSite, fleet, refusal
from tests.support.programs import Sandbox, is_running
from tests.support.witness import Witness

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")]

LEASE = 2
TAKEOVER_SECONDS = LEASE + 1 + 4
"""The lease, the second of the fence, and the time to notice, place and start on a busy machine."""
START_SECONDS = 10.0
"""Within which a node starts what it was last told, whoever is in reach."""
READY = {"probes": {"startup": {"exec": {"command": ["true"]}, "period": "200ms"}}}
"""With a probe: without one a run that follows a crash counts only after a while, and these tests would wait for that."""


def pids(instances: list[Instance]) -> dict[str, int]:
    return {instance.metadata.uid: instance.status.pid or 0 for instance in instances}


async def ready_on(box: Sandbox, deployment: str, node: str, count: int = 1) -> list[Instance] | None:
    """The ready instances of a Deployment on a node, when there are so many."""
    found = [i for i in await box.instances(deployment) if i.spec.node_name == node and i.status.ready]
    return found if len(found) == count else None


async def the_one(site: FleetSite, nodes: set[str], but: str = "") -> Instance | None:
    """The only ready instance of `one` on one of the nodes."""
    ready = [i for i in await site.box.instances("one") if i.status.ready and i.metadata.uid != but]
    return ready[0] if len(ready) == 1 and ready[0].spec.node_name in nodes else None


Cut = Callable[[FleetSite, str], None]
CUTS: dict[str, Cut] = {
    "it is not heard": lambda site, node: site.net.cut(node, "from"),
    "it hears nothing": lambda site, node: site.net.cut(node, "to"),
    "nothing passes": lambda site, node: site.net.cut(node),
}


async def rounds(root: Path, cuts: Iterable[str]) -> None:
    """One cut after the other, each of the node where the exclusive workload is."""
    async with fleet(root, "node-1", "node-2", "node-3", lease_seconds=LEASE) as site:
        box, nodes = site.box, set(site.agents)
        witness, takeovers = Witness(root), 0
        await box.deploy("one", witness.command(), replicas=1, template={"exclusive": True, "terminationGracePeriodSeconds": 1})
        await box.deploy("calm", ["sleep", "1000"], nodeReplicas=dict.fromkeys(nodes, 1))
        await box.until(lambda: box.available("calm", 3), what="one on each node")
        calm = pids(await box.instances("calm"))

        for what in cuts:
            before = await box.until(lambda: the_one(site, nodes), what="the exclusive one runs")
            node = before.spec.node_name
            CUTS[what](site, node)
            takeovers += 1
            cut_at = time.monotonic()
            others = nodes - {node}
            await box.until(lambda: the_one(site, others, before.metadata.uid), 25, what=f"{what}: it runs elsewhere")  # noqa: B023
            assert time.monotonic() - cut_at < TAKEOVER_SECONDS, what
            assert not witness.overlaps, f"{what}: {witness.overlaps}"
            assert all(is_running(pid) for pid in calm.values()), f"{what}: what is not exclusive goes on"
            site.net.heal()
            await box.until(lambda: box.node_is(node, "True"), what=f"{what}: {node} is back")  # noqa: B023
            await box.until(lambda: box.available("one", 1), what=f"{what}: one copy, and no other object of one")
            await box.until(lambda: box.available("calm", 3), what=f"{what}: nothing was replaced for good")

        assert len(witness.starts) == takeovers + 1, f"one start for each takeover, not more: {witness.starts}"
        assert not witness.overlaps
        after = await box.instances("calm")
        assert pids(after) == calm, "the same processes after all cuts"
        assert all(instance.status.restarts == 0 for instance in after)


async def test_whatever_is_cut_an_exclusive_workload_runs_once_and_the_others_go_on(tmp_path: Path) -> None:
    await rounds(tmp_path, ["it is not heard", "it hears nothing"])


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_in_99_cuts_an_exclusive_workload_runs_once(tmp_path: Path) -> None:
    await rounds(tmp_path, [*CUTS] * 33)


async def test_a_cut_off_node_reboots_starts_what_it_was_told_and_is_drained_when_it_is_back(tmp_path: Path) -> None:
    async with fleet(tmp_path, "node-1", "node-2", lease_seconds=LEASE) as site:
        box = site.box
        on_1 = {"nodeSelector": {HOSTNAME_LABEL: "node-1"}, **READY}
        stays = {"disconnect": {"replace": False}}
        await box.deploy("web", ["sleep", "1000"], replicas=3, template={**on_1, **stays})
        await box.deploy("off", ["sleep", "1001"], replicas=1, state="Stopped", template={**on_1, **stays})
        await box.deploy("one", ["sleep", "1002"], replicas=1, template={"exclusive": True, **on_1, **stays})
        for name, count in (("web", 3), ("one", 1)):
            await box.until(lambda name=name, count=count: box.available(name, count))  # type: ignore[misc]
        before = {i.metadata.uid for i in await box.instances("web")}
        boot = (await node_of(box, "node-1")).status.boot_id

        site.net.cut("node-1")
        await box.until(lambda: box.node_is("node-1", "Unknown"), what="node-1 is not heard")
        started = time.monotonic()
        await site.reboot("node-1")
        await until(lambda: running(site, "node-1", "1000") == 3, START_SECONDS, "the three run again with nobody in reach")
        assert time.monotonic() - started < START_SECONDS
        await asyncio.sleep(LEASE)  # long enough for a false start
        assert [running(site, "node-1", number) for number in ("1000", "1001", "1002")] == [3, 0, 0]

        site.net.heal()
        await box.until(lambda: box.available("web", 3), what="the controller agrees")
        await box.until(lambda: box.available("one", 1), what="the exclusive one runs, now that the controller has said so")
        after = await box.instances("web")
        assert {i.metadata.uid for i in after} == before, "no replacement"
        assert {i.status.restarts for i in after} == {1}
        assert all(i.status.last_exit is not None and i.status.last_exit.code is None for i in after), "nobody saw how it ended"
        assert (await node_of(box, "node-1")).status.boot_id not in ("", boot)

        await box.deploy("web", ["sleep", "1000"], replicas=3, template={**READY, **stays})  # may go anywhere now
        await box.until(lambda: box.available("web", 3))
        await box.deploy("one", ["sleep", "1002"], replicas=1, template={"exclusive": True, **READY, **stays})
        await box.until(lambda: box.available("one", 1))
        await box.plum("node", "drain", "node-1", url=site.url)
        await box.until(lambda: ready_on(box, "web", "node-2", 3), what="the drained node's instances run elsewhere")
        await until(lambda: running(site, "node-1", "1000") + running(site, "node-1", "1002") == 0, 40, "nothing is left")
        await box.until(lambda: the_one(site, {"node-2"}), what="the exclusive one moved")


async def test_agents_that_were_killed_adopt_what_runs_while_they_are_cut_off(tmp_path: Path) -> None:
    async with fleet(tmp_path, "node-1", lease_seconds=LEASE) as site:
        box = site.box
        await box.deploy("web", ["sleep", "1000"], replicas=2)
        await box.deploy("ends", ["sh", "-c", "sleep 4; exit 7"], replicas=1, template={"restartPolicy": "Never"})
        await box.until(lambda: ready_on(box, "web", "node-1", 2))
        await box.until(lambda: ready_on(box, "ends", "node-1"))
        before = pids(await box.instances("web"))

        site.net.cut("node-1")
        site.agents["node-1"].kill()
        await until(lambda: running(site, "node-1", "4") == 0, 40, "a process ends that nobody watches")
        await site.start_agent("node-1")
        site.net.heal()

        async def told() -> bool:
            return any(i.status.last_exit is not None and i.status.last_exit.code == 7 for i in await box.instances("ends"))

        await box.until(told, what="its true exit code")
        await box.until(lambda: box.node_is("node-1", "True"))

        async def same() -> bool:
            return pids(await ready_on(box, "web", "node-1", 2) or []) == before

        await box.until(same, what="the same processes")


@pytest.mark.skipif(compiler() is None, reason="moving the clock of a real program needs a C compiler")
async def test_agents_whose_clocks_are_wrong_by_an_hour_do_all_their_work(tmp_path: Path) -> None:
    """From their start on, with certificates, leases, statuses and an exclusive workload."""
    async with fleet(tmp_path, lease_seconds=LEASE) as site:
        box, witness = site.box, Witness(tmp_path)
        for name, seconds in (("ahead", 3600), ("behind", -3600)):
            clock = make_clock(tmp_path, name)
            clock.shift(seconds)
            await site.add_node(name, LEASE, clock.environment)
        rules = {"minReadySeconds": 1, "progressDeadlineSeconds": 15}
        await box.deploy("calm", ["sleep", "1000"], nodeReplicas={"ahead": 1, "behind": 1}, strategy=rules)
        await box.deploy("one", witness.command(), replicas=1, template={"exclusive": True, "terminationGracePeriodSeconds": 1})
        await box.until(lambda: box.available("calm", 2), 10, what="both count as available")
        calm = pids(await box.instances("calm"))

        before = await box.until(lambda: the_one(site, set(site.agents)), what="the exclusive one runs")
        node = before.spec.node_name
        site.net.cut(node)
        others = set(site.agents) - {node}
        await box.until(lambda: the_one(site, others, before.metadata.uid), 25, what="it runs elsewhere")
        site.net.heal()
        await box.until(lambda: box.node_is(node, "True"))
        await box.until(lambda: box.available("one", 1))
        await box.until(lambda: box.available("calm", 2))

        assert not witness.overlaps
        assert pids(await box.instances("calm")) == calm
        for name in site.agents:
            link = (await node_of(box, name)).status.link
            assert link is not None
            assert link.round_trip_milliseconds > 0, "times of the link are by a clock that does not jump"
            assert link.answer_milliseconds < 5000


async def node_of(box: Sandbox, name: str) -> Node:
    node = await box.api().get(Node, ObjectKey("", name))
    assert node is not None
    return node


def running(site: FleetSite, machine: str, seconds: str) -> int:
    """Processes `sleep SECONDS` on a machine."""
    wanted, found = f"sleep\0{seconds}\0".encode(), 0
    for pid in site.net.processes(machine):
        try:
            found += Path(f"/proc/{pid}/cmdline").read_bytes() == wanted
        except OSError:
            continue
    return found


async def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something of the machines, not of the API."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.02)
