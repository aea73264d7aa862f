"""Leader election: of several copies of a program, one at a time works.

    Lease in the API: holder, duration, renewals
      candidate  sees no renewal for the whole duration, by its own monotonic clock -> takes it, guarded by the resource version
      leader     renews every third of the duration, counts from before it sent the renewal, stops a fifth before the end

Never two leaders, as long as the monotonic clocks of the machines run at the same speed: the leader's time starts
before the renewal was stored, the candidate's after. Times inside the lease are for people; nobody computes with them.
A pause of the process (SIGSTOP, a busy machine) is covered by `is_leader`, which looks at the clock each time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from msgspec.structs import replace
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.lease import Lease, LeaseSpec

from plum_client.client import ApiClient
from plum_client.clock import Clock, SystemClock
from plum_client.errors import ApiError

logger = logging.getLogger(__name__)

STOP_SHARE = 0.2
"""Share of the duration before its end at which the leader stops, so that its work has ended when others may start."""


class LeaderElection:
    """One candidate. `identity` must be different for every run of every copy of the program."""

    def __init__(
        self,
        api: ApiClient,
        name: str,
        identity: str,
        namespace: str = "kube-system",
        *,
        lease_seconds: int = 15,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        self.identity = identity
        self.lease_seconds = lease_seconds
        self.term = 0
        """Number of this candidate's term: grows with every change of the leader; a fencing number for its writes."""
        self._api = api
        self._key = ObjectKey(namespace, name)
        self._clock: Clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311  spreads candidates
        self._valid_until = 0.0
        self._seen_version = ""
        self._seen_at = 0.0

    @property
    def is_leader(self) -> bool:
        """True while this candidate may work; ask again before every step that must not happen twice."""
        return self._clock.monotonic() < self._valid_until

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Call `lead` whenever this candidate becomes leader and cancel it when that ends, until cancelled itself.

        Returns when `lead` returns; raises what it raises. In both cases, and when cancelled, the lease is given back.
        """
        while True:
            await self._acquire()
            logger.info("became leader", extra={"key": str(self._key), "identity": self.identity, "term": self.term})
            work = asyncio.create_task(lead(), name=f"leading-{self._key.name}")
            try:
                await self._keep(work)
                if work.done():
                    return work.result()
            finally:
                await _stop(work)
                await self._release()
            logger.warning("lost leadership", extra={"key": str(self._key), "identity": self.identity})

    async def _acquire(self) -> None:
        while not self.is_leader:
            try:
                await self._try()
            except (ApiError, TimeoutError) as error:
                logger.debug("lease not acquired", extra={"key": str(self._key), "error": str(error)})
            if not self.is_leader:
                await asyncio.sleep(self.lease_seconds / 6 * (1.0 + 0.5 * self._random.random()))

    async def _keep(self, work: asyncio.Task[None]) -> None:
        """Renew until the work ends or the lease can no longer be relied on."""
        while not work.done() and self.is_leader:
            pause = min(self.lease_seconds / 3, self._remaining())
            await asyncio.wait([work], timeout=pause)
            if work.done() or not self.is_leader:
                return
            try:
                async with asyncio.timeout(self._remaining()):
                    await self._try()
            except (ApiError, TimeoutError) as error:
                logger.info("lease not renewed", extra={"key": str(self._key), "error": str(error)})
                await asyncio.wait(
                    [work], timeout=min(self.lease_seconds / 15, max(0.0, self._valid_until - self._clock.monotonic()))
                )

    def _remaining(self) -> float:
        """Seconds this candidate may still work."""
        return max(0.0, self._valid_until - self._clock.monotonic())

    async def _try(self) -> None:
        """Take or renew the lease if that is allowed now."""
        lease = await self._api.get(Lease, self._key)
        if lease is None:
            fresh = Lease(metadata=ObjectMeta(name=self._key.name, namespace=self._key.namespace), spec=LeaseSpec())
            await self._store(fresh, 1)
            return
        if lease.metadata.resource_version != self._seen_version:
            self._seen_version = lease.metadata.resource_version
            self._seen_at = self._clock.monotonic()
        holder = lease.spec.holder_identity or ""
        transitions = lease.spec.lease_transitions or 0
        if holder == self.identity:
            await self._store(lease, max(1, transitions))
        elif not holder or self._is_over(lease):
            await self._store(lease, transitions + 1)
        else:
            self._valid_until = 0.0

    def _is_over(self, lease: Lease) -> bool:
        """Nobody renewed it while this candidate looked on for its whole duration."""
        duration = lease.spec.lease_duration_seconds or self.lease_seconds
        return self._clock.monotonic() - self._seen_at >= duration

    async def _store(self, lease: Lease, transitions: int) -> None:
        sent = self._clock.monotonic()
        now = self._clock.now()
        mine = lease.spec.holder_identity == self.identity
        spec = replace(
            lease.spec,
            holder_identity=self.identity,
            lease_duration_seconds=self.lease_seconds,
            acquire_time=lease.spec.acquire_time if mine else now,
            renew_time=now,
            lease_transitions=transitions,
        )
        wanted = replace(lease, spec=spec)
        stored = await (self._api.update(wanted) if lease.metadata.resource_version else self._api.create(wanted))
        self._seen_version, self._seen_at = stored.metadata.resource_version, self._clock.monotonic()
        self.term = transitions
        self._valid_until = sent + self.lease_seconds * (1.0 - STOP_SHARE)

    async def _release(self) -> None:
        """Give the lease back, so that the next leader need not wait. If that fails it runs out."""
        self._valid_until = 0.0
        try:
            async with asyncio.timeout(self.lease_seconds * STOP_SHARE):
                lease = await self._api.get(Lease, self._key)
                if lease is not None and lease.spec.holder_identity == self.identity:
                    await self._api.update(
                        replace(lease, spec=replace(lease.spec, holder_identity="", renew_time=self._clock.now()))
                    )
        except (ApiError, TimeoutError) as error:
            logger.info("lease not given back", extra={"key": str(self._key), "error": str(error)})


async def _stop(work: asyncio.Task[None]) -> None:
    work.cancel()
    await asyncio.wait([work])
