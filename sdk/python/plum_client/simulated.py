"""Faked time for a whole program: an event loop whose clock jumps when nothing is left to do at the present moment.

    run_simulated(main, seed=7)
      SimulatedLoop    time() is virtual: `asyncio.sleep(3600)` takes microseconds and the order of events is kept
      SimulatedClock   the same time as a `Clock`, for timestamps and leases

The same program with the same seed takes the same steps, as long as it does no real input and output, asks no real
clock, and iterates over no set (or runs with PYTHONHASHSEED fixed). Several such loops may run in threads of their own,
beside a real one. Work given to threads is waited for in real time while the virtual clock stands still.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike

R = TypeVar("R")

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)
INSTANT = 1e-6
"""Seconds. A sleep of this length ends when everything of the present moment is done."""


class SimulationStalledError(RuntimeError):
    """Every task waits for another one and no timer is set: real time would never end this either."""


class _JumpingSelector(selectors.BaseSelector):
    """Never waits for a time: where asyncio would wait, it moves the clock."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.now = 0.0
        self.threads = 0
        """Calls that run in threads now."""

    def register(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: FileDescriptorLike, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.threads:
            return self._real.select(0 if timeout is not None and timeout <= 0 else None)
        if timeout is None:
            ready = self._real.select(0)
            if not ready:
                raise SimulationStalledError("nothing is left to do, and the main task is not finished")
            return ready
        if timeout > 0:
            self.now += timeout
        return []

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[FileDescriptorLike, selectors.SelectorKey]:
        return self._real.get_map()


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time, starting at 0, and a seeded source of chance."""

    def __init__(self, seed: int = 0) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self.seed = seed
        self.random = Random(seed)  # noqa: S311  repeatable on purpose

    def time(self) -> float:
        return self._jumping.now

    def run_in_executor(  # type: ignore[override]  # typeshed says Callable[[Unpack[Ts]], T]
        self, executor: Executor | None, func: Callable[..., R], *args: Any
    ) -> asyncio.Future[R]:
        future = super().run_in_executor(executor, func, *args)
        self._jumping.threads += 1
        future.add_done_callback(self._thread_ended)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Waits for threads too, in real time."""
        self._jumping.threads += 1
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self._jumping.threads -= 1

    def _thread_ended(self, future: asyncio.Future[Any]) -> None:
        self._jumping.threads -= 1


class SimulatedClock:
    """The time of a `SimulatedLoop` as a clock. `skew_seconds` gives one participant a wrong wall clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: datetime = DEFAULT_START, skew_seconds: float = 0.0) -> None:
        self._loop = loop
        self._start = start + timedelta(seconds=skew_seconds)

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()


async def settle() -> None:
    """Return when everything that can happen at the present virtual moment has happened."""
    await asyncio.sleep(INSTANT)


def run_simulated(main: Coroutine[Any, Any, R] | Callable[[SimulatedLoop], Coroutine[Any, Any, R]], seed: int = 0) -> R:
    """Run to the end under virtual time. Raises `SimulationStalledError` instead of hanging.

    `main` is a coroutine, or a function that makes one from the loop (for its clock and its chance).
    """
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(seed)) as runner:
        if not callable(main):
            return runner.run(main)
        loop = runner.get_loop()
        assert isinstance(loop, SimulatedLoop)  # noqa: S101  the factory above made it
        return runner.run(main(loop))
