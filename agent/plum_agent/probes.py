"""The probes of one run: each asks in a task of its own, and only changes of state are told.

    startup (until it succeeds) -> readiness and liveness, side by side -> ProbeState -> on_change -> reconcile

Nothing waits for a probe: neither the lease (another thread), nor other probes, nor the end of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from plum_schemas.durations import parse_duration
from plum_schemas.probes import Probe, Probes

from plum_agent.probe_actions import Execute, ask

EAGER_SECONDS = 0.05
"""First pause between the questions of a probe that waits for its first success."""


@dataclass(slots=True)
class ProbeState:
    """What the probes of one run found."""

    started: bool | None = None
    """The startup probe succeeded. None: not known yet."""
    ready: bool | None = None
    """None: not known yet; whoever shows it decides between "no" and what was known before."""
    failed: str = ""
    """Set once: which probe asks for the end of the run, and why."""
    message: str = ""
    """Why it is not ready."""


class Prober:
    """Runs the probes of one run from `start` to `stop`."""

    def __init__(
        self,
        probes: Probes,
        ports: Mapping[str, int],
        execute: Execute,
        on_change: Callable[[], None],
        ready_seconds: float | None = None,
    ) -> None:
        self.state = ProbeState()
        self._probes = probes
        self._ports = ports
        self._execute = execute
        self._on_change = on_change
        self._ready_seconds = ready_seconds
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, known_started: bool = False) -> None:
        """`known_started`: the run was adopted and had started before."""
        loop = asyncio.get_running_loop()
        if self._ready_seconds is not None:
            self.state.started = True
            if self._ready_seconds <= 0:
                self.state.ready = True
            else:
                self._tasks.append(loop.create_task(self._pretend(self._ready_seconds)))
            return
        if self._probes.startup is None or known_started:
            self._begin()
        else:
            self._tasks.append(loop.create_task(self._ask_startup(self._probes.startup)))

    def stop(self) -> None:
        """Ask no more. Safe to repeat."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def _begin(self) -> None:
        """The run has started: now it can become ready, and can be found dead."""
        self.state.started = True
        loop = asyncio.get_running_loop()
        if self._probes.readiness is None:
            self.state.ready = True
        else:
            self._tasks.append(loop.create_task(self._ask_readiness(self._probes.readiness)))
        if self._probes.liveness is not None:
            self._tasks.append(loop.create_task(self._ask_liveness(self._probes.liveness)))

    async def _pretend(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.state.ready = True
        self._on_change()

    async def _ask_startup(self, probe: Probe) -> None:
        async for good, why in self._answers(probe, eager=True):
            if good is not None:
                if good:
                    self._begin()
                else:
                    self.state.failed = f"startup probe failed {probe.failure_threshold} times: {why}"
                self._on_change()
                return
            self._tell(f"startup probe: {why}")

    async def _ask_readiness(self, probe: Probe) -> None:
        async for good, why in self._answers(probe, eager=True):
            if good is not None and self.state.ready is not good:
                self.state.ready, self.state.message = good, ""
                self._on_change()
            if why and not self.state.ready:
                self._tell(f"readiness probe: {why}")

    async def _ask_liveness(self, probe: Probe) -> None:
        async for good, why in self._answers(probe):
            if good is False:
                self.state.failed = f"liveness probe failed {probe.failure_threshold} times: {why}"
                self._on_change()
                return

    def _tell(self, message: str) -> None:
        if self.state.message != message:
            self.state.message = message
            self._on_change()

    async def _answers(self, probe: Probe, eager: bool = False) -> AsyncIterator[tuple[bool | None, str]]:
        """Each answer with what follows from it: True or False once a threshold is met, None before.

        An eager probe asks more often until its first success, so that a quick start is seen quickly; of its
        failures only one in each period counts. Periods go from question to question.
        """
        loop = asyncio.get_running_loop()
        period, timeout = parse_duration(probe.period), parse_duration(probe.timeout)
        streak = Streak(probe.success_threshold, probe.failure_threshold)
        pause = min(EAGER_SECONDS, period) if eager else period
        await asyncio.sleep(parse_duration(probe.initial_delay))
        counted_at = loop.time() - (0.0 if eager else period)
        while True:
            asked_at = loop.time()
            why = await ask(probe, self._ports, timeout, self._execute)
            good: bool | None = None
            if not why:
                pause = period
                good = streak.judge(True)
            elif pause >= period or asked_at - counted_at >= period:
                counted_at = asked_at
                good = streak.judge(False)
            yield good, why
            await asyncio.sleep(max(0.0, asked_at + pause - loop.time()))
            pause = min(pause * 1.5, period)


@dataclass(slots=True)
class Streak:
    """Counts equal answers in a row against the two thresholds."""

    success_threshold: int
    failure_threshold: int
    _good: bool | None = None
    _length: int = 0

    def judge(self, good: bool) -> bool | None:
        """The state after this answer, None while it is not decided (the state before goes on)."""
        self._length = self._length + 1 if good is self._good else 1
        self._good = good
        return good if self._length >= (self.success_threshold if good else self.failure_threshold) else None
