"""Reads from the cache: one object, and lists in pages that all show the same moment.

    ListOptions -> revision and position -> cache.list | cache.at -> one page, and a token for the next

A token names the revision of the first page and the last key that was sent, so later pages neither miss nor repeat an
object, whatever is written meanwhile, for as long as the history is kept.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.selectors import FieldSelector, LabelSelector

from plum_controller.resources.context import Context
from plum_controller.resources.errors import bad_request, expired, not_found, revision_in_future
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import ListOptions, ListResult
from plum_controller.resources.selecting import EXACT, check_list, check_reached, parse_fields, parse_labels, parse_revision
from plum_controller.store.base import Key, Revision
from plum_controller.store.cache import Entry
from plum_controller.store.errors import CompactedError, FutureRevisionError

TOO_OLD = "The resourceVersion for the provided list is too old."
CONTINUE_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
    "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)
PRESENTED_AT_ONCE = 100
"""Objects of a list that are shown in another version, or as a view, before others get their turn: about 10 ms."""
LATEST = -1
"""As the revision of a token: go on in the current state. Only in the token that comes with an expired one."""


class Token(msgspec.Struct):
    """Where a list goes on. Clients see it in base64 and must not look inside."""

    rv: int
    start: tuple[str, str]
    """Namespace and name of the last object that was sent."""
    total: int = 0
    """Objects of the whole list; 0 with selectors."""
    sent: int = 0


class _Query(NamedTuple):
    """What to select, parsed."""

    namespace: str
    labels: LabelSelector | None
    fields: FieldSelector | None
    limit: int


class Lister:
    """Reads objects of every kind."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def get(self, kind: ResourceKind, key: ObjectKey, revision: str | None = None) -> bytes:
        if revision:
            check_reached(parse_revision(revision), self._context.cache.revision)
        entry = self._context.cache.get(Key(kind.resource, key.namespace, key.name))
        if entry is None:
            raise not_found(kind.info, key.name)
        return kind.present(entry.value)

    async def list(self, kind: ResourceKind, options: ListOptions) -> ListResult:
        result = await self._list(kind, options)
        return await _presented(kind, result) if kind.has_other_versions else result

    async def _list(self, kind: ResourceKind, options: ListOptions) -> ListResult:
        check_list(options)
        labels, fields = parse_labels(options.labels), parse_fields(kind, options.fields)
        query = _Query(options.namespace, labels, fields, max(options.limit, 0))
        if options.continue_token:
            if options.revision and options.revision != "0":
                raise bad_request("specifying resource version is not allowed when using continue")
            return await self._continue(kind, query, read_token(options.continue_token))
        revision = parse_revision(options.revision)
        if options.match == EXACT and revision is not None:
            return await self._at(kind, query, revision)
        check_reached(revision, self._context.cache.revision)
        return self._now(kind, query)

    def _now(self, kind: ResourceKind, query: _Query) -> ListResult:
        cache, resource = self._context.cache, kind.resource
        # One more than asked for tells whether there is a next page.
        more = query.limit + 1 if query.limit else 0
        entries = cache.list(resource, query.namespace, query.labels, query.fields, limit=more)
        total = 0
        if query.limit and len(entries) > query.limit and _is_countable(query):
            total = cache.count(resource) if not query.namespace else len(cache.list(resource, query.namespace))
        return _page(kind, query, entries, cache.revision, total, 0)

    async def _at(self, kind: ResourceKind, query: _Query, revision: Revision) -> ListResult:
        try:
            entries = await self._read_at(kind, query, revision, None, 0)
        except CompactedError as error:
            raise expired(TOO_OLD) from error
        except FutureRevisionError as error:
            raise revision_in_future(revision, error.current) from error
        return _page(kind, query, entries, revision, len(entries) if _is_countable(query) else 0, 0)

    async def _continue(self, kind: ResourceKind, query: _Query, token: Token) -> ListResult:
        after = Key(kind.resource, *token.start)
        more = query.limit + 1 if query.limit else 0
        cache = self._context.cache
        if token.rv == LATEST:
            rest = cache.list(after.resource, query.namespace, query.labels, query.fields, after=after, limit=more)
            return _page(kind, query, rest, cache.revision, 0, 0)
        try:
            entries = await self._read_at(kind, query, token.rv, after, more)
        except CompactedError as compacted:
            error = expired(CONTINUE_TOO_OLD)
            error.continue_token = write_token(Token(LATEST, token.start))
            raise error from compacted
        except FutureRevisionError as error:
            raise bad_request(f"continue key is not valid: revision {token.rv} has not happened") from error
        return _page(kind, query, entries, token.rv, token.total, token.sent)

    async def _read_at(
        self, kind: ResourceKind, query: _Query, revision: Revision, after: Key | None, limit: int
    ) -> Sequence[Entry]:
        cache = self._context.cache
        return await cache.at(revision, kind.resource, query.namespace, query.labels, query.fields, after=after, limit=limit)


def _is_countable(query: _Query) -> bool:
    return query.labels is None and query.fields is None


def _page(kind: ResourceKind, query: _Query, entries: Sequence[Entry], revision: Revision, total: int, sent: int) -> ListResult:
    token, remaining = "", None
    if query.limit and len(entries) > query.limit:
        entries = list(entries[: query.limit])
        sent += len(entries)
        last = entries[-1].key
        token = write_token(Token(revision, (last.namespace, last.name), total, sent))
        remaining = total - sent if total else None
    return ListResult(revision, entries, [entry.value for entry in entries], token, remaining)


async def _presented(kind: ResourceKind, result: ListResult) -> ListResult:
    """The list in the version of its kind, made in pieces, so that a long one stalls nobody."""
    values: list[bytes] = []
    for start in range(0, len(result.values), PRESENTED_AT_ONCE):
        if start:
            await asyncio.sleep(0)
        values += map(kind.present, result.values[start : start + PRESENTED_AT_ONCE])
    return replace(result, values=values)


def write_token(token: Token) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def read_token(text: str) -> Token:
    """Raises `ApiStatusError` 400."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=Token)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
