"""Runs of tasks under virtual time, with controllers that die at any moment: every run ends, once, within its limits."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from plum_client.client import ApiClient
from plum_client.manager import Manager
from plum_client.outgoing import OutgoingClient
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_controller.settings import Settings
from plum_controller.tasks import execution
from plum_flow.task_states import TRANSITIONS
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun

from tests.support.control_plane import ControlPlane

RUNS = 30
LIMIT = 2
CALM_SECONDS = 900.0
"""Virtual time in which everything must have ended, after the last fault."""


class World:
    """A control plane that executes tasks itself, and what a watcher saw of every run."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.dice = loop.random
        self.plane = ControlPlane(SimulatedClock(loop))
        self.execution: execution.TaskExecution | None = None
        self.phases: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
        self.busy: Counter[str] = Counter()
        self.broken: list[str] = []

    def begin(self) -> None:
        def add(manager: Manager) -> None:
            outgoing = OutgoingClient("*")
            self.execution = execution.add_to(manager, self.plane.settings, outgoing, random=self.dice)

        self.plane.start_controllers(add)

    async def kill(self) -> None:
        """As a process that ends at this moment: what it was doing is never told."""
        await self.plane.stop_controllers()
        if self.execution is not None:
            await self.execution.close()

    def see(self, run: TaskRun) -> None:
        """Every version of every run, in the order of the store."""
        name, status, seen = run.metadata.name, run.status, self.phases[run.metadata.name]
        now = (status.phase, status.attempt, status.fencing_token)
        if seen and seen[-1] == now:
            return
        if seen and seen[-1][0] != now[0] and (seen[-1][0], now[0]) not in TRANSITIONS:
            self.broken.append(f"{name}: {seen[-1]} -> {now}")
        if status.concurrency_key:
            held = seen and seen[-1][0] in ("Pending", "Running")
            holds = status.phase in ("Pending", "Running")
            self.busy[status.concurrency_key] += int(holds) - int(bool(held))
            if self.busy[status.concurrency_key] > LIMIT:
                self.broken.append(f"{self.busy[status.concurrency_key]} runs of {status.concurrency_key}")
        seen.append(now)

    async def watch(self, api: ApiClient) -> None:
        async for event in api.watch(TaskRun, "default"):
            if event.type != "DELETED":
                self.see(event.object)


def spec_of(world: World, number: int) -> dict[str, Any]:
    dice = world.dice
    execution_ = dice.choice(["AtLeastOnce", "AtMostOnce"])
    retry = {"limit": dice.randrange(4), "initial": "1s", "factor": 2, "jitter": 0.3}
    seconds = dice.choice([0, 0.5, 5, 60])
    choices: list[dict[str, Any]] = [
        {"taskRef": "builtin.echo", "payload": {"n": number}},
        {"taskRef": "builtin.delay", "payload": {"seconds": seconds}, "execution": execution_},
        {"taskRef": "builtin.delay", "payload": {"seconds": seconds}, "timeout": "10s", "retry": retry},
        {"taskRef": "builtin.fail", "payload": {"times": dice.randrange(5)}, "retry": retry, "execution": execution_},
        {"taskRef": "limited", "payload": {"seconds": seconds, "who": dice.choice("ab")}, "priority": dice.randrange(3)},
        {"taskRef": "later", "payload": {"seconds": seconds}},
    ]
    return dice.choice(choices)


async def define(api: ApiClient, name: str, **spec: Any) -> None:
    manifest = {"apiVersion": "plum.dev/v1", "kind": "TaskDefinition", "metadata": {"name": name, "namespace": "default"}}
    await api.create({**manifest, "spec": spec}, kind=TaskDefinition.info)


async def story(loop: SimulatedLoop) -> list[Any]:
    world = World(loop)
    dice = world.dice
    await world.plane.start()
    api = world.plane.client("test")
    watching = asyncio.create_task(world.watch(world.plane.client("watcher")))
    world.begin()
    delay = {"executor": "embedded", "task": "builtin.delay"}
    await define(api, "limited", **delay, concurrency={"key": "${{ payload.who }}", "limit": LIMIT})
    specs: dict[str, dict[str, Any]] = {}
    for number in range(RUNS):
        name = f"run-{number}"
        specs[name] = spec_of(world, number)
        manifest = {"apiVersion": "plum.dev/v1", "kind": "TaskRun", "metadata": {"name": name, "namespace": "default"}}
        made = await api.create({**manifest, "spec": specs[name]}, kind=TaskRun.info)
        if dice.random() < 0.15:
            await asyncio.sleep(dice.choice([0, 0.01, 3]))
            key = str(made["metadata"]["name"])
            await api.patch(TaskRun.info, key_of(key), {"spec": {"canceled": True}})
        if dice.random() < 0.2:
            await world.kill()
            await asyncio.sleep(dice.choice([0, 1, 30]))
            world.begin()
        await asyncio.sleep(dice.choice([0, 0.001, 0.5]))
    await define(api, "later", **delay)
    await until(lambda: ended(api, RUNS), CALM_SECONDS)
    runs = {run.metadata.name: run for run in await api.list(TaskRun, "default")}
    await asyncio.sleep(1)
    await world.kill()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await world.plane.close()

    assert world.broken == []
    for name, run in runs.items():
        status, spec = run.status, specs[name]
        numbers = [attempt.number for attempt in status.attempts]
        assert numbers == sorted(set(numbers)), (spec, status)
        assert [a.phase for a in status.attempts].count("Succeeded") == (status.phase == "Succeeded"), (spec, status)
        assert [seen[0] for seen in world.phases[name]][-1] == status.phase
        assert (status.phase == "Unknown") <= (spec.get("execution") == "AtMostOnce"), (spec, status)
        if not run.spec.canceled and spec["taskRef"] in ("builtin.echo", "limited", "later"):
            assert status.phase == "Succeeded", (spec, status)
    return sorted(world.phases.items())


async def crowded(loop: SimulatedLoop) -> None:
    """More runs end than are kept, while somebody else deletes some of them too."""
    kept, made = 10, 150
    plane = ControlPlane(SimulatedClock(loop), Settings(tasks_kept=kept))
    await plane.start()
    api = plane.client("test")
    plane.start_controllers(lambda manager: execution.add_to(manager, plane.settings, OutgoingClient("*"), random=loop.random))
    for number in range(made):
        manifest = {"apiVersion": "plum.dev/v1", "kind": "TaskRun", "metadata": {"name": f"run-{number}", "namespace": "default"}}
        await api.create({**manifest, "spec": {"taskRef": "builtin.echo"}}, kind=TaskRun.info)
        await asyncio.sleep(0.01)
        if number % 7 == 0:
            await api.delete(TaskRun, key_of(f"run-{number // 2}"))

    async def at_rest() -> bool:
        return len((await api.list(TaskRun, "default")).items) == kept

    await until(at_rest, 60)
    left = {run.metadata.name for run in await api.list(TaskRun, "default")}
    await plane.stop_controllers()
    await plane.close()
    assert left == {f"run-{number}" for number in range(made - kept, made)}


def test_the_newest_ended_runs_are_kept_and_no_others() -> None:
    run_simulated(crowded, seed=1)


def key_of(name: str) -> Any:
    from plum_schemas.base import ObjectKey

    return ObjectKey("default", name)


async def ended(api: ApiClient, count: int) -> bool:
    found = await api.list(TaskRun, "default")
    return len(found.items) == count and all(run.status.phase in TERMINAL_PHASES for run in found)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        assert asyncio.get_running_loop().time() < deadline, "not everything has ended"
        await asyncio.sleep(1)


@pytest.mark.parametrize("seed", range(2))
def test_every_run_ends_once_whatever_happens_to_the_controllers(seed: int) -> None:
    run_simulated(story, seed=seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 100 + int(os.environ.get("PLUM_SOAK_SEEDS", "300"))))
def test_every_run_ends_once_for_many_seeds(seed: int) -> None:
    run_simulated(story, seed=seed)
