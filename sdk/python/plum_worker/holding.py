"""The attempts that a worker holds, from assignment to the word that their result is recorded. They outlive every stream.

    Assignment -> Acknowledge -> Execution -> Result, kept and repeated until Recorded
                                     ^ Cancel, timeout, lost: told to stop

All methods are for the event loop of the connection; functions run elsewhere (`attempts`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from google.protobuf.duration_pb2 import Duration
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb

from plum_worker.attempts import Ending, Execution, stopped
from plum_worker.context import Context
from plum_worker.functions import TaskFunction

logger = logging.getLogger("plum_worker")

STOP_SECONDS = 5.0
"""For a function to return after its time was over; the attempt ends then without it."""
PROGRESS_SECONDS = 0.2
"""Between two messages about the progress of one attempt."""
STOPS = "the worker stops"
"""Why attempts are cancelled that are given back."""

Pair = tuple[str, int]


class Send(Protocol):
    """Sends one message to the controller; lost when there is no stream."""

    def __call__(self, **message: Any) -> None: ...


@dataclass(slots=True, eq=False)
class Held:
    """One attempt that this worker holds."""

    assignment: pb.Assignment
    context: Context
    execution: Execution
    started: bool = False
    result: pb.Result | None = None
    """What is handed in until it is recorded."""
    timer: asyncio.TimerHandle | None = None
    progress: tuple[float, str] | None = None
    progress_timer: asyncio.TimerHandle | None = None

    @property
    def pair(self) -> Pair:
        return self.assignment.lease.run_uid, self.assignment.lease.fencing_token


class Holding:
    """Everything that one worker holds."""

    def __init__(
        self, functions: Mapping[str, TaskFunction], capacity: int, user_loop: asyncio.AbstractEventLoop, send: Send
    ) -> None:
        """`user_loop` is where coroutine functions run."""
        self.settled = asyncio.Event()
        """Nothing is held."""
        self.settled.set()
        self.draining = False
        self._functions = functions
        self._capacity = capacity
        self._user_loop = user_loop
        self._send = send
        self._held: dict[str, Held] = {}
        """By uid of the run."""
        self._busy = 0
        """Functions that have not returned, also those whose attempt is over."""

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._held.values()))

    async def break_off(self) -> None:
        """Tell all that still run to stop, and give back what then has no result."""
        for held in self:
            if held.result is None:
                held.context.cancellation.cancel(STOPS)
        if self._held:
            await asyncio.sleep(0.2)  # coroutines end at once
        for held in self:
            if held.result is None or held.result.outcome == pb.OUTCOME_CANCELED:
                self._send(release=pb.Release(lease=held.assignment.lease, reason="WorkerStopped"))

    # ---- what the controller says

    def canceled(self, cancel: pb.Cancel) -> None:
        """Somebody wants the attempt to stop."""
        held = self._find(cancel.lease)
        if held is not None:
            held.context.cancellation.cancel(cancel.reason or "cancelled")
            if not held.started:
                self._finished(held, stopped(held.context), ran=False)

    def recorded(self, recorded: pb.Recorded) -> None:
        """The result is on disk, or not wanted: it is handed in no more."""
        held = self._find(recorded.lease)
        if held is not None:
            self._drop(held)
            if not recorded.accepted:
                extra = {"run": held.assignment.run_name, "why": recorded.message}
                logger.warning("result was not taken", extra=extra)

    def assigned(self, assignment: pb.Assignment) -> None:
        """A run for this worker, if it can take it."""
        function = self._functions.get(assignment.task)
        if function is None or self.draining or self._busy >= self._capacity:
            reason = "UnknownTask" if function is None else "Draining" if self.draining else "NoPlace"
            self._send(release=pb.Release(lease=assignment.lease, reason=reason))
            return
        uid = assignment.lease.run_uid
        if uid in self._held:  # an earlier lease of the same run, which this one ends
            self.lost(self._held[uid].assignment.lease)
        timeout = seconds_of(assignment.timeout) if assignment.HasField("timeout") else None
        context = Context(
            task=assignment.task,
            run_name=assignment.run_name,
            namespace=assignment.namespace,
            attempt=assignment.attempt,
            idempotency_key=assignment.idempotency_key,
            timeout=timeout,
            priority=assignment.priority,
            labels=assignment.labels,
            traceparent=assignment.traceparent,
            report=lambda fraction, text: self._from_outside(self._progressed, held, fraction, text),
        )
        execution = Execution(
            function, assignment.payload, context, lambda ending: self._from_outside(self._finished, held, ending)
        )
        held = Held(assignment, context, execution)
        self._held[uid] = held
        self.settled.clear()
        self._loop = asyncio.get_running_loop()
        if timeout is not None:
            held.timer = self._loop.call_later(timeout, self._timed_out, held)
        self._send(acknowledge=pb.Acknowledge(lease=assignment.lease))
        if not assignment.at_most_once:
            self._start(held)

    def _from_outside(self, method: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the connection has ended
            self._loop.call_soon_threadsafe(method, *arguments)

    def _start(self, held: Held) -> None:
        held.started = True
        self._busy += 1
        held.execution.start(self._user_loop)

    def confirmed(self, lease: pb.LeaseKey) -> None:
        """The controller knows that we hold it: an at-most-once attempt may begin."""
        held = self._find(lease)
        if held is not None and not held.started and held.result is None:
            self._start(held)

    def _finished(self, held: Held, ending: Ending, ran: bool = True) -> None:
        if ran:
            self._busy -= 1
        if self._held.get(held.pair[0]) is not held or held.result is not None:
            return  # it was over before
        held.result = _result(held, ending)
        if self.draining and ending.outcome == "CANCELED" and held.context.cancellation.reason == STOPS:
            return  # given back, by `stop`
        self._send(result=held.result)

    def _timed_out(self, held: Held) -> None:
        if self._held.get(held.pair[0]) is not held or held.result is not None:
            return
        limit = seconds_of(held.assignment.timeout)
        held.context.cancellation.cancel(f"attempt {held.assignment.attempt} took longer than {limit:g} s", is_timeout=True)
        if not held.started:
            self._finished(held, stopped(held.context), ran=False)
            return
        held.timer = self._loop.call_later(STOP_SECONDS, self._give_up, held)

    def _give_up(self, held: Held) -> None:
        if self._held.get(held.pair[0]) is held and held.result is None:
            logger.warning("task does not stop, its place stays taken", extra={"run": held.assignment.run_name})
            self._finished(held, stopped(held.context), ran=False)

    def _progressed(self, held: Held, fraction: float, text: str) -> None:
        held.progress = (fraction, text)
        if held.progress_timer is None:
            self._send_progress(held)
            held.progress_timer = self._loop.call_later(PROGRESS_SECONDS, self._progress_again, held)

    def _progress_again(self, held: Held) -> None:
        held.progress_timer = None
        if held.progress is not None and held.result is None:
            self._progressed(held, *held.progress)

    def _send_progress(self, held: Held) -> None:
        if held.progress is not None and held.result is None:
            fraction, text = held.progress
            held.progress = None
            self._send(progress=pb.Progress(lease=held.assignment.lease, fraction=fraction, message=text))

    def lost(self, lease: pb.LeaseKey) -> None:
        """Another worker has it, or the run has ended: stop, and hand nothing in."""
        held = self._find(lease)
        if held is not None:
            self._drop(held)
            held.context.cancellation.cancel("the lease was lost")
            logger.warning("lease was lost", extra={"run": held.assignment.run_name, "attempt": held.assignment.attempt})

    def _drop(self, held: Held) -> None:
        self._held.pop(held.pair[0], None)
        for timer in (held.timer, held.progress_timer):
            if timer is not None:
                timer.cancel()
        if not self._held:
            self.settled.set()

    def _find(self, lease: pb.LeaseKey) -> Held | None:
        held = self._held.get(lease.run_uid)
        return held if held is not None and held.pair[1] == lease.fencing_token else None


def _result(held: Held, ending: Ending) -> pb.Result:
    result = pb.Result(
        lease=held.assignment.lease,
        outcome=pb.Outcome.Value(f"OUTCOME_{ending.outcome}"),
        output=ending.output,
        log_tail=held.context.logger.tail,
    )
    if ending.outcome != "SUCCEEDED":
        failure = pb.Failure(reason=ending.reason, message=ending.message, permanent=ending.permanent)
        if ending.retry_after is not None:
            failure.retry_after.CopyFrom(duration_of(ending.retry_after))
        result.failure.CopyFrom(failure)
    return result


def seconds_of(duration: Duration) -> float:
    """As a number."""
    return float(duration.seconds + duration.nanos / 1e9)


def duration_of(seconds: float) -> Duration:
    """As a message."""
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
