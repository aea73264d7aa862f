"""The informer: one kind, watched, cached and indexed.

    list -> cache -> watch from there -> cache -> handlers (old, new)
              ^                     |
              +---- 410: list again, tell the handlers only what differs
                    cut: resume at the last revision that was seen completely

The cache only moves forward: what a resumed watch repeats is dropped. Handlers are called after the cache changed, in
the order of the store, and must not block; they are told that something changed, never trusted to have seen everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing
from random import Random
from typing import Any, Generic

import msgspec
from plum_schemas.base import KindInfo, ObjectKey

from plum_client.backoff import SLOW, Pause
from plum_client.cache import DECODED, Indexer, Keys, ObjectCache, Objects, Texts
from plum_client.client import ApiClient
from plum_client.codec import AnyT, Codec, codec_of, head_of, revision_of
from plum_client.errors import ApiError, LinkOpenError, RevisionCompactedError
from plum_client.selection import Selection
from plum_client.watch import RawEvent, watch_events

logger = logging.getLogger(__name__)

BATCH = 64
"""Objects of a list taken in before others get their turn: some milliseconds, because this loop may serve the API too."""
SILENT_SECONDS = 150.0
"""A watch is told at least a bookmark every minute; after this long without any it is taken for dead."""
RECONNECT_SECONDS = 1.0
"""A watch that ended may be opened again for so long before the cache counts as old: servers end watches now and then."""
CALM_SECONDS = 10.0
"""A watch that lasted this long did not fail, even if nothing happened; servers end watches now and then."""

Handler = Callable[[AnyT | None, AnyT | None], None]
"""Called with the object before and after: None before a creation and after a deletion."""
RawHandler = Callable[[ObjectKey, bytes | None, bytes | None], None]
"""The same with the key and undecoded objects."""


class Informer(Generic[AnyT]):
    """A cache of all objects of one kind (or of those that match), kept up to date by `run`.

    With an untyped kind it is an `Informer[JsonObject]`. Objects it returns are shared and must not be changed.
    """

    def __init__(
        self,
        api: ApiClient,
        kind: type[AnyT] | KindInfo,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        indexers: Mapping[str, Indexer[AnyT]] | None = None,
        *,
        decoded: int = DECODED,
        random: Random | None = None,
        relist_after: float | None = None,
    ) -> None:
        """`relist_after`: seconds without the server after which the objects are listed instead of resuming the watch. For
        selections that are small beside what happens meanwhile: the server finds a few objects sooner than it goes through
        the changes of all of them.
        """
        codec: Codec[AnyT] = codec_of(kind)
        self.info = codec.info
        self.selection = Selection(namespace if codec.info.namespaced else "", labels, fields)
        self._api = api
        self._codec = codec
        self._cache: ObjectCache[AnyT] = ObjectCache(codec.decode, decoded)
        self._cache.add_indexers(indexers or {})
        self._random = random or Random()  # noqa: S311  spreads reconnects
        self._relist_after = relist_after
        self._handlers: list[Handler[AnyT]] = []
        self._raw_handlers: list[RawHandler] = []
        self._revision = 0
        self._resume = ""
        self._synced = asyncio.Event()
        self._pause = Pause()
        self._following = False
        self._heard = 0.0
        """When the server was last heard, or last known to listen, in seconds of the event loop."""
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    # ---- reading

    @property
    def revision(self) -> int:
        """Store revision the cache has reached; 0 before the first list."""
        return self._revision

    @property
    def is_synced(self) -> bool:
        """The first list is in the cache."""
        return self._synced.is_set()

    @property
    def is_current(self) -> bool:
        """The server is being followed, so the cache is what it says. False while it is away: then it is the last known state."""
        silence = asyncio.get_running_loop().time() - self._heard
        return self.is_synced and silence < (SILENT_SECONDS if self._following else RECONNECT_SECONDS)

    def __len__(self) -> int:
        return len(self._cache)

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._cache

    def get(self, key: ObjectKey) -> AnyT | None:
        return self._cache.get(key)

    def value(self, key: ObjectKey) -> bytes | None:
        """An object as it came, not decoded."""
        entry = self._cache.entry(key)
        return None if entry is None else entry.value

    def list(self, namespace: str = "") -> Objects[AnyT]:
        """All objects, of one namespace or (empty) of all."""
        return self._cache.list(namespace)

    def keys(self, namespace: str = "") -> Keys:
        return self._cache.keys(namespace)

    def by_index(self, name: str, value: str) -> Objects[AnyT]:
        """The objects for which the indexer `name` gave `value`. Raises `KeyError` for an unknown index."""
        return self._cache.by_index(name, value)

    def index_keys(self, name: str, value: str) -> Keys:
        """Like `by_index`, without decoding anything."""
        return self._cache.index_keys(name, value)

    def index_values(self, name: str) -> Texts:
        """The values of an index that at least one object has."""
        return self._cache.index_values(name)

    async def wait_synced(self) -> None:
        """Return when the first list is in the cache."""
        await self._synced.wait()

    async def wait_for(self, revision: int, timeout: float = 5.0) -> bool:
        """Wait until the cache has reached a revision; False if it did not within `timeout` seconds."""
        if self._revision >= revision:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, waiter))
        try:
            async with asyncio.timeout(timeout):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters = [item for item in self._waiters if item[1] is not waiter]
        return True

    def will_see(self, key: ObjectKey, value: bytes) -> bool:
        """True if a write of this object must arrive here: it matches now, or it did. `value` is empty for a deletion."""
        return key in self._cache or (bool(value) and self.selection.matches(value))

    # ---- being told

    def add_handler(self, handler: Handler[AnyT]) -> None:
        """Call `handler(old, new)` after each change, and now for everything that is there."""
        self._handlers.append(handler)
        for obj in self._cache.list():
            _call(handler, None, obj)

    def add_raw_handler(self, handler: RawHandler) -> None:
        """Call `handler(key, old, new)` with undecoded objects after each change, and now for everything that is there."""
        self._raw_handlers.append(handler)
        for key, value in self._cache.values():
            _call(handler, key, None, value)

    def add_indexers(self, indexers: Mapping[str, Indexer[AnyT]]) -> None:
        """Add indexes, at any time. Raises `ValueError` when a name is taken by another function."""
        self._cache.add_indexers(indexers)

    # ---- following the server

    async def run(self) -> None:
        """Follow the server until cancelled. Outages are waited out; the cache keeps its last state meanwhile."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            revision, began = self._revision, loop.time()
            if self._relist_after is not None and began - self._heard >= self._relist_after:
                self._resume = ""
            expired = False
            try:
                if not self._resume:
                    await self._relist()
                await self._follow()
            except RevisionCompactedError:
                self._resume, expired = "", True
                logger.info("watch is too old, listing again", extra={"resource": self.info.resource})
            except ApiError as error:
                expected = failures == 0 or isinstance(error, LinkOpenError)
                level = logging.DEBUG if expected else logging.WARNING
                logger.log(level, "watch was interrupted", extra={"resource": self.info.resource, "error": str(error)})
            if self._following:
                self._following, self._heard = False, loop.time()
            went_well = expired or self._revision > revision or loop.time() - began >= CALM_SECONDS
            failures = 1 if went_well else failures + 1
            await self._pause.wait(SLOW.delay(failures, self._random))

    def try_now(self) -> None:
        """Do not wait any longer before following the server again: something else has just reached it."""
        self._pause.end()

    async def _relist(self) -> None:
        selection = self.selection
        listed = await self._api.list_bytes(self.info, selection.namespace, selection.labels, selection.fields)
        revision = revision_of(listed.revision)
        gone = dict.fromkeys(self._cache.keys())
        for number, value in enumerate(listed.items):
            if number % BATCH == BATCH - 1:
                await asyncio.sleep(0)
            head = head_of(value)
            gone.pop(head.key, None)
            entry = self._cache.entry(head.key)
            if entry is None or entry.revision != head.revision:
                self._replace(head.key, head.revision, value)
        for key in gone:
            self._remove(key)
        self._resume = listed.revision
        self._revision = revision  # may be lower than before, if the server was restored from a backup
        self._tell_waiters()
        self._heard = asyncio.get_running_loop().time()
        self._synced.set()

    async def _follow(self) -> None:
        selection = self.selection
        selectors = selection.query()
        events = watch_events(self._api.transport, self.info, selection.namespace, selectors, self._resume, on_open=self._opened)
        loop = asyncio.get_running_loop()
        async with aclosing(events):
            async for event in events:
                self._heard = loop.time()
                self._apply(event)

    def _opened(self) -> None:
        self._following, self._heard = True, asyncio.get_running_loop().time()

    def _apply(self, event: RawEvent) -> None:
        key, revision, _ = event.head
        if event.type == "BOOKMARK":
            self._resume = str(revision)
            self._cache.age()
        elif revision < self._revision:
            return  # repeated by a watch that was resumed
        else:
            entry = self._cache.entry(key)
            if event.type == "DELETED":
                if entry is not None and (entry.revision <= revision):
                    self._remove(key)
            elif entry is None or entry.revision < revision:
                self._replace(key, revision, event.value)
            if revision > self._revision and self._revision:
                # One transaction may change several objects at one revision, and the watch may be cut between them:
                # resume after the revision before it.
                self._resume = str(self._revision)
        if revision > self._revision:
            self._revision = revision
            self._tell_waiters()

    def _replace(self, key: ObjectKey, revision: int, value: bytes) -> None:
        entry = self._cache.entry(key)
        before = entry.value if entry is not None else None
        old = self._cache.get(key) if self._handlers else None
        try:
            self._cache.replace(key, revision, value)
            new = self._cache.get(key) if self._handlers else None
        except msgspec.DecodeError:
            logger.exception(
                "object does not fit its kind, taken as absent", extra={"key": str(key), "resource": self.info.resource}
            )
            self._remove(key)
            return
        for raw_handler in self._raw_handlers:
            _call(raw_handler, key, before, value)
        for handler in self._handlers:
            _call(handler, old, new)

    def _remove(self, key: ObjectKey) -> None:
        old = self._cache.get(key) if self._handlers else None
        entry = self._cache.remove(key)
        if entry is None:
            return
        for raw_handler in self._raw_handlers:
            _call(raw_handler, key, entry.value, None)
        for handler in self._handlers:
            _call(handler, old, None)

    def _tell_waiters(self) -> None:
        for revision, waiter in self._waiters:
            if revision <= self._revision and not waiter.done():
                waiter.set_result(None)


def _call(handler: Callable[..., None], *arguments: Any) -> None:
    """A handler that fails is a bug, but not one that may stop the cache."""
    try:
        handler(*arguments)
    except Exception:
        logger.exception("handler failed")
