"""The way to one server: how good it is, how long to wait on it, and whether it is worth trying now.

    request -> Link.enter -> transport -> answered(seconds) | failed
                  |                           |
                  |                           +-> smoothed times -> timeout; losses and bytes -> figures
                  +-- Closed: go
                      Open:   refused at once, nothing is sent      after a pause that grows, with jitter: Probing
                      Probing: one request goes, the others wait for what becomes of it

One link is shared by everything in a program that asks this server, so a hundred callers do not find out one by one that it
is away. Nothing here does I/O; the clock is an argument.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import NoReturn

from plum_client.backoff import Backoff
from plum_client.errors import LinkOpenError

FAILURES = 3
"""Failures in a row, with no answer to anything between them, after which nothing is tried but a probe."""
PROBES = Backoff(initial=0.25, maximum=5.0, jitter=0.5)
"""Pauses before a probe. Half of it is random: agents that lost the same server come back one after the other."""
LEAST_TIMEOUT = 10.0
"""Seconds. A server that is flooded after an outage takes this long and is not dead: giving up on it would be more flood."""
CALMING = 0.9
"""What an answer leaves of the patience that timeouts have taught."""
DEVIATIONS = 8.0
"""How far beyond the usual an answer may be late. Lost packets are sent again after 0.2 s, 0.4 s, 0.8 s: three times in a row."""
_GAIN, _GAIN_DEVIATION = 1 / 8, 1 / 4
"""Weights of a new sample in the smoothed time and its deviation, as TCP has them (RFC 6298)."""
_TCP_INFO = struct.Struct("=68xI28xI52xI")
"""Of the kernel's `struct tcp_info`: `tcpi_rtt` in microseconds, `tcpi_total_retrans`, `tcpi_data_segs_out`."""
_UNACKED = struct.Struct("=24xI")
"""`tcpi_unacked`."""
TCP_INFO_BYTES = _TCP_INFO.size


def unacknowledged(info: bytes) -> int | None:
    """Segments that the other side has not confirmed, by a `tcp_info`; None where the kernel does not say."""
    return int(_UNACKED.unpack_from(info)[0]) if len(info) >= TCP_INFO_BYTES else None


class Breaker(Enum):
    """States of the circuit breaker."""

    CLOSED = "Closed"
    OPEN = "Open"
    PROBING = "Probing"


@dataclass(slots=True)
class Counters:
    """What happened since the program began."""

    requests: int = 0
    failures: int = 0
    """Requests to which no answer came."""
    retries: int = 0
    """Requests sent once more, because the connection had been closed."""
    refused: int = 0
    """Requests that were not sent, because the breaker was open."""
    bytes_sent: int = 0
    bytes_received: int = 0
    segments: int = 0
    """TCP segments with data that the kernel sent; 0 where it does not say."""
    segments_again: int = 0
    """Of these, sent again because nothing confirmed them."""
    outages: int = 0
    """How often the breaker opened."""


@dataclass(slots=True)
class Outage:
    """A time without the server, in seconds of the link's clock."""

    began: float
    ended: float | None = None


@dataclass(slots=True)
class Segments:
    """How much of one connection was counted."""

    sent: int = 0
    again: int = 0


class Link:
    """Used from one event loop."""

    def __init__(self, clock: Callable[[], float], random: Random | None = None, longest_timeout: float = 30.0) -> None:
        """`clock` gives monotonic seconds."""
        self.counters = Counters()
        self.breaker = Breaker.CLOSED
        self.outage: Outage | None = None
        """The present one, or the last one."""
        self.answer_seconds = 0.0
        """Smoothed time from a request to the beginning of its answer, the server's work included. 0 before the first."""
        self.network_seconds = 0.0
        """Smoothed time to the server and back, as the kernel measures it; 0 where it does not say."""
        self.on_return: list[Callable[[float], None]] = []
        """Called when the server answers again after an outage, with its length in seconds."""
        self._deviation = 0.0
        self._longest = longest_timeout
        self._patience = 1.0
        """Doubled by each timeout: whoever is slow today gets more time, not more requests."""
        self._clock = clock
        self._random = random or Random()  # noqa: S311 -- spreads probes
        self._failures = 0
        """In a row."""
        self._failing_since = 0.0
        self._pauses = 0
        self._probe_at = 0.0

    # ---- how long to wait

    @property
    def timeout(self) -> float:
        """Seconds of silence after which a request is given up: the usual time and a generous multiple of how much it varies."""
        if not self.answer_seconds:
            return self._longest
        usual = self.answer_seconds + DEVIATIONS * max(self._deviation, self.answer_seconds / 2)
        return min(self._longest, max(LEAST_TIMEOUT, usual) * self._patience)

    # ---- around a request

    def enter(self) -> None:
        """Before anything is sent. Raises `LinkOpenError` while it is known to be useless."""
        if self.breaker is not Breaker.CLOSED:
            left = self._probe_at - self._clock()
            if self.breaker is Breaker.PROBING or left > 0:
                self._refuse(left)
            self.breaker = Breaker.PROBING
        self.counters.requests += 1

    def check(self) -> None:
        """Before something that is no good as a probe, such as a long-lived connection. Raises `LinkOpenError`."""
        if self.breaker is not Breaker.CLOSED:
            self._refuse(self._probe_at - self._clock())

    def _refuse(self, seconds: float) -> NoReturn:
        self.counters.refused += 1
        raise LinkOpenError("the server does not answer; it is asked again in a moment", max(0.0, seconds))

    def answered(self, seconds: float) -> None:
        """An answer began that long after its request; whatever it says, the server is there."""
        if not self.answer_seconds:
            self.answer_seconds, self._deviation = seconds, seconds / 2
        else:
            self._deviation += _GAIN_DEVIATION * (abs(seconds - self.answer_seconds) - self._deviation)
            self.answer_seconds += _GAIN * (seconds - self.answer_seconds)
        self.reached()

    def reached(self) -> None:
        """The server was reached, by this or by other means."""
        self._patience, self._failures = max(1.0, self._patience * CALMING), 0
        if self.breaker is Breaker.CLOSED:
            return
        self.breaker, self._pauses = Breaker.CLOSED, 0
        if self.outage is not None:
            self.outage.ended = self._clock()
            for tell in self.on_return:
                tell(self.outage.ended - self.outage.began)

    def failed(self, timed_out: bool = False) -> None:
        """No answer came."""
        self.counters.failures += 1
        if timed_out:
            self._patience = min(self._patience * 2, self._longest / LEAST_TIMEOUT)
        now = self._clock()
        if not self._failures:
            self._failing_since = now
        self._failures += 1
        if self.breaker is Breaker.CLOSED and self._failures < FAILURES:
            return
        if self.breaker is Breaker.CLOSED:
            self.outage = Outage(self._failing_since)
            self.counters.outages += 1
        if self.breaker is not Breaker.OPEN:  # what was sent before it opened ends late, and says nothing new
            self.breaker = Breaker.OPEN
            self._pauses += 1
            self._probe_at = now + PROBES.delay(self._pauses, self._random)

    def left(self) -> None:
        """The caller went away before anything was known. A probe is given to the next one."""
        if self.breaker is Breaker.PROBING:
            self.breaker = Breaker.OPEN
            self._probe_at = self._clock()

    # ---- what the kernel knows

    def measure(self, info: bytes, before: Segments) -> None:
        """Take in the `tcp_info` of a connection; `before` is what was counted of it already."""
        if len(info) < TCP_INFO_BYTES:
            return
        rtt, again, sent = _TCP_INFO.unpack_from(info)
        self.counters.segments += sent - before.sent
        self.counters.segments_again += again - before.again
        before.sent, before.again = sent, again
        self.network_seconds += (rtt / 1e6 - self.network_seconds) * (_GAIN if self.network_seconds else 1.0)

    @property
    def loss(self) -> float:
        """Share of segments that had to be sent again, 0 to 1."""
        return self.counters.segments_again / self.counters.segments if self.counters.segments else 0.0
