"""What a caller learns from its own requests: circuits of endpoints that fail, and endpoints that fail more than others. Pure.

    closed --failures in a row--> open --openFor--> half open --one request: success--> closed
                                   ^------------------------------------- failure ---------+

    requests of an interval -> error share of each endpoint -> the worst are ejected, at most maxEjectedPercent of all

The time comes in as seconds of a clock that never jumps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace

from plum_schemas.durations import parse_duration
from plum_schemas.service import CircuitBreaker, OutlierEjection


@dataclass(frozen=True, slots=True)
class Circuit:
    """One endpoint's circuit. Closed while `opened_at` is None; half open while `trying`."""

    failures: int = 0
    """In a row."""
    opened_at: float | None = None
    trying: bool = False
    """The one request that is let through is under way."""


def lets_through(circuit: Circuit, policy: CircuitBreaker, now: float) -> bool:
    """Whether a request may go to the endpoint now."""
    if circuit.opened_at is None:
        return True
    return not circuit.trying and now >= circuit.opened_at + parse_duration(policy.open_for)


def on_start(circuit: Circuit) -> Circuit:
    """A request begins; on an open circuit it is the one that tries."""
    return circuit if circuit.opened_at is None else replace(circuit, trying=True)


def on_end(circuit: Circuit, policy: CircuitBreaker, ok: bool, now: float) -> Circuit:
    """A request has ended. A late answer of before the circuit opened closes nothing."""
    if ok:
        return Circuit() if circuit.opened_at is None or circuit.trying else circuit
    failures = circuit.failures + 1
    if circuit.trying or (circuit.opened_at is None and failures >= policy.failures):
        return Circuit(failures, now)
    return replace(circuit, failures=failures)


@dataclass(frozen=True, slots=True)
class Count:
    """Requests of one endpoint in one interval."""

    requests: int = 0
    errors: int = 0

    def plus(self, ok: bool) -> Count:
        return Count(self.requests + 1, self.errors + (not ok))


def outliers(counts: Mapping[str, Count], policy: OutlierEjection, endpoints: Set[str], out: Iterable[str] = ()) -> list[str]:
    """Endpoints to eject, the worst first: enough requests, too many errors, and room below `maxEjectedPercent`.

    `out` are those that are ejected already; they take up room.
    """
    gone = set(out) & endpoints
    room = math.floor(len(endpoints) * policy.max_ejected_percent / 100) - len(gone)
    guilty = [
        (count.errors / count.requests, name)
        for name, count in counts.items()
        if name in endpoints
        and name not in gone
        and count.requests >= policy.min_requests
        and count.errors * 100 >= policy.error_percent * count.requests
    ]
    return [name for _, name in sorted(guilty, key=lambda item: (-item[0], item[1]))[: max(0, room)]]
