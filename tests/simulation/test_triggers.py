"""Triggers in a whole control plane under virtual time: days with clock changes pass in seconds, controllers die in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from plum_client.client import ApiClient
from plum_client.conditions import find_condition
from plum_client.manager import Manager
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_controller.controllers import trigger
from plum_controller.domain.cron import parse
from plum_controller.domain.trigger_events import DATA_ANNOTATION
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.core import ConfigMap, Event, ObjectReference
from plum_schemas.kv import KV, KVSpec
from plum_schemas.trigger import Trigger
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from tests.support.control_plane import ControlPlane

HOUR = 3600.0


class JumpingClock:
    """A simulated clock that somebody sets."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime) -> None:
        self._inner = SimulatedClock(loop, start)
        self.offset = timedelta(0)

    def now(self) -> datetime:
        return self._inner.now() + self.offset

    def monotonic(self) -> float:
        return self._inner.monotonic()


class Site:
    """A control plane with a workflow `work` and the trigger controller alone."""

    def __init__(self, loop: SimulatedLoop, start: datetime) -> None:
        self.loop = loop
        self.clock = JumpingClock(loop, start)
        self.plane = ControlPlane(self.clock)
        self.api: ApiClient
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.plane.start()
        self.api = self.plane.client("test")
        params = [{"name": "at", "default": ""}, {"name": "type", "default": ""}, {"name": "level", "default": ""}]
        percent = {"name": "percent", "type": "integer", "default": 0}
        nodes = [{"name": "a", "taskRef": "builtin.echo"}]
        await self.apply("Workflow", "work", {"nodes": nodes, "params": [*params, percent]})
        self.resume()

    def resume(self) -> None:
        """A new controller: it knows what the store knows."""
        manager = Manager(self.plane.client("plum-controller"), self.clock, random=self.loop.random)
        trigger.add_to(manager)
        self._running = asyncio.create_task(manager.run())

    async def kill(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def apply(self, kind: str, name: str, spec: dict[str, Any]) -> None:
        types: dict[str, Any] = {"Workflow": Workflow, "Trigger": Trigger}
        body = {"apiVersion": "plum.dev/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        await self.api.apply(body, kind=types[kind].info)

    async def trigger(self, name: str, **spec: Any) -> None:
        await self.apply("Trigger", name, {"workflowRef": "work", **spec})

    async def get(self, name: str) -> Trigger:
        found = await self.api.get(Trigger, name, "default")
        assert found is not None
        return found

    async def runs(self) -> list[WorkflowRun]:
        return sorted(await self.api.list(WorkflowRun, "default"), key=lambda run: run.metadata.name)

    async def times(self) -> list[datetime]:
        return sorted(run.spec.scheduled_for for run in await self.runs() if run.spec.scheduled_for is not None)

    async def end(self, run: WorkflowRun, phase: str = "Succeeded") -> None:
        found = await self.api.get(WorkflowRun, run.metadata.name, "default")
        assert found is not None
        status = msgspec.structs.replace(found.status, phase=phase)  # type: ignore[arg-type]
        await self.api.write_status(msgspec.structs.replace(found, status=status))

    async def close(self) -> None:
        await self.kill()
        await self.plane.close()


def simulate(start: datetime, main: Callable[[Site], Awaitable[None]], seed: int = 0) -> None:
    async def run(loop: SimulatedLoop) -> None:
        site = Site(loop, start)
        await site.start()
        try:
            await main(site)
        finally:
            await site.close()

    run_simulated(run, seed=seed)


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 10, 31, 12, tzinfo=UTC)),
        ("Australia/Lord_Howe", datetime(2026, 4, 4, 0, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("seed", range(2))
def test_every_time_has_one_run_across_clock_changes_and_deaths_of_the_controller(zone: str, day: datetime, seed: int) -> None:
    schedules = ["30 1 * * *", "30 2 * * *", "*/30 * * * *", "0 1-3 * * *"]

    async def main(site: Site) -> None:
        for number, schedule in enumerate(schedules):
            cron = {"schedule": schedule, "timezone": zone, "catchUp": "All", "maxCatchUp": 500}
            cron["jitter"] = "20s" if number % 2 else "0s"
            await site.trigger(f"t{number}", cron=cron)
        end = day + timedelta(hours=30)
        while site.clock.now() < end:
            await asyncio.sleep(site.loop.random.uniform(1, 3 * HOUR))
            await site.kill()
            await asyncio.sleep(site.loop.random.choice([0.0, 0.1, 40.0, 2 * HOUR]))
            site.resume()
        await asyncio.sleep(HOUR)

        now = site.clock.now()
        runs = await site.runs()
        for number, schedule in enumerate(schedules):
            wanted = parse(schedule, zone).between(day, now - timedelta(seconds=21), 1000)
            found = [r.spec.scheduled_for for r in runs if r.spec.triggered_by == f"trigger/t{number}"]
            assert [time for time in sorted(filter(None, found)) if time <= now - timedelta(seconds=21)] == wanted
            status = (await site.get(f"t{number}")).status
            assert status.fired == len(found)
            assert status.missed == 0
            local = [time.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for time in wanted]
            if "*" not in schedule.split()[1]:
                assert len(local) == len(set(local)), "a time of the day comes once, also when its hour comes twice"

    simulate(day, main, seed)


def test_what_is_shown_of_a_trigger() -> None:
    async def main(site: Site) -> None:
        await site.trigger(
            "nightly", cron={"schedule": "30 2 * * *", "timezone": "Europe/Berlin"}, params={"at": "${{ event.scheduledTime }}"}
        )
        await asyncio.sleep(1)
        before = (await site.get("nightly")).status
        assert [str(time.astimezone(ZoneInfo("Europe/Berlin")))[5:16] for time in before.next_times] == [
            "03-29 03:00", "03-30 02:30", "03-31 02:30", "04-01 02:30", "04-02 02:30",
        ]  # fmt: skip
        assert (before.fired, before.last_fired_at) == (0, None)

        await asyncio.sleep(24 * HOUR)
        after = (await site.get("nightly")).status
        (run,) = await site.runs()
        assert run.metadata.name == "nightly-20260329-0100" == after.last_run
        assert run.spec.params == {"at": "2026-03-29T01:00:00Z"}
        assert run.metadata.annotations["plum.dev/trigger-source"] == "cron"
        (firing,) = after.firings
        assert (firing.result, firing.run, firing.source) == ("Started", run.metadata.name, "cron")
        assert after.next_times[0] == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)

    simulate(datetime(2026, 3, 28, 12, tzinfo=UTC), main)


def test_a_clock_set_forward_a_year_and_back_again() -> None:
    start = datetime(2026, 6, 1, 11, 59, 30, tzinfo=UTC)

    async def main(site: Site) -> None:
        await site.trigger("hourly", cron={"schedule": "@hourly", "catchUp": "Last"})
        await asyncio.sleep(60)
        assert len(await site.runs()) == 1

        site.clock.offset = timedelta(days=365)
        await asyncio.sleep(60)
        assert await site.times() == [datetime(2026, 6, 1, 12, tzinfo=UTC), datetime(2027, 6, 1, 12, tzinfo=UTC)]
        assert (await site.get("hourly")).status.missed == 1000, "counted up to here"

        site.clock.offset = timedelta(hours=-1)
        await asyncio.sleep(60)
        assert len(await site.runs()) == 2
        await asyncio.sleep(2 * HOUR)
        assert await site.times() == [
            datetime(2026, 6, 1, 12, tzinfo=UTC), datetime(2026, 6, 1, 13, tzinfo=UTC), datetime(2027, 6, 1, 12, tzinfo=UTC),
        ]  # fmt: skip
        assert "ClockSetBack" in [event.reason for event in await site.api.list(Event, "default")]

    simulate(start, main)


def test_a_clock_set_back_an_hour_repeats_nothing() -> None:
    async def main(site: Site) -> None:
        await site.trigger("often", cron={"schedule": "*/10 * * * *"})
        await asyncio.sleep(HOUR)
        before = await site.times()
        site.clock.offset = timedelta(hours=-1)
        await asyncio.sleep(HOUR - 60)
        assert await site.times() == before
        await asyncio.sleep(HOUR)
        assert await site.times() == sorted({*before, *(before[-1] + timedelta(minutes=10 * n) for n in range(1, 7))})

    simulate(datetime(2026, 6, 1, 11, 59, 30, tzinfo=UTC), main)


def test_policies_for_a_run_that_goes_on() -> None:
    async def main(site: Site) -> None:
        for policy in ("Allow", "Forbid", "Replace", "Queue"):
            await site.trigger(policy.lower(), cron={"schedule": "0 * * * *", "concurrencyPolicy": policy})
        await asyncio.sleep(2.4 * HOUR)

        async def of(name: str) -> list[WorkflowRun]:
            return [run for run in await site.runs() if run.spec.triggered_by == f"trigger/{name}"]

        assert len(await of("allow")) == 2
        assert len(await of("forbid")) == 1
        assert (await site.get("forbid")).status.firings[0].reason == "Forbidden"
        assert [run.spec.state for run in await of("replace")] == ["Canceled", "Running"]
        (first,) = await of("queue")
        assert len((await site.get("queue")).status.queue) == 1

        await site.kill()
        site.resume()
        await site.end(first)
        await asyncio.sleep(1)
        assert len(await of("queue")) == 2
        assert (await site.get("queue")).status.queue == []

    simulate(datetime(2026, 6, 1, 11, 30, tzinfo=UTC), main)


def test_a_trigger_that_is_disabled_makes_up_for_nothing() -> None:
    async def main(site: Site) -> None:
        await site.trigger("hourly", cron={"schedule": "@hourly", "catchUp": "All"})
        await asyncio.sleep(HOUR)
        await site.trigger("hourly", cron={"schedule": "@hourly", "catchUp": "All"}, enabled=False)
        await asyncio.sleep(5 * HOUR)
        assert (await site.get("hourly")).status.next_times == []
        await site.trigger("hourly", cron={"schedule": "@hourly", "catchUp": "All"}, enabled=True)
        await asyncio.sleep(HOUR)
        assert len(await site.runs()) == 2

    simulate(datetime(2026, 6, 1, 11, 30, tzinfo=UTC), main)


def test_another_schedule_counts_from_when_it_is_set() -> None:
    async def main(site: Site) -> None:
        await site.trigger("daily", cron={"schedule": "0 5 * * *", "catchUp": "All"})
        await asyncio.sleep(1)
        await site.trigger("daily", cron={"schedule": "0 4 * * *", "catchUp": "All"})
        await asyncio.sleep(20 * HOUR)
        assert await site.times() == [datetime(2026, 6, 2, 4, tzinfo=UTC)]

    simulate(datetime(2026, 6, 1, 11, 30, tzinfo=UTC), main)


def test_a_workflow_that_cannot_run_refuses_and_says_so() -> None:
    async def main(site: Site) -> None:
        await site.apply("Workflow", "work", {"nodes": [{"name": "a", "taskRef": "builtin.echo"}], "state": "Paused"})
        await site.trigger("hourly", cron={"schedule": "@hourly"})
        await site.apply("Trigger", "lost", {"workflowRef": "nowhere", "cron": {"schedule": "@hourly"}})
        await asyncio.sleep(HOUR)

        hourly, lost = await site.get("hourly"), await site.get("lost")
        assert [(f.result, f.reason) for f in hourly.status.firings] == [("Refused", "WorkflowPaused")]
        assert [(f.result, f.reason) for f in lost.status.firings] == [("Refused", "WorkflowNotFound")]
        ready = find_condition(hourly.status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("False", "WorkflowPaused")
        assert not await site.runs()

        await site.apply("Workflow", "work", {"nodes": [{"name": "a", "taskRef": "builtin.echo"}], "state": "Active"})
        await asyncio.sleep(1)
        ready = find_condition((await site.get("hourly")).status.conditions, "Ready")
        assert ready is not None
        assert ready.status == "True"

    simulate(datetime(2026, 6, 1, 11, 30, tzinfo=UTC), main)


@pytest.mark.parametrize(
    ("spec", "reason", "words"),
    [
        ({"params": {"nope": 1}}, "InvalidParams", "Invalid value: 1: the workflow has no such parameter; it has at, "),
        ({"params": {"nope": "${{ event.type }}"}}, "InvalidParams", "spec.params.nope"),
        ({"params": {"percent": "many"}}, "InvalidParams", 'spec.params.percent: Invalid value: "many": must be of type integer'),
        ({"params": {"percent": "${{ event.percent }}"}}, "Waiting", "it is fired by hand"),
        ({"workflowRef": "picky"}, "Waiting", "it is fired by hand"),
        ({"workflowRef": "picky", "webhook": {"path": "go"}}, "InvalidParams", "spec.params.site: Required value"),
        ({"workflowRef": "picky", "params": {"site": "${{ event.x }}"}, "webhook": {"path": "go"}}, "Waiting", "/default/go"),
        ({"event": {"kind": "Deploymet"}}, "InvalidSpec", "there is no kind Deploymet of version plum.dev/v1"),
        ({"event": {"kind": "Deployment"}}, "Waiting", "changes of Deployment"),
        ({"run": {"workflowRef": "other"}}, "Waiting", "runs of other"),
    ],
)  # fmt: skip
def test_ready_says_what_would_refuse_every_firing(spec: dict[str, Any], reason: str, words: str) -> None:
    async def main(site: Site) -> None:
        node = {"name": "a", "taskRef": "builtin.echo"}
        await site.apply("Workflow", "picky", {"nodes": [node], "params": [{"name": "site", "required": True}]})
        await site.trigger("t", **spec)
        await asyncio.sleep(5)

        ready = find_condition((await site.get("t")).status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, ready.reason) == ("True" if reason == "Waiting" else "False", reason)
        assert words in ready.message

    simulate(datetime(2026, 6, 1, 11, 30, tzinfo=UTC), main)


def test_an_idle_trigger_writes_nothing() -> None:
    async def main(site: Site) -> None:
        await site.trigger("yearly", cron={"schedule": "@yearly"})
        await site.trigger("changes", event={"kind": "Deployment"})
        await site.trigger("level", condition={"expression": 'kv("plant", "level") > 80'})
        await site.trigger("hand")
        await asyncio.sleep(300)
        before = site.plane.store.revision
        await asyncio.sleep(HOUR / 12)
        assert site.plane.store.revision == before

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)


async def _config(site: Site, name: str, **data: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}
    await site.api.apply(body, kind=ConfigMap.info)


def test_each_change_fires_once_also_those_while_the_controller_was_away() -> None:
    async def main(site: Site) -> None:
        event = {"apiVersion": "v1", "kind": "ConfigMap", "when": "object.data.level != old.?data.level.orValue('')"}
        params = {"type": "${{ event.type }}", "level": "${{ event.object.data.level }}"}
        await _config(site, "plant", level="0")
        await site.trigger("changes", event=event, params=params)
        await asyncio.sleep(1)
        wanted = []
        for number in range(12):
            if number % 3 == 2:
                await site.kill()
            for part in range(2):
                await _config(site, "plant", level=f"{number}.{part}")
                wanted.append(f"{number}.{part}")
            await _config(site, "plant", level=f"{number}.1", other=str(number))
            if number % 3 == 2:
                await asyncio.sleep(site.loop.random.choice([0.0, 100.0]))
                site.resume()
            await asyncio.sleep(site.loop.random.choice([0.0, 0.0, 0.01, 2.0]))
        await asyncio.sleep(5)

        runs = await site.runs()
        assert sorted(run.spec.params["level"] for run in runs) == sorted(wanted)
        assert {run.spec.params["type"] for run in runs} == {"Modified"}
        assert (await site.get("changes")).status.fired == len(wanted)

    for seed in range(3):
        simulate(datetime(2026, 6, 1, tzinfo=UTC), main, seed)


def test_a_change_fires_no_second_time_when_its_run_is_gone() -> None:
    async def main(site: Site) -> None:
        await site.trigger("changes", event={"apiVersion": "v1", "kind": "ConfigMap"})
        await asyncio.sleep(1)
        await _config(site, "plant", level="1")
        await asyncio.sleep(1)
        (run,) = await site.runs()
        await site.api.delete(WorkflowRun, run.key)
        await site.kill()
        site.resume()
        await asyncio.sleep(5)

        assert not await site.runs()
        assert (await site.get("changes")).status.fired == 1

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)


def test_an_event_that_somebody_sends() -> None:
    async def main(site: Site) -> None:
        await site.trigger(
            "alarm", event={"type": "TankFull", "when": "event.data.level > 90"}, params={"percent": "${{ event.data.level }}"}
        )
        await asyncio.sleep(1)
        for number, level in enumerate([50, 95]):
            meta = ObjectMeta(name=f"e{number}", namespace="default", annotations={DATA_ANNOTATION: f'{{"level": {level}}}'})
            await site.api.create(Event(metadata=meta, reason="TankFull", involved_object=ObjectReference(namespace="default")))
        await asyncio.sleep(1)
        assert [run.spec.params for run in await site.runs()] == [{"percent": 95}]

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)


def test_changes_beyond_the_history_count_once_for_each_object() -> None:
    async def main(site: Site) -> None:
        await site.trigger("changes", event={"apiVersion": "v1", "kind": "ConfigMap"})
        await _config(site, "one", a="1")
        await asyncio.sleep(1)
        await site.kill()
        for number in range(5):
            await _config(site, "two", a=str(number))
        await site.plane.store.compact(site.plane.store.revision)
        site.resume()
        await asyncio.sleep(5)

        assert (await site.get("changes")).status.fired == 2
        assert "ChangesLost" in [event.reason for event in await site.api.list(Event, "default")]

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)


def test_the_end_of_a_run_starts_the_next_workflow_once() -> None:
    async def main(site: Site) -> None:
        await site.apply("Workflow", "after", {"nodes": [{"name": "a", "taskRef": "builtin.echo"}], "params": [{"name": "of"}]})
        await site.apply("Trigger", "then", {
            "workflowRef": "after", "run": {"workflowRef": "work", "phases": ["Failed"]},
            "params": {"of": "${{ event.run.metadata.name }}"},
        })  # fmt: skip
        for name in ("good", "bad"):
            body = {"metadata": {"name": name, "namespace": "default"}, "spec": {"workflowRef": "work"}}
            await site.api.create(msgspec.convert(body, WorkflowRun))
        await asyncio.sleep(1)
        good, bad = await site.api.get(WorkflowRun, "good", "default"), await site.api.get(WorkflowRun, "bad", "default")
        assert good is not None
        assert bad is not None
        await site.end(good)
        await site.kill()
        await site.end(bad, "Failed")
        site.resume()
        await asyncio.sleep(1)
        await site.api.patch(WorkflowRun, ObjectKey("default", "bad"), {"metadata": {"labels": {"seen": "yes"}}})
        await asyncio.sleep(1)

        assert [run.spec.params for run in await site.runs() if run.spec.workflow_ref == "after"] == [{"of": "bad"}]

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)


def test_a_condition_fires_each_time_it_becomes_true_for_long_enough() -> None:
    async def main(site: Site) -> None:
        await site.trigger("high", condition={"expression": 'kv("default", "level") > 80', "for": "1m"})
        await site.trigger("strange", condition={"expression": 'kv("default", "level").missing > 80'})

        async def level(value: int) -> None:
            entry = KV(metadata=ObjectMeta(name="level", namespace="default"), spec=KVSpec(type="int", value=value))
            await site.api.apply(entry, force=True)

        await asyncio.sleep(10)
        assert not await site.runs()
        await level(90)
        await asyncio.sleep(30)
        await level(10)  # not for long enough
        await asyncio.sleep(120)
        assert not await site.runs()
        await level(90)
        await asyncio.sleep(30)
        await site.kill()
        await asyncio.sleep(20)
        site.resume()
        await asyncio.sleep(20)
        assert len(await site.runs()) == 1, "the minute went on while nobody looked"
        await level(95)
        await asyncio.sleep(120)
        assert len(await site.runs()) == 1
        await level(10)
        await asyncio.sleep(1)
        await level(99)
        await asyncio.sleep(120)
        assert len(await site.runs()) == 2
        ready = find_condition((await site.get("strange")).status.conditions, "Ready")
        assert ready is not None
        assert (ready.status, "no value now" in ready.message) == ("True", True)

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)


def test_a_least_interval_drops_what_comes_too_soon_and_counts_it() -> None:
    async def main(site: Site) -> None:
        await site.trigger("changes", event={"apiVersion": "v1", "kind": "ConfigMap"}, minInterval="1m")
        await asyncio.sleep(1)
        for number in range(5):
            await _config(site, "one", a=str(number))
        await asyncio.sleep(61)
        await _config(site, "one", a="last")
        await asyncio.sleep(1)

        status = (await site.get("changes")).status
        assert (status.fired, status.missed) == (2, 4)
        assert [(f.result, f.count) for f in status.firings] == [("Started", 1), ("Missed", 4), ("Started", 1)]

    simulate(datetime(2026, 6, 1, tzinfo=UTC), main)
