"""The event recorder: counted, bounded, never in the way."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from plum_client.events import BURST, REFILL_SECONDS, EventRecorder
from plum_client.fake import FakeApi
from plum_client.simulated import DEFAULT_START, SimulatedClock, SimulatedLoop, run_simulated, settle
from plum_schemas.core import Event

from tests.support.api import make_deployment


def test_repetitions_are_counted_on_one_event() -> None:
    async def main(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop)
        fake = FakeApi(make_deployment(), clock=clock)
        web = await fake.client().resolve("deployment")
        obj = await fake.client().get(web, "web")
        assert obj is not None
        recorder = EventRecorder(fake.client(), "tester", clock)
        for _ in range(3):
            for _ in range(10):
                recorder.event(obj, "Warning", "FailedStart", "no such program")
            loop_time = loop.time()
            await recorder.flush()
            assert loop.time() - loop_time < 1
        recorder.event(obj, "Normal", "Started", "it runs")
        await recorder.close()

        failed, started = sorted(fake.list(Event), key=lambda event: event.reason)
        assert (failed.count, failed.type, failed.message) == (30, "Warning", "no such program")
        assert failed.first_timestamp == DEFAULT_START
        assert failed.involved_object.uid == obj["metadata"]["uid"]
        assert (failed.involved_object.kind, failed.involved_object.api_version) == ("Deployment", "plum.dev/v1")
        assert failed.metadata.name.startswith("web.")
        assert failed.source.component == "tester"
        assert started.count == 1
        assert fake.writes <= 5

    run_simulated(main)


def test_one_flooding_object_is_held_back_and_others_are_not() -> None:
    async def main(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop)
        fake = FakeApi(clock=clock)
        recorder = EventRecorder(fake.client(), "tester", clock)
        for number in range(100):
            recorder.event(make_deployment("noisy", uid="n"), "Normal", "Tick", f"number {number}")
        recorder.event(make_deployment("quiet", uid="q"), "Normal", "Tick", "once")
        await recorder.flush()
        assert len(fake.keys(Event)) == BURST + 1
        assert recorder.dropped == 100 - BURST

        await settle()
        while loop.time() < 3 * REFILL_SECONDS + 1:
            recorder.event(make_deployment("noisy", uid="n"), "Normal", "Tick", f"later {loop.time()}")
            await asyncio.sleep(0.5)
        await recorder.flush()
        assert len(fake.keys(Event)) == BURST + 1 + 3

    run_simulated(main)


def test_a_lost_answer_makes_no_second_event_and_an_expired_one_is_told_anew() -> None:
    async def main(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop)
        fake = FakeApi(clock=clock)
        recorder = EventRecorder(fake.client(), "tester", clock)
        fake.faults.lose_answer = 0.5
        for number in range(20):
            recorder.event(make_deployment(f"d{number}", uid=f"{number}"), "Normal", "Tick", "hello")
        await recorder.flush()
        fake.faults.lose_answer = 0.0
        assert len(fake.keys(Event)) == 20

        await fake.client().delete_collection(Event, "default")
        await settle()
        recorder.event(make_deployment("d0", uid="0"), "Normal", "Tick", "hello")
        await recorder.flush()
        assert [event.count for event in fake.list(Event)] == [1]

    run_simulated(main)


def test_an_api_that_is_away_costs_events_and_nothing_else() -> None:
    async def main(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop)
        fake = FakeApi(clock=clock)
        fake.faults.refuse = 1.0
        recorder = EventRecorder(fake.client(), "tester", clock)
        recorder.event(make_deployment(), "Normal", "Tick", "hello")
        await recorder.flush()

        assert recorder.dropped == 1
        assert fake.keys(Event) == []
        assert clock.now() - DEFAULT_START < timedelta(seconds=10)

    run_simulated(main)
