"""How one endpoint of a service is chosen: pure functions, and the little state that some of them need.

    endpoints of a service -> usable (state, version, protocol, weight) -> nearest -> strategy -> one endpoint

    random            by weight
    roundRobin        in turn, by weight, as evenly mixed as possible
    leastActive       the one with the fewest requests under way, against its weight
    consistentHash    the same key leads to the same endpoint; an endpoint that goes moves only its own keys
    sticky            a key stays where it is for as long as that endpoint is usable

Chance comes in as a number, so every function gives the same answer for the same arguments.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TypeVar

from plum_schemas.endpoint import Endpoint

K = TypeVar("K")
V = TypeVar("V")

STRATEGIES = ("random", "roundRobin", "leastActive", "consistentHash", "sticky")
KEYED = ("consistentHash", "sticky")
"""Strategies that follow a key of the request."""
REMEMBERED = 10_000
"""Keys of sticky choices, and services whose turn is kept; the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a caller asks for. Empty: anything."""

    version: str = ""
    protocol: str = ""
    key: str = ""
    """What the choice follows, for `consistentHash` and `sticky`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a caller is, for those who prefer endpoints near them."""

    node: str = ""
    zone: str = ""


def identity(endpoint: Endpoint) -> str:
    """What an endpoint is to a hash: `HOST:PORT`, so that a new registration of the same server keeps its keys."""
    host = endpoint.spec.address
    return f"[{host}]:{endpoint.spec.port}" if ":" in host else f"{host}:{endpoint.spec.port}"


def unique(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """One endpoint for each address and port, in a fixed order: that of an instance before one that registered itself."""
    found: dict[tuple[str, int], Endpoint] = {}
    for endpoint in sorted(endpoints, key=lambda e: (e.spec.ttl is not None, e.metadata.name)):
        found.setdefault((endpoint.spec.address, endpoint.spec.port), endpoint)
    return list(found.values())


def usable(endpoints: Sequence[Endpoint], wanted: Wanted | None = None) -> list[Endpoint]:
    """Those that take requests: the passing ones, or those in state warning when there is no other."""
    asked = wanted or Wanted()
    matching = [
        endpoint
        for endpoint in endpoints
        if endpoint.spec.weight > 0
        and endpoint.metadata.deletion_timestamp is None
        and asked.version in ("", endpoint.spec.version)
        and asked.protocol in ("", endpoint.spec.protocol)
    ]
    passing = [endpoint for endpoint in matching if endpoint.state == "passing"]
    return unique(passing or [endpoint for endpoint in matching if endpoint.state == "warning"])


def nearest(endpoints: Sequence[Endpoint], place: Place | None) -> Sequence[Endpoint]:
    """Those on the caller's node, else those in its zone, else all."""
    if place is None:
        return endpoints
    here = [endpoint for endpoint in endpoints if place.node and endpoint.spec.node_name == place.node]
    return here or [endpoint for endpoint in endpoints if place.zone and endpoint.spec.zone == place.zone] or endpoints


def pick_random(endpoints: Sequence[Endpoint], draw: float) -> Endpoint:
    """By weight. `draw` is from 0 to below 1."""
    left = draw * sum(endpoint.spec.weight for endpoint in endpoints)
    for endpoint in endpoints:
        left -= endpoint.spec.weight
        if left < 0:
            return endpoint
    return endpoints[-1]


def pick_in_turn(endpoints: Sequence[Endpoint], credits: Mapping[str, int]) -> tuple[Endpoint, dict[str, int]]:
    """The endpoint whose turn it is, and the credits for the next turn.

    Everyone earns its weight each turn and the richest pays for all: over as many turns as the weights sum up to, each is
    chosen exactly as often as its weight says, never in a row when it can be avoided.
    """
    earned: dict[str, int] = {}
    chosen, richest, total = endpoints[0], "", 0
    for endpoint in endpoints:
        name, weight = identity(endpoint), endpoint.spec.weight
        earned[name] = credits.get(name, 0) + weight
        total += weight
        if not richest or earned[name] > earned[richest]:
            chosen, richest = endpoint, name
    earned[richest] -= total
    return chosen, earned


def pick_least_active(endpoints: Sequence[Endpoint], active: Mapping[str, int], draw: float) -> Endpoint:
    """The fewest requests under way for its weight; among equals by chance. `active` counts by identity."""
    load = {identity(e): (active.get(identity(e), 0)) / e.spec.weight for e in endpoints}
    least = min(load.values())
    return pick_random([endpoint for endpoint in endpoints if load[identity(endpoint)] == least], draw)


def pick_by_hash(endpoints: Sequence[Endpoint], key: str) -> Endpoint:
    """Rendezvous hashing with weights: every endpoint draws for the key, the best draw wins."""
    return min(endpoints, key=lambda endpoint: _draw(key, endpoint) / endpoint.spec.weight)


def _draw(key: str, endpoint: Endpoint) -> float:
    """An exponentially distributed number that follows from key and endpoint alone."""
    digest = blake2b(f"{identity(endpoint)}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return -math.log((int.from_bytes(digest, "big") + 1) / (2**64 + 1))


class Chooser:
    """Strategies with their memory: whose turn it is, what runs where, which key went where. For one caller of many services."""

    def __init__(self, chance: Callable[[], float]) -> None:
        """`chance` gives numbers from 0 to below 1."""
        self._chance = chance
        self._credits: OrderedDict[str, dict[str, int]] = OrderedDict()
        self._bound: OrderedDict[tuple[str, str], str] = OrderedDict()
        self.active: dict[str, int] = {}
        """Requests under way by `identity`; kept by the caller."""

    def choose(self, strategy: str, service: str, endpoints: Sequence[Endpoint], key: str = "") -> Endpoint:
        """One of `endpoints`, which must not be empty. A keyed strategy without a key chooses in turn."""
        if len(endpoints) == 1:
            return endpoints[0]
        if strategy == "random":
            return pick_random(endpoints, self._chance())
        if strategy == "leastActive":
            return pick_least_active(endpoints, self.active, self._chance())
        if strategy == "consistentHash" and key:
            return pick_by_hash(endpoints, key)
        if strategy == "sticky" and key:
            return self._stick(service, endpoints, key)
        chosen, self._credits[service] = pick_in_turn(endpoints, self._credits.get(service, {}))
        _keep_young(self._credits, service)
        return chosen

    def _stick(self, service: str, endpoints: Sequence[Endpoint], key: str) -> Endpoint:
        before = self._bound.get((service, key))
        chosen = next((endpoint for endpoint in endpoints if identity(endpoint) == before), None)
        if chosen is None:
            chosen = pick_by_hash(endpoints, key)
        self._bound[service, key] = identity(chosen)
        _keep_young(self._bound, (service, key))
        return chosen


def _keep_young(memory: OrderedDict[K, V], key: K) -> None:
    memory.move_to_end(key)
    if len(memory) > REMEMBERED:
        memory.popitem(last=False)
