"""The event recorder: tells people what happened to an object, without ever holding up who tells it.

    event(obj, "Warning", "FailedStart", "...") -> pending, same ones counted together -> one task writes them

Events are for people and may be lost: when the API is away, when one object floods. State belongs into conditions.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime

from plum_schemas.base import Object, ObjectKey, ObjectMeta
from plum_schemas.core import Event, EventSource, ObjectReference

from plum_client.client import ApiClient
from plum_client.clock import Clock, SystemClock, to_timestamp
from plum_client.codec import JsonObject, metadata_of
from plum_client.errors import AlreadyExistsError, ApiError, ApiUnavailableError, NotFoundError

logger = logging.getLogger(__name__)

BURST = 25
"""Different events of one object at once; then one every `REFILL_SECONDS`."""
REFILL_SECONDS = 10.0
REMEMBERED = 1024
"""Events whose repetitions are counted on the object written before."""
PENDING = 1024
"""Events that wait to be written; more are dropped."""
PAUSE_SECONDS = 0.2
"""Between two rounds of writing: repetitions within it cost one request."""
_RETRIES = 3


@dataclass(slots=True)
class _Told:
    """One event and how often it happened."""

    reference: ObjectReference
    type: str
    reason: str
    message: str
    first: datetime
    last: datetime
    count: int = 1
    name: str = ""
    """Name of the stored object; empty until it is written."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled: float
    """Monotonic seconds."""


class EventRecorder:
    """Records events of one component. Call `close` at the end to write out what is pending."""

    def __init__(self, api: ApiClient, component: str, clock: Clock | None = None) -> None:
        self.dropped = 0
        """Events that were not written: too many at once, or the API was away."""
        self._api = api
        self._component = component
        self._clock: Clock = clock or SystemClock()
        self._told: dict[tuple[str, ...], _Told] = {}
        self._pending: dict[tuple[str, ...], _Told] = {}
        self._buckets: dict[str, _Bucket] = {}
        self._task: asyncio.Task[None] | None = None

    def event(self, obj: Object | JsonObject, type: str, reason: str, message: str) -> None:
        """Tell that something happened. `type` is `Normal` or `Warning`, `reason` a CamelCase word. Never waits."""
        reference = reference_to(obj)
        identity = (reference.uid or f"{reference.namespace}/{reference.name}", type, reason, message)
        now = self._clock.now()
        told = self._told.get(identity)
        if told is not None:
            told.count += 1
            told.last = now
        elif not self._allowed(identity[0]) or len(self._pending) >= PENDING:
            self.dropped += 1
            return
        else:
            told = _Told(reference, type, reason, message, now, now)
            if len(self._told) >= REMEMBERED:
                del self._told[next(iter(self._told))]
            self._told[identity] = told
        self._pending[identity] = told
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_out(), name=f"events-{self._component}")

    async def flush(self) -> None:
        """Return when everything told so far is written or given up."""
        while self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Write out what is pending, for at most two seconds."""
        if self._task is not None:
            task = self._task
            await asyncio.wait([task], timeout=2.0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _allowed(self, source: str) -> bool:
        now = self._clock.monotonic()
        bucket = self._buckets.get(source)
        if bucket is None:
            if len(self._buckets) >= REMEMBERED:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[source] = _Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.filled) / REFILL_SECONDS)
        bucket.filled = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    async def _write_out(self) -> None:
        try:
            while self._pending:
                pending, self._pending = self._pending, {}
                for told in pending.values():
                    await self._write(told)
                await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._task = None

    async def _write(self, told: _Told) -> None:
        for attempt in range(_RETRIES):
            try:
                if not told.name:
                    await self._create(told)
                else:
                    await self._count(told)
                return
            except ApiUnavailableError:
                await asyncio.sleep(PAUSE_SECONDS * 2**attempt)
            except ApiError as error:
                logger.debug("event not written", extra={"reason": told.reason, "error": str(error)})
                break
        self.dropped += 1

    async def _create(self, told: _Told) -> None:
        reference = told.reference
        name = f"{reference.name[:220]}.{_digest(told, self._component)}"
        event = Event(
            metadata=ObjectMeta(name=name, namespace=reference.namespace or "default"),
            involved_object=reference,
            reason=told.reason,
            message=told.message,
            type=told.type,
            count=told.count,
            first_timestamp=told.first.replace(microsecond=0),
            last_timestamp=told.last.replace(microsecond=0),
            source=EventSource(component=self._component),
            reporting_component=self._component,
        )
        try:
            await self._api.create(event)
        except AlreadyExistsError:
            logger.debug("event was written before its answer was lost", extra={"event": name})
        told.name = name

    async def _count(self, told: _Told) -> None:
        key = ObjectKey(told.reference.namespace or "default", told.name)
        patch = {"count": told.count, "lastTimestamp": to_timestamp(told.last)}
        try:
            await self._api.patch(Event, key, patch)
        except NotFoundError:  # it expired: tell it anew
            told.name, told.first, told.count = "", told.last, 1
            await self._create(told)


def reference_to(obj: Object | JsonObject) -> ObjectReference:
    """How another object names this one."""
    key, version = metadata_of(obj)
    if isinstance(obj, Object):
        uid, kind, api_version = obj.metadata.uid, obj.kind, obj.api_version
    else:
        uid = str((obj.get("metadata") or {}).get("uid") or "")
        kind, api_version = str(obj.get("kind") or ""), str(obj.get("apiVersion") or "")
    return ObjectReference(
        kind=kind, namespace=key.namespace, name=key.name, uid=uid, api_version=api_version, resource_version=version
    )


def _digest(told: _Told, component: str) -> str:
    """The same for the same event, so that writing it again after a lost answer makes no second one."""
    parts = (told.reference.uid, told.type, told.reason, told.message, component, told.first.isoformat())
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=8).hexdigest()
