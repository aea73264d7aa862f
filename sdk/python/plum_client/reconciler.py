"""What a controller's author writes: `reconcile(key) -> Result`.

    change -> key -> reconcile -> Result.wait_for_change()      done until something changes
                               -> Result.requeue(after=30.0)    and again in 30 seconds at the latest

A reconcile reads everything, acts, writes the status if it differs. It is called with the key only, so a missed or
doubled event changes nothing; it must be correct when called twice, late, or after a crash between any two writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plum_schemas.base import ObjectKey


@dataclass(frozen=True, slots=True)
class Result:
    """When to reconcile the same key again, if nothing changes before. The newest result of a key replaces the one before."""

    after: float | None = None
    """Seconds; None: only when something changes."""

    @staticmethod
    def wait_for_change() -> Result:
        return _WAIT

    @staticmethod
    def requeue(after: float) -> Result:
        """Again after this many seconds, or at the next change if that comes first."""
        return Result(max(0.0, after))


_WAIT = Result()


class Reconciler(Protocol):
    """Drives one object one step closer to its spec."""

    async def reconcile(self, key: ObjectKey) -> Result:
        """May raise anything of `plum_client.errors`; the controller decides by type whether and when to retry."""
