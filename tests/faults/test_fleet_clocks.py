"""Wall clocks jump by an hour, forwards and backwards: leases are kept by monotonic clocks, so nothing happens."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from plum_client.clock import Clock
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_schemas.base import ObjectMeta
from plum_schemas.deployment import Deployment, DeploymentSpec
from plum_schemas.node import HOSTNAME_LABEL, Node
from plum_schemas.template import Template

from tests.support.clocks import compiler, make_clock
from tests.support.control_plane import ControlPlane
from tests.support.programs import sandbox
from tests.support.simulated_nodes import SimulatedNodes
from tests.support.undisturbed import assert_undisturbed, fleet_at_rest, revision_now

HOUR = 3600
LEASE = 2
ON_NODE_1 = {HOSTNAME_LABEL: "node-1"}


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="moving the clock of a real program needs a C compiler; the test below needs none")
async def test_clock_jumps_of_controller_and_agents_change_nothing(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        ours, theirs = make_clock(tmp_path, "controller"), make_clock(tmp_path, "agent")
        controller = await box.controller(env=ours.environment)
        # Exclusive, because only such an instance would be stopped by a lease that seems to have run out.
        before = await fleet_at_rest(box, controller, LEASE, env={"node-1": theirs.environment}, exclusive=True)
        since = await revision_now(box)

        for controller_jump, agent_jump in ((HOUR, 0), (-HOUR, HOUR), (0, -HOUR)):
            ours.shift(controller_jump)
            theirs.shift(agent_jump)
            await asyncio.sleep(LEASE + 1.5)  # a false judgement would come within this time
        await assert_undisturbed(box, since, before)

        for name, jump in (("ahead", HOUR), ("behind", -HOUR)):
            theirs.shift(jump)
            strategy = {"minReadySeconds": 1, "progressDeadlineSeconds": 10}
            await box.deploy(name, ["sleep", "1000"], replicas=2, strategy=strategy, template={"nodeSelector": ON_NODE_1})
            await box.until(lambda name=name: box.available(name, 2), 30, what=f"new work on a node whose clock is {name}")  # type: ignore[misc]


class JumpingClock:
    """Virtual time whose wall clock a test moves."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.shift_seconds = 0.0

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self.shift_seconds)

    def monotonic(self) -> float:
        return self._clock.monotonic()


def test_a_jump_of_the_wall_clock_does_not_disturb_the_control_plane() -> None:
    """The same without real programs, where an hour of leases costs nothing."""

    async def main(loop: SimulatedLoop) -> None:
        clock = JumpingClock(SimulatedClock(loop))
        plane = ControlPlane(clock)
        await plane.start()
        nodes = SimulatedNodes(plane.client("agents"), SimulatedClock(loop), ["node-1", "node-2", "node-3"], 15)
        await nodes.register()
        heartbeat = asyncio.create_task(nodes.heartbeat())
        plane.start_controllers(nodes.add_to)
        try:
            spec = DeploymentSpec(replicas=9, template=Template(command=["run"]))
            api = plane.client("test")
            await api.create(Deployment(metadata=ObjectMeta(name="web", namespace="default"), spec=spec))
            await asyncio.sleep(60)
            assert len(nodes.started) == 9
            for jump in (HOUR, -HOUR, 24 * HOUR, 0):
                clock.shift_seconds = jump
                await asyncio.sleep(300)
                for node in await api.list(Node):
                    ready = next(c for c in node.status.conditions if c.type == "Ready")
                    assert ready.status == "True", f"after a jump to {jump} s: {ready}"
            assert len(nodes.started) == 9, "nothing was started again"
        finally:
            heartbeat.cancel()
            await plane.close()

    run_simulated(main, 1)
