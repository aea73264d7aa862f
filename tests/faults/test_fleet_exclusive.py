"""An exclusive workload runs at most once, whatever happens to its node: the kernel's locks are the witness."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from plum_schemas.instance import Instance

from tests.support.programs import ControllerProgram, Program, Sandbox, sandbox
from tests.support.proxy import Proxy, proxy
from tests.support.witness import Witness

LEASE = 2
TAKEOVER_SECONDS = LEASE + 1 + 4
"""The lease, the second of the fence, and the time to notice, place and start on a busy machine."""


class Site:
    """A controller and two nodes, each with a cable of its own."""

    def __init__(self, box: Sandbox, controller: ControllerProgram, cables: dict[str, Proxy]) -> None:
        self.box = box
        self.controller = controller
        self.cables = cables
        self.agents: dict[str, Program] = {}

    async def runs_on(self, nodes: set[str], uid: str = "") -> Instance | None:
        """The only instance that is ready on one of the nodes, other than `uid`."""
        ready = [i for i in await self.box.instances("one") if i.status.ready and i.metadata.uid != uid]
        return ready[0] if len(ready) == 1 and ready[0].spec.node_name in nodes else None

    async def takes_over(self, broken: str, before: Instance) -> float:
        """Wait until it runs elsewhere. Seconds it took."""
        others = set(self.cables) - {broken}
        started = time.monotonic()
        await self.box.until(lambda: self.runs_on(others, before.metadata.uid), 25, what=f"it runs on {others}")
        return time.monotonic() - started

    async def comes_back(self, node: str) -> None:
        await self.box.until(lambda: self.box.node_is(node, "True"), what=f"{node} is back")
        await self.box.until(lambda: self.box.available("one", 1), what="one copy, and no other object of one")


Fault = Callable[[Site, str], Awaitable[Callable[[], Awaitable[None]]]]


async def pulled_cable(site: Site, node: str) -> Callable[[], Awaitable[None]]:
    site.cables[node].cut("silent")

    async def undo() -> None:
        site.cables[node].heal()

    return undo


async def refused_connections(site: Site, node: str) -> Callable[[], Awaitable[None]]:
    site.cables[node].cut("reset")

    async def undo() -> None:
        site.cables[node].heal()

    return undo


async def stopped_agent(site: Site, node: str) -> Callable[[], Awaitable[None]]:
    site.agents[node].pause()

    async def undo() -> None:
        site.agents[node].resume()

    return undo


async def killed_agent(site: Site, node: str) -> Callable[[], Awaitable[None]]:
    site.agents[node].kill()

    async def undo() -> None:
        site.agents[node] = await site.box.agent(node, site.cables[node].url)

    return undo


FAULTS: list[Fault] = [pulled_cable, refused_connections, stopped_agent, killed_agent]


async def rounds(root: Path, faults: list[Fault]) -> list[float]:
    """One fault after the other, each on the node where the workload is. Seconds each takeover took."""
    async with sandbox(root) as box:
        with ExitStack() as stack:
            controller = await box.controller()
            cables = {name: stack.enter_context(proxy(controller.url)) for name in ("node-1", "node-2")}
            site = Site(box, controller, cables)
            for name, cable in cables.items():
                site.agents[name] = await box.node(name, controller, url=cable.url, lease_seconds=LEASE)
            witness = Witness(root)
            await box.deploy("one", witness.command(), replicas=1, template={"exclusive": True})
            takeovers = []
            for fault in faults:
                before = await box.until(lambda: site.runs_on(set(cables)), what="it runs")
                undo = await fault(site, before.spec.node_name)
                takeovers.append(await site.takes_over(before.spec.node_name, before))
                assert not witness.overlaps, f"{fault.__name__}: {witness.overlaps}"
                await undo()
                await site.comes_back(before.spec.node_name)
                assert not witness.overlaps, f"after {fault.__name__}: {witness.overlaps}"
            instances = {instance for _, instance, _ in witness.starts}
            assert len(witness.starts) == len(faults) + 1, f"one start for each takeover, not more: {witness.starts}"
            assert len(instances) >= 1
            return takeovers


@pytest.mark.slow
async def test_an_exclusive_workload_never_runs_twice(tmp_path: Path) -> None:
    takeovers = await rounds(tmp_path, FAULTS)

    assert max(takeovers) < TAKEOVER_SECONDS, takeovers


@pytest.mark.soak
@pytest.mark.timeout(7200)
async def test_an_exclusive_workload_never_runs_twice_in_200_faults(tmp_path: Path) -> None:
    await rounds(tmp_path, FAULTS * 50)


@pytest.mark.slow
async def test_the_witness_sees_two_copies_of_a_workload_that_is_not_exclusive(tmp_path: Path) -> None:
    """The same cut without `exclusive`: the old copy goes on, a new one starts, and the witness says so."""
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        with proxy(controller.url) as cable:
            await box.node("node-1", controller, url=cable.url, lease_seconds=LEASE)
            witness = Witness(tmp_path)
            await box.deploy("one", witness.command(), replicas=1)
            await box.until(lambda: box.available("one", 1))
            await box.node("node-2", controller, lease_seconds=LEASE)
            cable.cut()

            async def seen() -> bool:
                return len(witness.overlaps) == 1

            await box.until(seen, what="the second copy is seen")
