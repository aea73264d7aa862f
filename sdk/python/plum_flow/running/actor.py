"""One run that goes on: events come in, decisions are stored, then carried out.

    inbox --decide--> rows, folds --one transaction--> on disk --> effects --> ... --> inbox

What arrives while a transaction is being written is decided together and stored with the next one. When the store refuses,
the run in memory is ahead of the disk: it is thrown away and loaded again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec
from plum_client.clock import Clock
from plum_schemas.base import ObjectKey
from plum_schemas.workflowrun import WorkflowRunSpec

from plum_flow.expressions import Redactor
from plum_flow.running.journal import Journal, space_of
from plum_flow.workflow import phases
from plum_flow.workflow.decide import decide
from plum_flow.workflow.messages import Ask, Begin, Changes, Done, Effect, Event, SetState, Tick
from plum_flow.workflow.rows import encode
from plum_flow.workflow.state import Run

logger = logging.getLogger(__name__)

MAX_OUTPUT_BYTES = 1 << 20
"""Of the output of a node as JSON."""
EVENTS_AT_ONCE = 500
"""Decided before they are stored: more would keep the loop for too long."""


StoreStep = Callable[["Actor", Mapping[str, bytes], Changes], Awaitable[None]]
"""Rows and folds of a decision, on disk when this returns."""


class Carrier(Protocol):
    """What carries out effects and hears how the run goes."""

    def carry_out(self, actor: Actor, effect: Effect) -> None:
        """Start it; its end is told to the actor. Must not block."""

    def stored(self, actor: Actor, changes: Changes, rows: Mapping[str, bytes]) -> None:
        """These rows are on disk now."""

    def moved(self, actor: Actor) -> None:
        """Something was stored: the status may differ."""

    def broken(self, actor: Actor, error: Exception) -> None:
        """The store refused: forget this actor and load the run again."""


class Actor:
    """Drives one run."""

    def __init__(
        self,
        carrier: Carrier,
        journal: Journal,
        clock: Clock,
        key: ObjectKey,
        run: Run,
        spec: WorkflowRunSpec,
        store: StoreStep | None = None,
    ) -> None:
        """`store` writes a step down with what goes out with it; without it the journal does."""
        self.key = key
        self.run = run
        self.spec = spec
        self.redactor: Redactor | None = None
        """Hides values of secrets; set before the first node starts if the definition names any."""
        self.under_way: dict[tuple[str, int], asyncio.Task[None]] = {}
        """What is being carried out in this process."""
        self.closed = False
        self.ended = asyncio.Event()
        """The run has ended, and that is on disk. Also set when the actor is closed."""
        if run.is_done:
            self.ended.set()
        self._carrier = carrier
        self._journal = journal
        self._store = store
        self._clock = clock
        self._inbox: deque[Callable[[], Event]] = deque()
        self._work: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._space = space_of(run.uid)

    # ---- events

    def begin(self) -> None:
        """Start the run, or carry out again what a loaded one had asked for."""
        self._put(lambda: Begin(self._clock.now()))

    def steer(self, spec: WorkflowRunSpec) -> None:
        """Take in what people asked for in `spec`."""
        self.spec = spec
        if spec.state == "Canceled" or (spec.state == "Paused") is not self.run.row.paused:
            self._put(lambda: SetState(spec.state, self._clock.now()))
        for number in range(self.run.row.commands, len(spec.commands)):
            command = spec.commands[number]
            self._put(lambda number=number, command=command: Ask(command, number + 1, self._clock.now()))  # type: ignore[misc]

    def done(
        self,
        key: str,
        attempt: int,
        phase: str,
        output: Any = None,
        reason: str = "",
        message: str = "",
        *,
        retryable: bool = True,
    ) -> None:
        """What an effect asked for has ended."""
        if self.redactor:
            output, message = self.redactor(output), self.redactor(message)
        if output is not None and phase == phases.SUCCEEDED and not _is_small(output) and not _fits(output):
            phase, reason, retryable = phases.FAILED, "OutputTooLarge", False
            output, message = None, f"the output has more than {MAX_OUTPUT_BYTES} bytes as JSON"
        self._put(lambda: Done(key, attempt, phase, self._clock.now(), output, reason, message, retryable))

    def close(self) -> None:
        """Stop without a trace: the rows say how to go on. Safe to repeat."""
        self.closed = True
        self.ended.set()
        self._inbox.clear()
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self.under_way.values()):
            task.cancel()
        if self._work is not None and self._work is not asyncio.current_task():
            self._work.cancel()

    # ---- inside

    def _put(self, make: Callable[[], Event]) -> None:
        if self.closed:
            return
        self._inbox.append(make)
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._run(), name=f"run-{self.key.name}")

    async def _run(self) -> None:
        try:
            while self._inbox or self.run.changes:
                for _ in range(min(len(self._inbox), EVENTS_AT_ONCE)):
                    decide(self.run, self._inbox.popleft()())
                changes = self.run.take()
                rows = {key: encode(row) for key, row in changes.rows.items()}
                if self._store is not None:
                    await self._store(self, rows, changes)
                elif rows or changes.folds:
                    await self._journal.commit(self._space, rows, changes.folds)
                self._carrier.stored(self, changes, rows)
                for effect in changes.effects:
                    self._carrier.carry_out(self, effect)
                self._set_timer()
                if self.run.is_done:
                    self.ended.set()
                if changes.rows or changes.folds:
                    self._carrier.moved(self)
        except Exception as error:
            self.close()
            self._carrier.broken(self, error)

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.run.next_due
        if due is not None and not self.closed:
            seconds = max(0.0, (due - self._clock.now()).total_seconds())
            self._timer = asyncio.get_running_loop().call_later(min(seconds, 86_400.0), self._tick)

    def _tick(self) -> None:
        self._put(lambda: Tick(self._clock.now()))


def _is_small(output: Any) -> bool:
    return isinstance(output, int | float | bool) or (isinstance(output, str) and len(output) < MAX_OUTPUT_BYTES // 8)


def _fits(output: Any) -> bool:
    return len(msgspec.json.encode(output)) <= MAX_OUTPUT_BYTES
