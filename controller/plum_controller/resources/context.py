"""What all parts of the resource service share: the store with its cache, the clock, locks on keys, ids and names."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from plum_controller.resources.errors import unavailable
from plum_controller.store.base import Key, Revision, Store, Transaction
from plum_controller.store.errors import StoreClosedError, StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from plum_controller.resources.registry import Registry
    from plum_controller.store.cache import WatchCache

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so no words; no digits that look like letters. Kubernetes' own."""
SUFFIX_LENGTH = 5
MAX_GENERATED_BASE = 58
"""Characters of a generateName that are kept: 63 less the suffix."""

RANDOM_PORTION = 4096
"""Bytes drawn at once."""

NO_MOMENT = datetime.fromtimestamp(0, UTC)


class Clock(Protocol):
    """What time it is: UTC and aware."""

    def now(self) -> datetime: ...


class KeyLocks:
    """Lets one write of a key go at a time.

    Two writes that start from the same version cannot both succeed, so letting them run together only makes work that is
    thrown away: 16 patches of one object would be computed 136 times. Other writers in other processes are still found by
    the store's preconditions.
    """

    def __init__(self) -> None:
        self._held: dict[Key, deque[asyncio.Future[None]] | None] = {}

    async def acquire(self, key: Key) -> None:
        if key not in self._held:
            self._held[key] = None
            return
        waiting = self._held[key]
        if waiting is None:
            waiting = self._held[key] = deque()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The turn may have come in the same moment: pass it on, or the key stays locked for ever.
            if turn.done() and not turn.cancelled():
                self.release(key)
            raise

    def try_acquire(self, key: Key) -> bool:
        """Acquire a key that nobody holds."""
        if key in self._held:
            return False
        self._held[key] = None
        return True

    def release(self, key: Key) -> None:
        waiting = self._held[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._held[key]


class Context:
    """Passed to every part. Holds no state of its own but the locks, the formatted time and unused random bytes."""

    def __init__(
        self,
        store: Store,
        cache: WatchCache,
        registry: Registry,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.store = store
        self.cache = cache
        self.registry = registry
        self.locks = KeyLocks()
        self._clock = clock
        self._random_bytes = random_bytes
        self._random = b""
        self._taken = 0
        self._second = NO_MOMENT
        self._next_second = NO_MOMENT
        self._timestamp = ""

    def now(self) -> str:
        """The time as objects carry it: RFC 3339 in whole seconds, `Z`."""
        moment = self._clock.now()
        if not self._second <= moment < self._next_second:
            self._second = moment.replace(microsecond=0)
            self._next_second = self._second + timedelta(seconds=1)
            self._timestamp = self._second.strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._timestamp

    def moment(self) -> datetime:
        """The time, exactly: UTC and aware."""
        return self._clock.now()

    def new_uid(self) -> str:
        """A random UUID, version 4."""
        digits = self._take(16).hex()
        variant = "89ab"[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"

    def _take(self, count: int) -> bytes:
        """Random bytes, drawn in large portions: each draw is a system call that gives Python's lock away."""
        if self._taken + count > len(self._random):
            self._random, self._taken = self._random_bytes(RANDOM_PORTION), 0
        start = self._taken
        self._taken = start + count
        return self._random[start : self._taken]

    def generate_name(self, base: str) -> str:
        number = int.from_bytes(self._take(8))
        suffix = ""
        for _ in range(SUFFIX_LENGTH):
            number, index = divmod(number, len(SUFFIX_ALPHABET))
            suffix += SUFFIX_ALPHABET[index]
        return base[:MAX_GENERATED_BASE] + suffix

    async def commit(self, transaction: Transaction) -> Revision:
        """Commit; the cache shows it when this returns. Raises `PreconditionError`, or `ApiStatusError` 503."""
        try:
            return await self.store.commit(transaction)
        except (StoreFullError, StoreUnavailableError, StoreClosedError) as error:
            raise self.refusal(error) from error

    def begin(self, transaction: Transaction) -> asyncio.Future[Revision]:
        """Commit without a task. What the future raises is for `refusal`. Raises `ApiStatusError` 503 at once."""
        try:
            return self.store.begin(transaction)
        except (StoreFullError, StoreUnavailableError, StoreClosedError) as error:
            raise self.refusal(error) from error

    @staticmethod
    def refusal(error: Exception) -> Exception:
        """What a writer is told of an error of the store: `ApiStatusError` 503 where trying again helps."""
        if isinstance(error, StoreFullError):
            return unavailable("the disk of the store is full; nothing was written. Free space and try again", 10)
        if isinstance(error, StoreUnavailableError | StoreClosedError):
            return unavailable(f"the store does not take writes now; nothing was written: {error}")
        return error
