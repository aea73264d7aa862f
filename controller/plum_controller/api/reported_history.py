"""What a device reported, over time.

    GET .../namespaces/NS/resources/NAME/history?property=P[,Q]&since=&until=&step=&limit=&continue=

`property` names one property or several, `*` all. `since` and `until` are times (RFC 3339) or spans before now (`1h`); both
ends count. With `step`, such as `30s`, each span becomes one item with count, min, max, avg and last. Without any of these
parameters the path lists versions of the object, as for every kind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.resource import Resource

from plum_controller.api.requests import Answer, ApiRequest, number
from plum_controller.domain.reported_values import Bucket, Point, bound_of, micros_of, moment_of, prefix_of, split_key
from plum_controller.resources.errors import bad_request, not_found
from plum_controller.resources.reported_rows import RESOURCES, ReportedHistory
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_controller.resources.service import ResourceService
    from plum_controller.store.base import Store

PARAMETERS = frozenset({"property", "since", "until", "step"})
PAGE, MAX_PAGE = 1000, 10_000
MAX_PROPERTIES = 100
"""Named in one request."""
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_resource = msgspec.json.Decoder(Resource).decode


class ReportedHistoryApi:
    """Answers the path named above. Holds nothing."""

    def __init__(self, service: ResourceService, store: Store) -> None:
        self._service = service
        self._history = ReportedHistory(store)

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None: the path is about something else. Raises `ApiStatusError`."""
        path = request.path
        if len(path) != 8 or path[:4] != ["apis", "plum.dev", "v1", "namespaces"] or path[5] != "resources":
            return None
        if path[7] != "history" or request.method not in ("GET", "HEAD") or PARAMETERS.isdisjoint(request.query):
            return None
        key = ObjectKey(path[4], path[6])
        entry = self._service.cache.get(Key(RESOURCES, key.namespace, key.name))
        if entry is None:
            raise not_found(Resource.info, key.name)
        items, more = await self._read(_resource(entry.value), request)
        body = {"kind": "ReportedHistory", "apiVersion": "plum.dev/v1", "metadata": {"continue": more}, "items": items}
        return Answer(msgspec.json.encode(body))

    async def _read(self, resource: Resource, request: ApiRequest) -> tuple[list[dict[str, Any]], str]:
        query, now = request.query, self._service.clock.now()
        limit = min(number(query, "limit") or PAGE, MAX_PAGE)
        step = round(_span(query["step"], "step") * 1e6) if query.get("step") else 0
        kept = now - timedelta(seconds=min(parse_duration(resource.spec.history.max_age), 3650 * 86_400.0))
        since = max(_moment(query.get("since", ""), "since", now, FIRST), kept)
        until = _moment(query.get("until", ""), "until", now, LAST)
        token = query.get("continue", "")
        names = [name for name in query.get("property", "*").split(",") if name]
        if len(names) > MAX_PROPERTIES:
            raise bad_request(f"property names {len(names)} properties; name {MAX_PROPERTIES} at most, or * for all")
        reader = _Reader(self._history, resource.metadata.uid, micros_of(since), micros_of(until), step, limit, token)
        async for name in self._named(resource.metadata.uid, names, reader.first):
            if await reader.add(name):
                break
        return reader.items, reader.more

    async def _named(self, uid: str, names: list[str], first: str) -> AsyncIterator[str]:
        """Properties in key order, from the one where the page begins."""
        if "*" in names:
            async for name in self._history.properties(uid, prefix_of(first) if first else ""):
                yield name
            return
        for name in sorted(set(names), key=prefix_of):
            if not first or prefix_of(name) >= prefix_of(first):
                yield name


class _Reader:
    """Fills one page."""

    def __init__(self, history: ReportedHistory, uid: str, since: int, until: int, step: int, limit: int, token: str) -> None:
        self._history = history
        self._uid, self._since, self._until, self._step, self._limit, self._token = uid, since, until, step, limit, token
        self.items: list[dict[str, Any]] = []
        self.more = ""
        """Where the next page begins; empty at the end."""
        try:
            self.first = split_key(token)[0] if token else ""
        except ValueError:
            raise bad_request("continue is no token of this list; begin again without it") from None

    async def add(self, name: str) -> bool:
        """Read a property. True: the page is full, and `more` says where it goes on."""
        after = self._token if name == self.first else ""
        points = self._history.points(self._uid, name, self._since, self._until, after)
        return await (self._add_buckets(name, points) if self._step else self._add_points(points))

    async def _add_points(self, points: AsyncIterator[Point]) -> bool:
        last = self._token
        async for point in points:
            if len(self.items) >= self._limit:
                self.more = last if last.startswith(prefix_of(point.name)) else bound_of(point.name, 0)
                return True
            self.items.append(_shown(point))
            last = point.key
        return False

    async def _add_buckets(self, name: str, points: AsyncIterator[Point]) -> bool:
        bucket: Bucket | None = None
        async for point in points:
            start = point.micros // self._step * self._step
            if bucket is None or bucket.start != start:
                if bucket is not None:
                    self.items.append(_summed(bucket))
                if len(self.items) >= self._limit:
                    self.more = bound_of(name, start)
                    return True
                bucket = Bucket(name, start)
            bucket.add(point.sample)
        if bucket is not None:
            self.items.append(_summed(bucket))
        return False


def _shown(point: Point) -> dict[str, Any]:
    sample = point.sample
    item: dict[str, Any] = {"property": point.name, "time": _text(point.micros), "value": sample.value}
    if sample.device_time:
        item["deviceTime"] = sample.device_time
    if sample.quality:
        item["quality"] = sample.quality
    if sample.omitted_bytes:
        item["omittedBytes"] = sample.omitted_bytes
    return item


def _summed(bucket: Bucket) -> dict[str, Any]:
    item: dict[str, Any] = {"property": bucket.name, "time": _text(bucket.start), "count": bucket.count, "last": bucket.last}
    if bucket.numbers:
        item |= {"min": bucket.lowest, "max": bucket.highest, "avg": bucket.mean}
    if bucket.quality:
        item["quality"] = bucket.quality
    return item


def _text(micros: int) -> str:
    return moment_of(micros).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _span(text: str, name: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise bad_request(f"{name}: {error}") from None
    if seconds <= 0:
        raise bad_request(f"{name} is {text!r}; use a span above 0, such as 30s")
    return seconds


def _moment(text: str, name: str, now: datetime, otherwise: datetime) -> datetime:
    if not text:
        return otherwise
    try:
        return now - timedelta(seconds=parse_duration(text))
    except (ValueError, OverflowError):
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_request(
            f"{name} is {text!r}; use a time such as 2026-01-31T12:00:00Z, or a span before now such as 1h"
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
