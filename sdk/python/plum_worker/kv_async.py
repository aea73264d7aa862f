"""The key-value store for coroutines: reads out of memory at once, everything that waits in a thread.

async with AsyncKV("line-1") as kv:
    await kv.put("level", 80)
    kv.get("level", 0)                       # out of memory
    async for change in kv.changes("alarm/"):
        ...
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from plum_worker.kv import KV, Entry, Kind
from plum_worker.kv_cache import Change
from plum_worker.kv_lock import Lock


class AsyncKV:
    """One namespace. `async with` begins and ends it; what it does is described at `KV`."""

    def __init__(self, namespace: str = "", **options: Any) -> None:
        """The arguments of `KV`."""
        self._make = lambda: KV(namespace, **options)
        self._kv: KV | None = None

    async def __aenter__(self) -> AsyncKV:
        self._kv = await asyncio.to_thread(self._make)
        if self._kv.mode != "disabled":
            await asyncio.to_thread(self._kv.keys)  # the first look; from then on reads do not wait
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.kv.close)

    @property
    def kv(self) -> KV:
        """The same for threads."""
        if self._kv is None:
            raise RuntimeError("use it in a block: async with AsyncKV(...) as kv")
        return self._kv

    def get(self, key: str, default: Any = None) -> Any:
        """Out of memory. With syncing disabled it asks the controller and blocks the loop; use `fresh` there."""
        return self.kv.get(key, default)

    def entry(self, key: str) -> Entry | None:
        return self.kv.entry(key)

    async def fresh(self, key: str) -> Entry | None:
        return await asyncio.to_thread(self.kv.fresh, key)

    async def keys(self, prefix: str = "") -> list[str]:
        return await asyncio.to_thread(self.kv.keys, prefix)

    async def items(self, prefix: str = "") -> list[tuple[str, Any]]:
        return await asyncio.to_thread(self.kv.items, prefix)

    async def put(self, key: str, value: Any, type: Kind = "", **demands: Any) -> int:
        return await asyncio.to_thread(self.kv.put, key, value, type, **demands)

    async def delete(self, key: str, **demands: Any) -> int:
        return await asyncio.to_thread(self.kv.delete, key, **demands)

    async def add(self, key: str, by: float = 1, *, lock: Lock | None = None) -> Any:
        return await asyncio.to_thread(self.kv.add, key, by, lock=lock)

    async def update(self, key: str, change: Callable[[Any], Any], type: Kind = "", *, lock: Lock | None = None) -> Any:
        return await asyncio.to_thread(self.kv.update, key, change, type, lock=lock)

    async def batch(self, put: Mapping[str, Any] | None = None, delete: Sequence[str] = ()) -> int:
        return await asyncio.to_thread(self.kv.batch, put, delete)

    async def txn(self, compare: Sequence[Any] = (), then: Sequence[Any] = (), otherwise: Sequence[Any] = ()) -> dict[str, Any]:
        return await asyncio.to_thread(self.kv.txn, compare, then, otherwise)

    async def flush(self, timeout: float = 30.0) -> bool:
        return await asyncio.to_thread(self.kv.flush, timeout)

    @asynccontextmanager
    async def lock(self, name: str, ttl: str = "30s", wait: float = 60.0, holder: str = "") -> AsyncIterator[Lock]:
        held = self.kv.lock(name, ttl, wait, holder)
        await asyncio.to_thread(held.acquire)
        try:
            yield held
        finally:
            await asyncio.to_thread(held.release)

    async def changes(self, prefix: str = "") -> AsyncIterator[Change]:
        """Changes of keys that begin so, from now on."""
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[Change]()

        def told(change: Change) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, change)

        with self.kv.subscribe(told, prefix):
            while True:
                yield await queue.get()
