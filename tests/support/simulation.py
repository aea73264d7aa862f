"""A fleet under virtual time: the real control plane in memory and simulated nodes, with the faults a seed brings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from plum_client.client import ApiClient
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_schemas.base import ObjectMeta
from plum_schemas.deployment import Deployment, DeploymentSpec
from plum_schemas.instance import Instance

from tests.support.control_plane import ControlPlane
from tests.support.simulated_nodes import Copy, SimulatedNodes


class SimulatedFleet:
    """A control plane and its nodes. `exclusive_overlap` collects every moment at which two exclusive copies ran."""

    def __init__(self, loop: SimulatedLoop, nodes: int, lease_seconds: int = 15) -> None:
        self.clock = SimulatedClock(loop)
        self.plane = ControlPlane(self.clock)
        self.random: Random = loop.random
        self.names = [f"node-{number:04}" for number in range(nodes)]
        self.lease_seconds = lease_seconds
        self.exclusive_overlap: list[str] = []
        self._heartbeat: asyncio.Task[None] | None = None

    async def __aenter__(self) -> SimulatedFleet:
        await self.plane.start()
        self.api: ApiClient = self.plane.client("test")
        self.nodes = SimulatedNodes(self.plane.client("agents"), self.clock, self.names, self.lease_seconds)
        self.nodes.on_start = self._check_exclusive
        await self.nodes.register()
        self._heartbeat = asyncio.create_task(self.nodes.heartbeat())
        self.plane.start_controllers(self.nodes.add_to)
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            await asyncio.gather(self._heartbeat, return_exceptions=True)
        await self.plane.close()

    def _check_exclusive(self, started: Copy) -> None:
        if not started.exclusive:
            return
        others = [
            c
            for node in self.nodes.nodes.values()
            for c in node.running.values()
            if c.owner == started.owner and c is not started
        ]
        self.exclusive_overlap += [f"{started.key} while {other.key} runs, at {self.clock.monotonic()}" for other in others]

    async def restart_controllers(self, away_seconds: float = 0.0) -> None:
        """Kill the controllers, and start them again after some virtual time."""
        await self.plane.stop_controllers()
        await asyncio.sleep(away_seconds)
        self.plane.start_controllers(self.nodes.add_to)

    async def deploy(self, name: str, replicas: int, template: dict[str, object] | None = None, **spec: object) -> Deployment:
        """Apply a Deployment."""
        import msgspec

        body = {"replicas": replicas, "template": {"command": ["run", "v1"], **(template or {})}, **spec}
        typed = msgspec.convert(body, DeploymentSpec)
        return await self.api.apply(Deployment(metadata=ObjectMeta(name=name, namespace="default"), spec=typed), force=True)

    async def until(self, condition: Callable[[], Awaitable[bool]], seconds: float = 600.0) -> float:
        """Wait in virtual time; seconds it took. Raises AssertionError."""
        started = self.clock.monotonic()
        while not await condition():
            assert self.clock.monotonic() - started < seconds, f"not reached within {seconds} virtual seconds"
            await asyncio.sleep(0.5)
        return self.clock.monotonic() - started

    async def available(self, name: str, count: int) -> bool:
        """Whether the Deployment says that so many are available and its rollout is complete."""
        deployment = await self.api.get(Deployment, name, "default")
        assert deployment is not None
        status = deployment.status
        current = status.observed_generation == deployment.metadata.generation
        return current and status.available_replicas == count and status.updated_replicas == count == status.replicas

    async def instances(self, name: str) -> list[Instance]:
        """All instances of a Deployment."""
        return list(await self.api.list(Instance, "default", labels=f"plum.dev/deployment={name}"))

    @property
    def running(self) -> int:
        """Copies that run, wherever."""
        return sum(len(node.running) for node in self.nodes.nodes.values())


def simulate(scenario: Callable[[SimulatedFleet], Awaitable[None]], *, seed: int, nodes: int, lease_seconds: int = 15) -> None:
    """Run one scenario; a failure names its seed."""

    async def main(loop: SimulatedLoop) -> None:
        async with SimulatedFleet(loop, nodes, lease_seconds) as fleet:
            await scenario(fleet)
            assert not fleet.exclusive_overlap, fleet.exclusive_overlap[:3]

    try:
        run_simulated(main, seed)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error
