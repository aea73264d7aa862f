"""Virtual time: it jumps, keeps the order, repeats exactly, and says when nothing can happen any more."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_client.fake import FakeApi
from plum_client.simulated import DEFAULT_START, SimulatedClock, SimulatedLoop, SimulationStalledError, run_simulated, settle
from plum_client.testing import converge

from tests.support.api import make_deployment
from tests.unit.client.test_manager import NamedCopies


def test_a_day_passes_in_no_time() -> None:
    async def main(loop: SimulatedLoop) -> None:
        clock = SimulatedClock(loop, skew_seconds=-5)
        await asyncio.sleep(86_400)
        assert clock.monotonic() == pytest.approx(86_400)
        assert abs(clock.now() - DEFAULT_START - timedelta(seconds=86_395)) < timedelta(milliseconds=1)

    began = time.monotonic()
    run_simulated(main)
    assert time.monotonic() - began < 5


@given(delays=st.lists(st.floats(0, 1e6), max_size=30))
def test_sleepers_wake_in_order_at_their_time(delays: list[float]) -> None:
    async def main(loop: SimulatedLoop) -> None:
        woken: list[float] = []

        async def sleep(delay: float) -> None:
            await asyncio.sleep(delay)
            assert loop.time() == pytest.approx(delay, abs=1e-6)
            woken.append(delay)

        await asyncio.gather(*(sleep(delay) for delay in delays))
        assert woken == sorted(woken)

    run_simulated(main)


def test_settle_waits_for_everything_of_this_moment_and_for_nothing_later() -> None:
    async def main(loop: SimulatedLoop) -> None:
        seen: list[str] = []

        async def chain(depth: int) -> None:
            for _ in range(depth):
                await asyncio.sleep(0)
            seen.append("now")

        tasks = [asyncio.create_task(chain(200)), asyncio.create_task(asyncio.sleep(1))]
        await settle()
        assert seen == ["now"]
        assert not tasks[1].done()
        await asyncio.gather(*tasks)

    run_simulated(main)


def test_a_deadlock_is_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(SimulationStalledError):
        run_simulated(main())


def test_threads_are_waited_for_in_real_time() -> None:
    async def main(loop: SimulatedLoop) -> None:
        timer = asyncio.create_task(asyncio.sleep(1000))
        assert await loop.run_in_executor(None, lambda: time.sleep(0.05) or "done") == "done"
        assert loop.time() < 1
        await timer

    run_simulated(main)


async def test_it_runs_in_a_thread_beside_a_real_loop() -> None:
    def simulate() -> float:
        async def main(loop: SimulatedLoop) -> float:
            fake = FakeApi(make_deployment(replicas=3), clock=SimulatedClock(loop))
            await converge(fake, NamedCopies)
            await asyncio.sleep(3600)
            return loop.time()

        assert threading.current_thread() is not threading.main_thread()
        return run_simulated(main)

    assert await asyncio.to_thread(simulate) >= 3600


def test_the_same_seed_takes_the_same_steps() -> None:
    def history(seed: int) -> list[tuple[int, str, str]]:
        async def main(loop: SimulatedLoop) -> list[tuple[int, str, str]]:
            fake = FakeApi(make_deployment(replicas=6), clock=SimulatedClock(loop), seed=seed)
            fake.faults.latency, fake.faults.refuse, fake.faults.lose_answer = (0.0, 1.0), 0.2, 0.2
            await converge(fake, NamedCopies, timeout=1000)
            fake.faults.refuse = fake.faults.lose_answer = 0.0
            changes = fake._objects.since(0)
            return [(change.revision, str(change.key), change.value.decode()) for change in changes]

        return run_simulated(main, seed)

    assert history(5) == history(5)
    assert history(5) != history(6)
