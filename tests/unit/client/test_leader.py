"""Leader election: never two leaders, whatever the network and the scheduler do, and soon a new one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random

import pytest
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError
from plum_client.fake import FakeApi
from plum_client.leader import LeaderElection
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated, settle
from plum_client.transport import Request, Response, Stream
from plum_schemas.lease import Lease

LEASE = 10


class Pausing:
    """The way of one process to the API, and the process's scheduler: both stand still at times.

    A request may wait before it reaches the API and its answer before it reaches the process, each longer than a lease.
    """

    def __init__(self, fake: FakeApi, random: Random) -> None:
        self._fake = fake
        self._random = random

    async def send(self, request: Request) -> Response:
        await self._stand_still()
        response = await self._fake.send(request)
        await self._stand_still()
        if self._random.random() < 0.1:
            raise ApiUnavailableError("answer lost")
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[Stream, None]:
        async with self._fake.stream(request) as stream:
            yield stream

    async def close(self) -> None:
        return

    async def _stand_still(self) -> None:
        long = self._random.random() < 0.15
        await asyncio.sleep(self._random.uniform(LEASE / 2, 3 * LEASE) if long else self._random.uniform(0, 0.5))


class Candidate:
    """A process that works while it leads, and notes when."""

    def __init__(self, name: str, api: ApiClient, loop: SimulatedLoop, skew_seconds: float = 0.0) -> None:
        clock = SimulatedClock(loop, skew_seconds=skew_seconds)
        self.election = LeaderElection(api, "plum", name, lease_seconds=LEASE, clock=clock, random=Random(name))
        self.terms: list[int] = []
        self.led = 0.0
        self.task = asyncio.create_task(self.election.run(self._lead))

    async def _lead(self) -> None:
        self.terms.append(self.election.term)
        while True:
            assert self.election.is_leader
            await asyncio.sleep(0.25)
            self.led += 0.25


async def watch_for_two(candidates: list[Candidate], seconds: float) -> list[str]:
    """Look every tenth of a second who may work; gives the leaders in the order in which they came."""
    loop = asyncio.get_running_loop()
    order: list[str] = []
    until = loop.time() + seconds
    while loop.time() < until:
        await asyncio.sleep(0.1)
        leading = [candidate.election.identity for candidate in candidates if candidate.election.is_leader]
        assert len(leading) <= 1, f"{leading} lead at {loop.time()}"
        order += [name for name in leading if order[-1:] != [name]]
    return order


@pytest.mark.parametrize("seed", range(5))
def test_never_two_leaders_with_pauses_and_lost_answers(seed: int) -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = FakeApi(clock=SimulatedClock(loop), seed=seed)
        candidates = [
            Candidate(name, ApiClient(Pausing(fake, Random(seed * 10 + number))), loop, skew_seconds=900.0 * number)
            for number, name in enumerate(("one", "two", "three"))
        ]
        order = await watch_for_two(candidates, 2000)

        assert len(order) >= 3, "the pauses changed no leader: the test proves nothing"
        assert sum(candidate.led for candidate in candidates) > 200
        terms = sorted(term for candidate in candidates for term in candidate.terms)
        assert len(set(terms)) >= len(order) // 2
        for candidate in candidates:
            candidate.task.cancel()
        await asyncio.gather(*(candidate.task for candidate in candidates), return_exceptions=True)

    run_simulated(main, seed)


def test_a_new_leader_follows_soon_after_one_is_gone() -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = FakeApi(clock=SimulatedClock(loop))
        one = Candidate("one", fake.client(), loop)
        await settle()
        two = Candidate("two", fake.client(), loop)
        assert await watch_for_two([one, two], 60) == ["one"]

        fake.faults.refuse = 1.0  # the API is away; nobody can renew
        await asyncio.sleep(LEASE)
        assert not one.election.is_leader
        fake.faults.refuse = 0.0
        one.task.cancel()
        assert await watch_for_two([one, two], 2 * LEASE) == ["two"]
        assert two.terms == [2]

    run_simulated(main)


def test_a_lease_given_back_is_taken_at_once() -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = FakeApi(clock=SimulatedClock(loop))
        one = Candidate("one", fake.client(), loop)
        await settle()
        two = Candidate("two", fake.client(), loop)
        await asyncio.sleep(20)
        one.task.cancel()
        await asyncio.gather(one.task, return_exceptions=True)

        lease = fake.get(Lease, "plum", "kube-system")
        assert lease is not None
        assert lease.spec.holder_identity is None or lease.spec.holder_identity == ""
        await asyncio.sleep(LEASE / 2)
        assert two.election.is_leader

    run_simulated(main)


def test_work_that_ends_or_fails_ends_the_leadership() -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = FakeApi(clock=SimulatedClock(loop))
        election = LeaderElection(fake.client(), "plum", "one", lease_seconds=LEASE, clock=SimulatedClock(loop))

        async def fail() -> None:
            await asyncio.sleep(3 * LEASE)
            raise RuntimeError("broken")

        async def end() -> None:
            await asyncio.sleep(3 * LEASE)

        with pytest.raises(RuntimeError, match="broken"):
            await election.run(fail)
        assert not election.is_leader
        await election.run(end)
        assert election.term == 2

    run_simulated(main)


def test_times_in_the_lease_are_for_people() -> None:
    async def main(loop: SimulatedLoop) -> None:
        fake = FakeApi(clock=SimulatedClock(loop))
        candidate = Candidate("one", fake.client(), loop)
        await asyncio.sleep(LEASE)

        lease = fake.get(Lease, "plum", "kube-system")
        assert lease is not None
        assert lease.spec.acquire_time == datetime(2026, 1, 1, tzinfo=UTC)
        assert lease.spec.renew_time is not None
        assert lease.spec.renew_time > lease.spec.acquire_time
        assert lease.spec.lease_duration_seconds == LEASE
        candidate.task.cancel()

    run_simulated(main)
