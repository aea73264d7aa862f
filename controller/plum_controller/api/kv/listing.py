"""Lists of entries: by prefix and range, in the order of keys, in pages that show one moment.

GET /kv/NAMESPACE?prefix=a/&limit=100            {"revision": "41", "entries": [...], "continue": "..."}
GET /kv/NAMESPACE?...&continue=TOKEN             the next page, as it was at revision 41
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from plum_controller.api.kv.values import size_of
from plum_controller.api.requests import flag, number
from plum_controller.resources.errors import bad_request, expired
from plum_controller.resources.kv import RESOURCE, Entries, key_of, spec_in
from plum_controller.resources.kv_index import KeyIndex, selected
from plum_controller.store.cache import Entry, WatchCache
from plum_controller.store.errors import CompactedError

PAGE = 1000
"""Entries of a page when nobody asks for fewer; ten times fewer with their values."""
MAX_PAGE = 10_000
MAX_PAGE_BYTES = 8 << 20
"""Of the values of a page. A page has one entry at least."""

_encode = msgspec.json.Encoder().encode


class Listing:
    """Reads ranges of one namespace."""

    def __init__(self, entries: Entries, index: KeyIndex, cache: WatchCache) -> None:
        self._entries = entries
        self._index = index
        self._cache = cache

    async def page(self, namespace: str, query: Mapping[str, str]) -> bytes:
        """Raises `ApiStatusError`: 400 for a range that cannot be, 410 when the moment of the first page is forgotten."""
        prefix, start, end = query.get("prefix", ""), query.get("start", ""), query.get("end", "")
        if end and start > end:
            raise bad_request(f"start {start!r} lies behind end {end!r}")
        with_values = flag(query, "values")
        limit = number(query, "limit") or (PAGE // 10 if with_values else PAGE)
        revision, after = _read_token(query.get("continue", ""))
        if revision and revision != self._cache.revision:
            found: Sequence[Entry] = await self._at(revision, namespace, prefix, start, end, after)
        else:
            revision = self._cache.revision
            keys = self._index.keys(namespace, prefix, max(start, after + "\0" if after else ""), end)
            found = [entry for key in keys[: limit + 1] if (entry := self._entries.find(namespace, key)) is not None]
        return self._body(namespace, revision, found, min(limit, MAX_PAGE), with_values)

    async def _at(self, revision: int, namespace: str, prefix: str, start: str, end: str, after: str) -> Sequence[Entry]:
        try:
            entries = await self._cache.at(revision, RESOURCE, namespace)
        except CompactedError as error:
            raise expired(f"the moment of the first page is forgotten; begin again: {error}") from error
        found = [one for one in entries if selected(key_of(one), prefix, start, end) and key_of(one) > after]
        return sorted(found, key=key_of)

    @staticmethod
    def _body(namespace: str, revision: int, found: Sequence[Entry], limit: int, with_values: bool) -> bytes:
        items: list[dict[str, Any]] = []
        size = 0
        for entry in found[:limit]:
            size += len(entry.value) if with_values else 0
            if items and size > MAX_PAGE_BYTES:
                break
            items.append(entry_json(entry, with_value=with_values))
        body: dict[str, Any] = {"namespace": namespace, "revision": str(revision), "entries": items}
        if len(items) < len(found):
            token = _encode([revision, key_of(found[len(items) - 1])])
            body["continue"] = base64.urlsafe_b64encode(token).decode()
        return _encode(body)


def entry_json(entry: Entry, *, with_value: bool) -> dict[str, Any]:
    """An entry as lists and streams show it."""
    spec = spec_in(entry)
    shown: dict[str, Any] = {"key": key_of(entry), "type": spec.type}
    if with_value:
        shown["value"] = spec.value
    else:
        shown["size"] = size_of(spec)
    shown["revision"] = str(entry.revision)
    if spec.ttl:
        shown["ttl"] = spec.ttl
    if spec.expires_at:
        shown["expiresAt"] = spec.expires_at
    if spec.lease:
        shown["lease"] = spec.lease
    return shown


def _read_token(token: str) -> tuple[int, str]:
    if not token:
        return 0, ""
    try:
        revision, key = msgspec.json.decode(base64.urlsafe_b64decode(token.encode()), type=tuple[int, str])
    except (binascii.Error, msgspec.MsgspecError, UnicodeEncodeError) as error:
        raise bad_request("continue is no token of a page; send back the one that came with the last page") from error
    return revision, key
