"""Instances without processes: thousands of them in one agent, for simulations and benchmarks.

    plum agent --driver fake --count 50 --fake start=20ms,ready=100ms,crash-rate=0.001

A run is one record and at most one timer. It behaves as the process driver does (the same contract suite runs over
both), except that runs end with the agent and that probes are not asked. A template steers its runs by variables:
FAKE_EXIT_AFTER (seconds), FAKE_EXIT_CODE, FAKE_IGNORE_STOP=1.
"""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from plum_client.clock import Clock, SystemClock
from plum_schemas.durations import parse_duration
from plum_schemas.template import Template

from plum_agent.drivers.base import Command, CommandRequest, Exit, Handle, Launch, Run, Started
from plum_agent.errors import RefusedError, StartError


@dataclass(frozen=True, slots=True)
class FakeOptions:
    """How fake runs behave. Times in seconds."""

    start: float = 0.0
    """From the start to a running process."""
    ready: float = 0.0
    """From then to ready."""
    stop: float = 0.0
    """From the stop signal to the end."""
    crash_rate: float = 0.0
    """Crashes of one run per second, on average."""
    fail_rate: float = 0.0
    """Share of starts that fail, 0 to 1."""

    @staticmethod
    def parse(text: str) -> FakeOptions:
        """`start=20ms,ready=1s,stop=50ms,crash-rate=0.01,fail-rate=0.1`. Raises `ValueError`."""
        values: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, equals, value = part.partition("=")
            name = name.strip().replace("-", "_")
            if not equals or name not in FakeOptions.__dataclass_fields__:
                raise ValueError(f"{part!r} is no option of the fake driver; use start, ready, stop, crash-rate or fail-rate")
            values[name] = float(value) if name.endswith("rate") else parse_duration(value)
        return FakeOptions(**values)


@dataclass(slots=True)
class _FakeRun:
    """One run: alive until `exit` is set."""

    handle: Handle
    ignores_stop: bool
    timer: asyncio.TimerHandle | None = None
    exit: Exit | None = None
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class FakeDriver:
    """Pretends. One for all nodes that an agent process serves."""

    runtimes: tuple[str, ...] = ("process", "container")
    keeps_runs = False

    def __init__(self, options: FakeOptions | None = None, clock: Clock | None = None, random: Random | None = None) -> None:
        self.options = options or FakeOptions()
        self.ready_seconds: float | None = self.options.ready
        self._clock = clock or SystemClock()
        self._random = random or Random()  # noqa: S311 -- simulated crashes
        self._runs: dict[str, _FakeRun] = {}
        self._pid = 0

    def __len__(self) -> int:
        """Runs that are alive."""
        return sum(1 for run in self._runs.values() if run.exit is None)

    def check(self, template: Template) -> None:
        """Everything can be pretended."""

    async def start(self, launch: Launch) -> Started:
        if self.options.start:
            await asyncio.sleep(self.options.start)
        if self.options.fail_rate and self._random.random() < self.options.fail_rate:
            raise StartError("the fake driver was told to fail some starts")
        marker = launch.run.marker
        known = self._runs.get(marker)
        if known is not None and known.exit is None:
            raise StartError(f"run {marker} is running already")
        self._pid += 1
        now = self._clock.now().timestamp()
        handle = Handle(boot_id="fake", pid=self._pid, start_ticks=self._pid, started_at=now)
        run = _FakeRun(handle, bool(launch.environment.get("FAKE_IGNORE_STOP")))
        self._runs[marker] = run
        code = int(launch.environment.get("FAKE_EXIT_CODE", "0"))
        after = launch.environment.get("FAKE_EXIT_AFTER")
        if after is not None:
            self._later(float(after), run, lambda: self._end(run, code))
        elif self.options.crash_rate:
            self._later(self._random.expovariate(self.options.crash_rate), run, lambda: self._end(run, code or 1))
        return Started(run.handle)

    async def find(self, run: Run) -> Handle | Exit | None:
        known = self._runs.get(run.marker)
        return None if known is None else known.exit or known.handle

    async def wait(self, run: Run, handle: Handle) -> Exit:
        known = self._runs.get(run.marker)
        if known is None:
            return Exit(None, "", self._clock.now().timestamp())
        while known.exit is None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            known.waiters.append(waiter)
            await waiter
        return known.exit

    async def signal(self, run: Run, handle: Handle, signal: int) -> None:
        known = self._runs.get(run.marker)
        if known is None or known.exit is not None:
            return
        if signal == signals.SIGKILL:
            self._end(known, 128 + signal, signal)
        elif not known.ignores_stop:
            self._later(self.options.stop, known, lambda: self._end(known, 128 + signal, signal))

    async def kill(self, run: Run, handle: Handle | None) -> None:
        known = self._runs.get(run.marker)
        if known is not None and known.exit is None:
            self._end(known, 128 + signals.SIGKILL, signals.SIGKILL)

    async def execute(self, launch: Launch, command: tuple[str, ...], timeout_seconds: float) -> int:
        return 0

    async def open_command(self, launch: Launch, request: CommandRequest) -> Command:
        raise StartError("a fake run has nothing that a command could run beside")

    async def connect(self, run: Run, handle: Handle, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        raise RefusedError("NotListening", "a fake run listens on no port")

    async def end_commands(self, prefix: str) -> None:
        """There are none."""

    async def list_markers(self, prefix: str) -> list[str]:
        return [marker for marker, run in self._runs.items() if run.exit is None and marker.startswith(prefix)]

    async def release(self, run: Run) -> None:
        self._runs.pop(run.marker, None)

    async def close(self) -> None:
        for run in self._runs.values():
            if run.timer is not None:
                run.timer.cancel()

    def _later(self, seconds: float, run: _FakeRun, then: Callable[[], None]) -> None:
        if run.timer is not None:
            run.timer.cancel()
        if seconds <= 0:
            then()
        else:
            run.timer = asyncio.get_running_loop().call_later(seconds, then)

    def _end(self, run: _FakeRun, code: int, number: int = 0) -> None:
        if run.exit is not None:
            return
        name = signals.Signals(number).name if number else ""
        run.exit = Exit(code, name, self._clock.now().timestamp(), started_at=run.handle.started_at)
        for waiter in run.waiters:
            if not waiter.done():
                waiter.set_result(None)
        run.waiters.clear()
