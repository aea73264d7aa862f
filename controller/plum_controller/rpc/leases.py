"""The leases that workers hold: given, acknowledged, renewed, and what runs out. How they end: `lease_endings`.

acknowledge, heartbeat, progress, silence, changes by others --Leases--> guarded write of the run --> the worker is told
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from random import Random

from plum_client.clock import Clock
from plum_flow import task_states
from plum_flow.task_states import TransitionError
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError
from plum_controller.rpc.lease_endings import CANCEL_GRACE_SECONDS, Endings
from plum_controller.rpc.runs import Runs
from plum_controller.rpc.sessions import Lease, LeaseState, Session, Timing

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0
"""Between two writes of the progress of one attempt."""


class Leases(Endings):
    """All leases of all sessions."""

    def __init__(self, runs: Runs, clock: Clock, timing: Timing, changed: Callable[[Session], None], random: Random) -> None:
        """`changed` is told when a place of a worker became free or its counts moved."""
        super().__init__(runs, clock, changed, random)
        self._timing = timing

    # ---- taking and keeping

    def lease_until(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._timing.written_seconds)

    def add(self, session: Session, run: TaskRun, *, acknowledged: bool) -> Lease:
        """The worker holds the attempt under way of this run."""
        task = run.status.task
        lease = Lease(
            key=run.key,
            uid=run.metadata.uid,
            claim=task_states.claim_of(run.status),
            at_most_once=task is not None and task.execution == "AtMostOnce",
            state=LeaseState.RUNNING if acknowledged else LeaseState.ASSIGNED,
        )
        now = self._clock.monotonic()
        lease.acknowledge_by = now + self._timing.acknowledge_seconds
        lease.written_until = now + self._timing.written_seconds
        session.leases[lease.uid] = lease
        self.held[lease.key] = (session, lease)
        return lease

    def move(self, lease: Lease, session: Session) -> None:
        """The same lease, in another session of the worker."""
        session.leases[lease.uid] = lease
        if lease.key in self.held:
            self.held[lease.key] = (session, lease)

    def acknowledge(self, session: Session, uid: str, token: int) -> None:
        """The worker takes the attempt. It is told whether it holds it, which an at-most-once attempt waits for."""
        lease = self.find(session, uid, token)
        if lease is not None and lease.state is LeaseState.ASSIGNED:
            lease.state = LeaseState.RUNNING
            session.failures = 0
        if session.link is not None:
            if lease is None or not lease.is_held:
                session.link.renewed((), [(uid, token)])
            elif lease.at_most_once:
                session.link.renewed([lease], ())

    def heartbeat(self, session: Session, held: Collection[tuple[str, int]]) -> None:
        """Renew what the worker says it holds. What it holds no more is given to others."""
        now = self._clock.monotonic()
        named = set(held)
        renewed = []
        for lease in list(session.leases.values()):
            pair = (lease.uid, lease.fencing_token)
            if pair in named:
                named.discard(pair)
                if lease.state is LeaseState.ASSIGNED:
                    lease.state = LeaseState.RUNNING
                if lease.is_held:
                    renewed.append(lease)
                    self._write_lease(session, lease, now)
                else:
                    named.add(pair)
            elif lease.state is LeaseState.OVER:
                self.drop(session, lease)
            elif lease.state is LeaseState.RUNNING:
                self.lose(session, lease, "Dropped", f"worker {session.key.name} does not hold it any more")
        if session.link is not None:
            session.link.renewed(renewed, sorted(named))

    def _write_lease(self, session: Session, lease: Lease, now: float) -> None:
        """`leaseExpiresAt` is written only when half of it has passed: heartbeats cost no write."""
        if lease.state is LeaseState.RUNNING and lease.written_until - now < self._timing.written_seconds / 2:
            lease.written_until = now + self._timing.written_seconds
            self.spawn(self.renew(session, lease))

    def progress(self, session: Session, uid: str, token: int, fraction: float, message: str) -> None:
        """How far it is; the newest wins, and is written at most once per second."""
        lease = self.find(session, uid, token)
        if lease is None or lease.state not in (LeaseState.ASSIGNED, LeaseState.RUNNING) or not 0 <= fraction <= 1:
            return
        lease.state = LeaseState.RUNNING
        waiting = lease.progress is not None
        lease.progress = (fraction, message[:1000])
        if not waiting:
            self.spawn(self._write_progress(session, lease))

    async def _write_progress(self, session: Session, lease: Lease) -> None:
        await asyncio.sleep(max(0.0, lease.progress_at + PROGRESS_SECONDS - self._clock.monotonic()))
        lease.progress_at = self._clock.monotonic()
        await self.renew(session, lease)

    async def renew(self, session: Session, lease: Lease) -> None:
        """Write a later `leaseExpiresAt`, and the progress that is known."""
        progress, lease.progress = lease.progress, None
        if lease.state is not LeaseState.RUNNING:
            return
        fraction, message = progress or (None, "")

        def step(run: TaskRun) -> TaskRunStatus:
            self.check(run, session, lease)
            return task_states.renew(run.status, lease.claim, self.lease_until(), fraction, message)

        lease.written_until = self._clock.monotonic() + self._timing.written_seconds
        try:
            await self._runs.step(lease.key, lease.uid, step)
        except TransitionError as error:
            logger.info("lease was not renewed", extra=fields(key=str(lease.key), error=error.message))
        except ApiStatusError as error:
            lease.written_until = 0.0  # the next heartbeat tries again
            logger.warning("lease was not renewed", extra=fields(key=str(lease.key), error=error.message))

    # ---- what others did to the run

    def run_changed(self, key: ObjectKey, run: TaskRun | None) -> None:
        """A run that is held was cancelled, ended by others, or deleted."""
        held = self.held.get(key)
        if held is None:
            return
        session, lease = held
        if lease.state is LeaseState.RECORDING:
            return
        if run is None or run.metadata.uid != lease.uid:
            self.take_away(session, lease, "the run was deleted")
        elif run.status.phase != "Running" or task_states.claim_of(run.status) != lease.claim:
            self.take_away(session, lease, f"the run is {run.status.phase}")
        elif run.metadata.deletion_timestamp is not None:
            self.take_away(session, lease, "the run is being deleted")
        elif run.spec.canceled and not lease.cancel_by:
            lease.cancel_by = self._clock.monotonic() + CANCEL_GRACE_SECONDS
            if session.link is not None:
                session.link.cancel(lease, "the run was cancelled", CANCEL_GRACE_SECONDS)

    # ---- time

    def tick(self, session: Session, now: float) -> None:
        """Look at what ran out for one worker."""
        for lease in list(session.leases.values()):
            if lease.state is LeaseState.ASSIGNED and now >= lease.acknowledge_by:
                message = f"worker {session.key.name} did not acknowledge it within {self._timing.acknowledge_seconds:g} s"
                uid, token = lease.uid, lease.fencing_token
                self.return_unbegun(session, lease, "NotAcknowledged", message)
                if session.link is not None:
                    session.link.renewed((), [(uid, token)])
            elif lease.state is LeaseState.OVER and lease.release_by and now >= lease.release_by:
                self.drop(session, lease)
            elif lease.state is LeaseState.RUNNING and lease.cancel_by and now >= lease.cancel_by:
                self.end_cancelled(session, lease)
            elif session.hello.protocol != "grpc":
                self._write_lease(session, lease, now)
