"""The resource service: what every write passes, and every read that is more than a look into the cache.

    HTTP, controllers --> ResourceService --+-- writing.py    create, update, patch, apply: merge, default, prune, validate, admit
                                            +-- deletion.py   finalizers, propagation, preconditions
                                            +-- scale.py      the /scale subresource
                                            +-- transactions.py  several writes, all or none
                                            +-- listing.py    lists, pages, selectors
                                            +-- history.py    time travel
                                            +-- watching.py   watches

Everything a caller can do wrong is raised as `ApiStatusError`. Objects go in as decoded JSON, which the service may
change, and come out as the bytes that are stored.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from plum_schemas.base import ObjectKey

from plum_controller.resources.context import Clock, Context
from plum_controller.resources.definitions import DefinitionCleaner
from plum_controller.resources.deletion import Deleter
from plum_controller.resources.history import read_history, read_version
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.kv import Entries
from plum_controller.resources.listing import Lister
from plum_controller.resources.namespaces import bootstrap
from plum_controller.resources.options import (
    DeleteOptions,
    ListOptions,
    ListResult,
    Outcome,
    PatchType,
    Version,
    WatchOptions,
    WriteOptions,
)
from plum_controller.resources.registry import Registry
from plum_controller.resources.scale import ScaleEndpoint
from plum_controller.resources.transactions import Plan, Result, Transactor
from plum_controller.resources.watching import Deliver, Ended, open_watch
from plum_controller.resources.writing import Writer
from plum_controller.store.base import Store
from plum_controller.store.cache import WatchCache, Watcher

__all__ = [
    "DeleteOptions",
    "ListOptions",
    "ListResult",
    "Outcome",
    "PatchType",
    "ResourceService",
    "Version",
    "WatchOptions",
    "WriteOptions",
]


class ResourceService:
    """One per store. `cache` is loaded, and `registry` knows the kinds, before the first call."""

    def __init__(
        self,
        store: Store,
        cache: WatchCache,
        registry: Registry,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`random_bytes` is where uids and generated names come from; simulations pass a seeded source."""
        self.registry = registry
        self.cache = cache
        self.clock = clock
        self._context = Context(store, cache, registry, clock, random_bytes)
        self._writer = Writer(self._context)
        self._deleter = Deleter(self._context)
        self._lister = Lister(self._context)
        self._scale = ScaleEndpoint(self._context, self._writer)
        self._transactor = Transactor(self._context)
        self.entries = Entries(self._context, self._transactor)
        """Of the key-value store, by their keys."""
        self._cleaner = DefinitionCleaner(self._context, self._writer, self._deleter)

    async def start(self) -> None:
        """Create the namespaces that always exist, and take up the removal of deleted definitions. Safe to repeat."""
        await bootstrap(self._context, self._writer)
        self._cleaner.start()

    async def close(self) -> None:
        """End the background work. Safe to repeat."""
        await self._cleaner.close()

    async def create(self, kind: ResourceKind, namespace: str, data: Any, options: WriteOptions) -> Outcome:
        """Store a new object. 409 AlreadyExists when the name is taken."""
        return await self._writer.create(kind, namespace, data, options)

    async def update(self, kind: ResourceKind, key: ObjectKey, data: Any, options: WriteOptions) -> Outcome:
        """Replace an object, or with a subresource that part of it. 409 Conflict when `resourceVersion` is stale."""
        return await self._writer.update(kind, key, data, options)

    async def patch(
        self, kind: ResourceKind, key: ObjectKey, patch_type: PatchType, patch: Any, options: WriteOptions
    ) -> Outcome:
        """Change part of an object. Patches that name no `resourceVersion` are repeated by themselves on a race."""
        return await self._writer.patch(kind, key, patch_type, patch, options)

    async def delete(self, kind: ResourceKind, key: ObjectKey, options: DeleteOptions) -> Outcome:
        """Delete an object, or mark it as being deleted while finalizers hold it."""
        return await self._deleter.delete(kind, key, options)

    async def delete_collection(self, kind: ResourceKind, which: ListOptions, options: DeleteOptions) -> list[bytes]:
        """Delete every object of a list, each by the rules of `delete`. Answers with their last states."""
        listed = await self._lister.list(kind, which)
        return await self._deleter.delete_all(kind, listed.entries, options)

    async def transact(self, plan: Plan) -> Result:
        """Compare, then do one of two lists of operations: all or none, at one revision."""
        return await self._transactor.run(plan)

    def get(self, kind: ResourceKind, key: ObjectKey, revision: str | None = None) -> bytes:
        """The object as JSON. `revision` is the `resourceVersion` parameter: not older than."""
        return self._lister.get(kind, key, revision)

    async def get_at(self, kind: ResourceKind, key: ObjectKey, at: str) -> bytes:
        """The object as it was at a revision or at an RFC 3339 time."""
        return await read_version(self._context, kind, key, at)

    async def history(self, kind: ResourceKind, key: ObjectKey, limit: int = 100) -> list[Version]:
        """The kept versions of an object, newest first, deletions included. Works for objects that are gone."""
        return await read_history(self._context, kind, key, limit)

    async def list(self, kind: ResourceKind, options: ListOptions) -> ListResult:
        """One page of objects, in order of namespace and name."""
        return await self._lister.list(kind, options)

    def watch(self, kind: ResourceKind, options: WatchOptions, deliver: Deliver, ended: Ended | None = None) -> Watcher:
        """Deliver what matches now (unless a revision is given), then every change, in order.

        Raises `ApiStatusError`: 410 Expired is meant to be sent as an ERROR event, the rest as the answer. `ended` is
        told when history went away while it was replayed.
        """
        return open_watch(self._context, kind, options, deliver, ended)

    def get_scale(self, kind: ResourceKind, key: ObjectKey) -> bytes:
        """The object's `autoscaling/v1` Scale."""
        return self._scale.get(kind, key)

    async def update_scale(self, kind: ResourceKind, key: ObjectKey, data: Any, options: WriteOptions) -> Outcome:
        """Set the number of copies. The outcome's value is a Scale."""
        return await self._scale.update(kind, key, data, options)

    async def patch_scale(
        self, kind: ResourceKind, key: ObjectKey, patch_type: PatchType, patch: Any, options: WriteOptions
    ) -> Outcome:
        """Patch the Scale. The outcome's value is a Scale."""
        return await self._scale.patch(kind, key, patch_type, patch, options)
