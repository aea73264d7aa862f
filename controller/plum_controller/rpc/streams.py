"""What the two gRPC protocols have in common: an outbox, a reader, and the end of a stream.

    Link methods -> outbox -> writer -> worker
    worker -> reader -> handle(message)              whatever ends first ends both

A worker that does not read gets nothing more once its outbox is full: it is cut, and comes back with what it holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from plum_controller.resources.errors import ApiStatusError

OUTBOX = 10_000
"""Messages that wait for a worker to read them."""
MESSAGES_PER_SECOND = 2_000
"""Of one worker, with as many in a burst. More is an error in the worker."""
CODES = {401: grpc.StatusCode.UNAUTHENTICATED, 403: grpc.StatusCode.PERMISSION_DENIED, 429: grpc.StatusCode.RESOURCE_EXHAUSTED,
         503: grpc.StatusCode.UNAVAILABLE}  # fmt: skip


class EndOfStreamError(Exception):
    """The stream ends with this status."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def end_of(error: ApiStatusError) -> EndOfStreamError:
    """The status of a stream that was refused."""
    return EndOfStreamError(CODES.get(error.code, grpc.StatusCode.INVALID_ARGUMENT), error.message)


class Outbox:
    """Messages to one worker, in order. Putting one in never waits."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._end: EndOfStreamError | None = None

    def put(self, message: Any) -> None:
        if self._end is not None:
            return
        if self._queue.qsize() >= OUTBOX:
            self.end(grpc.StatusCode.RESOURCE_EXHAUSTED, "the worker does not read what it is sent")
            return
        self._queue.put_nowait(message)

    def end(self, code: grpc.StatusCode, message: str) -> None:
        """Send what is there, then end the stream. Only the first end counts."""
        if self._end is None:
            self._end = EndOfStreamError(code, message)
            self._queue.put_nowait(None)

    async def write_to(self, context: Any) -> None:
        """Until the end. Raises `EndOfStreamError`."""
        while True:
            message = await self._queue.get()
            if message is None:
                assert self._end is not None  # noqa: S101  put by end
                raise self._end
            await context.write(message)


class Pace:
    """How fast a worker may send."""

    def __init__(self, per_second: float = MESSAGES_PER_SECOND) -> None:
        self._per_second = per_second
        self._left = per_second
        self._at = asyncio.get_running_loop().time()

    def take(self) -> None:
        """Raises `EndOfStreamError` for too much."""
        now = asyncio.get_running_loop().time()
        self._left = min(self._per_second, self._left + (now - self._at) * self._per_second)
        self._at = now
        if self._left < 1:
            raise EndOfStreamError(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {self._per_second:.0f} messages per second")
        self._left -= 1


async def serve(context: Any, outbox: Outbox, handle: Callable[[Any], None]) -> None:
    """Read and write until the worker, or we, end it. Raises `EndOfStreamError` for an end of ours."""
    pace = Pace()

    async def read() -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            pace.take()
            handle(message)

    await _first_of(read(), outbox.write_to(context))


async def _first_of(*works: Awaitable[None]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def token_in(context: Any) -> str:
    """The bearer token of a call's metadata; empty if there is none."""
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            scheme, _, token = text.strip().partition(" ")
            return token.strip() if scheme.lower() == "bearer" else "?"
    return ""


def peer_of(context: Any) -> str:
    """The address of the other side, without its port."""
    peer = str(context.peer())
    kind, _, rest = peer.partition(":")
    return rest.rpartition(":")[0] if kind in ("ipv4", "ipv6") else peer
