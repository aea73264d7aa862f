"""Locks: entries that one holder makes, renews and deletes, with a token by which others can tell a late one.

    acquire --the entry is not there--> {"holder": ..., "token": N}, with a ttl --renew--> ... --release, ttl--> gone

The token grows with every holder of a lock, whatever happened in between: it lies above the revision of everything that
the acquisition has seen, the end of the holder before included. A write that names lock and token (`If-Lock`, or a
comparison in a transaction) is refused from the moment on at which somebody else could hold the lock.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.kv import KV, kv_name
from plum_schemas.selectors import FieldRequirement, FieldSelector

from plum_controller.resources.errors import ApiStatusError, bad_request, conflict
from plum_controller.resources.kv import RESOURCE, Condition, Entries, FailedConditionError, Put, Stored, Typed, spec_in
from plum_controller.resources.options import WriteOptions
from plum_controller.store.cache import Entry, WatchCache

DEFAULT_TTL = "30s"
LONGEST_WAIT_SECONDS = 300.0


class Locks:
    """Locks by namespace and key."""

    def __init__(self, entries: Entries, cache: WatchCache) -> None:
        self._entries = entries
        self._cache = cache

    async def acquire(self, key: ObjectKey, holder: str, ttl: str, wait_seconds: float, options: WriteOptions) -> dict[str, Any]:
        """Hold the lock, or again if this holder has it. Raises `ApiStatusError` 409 when it is held by another."""
        if not holder:
            raise bad_request("a lock needs ?holder=, a name that tells its holder from all others")
        check_ttl(ttl)
        deadline = asyncio.get_running_loop().time() + min(wait_seconds, LONGEST_WAIT_SECONDS)
        while True:
            entry = self._entries.find(key.namespace, key.name)
            held = None if entry is None else held_in(entry)
            if entry is None or (held is not None and held["holder"] == holder):
                token = self._cache.revision + 1 if held is None else int(held["token"])
                condition = Condition(exists=False) if entry is None else Condition(revision=entry.revision)
                try:
                    stored = await self._write(key, holder, token, ttl, condition, options)
                except FailedConditionError:
                    continue
                return described(key, holder, token, ttl, stored)
            if held is None:
                raise conflict(KV.info, key.name, "the entry is no lock; delete it first, or use another key")
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise taken(key, held)
            await self._change(key, left)

    async def renew(self, key: ObjectKey, token: int, ttl: str, options: WriteOptions) -> dict[str, Any]:
        """Begin the time anew. Raises `ApiStatusError` 409 when the lock is no longer held with this token."""
        check_ttl(ttl)
        while True:
            entry, holder = self._own(key, token)
            ttl = ttl or spec_in(entry).ttl or DEFAULT_TTL
            try:
                stored = await self._write(key, holder, token, ttl, Condition(revision=entry.revision), options)
            except FailedConditionError:
                continue
            return described(key, holder, token, ttl, stored)

    async def release(self, key: ObjectKey, token: int) -> int:
        """Give it back; answers with the revision. Raises `ApiStatusError` 409 when it is no longer held with this token."""
        while True:
            entry, _ = self._own(key, token)
            try:
                return await self._entries.delete(key.namespace, key.name, Condition(revision=entry.revision))
            except FailedConditionError:
                continue
            except ApiStatusError as error:
                if error.code != 404:
                    raise

    def _own(self, key: ObjectKey, token: int) -> tuple[Entry, str]:
        entry = self._entries.find(key.namespace, key.name)
        held = None if entry is None else held_in(entry)
        if entry is None or held is None or held["token"] != token:
            found = "nobody holds it" if held is None else f"{held['holder']!r} holds it with token {held['token']}"
            raise conflict(KV.info, key.name, f"the lock is not held with token {token}: {found}")
        return entry, str(held["holder"])

    async def _write(
        self, key: ObjectKey, holder: str, token: int, ttl: str, condition: Condition, options: WriteOptions
    ) -> Stored:
        value = {"holder": holder, "token": token}
        put = Put(key.namespace, key.name, lambda _: Typed("json", value), "json", ttl=ttl, condition=condition)
        return await self._entries.put(put, options)

    async def _change(self, key: ObjectKey, seconds: float) -> None:
        """Wait until the entry is another one, or gone, or the time is over."""
        changed = asyncio.Event()
        fields = FieldSelector([FieldRequirement("metadata.name", "=", kv_name(key.name))])
        watcher = self._cache.watch(RESOURCE, key.namespace, None, fields, self._cache.revision, lambda _: changed.set())
        try:
            async with asyncio.timeout(seconds):
                await changed.wait()
        except TimeoutError:
            pass
        finally:
            watcher.close()


def held_in(entry: Entry) -> dict[str, Any] | None:
    """Holder and token of a lock; None for an entry that is none."""
    value = msgspec.json.decode(spec_in(entry).value)
    if isinstance(value, dict) and isinstance(value.get("holder"), str) and isinstance(value.get("token"), int):
        return value
    return None


def described(key: ObjectKey, holder: str, token: int, ttl: str, stored: Stored) -> dict[str, Any]:
    """A lock as its holder is told."""
    expires = msgspec.json.decode(stored.value)["spec"].get("expiresAt")
    known = {"namespace": key.namespace, "key": key.name, "holder": holder, "token": token, "ttl": ttl, "expiresAt": expires}
    return {**known, "revision": str(stored.revision)}


def taken(key: ObjectKey, held: dict[str, Any]) -> ApiStatusError:
    """409: somebody else has it."""
    error = conflict(KV.info, key.name, f"the lock is held by {held['holder']!r} with token {held['token']}")
    error.details |= {"holder": held["holder"], "token": held["token"], "retryAfterSeconds": 1}
    return error


def check_ttl(ttl: str) -> None:
    """Raises `ApiStatusError` 400."""
    if not ttl:
        return
    try:
        seconds = parse_duration(ttl)
    except ValueError as error:
        raise bad_request(f"ttl: {error}") from error
    if seconds <= 0:
        raise bad_request(f"ttl is {ttl!r}; use more than 0")
