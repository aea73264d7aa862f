"""How long to wait before trying again."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random

MAX_BACKOFF = 60.0
"""Seconds. Long enough to spare a broken server, short enough to watch."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waiting times that grow by a factor up to a bound, spread at random so that many clients do not return at once."""

    initial: float = 0.01
    """Seconds after the first failure."""
    factor: float = 2.0
    maximum: float = MAX_BACKOFF
    """Seconds."""
    jitter: float = 0.2
    """Share of the time that is random: 0.2 gives 80 to 100 %."""

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after that many failures in a row."""
        exponent = min(failures - 1, 64)
        return min(self.maximum, self.initial * self.factor**exponent) * (1.0 - self.jitter * random.random())


class Pause:
    """A wait between two attempts that ends early when there is reason to believe that the next one works."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        self._over.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._over.wait()

    def end(self) -> None:
        """Go on now. Does nothing when nobody waits."""
        self._over.set()


FAST = Backoff(initial=0.002, maximum=1.0)
"""For a stale read: it is right again as soon as the watch has caught up."""
SLOW = Backoff(initial=0.05, maximum=30.0)
"""For a server that does not answer."""
