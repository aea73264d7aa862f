"""What a resolver remembers of its own requests, and which endpoints it therefore leaves out for a while.

    started, ended(reason) -> circuit of each endpoint          (Service.spec.circuitBreaker)
                           -> counts of this interval, ejected  (Service.spec.outlierEjection)
                           -> avoided for a while after nobody was reached there

`willing` leaves out what must not be asked (open circuits), and what had better not be asked only while others are left.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field

from plum_schemas.durations import parse_duration
from plum_schemas.endpoint import Endpoint
from plum_schemas.service import ServiceSpec

from plum_client.resolver_breakers import Circuit, Count, lets_through, on_end, on_start, outliers
from plum_client.resolver_strategies import identity

AVOID_SECONDS = 1.0
"""Nobody was reached there. Doubled each time in a row: a machine that is gone makes a caller wait for seconds, until its
lease has run out and the controller withdraws its endpoints."""
LONGEST_AVOID_SECONDS = 30.0


@dataclass(slots=True)
class _Past:
    """What is known of one service. Endpoints by identity, times in seconds of the event loop."""

    circuits: dict[str, Circuit] = field(default_factory=dict)
    counts: dict[str, Count] = field(default_factory=dict)
    """Of the interval since `since`."""
    since: float = 0.0
    ejected: dict[str, float] = field(default_factory=dict)
    """Until when."""
    avoided: dict[str, float] = field(default_factory=dict)
    """Until when."""
    unreached: dict[str, int] = field(default_factory=dict)
    """How often in a row nobody was reached."""


class Experience:
    """Of all services of one resolver."""

    def __init__(self) -> None:
        self._services: dict[str, _Past] = {}

    def willing(self, service: str, endpoints: Sequence[Endpoint], spec: ServiceSpec, now: float) -> Sequence[Endpoint]:
        """The endpoints to choose from; none when the circuits of all are open."""
        past = self._services.get(service)
        if past is None:
            return endpoints
        if spec.circuit_breaker is not None:
            policy = spec.circuit_breaker
            endpoints = [e for e in endpoints if lets_through(past.circuits.get(identity(e), Circuit()), policy, now)]
        if spec.outlier_ejection is not None:
            endpoints = _preferred(endpoints, past.ejected, now)
        return _preferred(endpoints, past.avoided, now)

    def started(self, service: str, name: str) -> None:
        """A request to an endpoint begins."""
        past = self._services.setdefault(service, _Past())
        circuit = past.circuits.get(name)
        if circuit is not None:
            past.circuits[name] = on_start(circuit)

    def given_up(self, service: str, name: str) -> None:
        """The caller lost interest before the end: nothing is known of the endpoint, and its circuit may be tried again."""
        past = self._services[service]
        circuit = past.circuits.get(name)
        if circuit is not None and circuit.trying:
            past.circuits[name] = Circuit(circuit.failures, circuit.opened_at)

    def ended(self, service: str, name: str, reason: str, spec: ServiceSpec, now: float, known: Set[str]) -> None:
        """A request has ended; `reason` is empty when it went well. `known` are the endpoints of the service now."""
        past = self._services[service]
        if reason == "connect":
            count = past.unreached[name] = past.unreached.get(name, 0) + 1
            past.avoided[name] = now + min(LONGEST_AVOID_SECONDS, AVOID_SECONDS * 2.0 ** min(count - 1, 10))
        else:
            past.avoided.pop(name, None)
            past.unreached.pop(name, None)
        if spec.circuit_breaker is not None:
            past.circuits[name] = on_end(past.circuits.get(name, Circuit()), spec.circuit_breaker, not reason, now)
        if spec.outlier_ejection is not None:
            self._count(past, name, reason, spec, now, known)
        if len(past.circuits) > 2 * len(known) + 16:
            past.circuits = {one: circuit for one, circuit in past.circuits.items() if one in known}
        if len(past.unreached) > 2 * len(known) + 16:
            past.avoided = {one: until for one, until in past.avoided.items() if one in known}
            past.unreached = {one: count for one, count in past.unreached.items() if one in known}

    @staticmethod
    def _count(past: _Past, name: str, reason: str, spec: ServiceSpec, now: float, known: Set[str]) -> None:
        policy = spec.outlier_ejection
        assert policy is not None  # noqa: S101  the caller has looked
        interval = parse_duration(policy.interval)
        if now - past.since >= interval:
            past.counts, past.since = {}, now
        past.ejected = {one: until for one, until in past.ejected.items() if until > now and one in known}
        past.counts[name] = past.counts.get(name, Count()).plus(not reason)
        if reason:
            for one in outliers(past.counts, policy, known, past.ejected):
                past.ejected[one] = now + interval
                past.counts.pop(one, None)


def _preferred(endpoints: Sequence[Endpoint], left_out: dict[str, float], now: float) -> Sequence[Endpoint]:
    """Without those that are left out until later, unless nothing else is there."""
    kept = [endpoint for endpoint in endpoints if left_out.get(identity(endpoint), 0.0) <= now]
    return kept or endpoints
