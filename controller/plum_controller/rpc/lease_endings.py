"""How workers stop holding attempts: by a result, by giving back, by silence, because others ended the run.

    result, release, loss, cancellation --Endings--> guarded write of the run --> the worker is told, its place is free

A worker may end only what it holds: every write compares attempt, fencing token and holder with what the store says. A write
that the store cannot take now is tried again until it can; a worker keeps a result until it is told that it is recorded.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta
from random import Random
from typing import Any

import msgspec
from plum_client.backoff import Backoff
from plum_client.clock import Clock
from plum_flow import task_states
from plum_flow.task_retry import MAX_WAIT_SECONDS, settle
from plum_flow.task_states import Outcome, TransitionError
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_controller.domain.task_dispatch import hand_back
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError
from plum_controller.rpc.runs import Runs, Step
from plum_controller.rpc.sessions import Lease, LeaseState, Session

logger = logging.getLogger(__name__)

CANCEL_GRACE_SECONDS = 10.0
"""For a worker to stop after a cancellation; the run is written down as cancelled then, whatever the worker does."""
PLACE_GRACE_SECONDS = 5.0
"""After which a worker that knows no cancellation is given new work although the old may still go on there."""
RECORDED = 1000
"""Results that are remembered as recorded."""
AGAIN = Backoff(initial=0.1, maximum=5.0)


class Endings:
    """What all sessions hold, and how each stops holding it."""

    def __init__(self, runs: Runs, clock: Clock, changed: Callable[[Session], None], random: Random) -> None:
        """`changed` is told when a place of a worker became free or its counts moved."""
        self._runs = runs
        self._clock = clock
        self._changed = changed
        self._random = random
        self.held: dict[ObjectKey, tuple[Session, Lease]] = {}
        """By run."""
        self._tasks: set[asyncio.Task[None]] = set()
        self.gave_back: dict[str, str] = {}
        """By uid of a run: the worker that did not take it."""
        self._recorded: dict[tuple[str, int], None] = {}
        """Results taken of late, for workers that did not hear so and repeat them."""

    def holds(self, key: ObjectKey) -> bool:
        """Whether a worker holds this run."""
        return key in self.held

    async def close(self) -> None:
        """End what is being written; what was not written is known again after the next start."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run in the background, and not beyond `close`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("work on a lease failed", exc_info=error)

    def drop(self, session: Session, lease: Lease) -> None:
        """The worker holds it no more, and its place is free."""
        if session.leases.get(lease.uid) is lease:
            del session.leases[lease.uid]
        self._forget(lease)
        self._changed(session)

    # ---- ending

    def result(
        self, session: Session, uid: str, token: int, outcome: Outcome, log_tail: str = "", retry_after: float = 0.0
    ) -> None:
        """The worker hands in how its attempt ended. `retry_after`: seconds before another one at the earliest."""
        lease = self.find(session, uid, token)
        if lease is None:
            self._answer_late(session, uid, token, outcome)
        elif lease.state is LeaseState.OVER:
            self.drop(session, lease)
            self._tell(session, uid, token, False, "the run was taken away from this worker, or has ended")
        elif lease.state is not LeaseState.RECORDING:
            lease.state = LeaseState.RECORDING
            self.spawn(self._record(session, lease, outcome, log_tail, retry_after))

    async def _record(self, session: Session, lease: Lease, outcome: Outcome, log_tail: str, retry_after: float) -> None:
        def step(run: TaskRun) -> TaskRunStatus:
            self.check(run, session, lease)
            now = self._clock.now()
            status = settle(run, lease.claim, self._runs.hidden(run, outcome), now, self._random.random())
            if status.phase == "Pending" and retry_after > 0:
                start = max(status.next_attempt_at or now, now + timedelta(seconds=min(retry_after, MAX_WAIT_SECONDS)))
                status = msgspec.structs.replace(status, next_attempt_at=start)
            return msgspec.structs.replace(status, stdout=log_tail) if log_tail else status

        accepted, message = True, ""
        try:
            await self._until_written(lease, step)
        except TransitionError as error:
            accepted, message = False, error.message
        except ApiStatusError as error:  # such as an output that makes the object too large
            accepted = await self._record_refusal(session, lease, outcome, error.message)
            message = error.message
        if accepted:
            session.completed += 1
            self._remember(lease)
        self._tell(session, lease.uid, lease.fencing_token, accepted, message)
        self.drop(session, lease)

    async def _record_refusal(self, session: Session, lease: Lease, outcome: Outcome, why: str) -> bool:
        """A result that can never be stored is a failure of the task."""
        failed = Outcome("Failed", "InvalidOutput", f"the result cannot be stored: {why}", retryable=False)

        def step(run: TaskRun) -> TaskRunStatus:
            self.check(run, session, lease)
            return settle(run, lease.claim, failed, self._clock.now(), 0.0)

        try:
            await self._until_written(lease, step)
        except (TransitionError, ApiStatusError):
            return False
        return True

    def _answer_late(self, session: Session, uid: str, token: int, outcome: Outcome) -> None:
        """A result for a lease that the worker does not hold: recorded before, or refused. Nothing changes either way."""
        if (uid, token) in self._recorded:
            self._tell(session, uid, token, True, "recorded before")
            return
        self._tell(session, uid, token, False, "this worker does not hold the run: it was given to another, or has ended")
        logger.info("result refused", extra=fields(worker=str(session.key), uid=uid, token=token, phase=outcome.phase))

    def release(self, session: Session, uid: str, token: int, reason: str) -> None:
        """The worker gives back what it has not begun, or what it had to break off."""
        lease = self.find(session, uid, token)
        if lease is None:
            return
        if lease.state is LeaseState.OVER:
            self.drop(session, lease)
        elif lease.state is LeaseState.ASSIGNED:
            self.return_unbegun(session, lease, reason or "Released", f"worker {session.key.name} gave it back")
        elif lease.state is LeaseState.RUNNING:
            self.lose(session, lease, reason or "Released", f"worker {session.key.name} broke it off and gave it back")

    def return_unbegun(self, session: Session, lease: Lease, reason: str, message: str) -> None:
        """Back to the queue, without using up an attempt: the worker has not begun."""
        lease.state = LeaseState.RECORDING
        self.gave_back[lease.uid] = session.key.name
        session.failures += 1
        session.resting_until = self._clock.monotonic() + min(30.0, 0.25 * 2 ** min(session.failures, 8))

        def step(run: TaskRun) -> TaskRunStatus:
            self.check(run, session, lease)
            if run.spec.canceled:
                return settle(run, lease.claim, Outcome("Canceled", "Canceled", message), self._clock.now(), 0.0)
            return hand_back(run.status, reason, message, self._clock.now())

        self.spawn(self._write_end(session, lease, step))

    def lose(self, session: Session, lease: Lease, reason: str, message: str) -> None:
        """Nobody will tell how the attempt ended: it is repeated, or an at-most-once run ends as Unknown."""
        lease.state = LeaseState.RECORDING

        def step(run: TaskRun) -> TaskRunStatus:
            self.check(run, session, lease)
            return settle(run, lease.claim, Outcome("Unknown", reason, message), self._clock.now(), self._random.random())

        logger.info("attempt lost", extra=fields(key=str(lease.key), worker=str(session.key), reason=reason))
        self.spawn(self._write_end(session, lease, step))

    def lose_all(self, session: Session, reason: str, message: str) -> None:
        """The worker is gone."""
        for lease in list(session.leases.values()):
            if lease.state is LeaseState.OVER:
                self.drop(session, lease)
            elif lease.state is LeaseState.ASSIGNED and lease.at_most_once:
                self.return_unbegun(session, lease, reason, message)  # it waits for a confirmation that never went out
            elif lease.state is not LeaseState.RECORDING:
                self.lose(session, lease, reason, message)

    async def _write_end(self, session: Session, lease: Lease, step: Step) -> None:
        try:
            await self._until_written(lease, step)
        except (TransitionError, ApiStatusError) as error:
            logger.info("end of an attempt was not recorded", extra=fields(key=str(lease.key), error=error.message))
        self.drop(session, lease)

    async def _until_written(self, lease: Lease, step: Step) -> None:
        """Raises `TransitionError` when it no longer holds, `ApiStatusError` when it can never be written."""
        failures = 0
        while True:
            try:
                await self._runs.step(lease.key, lease.uid, step)
                return
            except ApiStatusError as error:
                if error.code not in (429, 500, 503):
                    raise
                failures += 1
                logger.warning("lease was not written, again later", extra=fields(key=str(lease.key), error=error.message))
            await asyncio.sleep(AGAIN.delay(failures, self._random))

    def take_away(self, session: Session, lease: Lease, why: str) -> None:
        """The attempt is not the worker's any more: it is told to stop."""
        lease.state = LeaseState.OVER
        self._forget(lease)
        if session.hello.protocol != "grpc":
            lease.release_by = self._clock.monotonic() + PLACE_GRACE_SECONDS
        if session.link is not None:
            session.link.cancel(lease, why, CANCEL_GRACE_SECONDS)
        self._changed(session)

    def end_cancelled(self, session: Session, lease: Lease) -> None:
        """The worker did not stop in time."""
        outcome = Outcome("Canceled", "Canceled", f"worker {session.key.name} did not stop in {CANCEL_GRACE_SECONDS:g} s")
        lease.state = LeaseState.RECORDING

        def step(run: TaskRun) -> TaskRunStatus:
            self.check(run, session, lease)
            return settle(run, lease.claim, outcome, self._clock.now(), 0.0)

        async def write() -> None:
            try:
                await self._until_written(lease, step)
            except (TransitionError, ApiStatusError) as error:
                logger.info("cancellation was not recorded", extra=fields(key=str(lease.key), error=error.message))
            self.take_away(session, lease, "the run was cancelled")

        self.spawn(write())

    # ---- inside

    def find(self, session: Session, uid: str, token: int) -> Lease | None:
        """What the worker holds of a run, if it is this lease of it."""
        lease = session.leases.get(uid)
        return lease if lease is not None and lease.fencing_token == token else None

    @staticmethod
    def check(run: TaskRun, session: Session, lease: Lease) -> None:
        """Raises `TransitionError` unless the worker holds the attempt under way."""
        task_states.check_claim(run.status, lease.claim, session.holder)

    def _forget(self, lease: Lease) -> None:
        held = self.held.get(lease.key)
        if held is not None and held[1] is lease:
            del self.held[lease.key]

    def _remember(self, lease: Lease) -> None:
        self._recorded[(lease.uid, lease.fencing_token)] = None
        if len(self._recorded) > RECORDED:
            del self._recorded[next(iter(self._recorded))]

    def _tell(self, session: Session, uid: str, token: int, accepted: bool, message: str) -> None:
        if session.link is not None:
            session.link.recorded(uid, token, accepted, message)
