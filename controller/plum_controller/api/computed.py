"""Watches of what is computed and not stored: sent when it is another than before.

    something has changed --at most once per PAUSE--> compute --differs from the last--> ADDED, then MODIFIED, with all of it

Nothing is computed while nothing changes, but for spans of time inside texts, which grow by themselves. Every event is complete,
so whoever comes back needs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from plum_controller.api.watch import Sink, WatchHub, WatchPlan, WatchStream, chunk
from plum_controller.resources.errors import ApiStatusError, internal

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Between two computations, however much changes."""
REST = 20.0
"""How many times as long as the computing took it rests: what is expensive is computed less often."""
SPAN_SECONDS = 15.0
"""How old a text may become that says how long something lasts."""
_encode = msgspec.json.Encoder().encode


class OwnLines(WatchStream):
    """A watch that writes its own lines. Subclasses subscribe in `open` and write with `_put`."""

    __slots__ = ("_task",)
    kind = "Event"

    def __init__(self, hub: WatchHub, plan: WatchPlan) -> None:
        super().__init__(hub, plan)
        self._task: asyncio.Task[None] | None = None

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        self._framed = sink.framed
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self._hub.add(self), self.end)
        self._task = loop.create_task(self._run(), name=f"watch-{self.kind}")

    async def _run(self) -> None:
        raise NotImplementedError

    def revision(self) -> str:
        """Where a resumed watch goes on; empty where there is no such place."""
        return ""

    def bookmark(self, *, initial: bool = False) -> None:
        if self._sink is not None and not self.ended:
            metadata = {"resourceVersion": self.revision()}
            self._put(b"BOOKMARK", _encode({"kind": self.kind, "apiVersion": "plum.dev/v1", "metadata": metadata}))

    def close(self) -> None:
        super().close()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _put(self, type_: bytes, value: bytes) -> None:
        sink = self._sink
        if sink is None or self.ended:
            return
        line = b'{"type":"%b","object":%b}\n' % (type_, value)
        sink.write(chunk(line) if self._framed else line)
        self._hub.metrics.watch_events += 1
        self._watch_buffer(sink)


class ComputedStream(OwnLines):
    """A watch of one answer."""

    __slots__ = ("_changed", "_compute", "_leave", "_subscribe")
    kind = "Explanation"

    def __init__(
        self,
        hub: WatchHub,
        plan: WatchPlan,
        compute: Callable[[], Awaitable[bytes]],
        subscribe: Callable[[Callable[[], None]], Callable[[], None]],
    ) -> None:
        """`subscribe` is given what to call when something changed, and answers with what ends that."""
        super().__init__(hub, plan)
        self._compute = compute
        self._subscribe = subscribe
        self._changed = asyncio.Event()
        self._leave: Callable[[], None] = lambda: None

    def open(self) -> None:
        self._leave = self._subscribe(self._changed.set)

    def close(self) -> None:
        self._leave()
        super().close()

    async def _run(self) -> None:
        last = b""
        while not self.ended:
            self._changed.clear()
            began = time.monotonic()
            try:
                value = await self._compute()
            except ApiStatusError as error:
                self.fail(error)
                return
            except Exception:
                logger.exception("what is watched could not be computed")
                self.fail(internal("it could not be computed; the server's log has more"))
                return
            if value != last:
                self._put(b"MODIFIED" if last else b"ADDED", value)
                last = value
            await asyncio.sleep(max(PAUSE_SECONDS, REST * (time.monotonic() - began)))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SPAN_SECONDS):
                    await self._changed.wait()
