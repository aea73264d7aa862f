"""The gateway over a store that refuses writes for a while: nothing is lost, and nothing is told before it is written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from plum_client.clock import SystemClock
from plum_controller.rpc.gateway import Gateway
from plum_controller.rpc.sessions import Hello, Lease, Session, Timing
from plum_controller.store.base import Revision, Transaction
from plum_controller.store.errors import StoreError, StoreFullError, StoreUnavailableError
from plum_controller.store.memory import MemoryStore
from plum_flow import task_states
from plum_flow.task_states import Outcome
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun, TaskRunSpec

from tests.support.control_plane import ControlPlane


class Refusing(MemoryStore):
    """Takes no writes while `error` is set."""

    error: StoreError | None = None

    async def commit(self, transaction: Transaction) -> Revision:
        if self.error is not None:
            raise self.error
        return await super().commit(transaction)


class Heard:
    """A worker at the other end of a link: what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def assign(self, lease: Lease, run: TaskRun) -> None:
        self.told.append(("assign", lease))

    def cancel(self, lease: Lease, reason: str, grace_seconds: float) -> None:
        self.told.append(("cancel", lease))

    def renewed(self, held: Sequence[Lease], lost: Sequence[tuple[str, int]]) -> None:
        self.told.append(("renewed", list(held), list(lost)))

    def recorded(self, uid: str, fencing_token: int, accepted: bool, message: str) -> None:
        self.told.append(("recorded", accepted))

    def go_away(self, reason: str, reconnect_seconds: float) -> None:
        self.told.append(("go away",))

    def close(self, reason: str, *, unauthenticated: bool = False) -> None:
        self.told.append(("close",))


class Site:
    """A control plane in memory without controllers, and a gateway."""

    def __init__(self) -> None:
        self.plane = ControlPlane(SystemClock())
        self.store = Refusing()
        self.plane.store = self.store

    async def start(self) -> None:
        await self.plane.start()
        self.api = self.plane.client("test")
        self.gateway = Gateway(self.plane.service, Timing(5))
        await self.gateway.start()

    async def worker(self, link: Heard, **more: Any) -> Session:
        hello = Hello(ObjectKey("default", "w1"), ("t",), 1, {}, "grpc", **more)
        session = (await self.gateway.register(hello, link)).session
        self.gateway.activate(session)
        return session

    async def pending(self, name: str) -> TaskRun:
        task = TaskDefinitionSpec(task="t")
        run = await self.api.create(TaskRun(metadata=ObjectMeta(name=name, namespace="default"), spec=TaskRunSpec(task=task)))
        status = task_states.admit(run.status, task, run.metadata.uid, datetime.now(UTC))
        return await self.api.write_status(msgspec.structs.replace(run, status=status))

    async def phase(self, run: TaskRun) -> str:
        found = await self.api.get(TaskRun, run.key)
        return found.status.phase if found is not None else "gone"

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    await made.start()
    yield made
    await made.gateway.stop()
    await made.plane.close()


@pytest.mark.parametrize("error", [StoreFullError("full"), StoreUnavailableError("away")], ids=["full", "away"])
async def test_a_result_waits_for_a_store_that_takes_no_writes(site: Site, error: StoreError) -> None:
    link = Heard()
    session = await site.worker(link)
    run = await site.pending("r")
    await site.until(lambda: session.leases)
    (lease,) = session.leases.values()

    site.store.error = error
    site.gateway.leases.result(session, lease.uid, lease.fencing_token, Outcome("Succeeded", output=7))
    await asyncio.sleep(0.3)
    assert ("recorded", True) not in link.told
    assert session.leases
    site.store.error = None
    await site.until(lambda: ("recorded", True) in link.told)

    found = await site.api.get(TaskRun, run.key)
    assert found is not None
    assert (found.status.phase, found.status.output, session.leases) == ("Succeeded", 7, {})


async def test_a_run_is_given_to_nobody_before_it_is_written(site: Site) -> None:
    link = Heard()
    session = await site.worker(link)
    session.resting_until = float("inf")
    site.gateway._changed(session)
    run = await site.pending("r")
    site.store.error = StoreUnavailableError("away")
    session.resting_until = 0.0
    site.gateway._changed(session)
    await asyncio.sleep(0.2)

    assert not [one for one in link.told if one[0] == "assign"]
    assert await site.phase(run) == "Pending"
    site.store.error = None
    await site.until(lambda: [one for one in link.told if one[0] == "assign"])
    assert await site.phase(run) == "Running"


async def test_a_gateway_that_begins_again_knows_who_holds_what(site: Site) -> None:
    session = await site.worker(Heard())
    run = await site.pending("r")
    await site.until(lambda: session.leases)
    (lease,) = session.leases.values()
    await site.gateway.stop()

    site.gateway = Gateway(site.plane.service, Timing(5))
    await site.gateway.start()
    link = Heard()
    held = ((lease.uid, lease.fencing_token, True), ("unknown", 1, True))
    hello = Hello(session.key, ("t",), 1, {}, "grpc", session_id=session.id, held=held)
    welcome = await site.gateway.register(hello, link)
    site.gateway.activate(welcome.session)

    assert welcome.session.id == session.id
    assert [one.uid for one in welcome.resumed] == [lease.uid]
    assert welcome.lost == [("unknown", 1)]
    site.gateway.leases.result(welcome.session, lease.uid, lease.fencing_token, Outcome("Succeeded"))
    await site.until(lambda: ("recorded", True) in link.told)
    assert await site.phase(run) == "Succeeded"


async def test_heartbeats_write_nothing(site: Site) -> None:
    link = Heard()
    session = await site.worker(link)
    await site.pending("r")
    await site.until(lambda: session.leases)
    await asyncio.sleep(0.1)
    before = site.store.revision

    for _ in range(100):
        site.gateway.heard(session)
        site.gateway.leases.heartbeat(session, [(lease.uid, lease.fencing_token) for lease in session.leases.values()])
        await asyncio.sleep(0)

    assert site.store.revision == before
    assert len([one for one in link.told if one[0] == "renewed"]) == 100
