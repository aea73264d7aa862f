"""A day of an operator with three machines: deploy processes and containers, cut, heal, reboot, upgrade, kill the engine, drain.

Nothing restarts that should not, nothing runs twice that must not, and whatever waits says on screen what for.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from plum_client.http_transport import HttpTransport
from plum_client.packages.transfer import Transfers
from plum_schemas.instance import Instance
from plum_schemas.node import HOSTNAME_LABEL, Node

from tests.support.artifact_site import package
from tests.support.docker_engine import IMAGE, Engine, own_engine, own_folder
from tests.support.namespaces import Direction, FleetSite, fleet, refusal
from tests.support.programs import is_running
from tests.support.witness import Witness

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(refusal()), reason=refusal() or "-"),
]

NODES = ("node-1", "node-2", "node-3")
LEASE = 10
SECONDS = 90.0
"""For everything that is waited for: the lease, the fence, and a start on a busy machine."""
SPREAD = [{"topologyKey": HOSTNAME_LABEL, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway"}]
WANTED = {"web": 3, "boxed": 3, "radar": 1, "winch": 1}


@dataclass
class Trial:
    """The fleet, what runs on it, and how an operator looks at it."""

    site: FleetSite
    engines: dict[str, Engine]
    witness: Witness

    async def says(self, words: Sequence[str], *command: str) -> None:
        """What the command prints comes to hold all the words."""

        async def said() -> bool:
            self.last = (await self.site.box.plum(*command, url=self.site.url)).out
            return all(word in self.last for word in words)

        try:
            await self.site.box.until(said, 30, what=f"plum {' '.join(command)} says {words}", every=0.5)
        except AssertionError as error:
            raise AssertionError(f"{self.last}\n{error}") from error

    async def settled(self, what: str) -> None:
        """Every Deployment has what it wants, and no more."""
        for name, count in WANTED.items():
            await self.site.box.until(lambda n=name, c=count: self.site.box.available(n, c), SECONDS, what=f"{what}: {name}")  # type: ignore[misc]
        assert not self.witness.overlaps, f"{what}: {self.witness.overlaps}"

    async def calm(self) -> dict[str, tuple[int | None, int]]:
        """Process and restarts of everything that is not exclusive, by uid."""
        every = [i for name in ("web", "boxed", "radar") for i in await self.site.box.instances(name)]
        return {i.metadata.uid: (i.status.pid, i.status.restarts) for i in every}

    async def unchanged(self, before: dict[str, tuple[int | None, int]], what: str) -> None:
        """The same objects, in the same runs, whose processes live."""
        assert await self.calm() == before, what
        assert all(pid and is_running(pid) for pid, _ in before.values()), what

    async def winch(self, but: str = "") -> Instance:
        """The one that may run once, when it is ready, and another than that."""

        async def ready() -> Instance | None:
            found = [i for i in await self.site.box.instances("winch") if i.status.ready and i.metadata.uid != but]
            return found[0] if len(found) == 1 else None

        found = await self.site.box.until(ready, SECONDS, what="the exclusive one runs")
        assert not self.witness.overlaps
        return found

    async def on(self, name: str, node: str) -> Instance | None:
        return next((i for i in await self.site.box.instances(name) if i.spec.node_name == node), None)


@asynccontextmanager
async def trial(root: Path) -> AsyncIterator[Trial]:
    """Three machines, each with its own engine and agent, and both kinds of work on them."""
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(fleet(root))
        engines: dict[str, Engine] = {}
        for name in NODES:
            site.net.add(name)
            folder = stack.enter_context(own_folder())
            making = own_engine(folder, "--live-restore", prefix=site.net.prefix(name))
            engines[name] = await asyncio.to_thread(stack.enter_context, making)
            site.engines[name] = engines[name].socket
            await site.add_node(name, LEASE)
        transport = HttpTransport(site.url)
        await Transfers(transport, "default").push(io.BytesIO(package()))
        await transport.close()
        box, made = site.box, Trial(site, engines, Witness(root))
        zipped = {"artifact": {"name": "demo-app", "version": "1.0.0"}}
        image = {"runtime": "container", "image": IMAGE}
        pinned = {"nodeSelector": {HOSTNAME_LABEL: "node-2"}, "disconnect": {"replace": False}}
        once = {"exclusive": True, "terminationGracePeriodSeconds": 1}
        await box.deploy("web", [], replicas=3, template={**zipped, "topologySpread": SPREAD})
        await box.deploy("boxed", ["sleep", "100000"], replicas=3, template={**image, "topologySpread": SPREAD})
        await box.deploy("radar", ["sleep", "100001"], replicas=1, template=pinned)
        await box.deploy("winch", made.witness.command(), replicas=1, template=once)
        await made.settled("everything is deployed")
        yield made


async def test_a_day_of_an_operator(tmp_path: Path) -> None:
    async with trial(tmp_path) as day:
        for direction in ("both", "from", "to"):
            await cut_and_heal(day, direction)
        await upgrade_all(day)
        await kill_an_engine(day)
        await reboot(day)
        await drain(day)


async def cut_and_heal(day: Trial, direction: Direction) -> None:
    """The machine with the exclusive workload is not heard, hears nothing, or both."""
    site, before, winch = day.site, await day.calm(), await day.winch()
    node = winch.spec.node_name
    site.net.cut(node, direction)
    later = await day.winch(winch.metadata.uid)
    assert later.spec.node_name != node

    await day.says(["LeaseExpired", "the lease was not renewed"], "explain", f"node/{node}")
    await day.says(["offline since", "what follows is from before"], "describe", "node", node)
    await day.says(["InstancesLost", "replacements may start for"], "events")
    silent = await day.on("web", node)
    if silent is not None:
        await day.says([f"because {node} does not report"], "explain", f"instance/{silent.metadata.name}")
    if node == "node-2":
        await day.says(["nothing replaces it, as disconnect.replace says"], "explain", "deployment/radar")
    assert all(pid and is_running(pid) for pid, _ in before.values()), "what is not exclusive goes on"

    site.net.heal()
    await site.box.until(lambda: site.box.node_is(node, "True"), SECONDS, what=f"{node} is back")
    await day.settled(f"{direction}: {node} is back")
    await day.unchanged(before, f"{direction}: nothing is restarted or replaced for good")


async def upgrade_all(day: Trial) -> None:
    """One agent after the other ends and begins again."""
    before, winch = await day.calm(), await day.winch()
    for node in NODES:
        await day.site.upgrade(node)
        await day.settled(f"the agent of {node} is new")
    await day.unchanged(before, "an upgrade touches nothing")
    after = await day.winch()
    assert (after.metadata.uid, after.status.pid) == (winch.metadata.uid, winch.status.pid), "nor what is exclusive"


async def kill_an_engine(day: Trial) -> None:
    """The engine of one machine crashes and is started again."""
    box, before, engine = day.site.box, await day.calm(), day.engines["node-1"]
    await asyncio.to_thread(engine.kill)

    async def runtimes() -> list[str]:
        node = await box.api().get(Node, "node-1")
        return list(node.status.runtimes) if node is not None else []

    async def without() -> bool:
        return await runtimes() == ["process"]

    async def again() -> bool:
        return "container" in await runtimes()

    await box.until(without, SECONDS, what="the node says that it has no engine")
    await day.says(["does not answer", "start the container"], "describe", "node", "node-1")
    await day.unchanged(before, "containers do not end with their engine")
    await asyncio.to_thread(engine.start, "--live-restore")
    await box.until(again, SECONDS, what="the node has its engine again")
    await day.settled("the engine is back")
    await day.unchanged(before, "nor with its return")


async def reboot(day: Trial) -> None:
    """The power of the machine with the exclusive workload fails and comes back, with another boot id."""
    site, before, winch = day.site, await day.calm(), await day.winch()
    node = winch.spec.node_name
    there = {
        i.metadata.uid for name in ("web", "boxed", "radar") for i in await site.box.instances(name) if i.spec.node_name == node
    }
    await site.reboot(node, lambda: day.engines[node].start("--live-restore"))
    await site.box.until(lambda: site.box.node_is(node, "True"), SECONDS, what=f"{node} is back")
    await day.settled(f"{node} was rebooted")

    async def started_once() -> bool:
        after = await day.calm()
        return all(after[uid][1] == run[1] + 1 for uid, run in before.items() if uid in there & after.keys())

    await site.box.until(started_once, SECONDS, what="what was there was started once")
    await day.settled(f"{node} runs everything again")
    assert await started_once(), "and no second time"
    after = await day.calm()
    assert all(after.get(uid) == run for uid, run in before.items() if uid not in there), "what ran elsewhere did not notice"


async def drain(day: Trial) -> None:
    """A machine is emptied and given back."""
    box, winch = day.site.box, await day.winch()
    node = next(name for name in NODES if name != "node-2" and (winch.spec.node_name in (name, "node-2")))
    said = await box.plum("node", "drain", node, "--deadline", "120s", url=day.site.url, timeout=150)
    assert f"{node} is empty" in said.out + said.err
    await day.settled(f"{node} is drained")
    assert not [i for name in WANTED for i in await box.instances(name) if i.spec.node_name == node]
    await day.says(["A drain was asked for", "is complete"], "explain", f"node/{node}")
    await day.says([f"{node}", "Ready,SchedulingDisabled"], "get", "nodes")
    await box.plum("node", "uncordon", node, url=day.site.url)
    await day.says([f"{node} is ready and takes instances"], "explain", f"node/{node}")
