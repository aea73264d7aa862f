"""The agent dies before and after every single thing it does, with real processes: the next one makes it whole.

Each point is tried in turn, as `tests/unit` does for controllers: start an instance with a crash at point k, go on with a
fresh agent on the same disk, and look at the world: one run, one process, or none when it was deleted.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plum_agent.agent import NodeAgent, Shared
from plum_agent.drivers.process import ProcessDriver
from plum_agent.drivers.procfs import boot_id
from plum_agent.lease import NodeLease
from plum_agent.node import read_facts
from plum_agent.output import OutputKeeper
from plum_agent.ports import PortBook
from plum_client.client import ApiClient
from plum_client.clock import SystemClock
from plum_client.fake import CrashError, FakeApi
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, InstanceSpec
from plum_schemas.template import Template

from tests.support.agent import NODE, kill, marked, until

pytestmark = pytest.mark.slow
KEY = ObjectKey("default", "web")
MAX_POINTS = 40


class Crasher:
    """Dies at the n-th point; each wrapped call has one before and one after."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.points = 0
        self.crashed = False

    def point(self) -> None:
        self.points += 1
        if self.points == self.at or self.crashed:
            self.crashed = True
            raise CrashError

    def wrap(self, owner: Any, name: str) -> None:
        call: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def wrapped(*arguments: Any, **named: Any) -> Any:
            self.point()
            result = await call(*arguments, **named)
            self.point()
            return result

        setattr(owner, name, wrapped)


@asynccontextmanager
async def agent_on(folder: Path, api: FakeApi, crasher: Crasher | None = None):  # type: ignore[no-untyped-def]
    """An agent in this process. A crash ends it like any error of a task does; nothing it started is touched."""
    clock, driver, keeper = SystemClock(), ProcessDriver(folder), OutputKeeper()
    client = ApiClient(api)
    shared = Shared(
        client, driver, clock, read_facts(boot_id(), "http://127.0.0.1:1", driver.runtimes), keeper, PortBook(True), None, None
    )
    agent = NodeAgent(NODE, folder / NODE, NodeLease(NODE, 15, clock, folder / NODE / "fence"), shared, workers=2)
    if crasher is not None:
        crasher.wrap(agent.ledger, "record")
        crasher.wrap(agent.ledger, "forget")
        for name in ("start", "find", "signal", "kill", "release"):
            crasher.wrap(driver, name)
        crasher.wrap(client, "patch")
    task = asyncio.create_task(agent.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        keeper.close()
        await driver.close()


def make_instance() -> Instance:
    template = Template(command=["sh", "-c", "echo up; sleep 1000 & exec sleep 1000"], termination_grace_period_seconds=5)
    metadata = ObjectMeta(name="web", namespace="default", uid="u-1", generation=1, finalizers=[INSTANCE_FINALIZER])
    return Instance(metadata=metadata, spec=InstanceSpec(node_name=NODE, template=template))


async def settle(task: asyncio.Task[None], done: Callable[[], bool], crasher: Crasher | None = None) -> bool:
    """Wait for the goal or for the crash, in whatever task it happens. True when it crashed."""
    deadline = time.monotonic() + 15
    while not done():
        if crasher is not None and crasher.crashed:
            return True
        assert not task.done(), task.exception()
        assert time.monotonic() < deadline, "neither the goal nor a crash"
        await asyncio.sleep(0.01)
    return False


def processes(folder: Path) -> dict[int, str]:
    identity = folder / NODE / "agent-id"
    return marked(identity.read_text().strip()) if identity.exists() else {}


def is_running(api: FakeApi) -> bool:
    instance = api.get(Instance, "web")
    return instance is not None and instance.status.phase == "Running"


@pytest.mark.timeout(300)
async def test_a_start_that_crashes_anywhere_ends_in_exactly_one_run(tmp_path: Path) -> None:
    crashes = 0
    for at in range(1, MAX_POINTS):
        folder, api = tmp_path / str(at), FakeApi(make_instance())
        crasher = Crasher(at)
        async with agent_on(folder, api, crasher) as task:
            crashed = await settle(task, lambda api=api: is_running(api), crasher)  # type: ignore[misc]
        try:
            async with agent_on(folder, api) as task:
                assert not await settle(task, lambda api=api: is_running(api))  # type: ignore[misc]
                await until(lambda folder=folder: len(processes(folder)) == 2)  # type: ignore[misc]
                await asyncio.sleep(0.1)
                instance = api.get(Instance, "web")
                assert instance is not None
                assert instance.status.restarts == 0, f"crash at point {at}"
                assert instance.status.pid in processes(folder)
                assert len(set(processes(folder).values())) == 1, f"two runs after a crash at point {at}"
        finally:
            for pid in processes(folder):
                kill(pid)
        crashes += crashed
        if not crashed:
            break
    assert crashes >= 5


@pytest.mark.timeout(300)
async def test_a_deletion_that_crashes_anywhere_leaves_nothing(tmp_path: Path) -> None:
    crashes = 0
    for at in range(1, MAX_POINTS):
        folder, api = tmp_path / str(at), FakeApi(make_instance())
        async with agent_on(folder, api) as task:
            assert not await settle(task, lambda api=api: is_running(api))  # type: ignore[misc]
        await ApiClient(api).delete(Instance, KEY)
        crasher = Crasher(at)
        try:
            async with agent_on(folder, api, crasher) as task:
                crashed = await settle(task, lambda api=api: api.get(Instance, "web") is None, crasher)  # type: ignore[misc]
            async with agent_on(folder, api) as task:
                assert not await settle(task, lambda api=api: api.get(Instance, "web") is None)  # type: ignore[misc]
                await until(lambda folder=folder: not processes(folder))  # type: ignore[misc]
                await until(lambda folder=folder: not (folder / NODE / "default_web").exists())  # type: ignore[misc]
        finally:
            for pid in processes(folder):
                kill(pid)
        crashes += crashed
        if not crashed:
            break
    assert crashes >= 5
