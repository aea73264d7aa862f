"""KV expiry: deletes entries whose time is over, and those whose Lease has run out or is gone.

    entry with a ttl   --seen--> how long it has left, from now on by the monotonic clock --over--> deleted, if unchanged
    entry with a lease --its Lease was not renewed for as long as it lasts--> deleted, if unchanged

Time is counted from when an entry was seen, never by comparing wall clocks later: a clock that jumps neither ends an entry
early nor keeps it. Only after a restart the wall clock says how much was left, at most the whole ttl. A deletion names
the version it means, so one that was written meanwhile stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.controller import Controller, Watch
from plum_client.errors import ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.kv import KV
from plum_schemas.lease import Lease

WITH_TTL = "spec.expiresAt!="
WITH_LEASE = "spec.lease!="
"""Most entries end by neither, and nobody here has to look at those."""
DEFAULT_LEASE_SECONDS = 30


def add_to(manager: Manager) -> None:
    """Register the controllers."""
    manager.add(Controller("kv-expiry", TtlExpiry(manager), KV, fields=WITH_TTL, workers=16))
    leases = LeaseExpiry(manager)
    watch = Watch(Lease, leases.entries_of)
    manager.add(Controller("kv-leases", leases, KV, fields=WITH_LEASE, watches=[watch], workers=4))


class Deadlines:
    """When things end, by the monotonic clock, from when a version of them was first seen."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[ObjectKey, tuple[str, float]] = {}

    def left(self, key: ObjectKey, version: str, seconds: float) -> float:
        """Seconds until the end; `seconds` counts only when this version is new."""
        now = self._clock.monotonic()
        known = self._known.get(key)
        if known is None or known[0] != version:
            known = self._known[key] = (version, now + seconds)
        return known[1] - now

    def forget(self, key: ObjectKey) -> None:
        self._known.pop(key, None)


def seconds_left(ttl: float, expires_at: datetime, now: datetime) -> float:
    """How long an entry has left whose past is not known: what the wall clock says, between nothing and the whole ttl."""
    return min(max((expires_at - now).total_seconds(), 0.0), ttl)


class TtlExpiry:
    """Deletes one entry when its ttl is over."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._entries = manager.informer(KV, fields=WITH_TTL)
        self._deadlines = Deadlines(manager.clock)
        self._entries.add_handler(self._seen)

    def _seen(self, old: KV | None, new: KV | None) -> None:
        """A version that was written just now has its whole ttl, whatever the wall clock does before it is looked at."""
        if self._entries.is_synced and new is not None and new.spec.ttl:
            self._deadlines.left(new.key, new.metadata.resource_version, parse_duration(new.spec.ttl))

    async def reconcile(self, key: ObjectKey) -> Result:
        """Wait until the entry has ended, then delete this version of it."""
        entry = self._entries.get(key)
        if entry is None or entry.spec.expires_at is None or not entry.spec.ttl:
            self._deadlines.forget(key)
            return Result.wait_for_change()
        ttl = parse_duration(entry.spec.ttl)
        seconds = seconds_left(ttl, entry.spec.expires_at, self._clock.now())
        left = self._deadlines.left(key, entry.metadata.resource_version, seconds)
        if left > 0:
            return Result.requeue(after=left)
        return await delete(self._api, entry)


class LeaseExpiry:
    """Deletes one entry when its Lease has run out."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._entries = manager.informer(KV, fields=WITH_LEASE, indexers={"lease": _lease_key})
        self._leases = manager.informer(Lease)
        self._deadlines = Deadlines(manager.clock)

    def entries_of(self, old: Lease | None, new: Lease | None) -> Sequence[ObjectKey]:
        """The entries that a change of a Lease concerns."""
        lease = new or old
        return [] if lease is None else self._entries.index_keys("lease", f"{lease.metadata.namespace}/{lease.metadata.name}")

    async def reconcile(self, key: ObjectKey) -> Result:
        """Wait until the Lease has run out, then delete the entry."""
        entry = self._entries.get(key)
        if entry is None or not entry.spec.lease:
            return Result.wait_for_change()
        lease_key = ObjectKey(key.namespace, entry.spec.lease)
        lease = self._leases.get(lease_key) or await self._api.get(Lease, lease_key)
        if lease is not None:
            # The times inside are the holder's; what counts is when a renewal was seen.
            seconds = float(lease.spec.lease_duration_seconds or DEFAULT_LEASE_SECONDS)
            left = self._deadlines.left(lease_key, lease.metadata.resource_version, seconds)
            if left > 0:
                return Result.requeue(after=left)
        else:
            self._deadlines.forget(lease_key)
        return await delete(self._api, entry)


async def delete(api: ApiClient, entry: KV) -> Result:
    """Delete this version of an entry. Another version is seen as a change."""
    try:
        await api.delete(KV, entry.key, uid=entry.metadata.uid, revision=entry.metadata.resource_version)
    except (ConflictError, NotFoundError):
        pass
    return Result.wait_for_change()


def _lease_key(entry: KV) -> Sequence[str]:
    return [f"{entry.metadata.namespace}/{entry.spec.lease}"] if entry.spec.lease else []
