"""The work queue: nothing lost, nothing twice at once, nothing starved."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_client.backoff import Backoff
from plum_client.simulated import run_simulated, settle
from plum_client.work_queue import RESYNC_TURN, Lane, QueueClosedError, WorkQueue

KEYS = st.sampled_from("abcde")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, st.sampled_from(list(Lane))),
        st.tuples(st.just("add_after"), KEYS, st.floats(0.01, 20)),
        st.tuples(st.just("retry"), KEYS, st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.floats(0.01, 5)),
    ),
    max_size=60,
)


@given(steps=STEPS, workers=st.integers(1, 4), work_seconds=st.floats(0, 3))
def test_every_added_key_is_served_after_it_was_added_and_never_twice_at_once(
    steps: list[tuple[str, str, float]], workers: int, work_seconds: float
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(Backoff(initial=0.1, maximum=10), Random(1))
        asked: dict[str, int] = dict.fromkeys("abcde", 0)
        """Adds of a key that no later start has served yet."""
        served: dict[str, int] = dict.fromkeys("abcde", 0)
        adds: dict[str, int] = dict.fromkeys("abcde", 0)
        busy: set[str] = set()

        async def work() -> None:
            while True:
                key = await queue.get()
                assert key not in busy
                busy.add(key)
                asked[key] = 0
                served[key] += 1
                await asyncio.sleep(work_seconds)
                busy.discard(key)
                queue.done(key)

        tasks = [asyncio.create_task(work()) for _ in range(workers)]
        for step, key, argument in steps:
            if step == "wait":
                await asyncio.sleep(argument)
                continue
            asked[key] += 1
            adds[key] += 1
            if step == "add":
                queue.add(key, Lane(int(argument)))
            elif step == "add_after":
                queue.add_after(key, argument)
            else:
                queue.retry(key)
        await asyncio.sleep(1000)
        assert loop.time() >= 1000
        assert not any(task.done() for task in tasks)

        assert asked == dict.fromkeys("abcde", 0)
        assert all(served[key] <= adds[key] for key in adds)
        assert queue.is_idle
        assert len(queue) == queue.delayed == queue.running == 0
        for task in tasks:
            task.cancel()

    run_simulated(main())


@given(keys=st.lists(st.integers(0, 30), unique=True, min_size=1))
def test_keys_of_one_lane_come_in_order(keys: list[int]) -> None:
    async def main() -> None:
        queue: WorkQueue[int] = WorkQueue()
        for key in keys:
            queue.add(key)
            queue.add(keys[0])

        assert [await queue.get() for _ in keys] == keys
        assert len(queue) == 0

    run_simulated(main())


def test_changes_go_before_resyncs_which_keep_their_share() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for number in range(40):
            queue.add(f"resync-{number}", Lane.RESYNC)
        for number in range(40):
            queue.add(f"change-{number}")

        order = [(await queue.get()).split("-")[0] for _ in range(2 * RESYNC_TURN)]

        assert order == (["change"] * (RESYNC_TURN - 1) + ["resync"]) * 2

    run_simulated(main())


def test_a_change_promotes_a_waiting_resync() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a", Lane.RESYNC)
        queue.add("b")
        queue.add("a")

        assert [await queue.get(), await queue.get()] == ["b", "a"]
        assert len(queue) == 0

    run_simulated(main())


def test_of_several_times_the_earliest_counts() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)

        assert await queue.get() == "a"
        assert loop.time() == pytest.approx(10)
        queue.done("a")
        await asyncio.sleep(100)
        assert len(queue) == 0

    run_simulated(main())


def test_a_reconcile_replaces_the_time_its_key_had_asked_for() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 60)
        queue.add("a")
        queue.done(await queue.get())
        await asyncio.sleep(100)

        assert len(queue) == 0
        assert queue.delayed == 0

    run_simulated(main())


def test_retries_wait_longer_each_time_until_forgotten() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(Backoff(initial=1, factor=2, maximum=8, jitter=0))
        waits = []
        for _ in range(5):
            waits.append(queue.retry("a"))
            queue.done(await queue.get())
        queue.forget("a")

        assert waits == [1, 2, 4, 8, 8]
        assert queue.retry("a") == 1
        assert queue.retry("b", at_least=5) == 5
        assert not queue.is_idle

    run_simulated(main())


def test_a_cancelled_worker_passes_its_turn_on() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await settle()
        queue.add("a")
        first.cancel()

        assert await second == "a"
        assert (await asyncio.gather(first, return_exceptions=True))[0].__class__ is asyncio.CancelledError

    run_simulated(main())


def test_closing_ends_waiting_workers_and_drops_the_rest() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        waiting = asyncio.create_task(queue.get())
        queue.add_after("a", 5)
        await settle()
        queue.close()
        queue.add("b")

        with pytest.raises(QueueClosedError):
            await waiting
        with pytest.raises(QueueClosedError):
            await queue.get()
        assert queue.is_idle

    run_simulated(main())


def test_idle_is_told_when_the_last_key_is_done() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        key = await queue.get()
        idle = asyncio.create_task(queue.wait_idle())
        await settle()
        assert not idle.done()
        queue.done(key)
        await idle

    run_simulated(main())
