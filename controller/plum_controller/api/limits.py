"""What one client, or all of them together, may ask of this process: requests at once, requests per second, hosts, origins.

A refusal is an `ApiStatusError` with a sentence that says what to do. Sizes and read times are watched where the bytes
arrive, in `protocol.py`.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterable

from plum_controller.resources.errors import ApiStatusError, too_many_requests

READING = frozenset({"GET", "HEAD", "OPTIONS"})


class InFlight:
    """Counts requests that are being answered. Reads and writes have a limit each, so that one kind cannot starve the other."""

    def __init__(self, reads: int, writes: int) -> None:
        self._limits = (reads, writes)
        self._counts = [0, 0]

    def enter(self, method: str) -> int:
        """Take a place and answer with its number for `leave`. Raises `ApiStatusError` 429."""
        place = 0 if method in READING else 1
        limit = self._limits[place]
        if limit and self._counts[place] >= limit:
            raise too_many_requests("too many requests at once, please try again later", 1)
        self._counts[place] += 1
        return place

    def leave(self, place: int) -> None:
        self._counts[place] -= 1


class PeerRate:
    """A token bucket per client address: `rate` per second, twice that in a burst. 0: no limit."""

    MAX_PEERS = 10_000
    """Addresses remembered. Past it the ones that are quiet are forgotten: a full bucket says nothing."""

    def __init__(self, rate: int) -> None:
        self._rate = float(rate)
        self._burst = 2.0 * rate
        self._buckets: dict[str, list[float]] = {}

    def take(self, peer: str) -> None:
        """Count one request. Raises `ApiStatusError` 429."""
        if not self._rate:
            return
        now = time.monotonic()
        bucket = self._buckets.get(peer)
        if bucket is None:
            self._forget(now)
            self._buckets[peer] = [self._burst - 1.0, now]
            return
        tokens = bucket[0] + (now - bucket[1]) * self._rate
        bucket[1] = now
        if tokens < 1.0:
            bucket[0] = tokens
            raise too_many_requests("this client sends more requests per second than it may, please slow down", 1)
        bucket[0] = min(tokens, self._burst) - 1.0

    def _forget(self, now: float) -> None:
        if len(self._buckets) < self.MAX_PEERS:
            return
        full = 2.0
        self._buckets = {peer: bucket for peer, bucket in self._buckets.items() if now - bucket[1] < full}
        if len(self._buckets) >= self.MAX_PEERS:
            self._buckets.clear()


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine. Names other than `localhost` do not: a resolver may say anything."""
    host = host.strip("[]").partition("%")[0].lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def split_host(value: str) -> str:
    """The host of `host:port`, `[v6]:port` or a bare host, lower case."""
    value = value.strip().lower()
    if value.startswith("["):
        return value[1 : value.find("]")] if "]" in value else ""
    return value.rpartition(":")[0] if value.count(":") == 1 else value


class HostGuard:
    """Keeps web pages of other sites away: a page may make a browser call loopback, but cannot fake `Host` and `Origin`.

    A name that resolves to loopback (DNS rebinding) arrives with that name in `Host`; a page of another site, or of another
    port of this machine, arrives with its own address in `Origin`.
    """

    MAX_REMEMBERED = 1000

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(name.lower() for name in allowed)
        self._good_hosts: set[bytes] = set()
        self._good_origins: set[tuple[bytes, bytes | None]] = set()

    def check(self, host: bytes | None, origin: bytes | None, *, any_name: bool = False) -> None:
        """Raises `ApiStatusError` 403 with a sentence. `any_name`: a listener with TLS, whose name the certificate proves."""
        if host is not None and not any_name and host not in self._good_hosts:
            name = split_host(host.decode("latin-1"))
            if not self._may(name):
                raise _refused(f"this server is called {name!r} by the Host header, which is no name of this machine's loopback")
            if len(self._good_hosts) < self.MAX_REMEMBERED:
                self._good_hosts.add(host)
        if origin is not None and (origin, host) not in self._good_origins:
            scheme, _, rest = origin.decode("latin-1").lower().partition("://")
            same = host is not None and rest == host.decode("latin-1").lower()
            if scheme not in ("http", "https") or not (same or split_host(rest) in self._allowed):
                raise _refused(f"pages of {origin.decode('latin-1')!r} may not call this server")
            if len(self._good_origins) < self.MAX_REMEMBERED:
                self._good_origins.add((origin, host))

    def _may(self, name: str) -> bool:
        return name in self._allowed or is_loopback(name)


def _refused(message: str) -> ApiStatusError:
    return ApiStatusError(403, "Forbidden", f"{message}; use 127.0.0.1 or localhost, or list the name in PLUM_ALLOWED_HOSTS")
