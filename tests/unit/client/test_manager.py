"""Controllers under a manager: what sets off a reconcile, what an error does, and what a reconcile can rely on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import pytest
from msgspec.structs import replace
from plum_client.client import ApiClient
from plum_client.conditions import find_condition
from plum_client.controller import Controller, Watch
from plum_client.errors import TerminalError, TooManyRequestsError
from plum_client.fake import CrashError, FakeApi
from plum_client.leader import LeaderElection
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated, settle
from plum_client.testing import NotConvergedError, converge
from plum_schemas.base import ObjectKey, OwnerReference
from plum_schemas.core import ConfigMap
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance

from tests.support.api import make_deployment, make_instance, make_settings

WEB = ObjectKey("default", "web")


def owned_instance(owner: Deployment, name: str = "") -> Instance:
    reference = OwnerReference(
        api_version=owner.api_version, kind=owner.kind, name=owner.metadata.name, uid=owner.metadata.uid, controller=True
    )
    instance = make_instance(name, owner_references=[reference])
    return instance if name else replace(instance, metadata=replace(instance.metadata, generate_name="web-"))


def owner_name(instance: Instance) -> list[str]:
    return [reference.name for reference in instance.metadata.owner_references]


class Copies:
    """Creates missing instances under random names: a second reconcile on an old cache would create too many."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._deployments = manager.informer(Deployment)
        self._instances = manager.informer(Instance, indexers={"owner": owner_name})
        manager.add(Controller("copies", self, Deployment, owns=[Instance], workers=3))

    async def reconcile(self, key: ObjectKey) -> Result:
        deployment = self._deployments.get(key)
        if deployment is None:
            return Result.wait_for_change()
        have = len(self._instances.by_index("owner", key.name))
        for _ in range((deployment.spec.replicas or 0) - have):
            await self._api.create(owned_instance(deployment))
        if deployment.status.replicas != have:
            await self._api.write_status(replace(deployment, status=replace(deployment.status, replicas=have)))
        return Result.wait_for_change()


class NamedCopies(Copies):
    """Creates missing instances under names that follow from the owner, as controllers should."""

    async def reconcile(self, key: ObjectKey) -> Result:
        deployment = self._deployments.get(key)
        if deployment is None:
            return Result.wait_for_change()
        have = {instance.metadata.name for instance in self._instances.by_index("owner", key.name)}
        missing = [name for name in (f"web-{slot}" for slot in range(deployment.spec.replicas or 0)) if name not in have]
        await asyncio.gather(*(self._api.create(owned_instance(deployment, name)) for name in missing))
        ready = len(self._instances.by_index("owner", key.name))
        if deployment.status.replicas != ready:
            await self._api.write_status(replace(deployment, status=replace(deployment.status, replicas=ready)))
        return Result.wait_for_change()


class Calls:
    """Notes the keys it is called with and does what the test says."""

    def __init__(self, act: Callable[[ObjectKey], Awaitable[Result | None]] | None = None) -> None:
        self.keys: list[str] = []
        self.times: list[float] = []
        self._act = act

    async def reconcile(self, key: ObjectKey) -> Result:
        self.keys.append(str(key))
        self.times.append(asyncio.get_running_loop().time())
        return (await self._act(key) if self._act else None) or Result.wait_for_change()


def simulate(
    body: Callable[[FakeApi, Manager], Awaitable[None]], *objects: object, add: Callable[[Manager], object], seed: int = 0
) -> Manager:
    """Run a manager and the body of a test under virtual time."""

    async def main(loop: SimulatedLoop) -> Manager:
        clock = SimulatedClock(loop)
        fake = FakeApi(*objects, clock=clock, seed=seed)  # type: ignore[arg-type]
        manager = Manager(fake.client(), clock, random=loop.random)
        add(manager)
        running = asyncio.create_task(manager.run())
        try:
            await body(fake, manager)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return manager

    return run_simulated(main, seed)


# ---- what a reconcile can rely on


@pytest.mark.parametrize("seed", range(5))
def test_a_reconcile_sees_what_the_last_one_of_its_key_wrote(seed: int) -> None:
    async def body(fake: FakeApi, manager: Manager) -> None:
        fake.faults.watch_latency = (0.0, 2.0)
        await manager.wait_synced()
        other = fake.client()
        for replicas in (3, 5, 9):
            await other.scale(Deployment, WEB, replicas)
            for number in range(10):
                await other.patch(Deployment, WEB, {"metadata": {"labels": {"n": f"{replicas}-{number}"}}})
                await asyncio.sleep(0.1)
        await asyncio.sleep(60)
        await manager.idle()

        assert len(fake.keys(Instance)) == 9

    simulate(body, make_deployment(replicas=1), add=Copies, seed=seed)


@pytest.mark.parametrize("seed", range(5))
def test_no_worker_starts_before_all_caches_are_filled(seed: int) -> None:
    async def body(fake: FakeApi, manager: Manager) -> None:
        fake.faults.latency = (0.1, 3.0)
        await manager.wait_synced()
        await manager.idle()

        assert len(fake.keys(Instance)) == 2

    deployment = make_deployment(replicas=2, uid="u")
    simulate(body, deployment, [owned_instance(deployment, name) for name in ("a", "b")], add=Copies, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_it_arrives_over_an_unreliable_way(seed: int) -> None:
    async def body(fake: FakeApi, manager: Manager) -> None:
        faults = fake.faults
        faults.latency, faults.watch_latency = (0.0, 0.3), (0.0, 1.0)
        faults.refuse = faults.lose_answer = faults.conflict = faults.cut_watch = 0.2
        await asyncio.sleep(600)
        faults.refuse = faults.lose_answer = faults.conflict = faults.cut_watch = 0.0
        await asyncio.sleep(120)
        await manager.idle()

        assert [key.name for key in fake.keys(Instance)] == [f"web-{slot}" for slot in range(6)]
        deployment = fake.get(Deployment, "web")
        assert deployment is not None
        assert deployment.status.replicas == 6

    simulate(body, make_deployment(replicas=6), add=NamedCopies, seed=seed)


async def test_it_converges_from_a_crash_after_every_write() -> None:
    clean = FakeApi(make_deployment(replicas=4))
    await converge(clean, NamedCopies)
    assert clean.writes >= 5

    for crash_after in range(1, clean.writes + 1):
        api = FakeApi(make_deployment(replicas=4))
        api.crash_after = crash_after
        with pytest.raises(CrashError):
            await converge(api, NamedCopies)
        assert api.writes == crash_after, "a dead process wrote"
        await converge(api, NamedCopies)

        assert [key.name for key in api.keys(Instance)] == ["web-0", "web-1", "web-2", "web-3"]


async def test_a_controller_that_never_rests_is_found_out() -> None:
    def add(manager: Manager) -> None:
        async def act(key: ObjectKey) -> None:
            await manager.api.patch(Deployment, key, {"metadata": {"labels": {"n": str(manager.api.last_revision)}}})

        manager.add(Controller("restless", Calls(act), Deployment))  # type: ignore[arg-type]

    with pytest.raises(NotConvergedError):
        await converge(FakeApi(make_deployment()), add, timeout=1.0)


# ---- what sets off a reconcile


def test_changes_of_the_kind_of_what_it_owns_and_of_what_it_watches() -> None:
    calls = Calls()

    def add(manager: Manager) -> None:
        def to_keys(old: ConfigMap | None, new: ConfigMap | None) -> Iterable[ObjectKey]:
            return [ObjectKey("default", (new or old).data["for"])]  # type: ignore[union-attr]

        watch = Watch(ConfigMap, to_keys, labels="settings")
        manager.add(Controller("calls", calls, Deployment, owns=[Instance], watches=[watch]))

    async def body(fake: FakeApi, manager: Manager) -> None:
        api = fake.client()

        async def calls_of(write: Awaitable[object]) -> list[str]:
            calls.keys.clear()
            await write
            await settle()
            return calls.keys[:]

        await settle()
        web = fake.get(Deployment, "web")
        assert web is not None
        assert await calls_of(api.create(owned_instance(web, "a"))) == ["default/web"]
        assert await calls_of(api.patch(Instance, "a", {"metadata": {"ownerReferences": None}})) == ["default/web"]
        assert await calls_of(api.create(make_instance("stranger"))) == []
        loose = owned_instance(web, "loose")
        loose.metadata.owner_references[0].controller = None
        assert await calls_of(api.create(loose)) == []
        assert await calls_of(api.create(make_settings("s", {"settings": "yes"}, **{"for": "db"}))) == ["default/db"]
        assert await calls_of(api.create(make_settings("t", **{"for": "db"}))) == []
        assert await calls_of(api.delete(ConfigMap, "s")) == ["default/db"]
        assert await calls_of(api.delete(Deployment, "web")) == ["default/web"]

    simulate(body, make_deployment(), add=add)


def test_requeue_and_resync_follow_the_clock() -> None:
    async def act(key: ObjectKey) -> Result | None:
        return Result.requeue(after=30) if len(requeued.keys) < 3 else None

    requeued, resynced = Calls(act), Calls()

    def add(manager: Manager) -> None:
        manager.add(Controller("requeued", requeued, Deployment))
        manager.add(Controller("resynced", resynced, Deployment, resync_seconds=50))

    async def body(fake: FakeApi, manager: Manager) -> None:
        await asyncio.sleep(120)

    simulate(body, make_deployment(), add=add)
    assert requeued.times == pytest.approx([0, 30, 60], abs=0.1)
    assert resynced.times == pytest.approx([0, 50, 100], abs=0.1)


# ---- what an error does


def test_a_terminal_error_is_reported_once_and_not_retried() -> None:
    async def act(key: ObjectKey) -> None:
        raise TerminalError("spec.command names no program", "NoProgram")

    calls = Calls(act)  # type: ignore[arg-type]

    async def body(fake: FakeApi, manager: Manager) -> None:
        await asyncio.sleep(300)
        web = fake.get(Deployment, "web")
        assert web is not None
        condition = find_condition(web.status.conditions, "Available")
        assert condition is not None
        assert (condition.status, condition.reason) == ("False", "NoProgram")
        assert condition.message == "spec.command names no program"
        assert condition.observed_generation == 1
        assert len(calls.keys) == 2, "once, and once more for the change of its own status"

        await fake.client().scale(Deployment, WEB, 9)
        await settle()
        assert len(calls.keys) > 2

    simulate(body, make_deployment(), add=lambda manager: manager.add(Controller("c", calls, Deployment, condition="Available")))


def test_a_server_that_is_busy_is_given_the_time_it_asked_for() -> None:
    async def act(key: ObjectKey) -> None:
        if len(calls.keys) == 1:
            raise TooManyRequestsError("slow down", {"details": {"retryAfterSeconds": 7}})

    calls = Calls(act)  # type: ignore[arg-type]

    async def body(fake: FakeApi, manager: Manager) -> None:
        await asyncio.sleep(60)

    simulate(body, make_deployment(), add=lambda manager: manager.add(Controller("c", calls, Deployment)))
    assert calls.times == pytest.approx([0, 7], abs=0.1)


def test_a_field_of_another_manager_is_a_warning_and_no_busy_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def act(key: ObjectKey) -> None:
        await clients[0].apply(make_settings("s", x="mine"), field_manager="controller")

    calls = Calls(act)  # type: ignore[arg-type]
    clients: list[ApiClient] = []

    async def body(fake: FakeApi, manager: Manager) -> None:
        clients.append(fake.client())
        await clients[0].apply(make_settings("s", x="yours"), field_manager="somebody")
        await asyncio.sleep(600)

    simulate(body, make_deployment(), add=lambda manager: manager.add(Controller("c", calls, Deployment)))
    assert 10 <= len(calls.keys) <= 40
    assert "another manager owns" in caplog.text


def test_a_bug_is_logged_and_retried_with_growing_waits(caplog: pytest.LogCaptureFixture) -> None:
    async def act(key: ObjectKey) -> None:
        raise ZeroDivisionError("bug")

    calls = Calls(act)  # type: ignore[arg-type]

    async def body(fake: FakeApi, manager: Manager) -> None:
        await asyncio.sleep(600)
        assert manager.controllers[0].errors == len(calls.keys)

    with caplog.at_level(logging.ERROR):
        simulate(body, make_deployment(), add=lambda manager: manager.add(Controller("c", calls, Deployment)))
    waits = [later - earlier for earlier, later in zip(calls.times, calls.times[1:], strict=False)]
    assert waits[0] < 0.05
    assert 45 <= max(waits) <= 60
    assert 15 <= len(calls.keys) <= 40
    assert "ZeroDivisionError" in caplog.text


def test_one_bad_object_does_not_hold_up_the_others() -> None:
    async def act(key: ObjectKey) -> None:
        if key.name == "bad":
            raise ZeroDivisionError

    calls = Calls(act)  # type: ignore[arg-type]

    async def body(fake: FakeApi, manager: Manager) -> None:
        await settle()
        for number in range(20):
            await fake.client().patch(Deployment, "good", {"metadata": {"labels": {"n": str(number)}}})
            await settle()
        assert calls.keys.count("default/good") == 21

    logging.disable(logging.ERROR)
    try:
        objects = [make_deployment("bad"), make_deployment("good")]
        simulate(body, objects, add=lambda manager: manager.add(Controller("c", calls, Deployment, workers=1)))
    finally:
        logging.disable(logging.NOTSET)


# ---- several managers


def test_of_two_managers_only_the_leader_works_and_the_other_takes_over() -> None:
    async def main(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop)
        fake = FakeApi(make_deployment(), clock=clock)
        calls = {name: Calls() for name in ("one", "two")}
        tasks = {}
        for name, reconciler in calls.items():
            api = ApiClient(fake, name)
            election = LeaderElection(api, "plum", name, clock=clock, random=loop.random)
            manager = Manager(api, clock, election)
            manager.add(Controller("c", reconciler, Deployment))
            tasks[name] = asyncio.create_task(manager.run())
            await settle()
        await asyncio.sleep(30)
        assert (len(calls["one"].keys), len(calls["two"].keys)) == (1, 0)

        tasks["one"].cancel()
        await asyncio.sleep(30)
        assert calls["two"].keys == ["default/web"]
        tasks["two"].cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)

    run_simulated(main)


def test_informers_are_shared() -> None:
    fake = FakeApi()
    manager = Manager(fake.client())

    assert manager.informer(Deployment) is manager.informer(Deployment)
    assert manager.informer(Deployment) is not manager.informer(Deployment, labels="a=b")
    assert manager.informer(ConfigMap, "one") is not manager.informer(ConfigMap, "two")
    assert manager.informer(Instance, indexers={"owner": owner_name}) is manager.informer(Instance)
