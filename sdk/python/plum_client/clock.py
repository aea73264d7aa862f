"""The clock as an argument, so that a whole fleet can run under faked time.

    SystemClock                          programs
    plum_client.simulated.SimulatedClock simulations, `plum plan`, tests

Waiting is not here: `asyncio.sleep` and timers follow the time of the running event loop.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """UTC and aware. For people and for objects; it may jump."""

    def monotonic(self) -> float:
        """Seconds since any start. Never jumps: for leases, timeouts and backoff."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def to_timestamp(moment: datetime) -> str:
    """RFC 3339 with whole seconds, as the API writes `creationTimestamp`: `2026-01-31T08:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
