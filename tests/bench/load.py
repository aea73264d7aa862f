"""A load generator that costs little: raw HTTP/1.1 on sockets and one epoll, one request in flight per connection.

    requests (prepared bytes) --> CONNECTIONS sockets --> count, latencies, first bad answer

It looks only at the status and `Content-Length`: on a machine of two cores, what it takes for itself the server's second
thread does not have (docs/adr/0049). It runs in a thread, beside an event loop that has nothing to do.
"""

from __future__ import annotations

import asyncio
import re
import select
import socket
import time
from collections.abc import Iterator
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
    generator_seconds: float = 0.0
    """Processor time of the generator itself."""

    @property
    def generator_us(self) -> float:
        """Microseconds of the generator per request."""
        return self.generator_seconds / self.count * 1e6 if self.count else 0.0

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.count / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Latency in milliseconds below which `share` (0 to 1) of the requests lie."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000


class _Connection:
    """Sends the next request as soon as the answer to the last one is whole."""

    __slots__ = ("buffer", "expected", "sent_at", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.expected = -1
        self.sent_at = 0.0

    def send(self, request: bytes) -> None:
        self.buffer, self.expected = b"", -1
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what has arrived; True when the answer is whole. Raises `RuntimeError` for one without a length."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise RuntimeError(f"connection lost after {self.buffer[:600]!r}")
        buffer = self.buffer = self.buffer + data if self.buffer else data
        if self.expected < 0:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            found = _LENGTH(buffer, 0, end)
            if found is None:
                raise RuntimeError(f"an answer without content-length: {buffer[:600]!r}")
            self.expected = end + 4 + int(found[1])
        return len(buffer) >= self.expected


_LENGTH = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE).search


def _run(address: tuple[str, int], requests: Iterator[bytes], count: int) -> Outcome:
    outcome, clock = Outcome(), time.perf_counter
    connections = {connection.socket.fileno(): connection for connection in [_Connection(address) for _ in range(count)]}
    poll = select.epoll()
    latencies = outcome.latencies
    started, busy = clock(), time.thread_time()
    waiting = 0
    try:
        for number, connection in connections.items():
            request = next(requests, None)
            if request is not None:
                poll.register(number, select.EPOLLIN)
                connection.send(request)
                waiting += 1
        while waiting:
            ready = poll.poll(30)
            if not ready:
                raise RuntimeError("no answer came for 30 seconds")
            for number, _ in ready:
                connection = connections[number]
                if not connection.receive():
                    continue
                latencies.append(clock() - connection.sent_at)
                if connection.buffer[9:10] != b"2":
                    outcome.failures.append(connection.buffer[:2000])
                request = next(requests, None)
                if request is None:
                    poll.unregister(number)
                    waiting -= 1
                else:
                    connection.send(request)
        outcome.seconds, outcome.generator_seconds = clock() - started, time.thread_time() - busy
    finally:
        poll.close()
        for connection in connections.values():
            connection.socket.close()
    outcome.count = len(latencies)
    return outcome


async def run_load(host: str, port: int, requests: Iterator[bytes], connections: int = CONNECTIONS) -> Outcome:
    """Send every request once over `connections` sockets. Raises `RuntimeError` when one was not answered with 2xx."""
    outcome = await asyncio.to_thread(_run, (host, port), requests, connections)
    if outcome.failures:
        raise RuntimeError(f"{len(outcome.failures)} bad answers, the first: {outcome.failures[0][:600]!r}")
    return outcome
