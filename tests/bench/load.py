"""A load generator that costs little: raw HTTP/1.1 over asyncio, one request in flight per connection.

    requests (prepared bytes) --> CONNECTIONS sockets --> count, latencies, first bad answer

It parses only the status line and `Content-Length`, so that on a machine of two cores the server keeps one to itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

CONNECTIONS = 16


def request_bytes(method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
    """One whole request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


@dataclass(slots=True)
class Outcome:
    """What a run of requests gave."""

    count: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    """Seconds per request, in order of completion."""
    failures: list[bytes] = field(default_factory=list)
    """Whole answers that were not 2xx; a measurement with one of these is void."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.count / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Latency in milliseconds below which `share` (0 to 1) of the requests lie."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the answer to the last one is whole."""

    def __init__(self, next_request: Callable[[], bytes | None], outcome: Outcome, done: asyncio.Future[None]) -> None:
        self._next_request = next_request
        self._outcome = outcome
        self._done = done
        self._buffer = bytearray()
        self._expected = -1
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        request = self._next_request()
        if request is None:
            self._transport.close()
            if not self._done.done():
                self._done.set_result(None)
            return
        self._buffer.clear()
        self._expected = -1
        self._sent_at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        if self._expected < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(buffer[:end]).lower()
            at = head.find(b"content-length:")
            if at < 0:
                self._fail(b"no content-length: " + head)
                return
            self._expected = end + 4 + int(head[at + 15 :].split(b"\r", 1)[0])
        if len(buffer) < self._expected:
            return
        self._outcome.count += 1
        self._outcome.latencies.append(time.perf_counter() - self._sent_at)
        if buffer[9:10] != b"2":
            self._outcome.failures.append(bytes(buffer[:2000]))
        self._send()

    def _fail(self, why: bytes) -> None:
        self._outcome.failures.append(why)
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._outcome.failures.append(b"connection lost: " + repr(exc).encode())
            self._done.set_result(None)


async def run_load(host: str, port: int, requests: Iterator[bytes], connections: int = CONNECTIONS) -> Outcome:
    """Send every request once over `connections` sockets. Raises `RuntimeError` when one was not answered with 2xx."""
    loop = asyncio.get_running_loop()
    outcome = Outcome()
    futures = [loop.create_future() for _ in range(connections)]
    started = time.perf_counter()
    for done in futures:
        await loop.create_connection(lambda done=done: _Connection(lambda: next(requests, None), outcome, done), host, port)  # type: ignore[misc]
    await asyncio.gather(*futures)
    outcome.seconds = time.perf_counter() - started
    if outcome.failures:
        raise RuntimeError(f"{len(outcome.failures)} bad answers, the first: {outcome.failures[0][:600]!r}")
    return outcome
