"""Finishes the deletion of CustomResourceDefinitions, and gives names that became free to whoever waits for them.

    definition marked as deleted -> delete its instances -> none left -> remove the finalizer -> the definition goes

Instances with finalizers of their own keep the definition, and with it the kind, until those are worked off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from plum_schemas.base import ObjectKey

from plum_controller.resources.context import Context
from plum_controller.resources.definition_rules import CLEANUP_FINALIZER, DEFINITIONS, condition_of
from plum_controller.resources.deletion import Deleter
from plum_controller.resources.encode import Json, decode, encode
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.writing import Writer
from plum_controller.store.base import Key
from plum_controller.store.cache import Entry, Watcher, WatchEvent

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""After a failure. Short: somebody may be waiting for the definition to go."""
OPTIONS = WriteOptions(field_manager="plum-definitions")


class DefinitionCleaner:
    """One task that works through names of definitions; idle unless one is being deleted or waits for its names."""

    def __init__(self, context: Context, writer: Writer, deleter: Deleter) -> None:
        self._context = context
        self._writer = writer
        self._deleter = deleter
        self._names: dict[str, None] = {}
        """Definitions to look at, oldest first."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._watcher: Watcher | None = None
        self._instances: dict[str, Watcher] = {}

    def start(self) -> None:
        """Begin with what is stored. Safe to repeat."""
        if self._task is None:
            self._watcher = self._context.cache.watch(DEFINITIONS, "", None, None, None, self._changed)
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop; what is not finished is taken up at the next start."""
        for watcher in (self._watcher, *self._instances.values()):
            if watcher is not None:
                watcher.close()
        self._watcher = None
        self._instances.clear()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.type == "DELETED":
                self._forget_instances(event.entry.key.name)
                self._queue_waiting()
            elif b'"deletionTimestamp"' in event.entry.value:
                self._queue(event.entry.key.name)

    def _queue_waiting(self) -> None:
        """Names became free: look again at every definition that did not get its own."""
        for entry in self._context.cache.list(DEFINITIONS):
            if condition_of(decode(entry.value), "NamesAccepted") != "True":
                self._queue(entry.key.name)

    def _queue(self, name: str) -> None:
        self._names[name] = None
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._names:
                name = next(iter(self._names))
                del self._names[name]
                try:
                    await self._look(name)
                except ApiStatusError as error:
                    logger.warning("definition not finished", extra={"key": name, "error": error.message})
                    asyncio.get_running_loop().call_later(RETRY_SECONDS, self._queue, name)

    async def _look(self, name: str) -> None:
        context = self._context
        kind = context.registry.require(DEFINITIONS)
        entry = context.cache.get(Key(DEFINITIONS, "", name))
        if entry is None:
            return
        definition = decode(entry.value)
        key = ObjectKey("", name)
        if "deletionTimestamp" not in definition["metadata"]:
            # A write that changes nothing but lets the rules decide about the names again.
            await self._writer.change(kind, key, lambda entry, live: decode(entry.value), OPTIONS, "patch")
            return
        if CLEANUP_FINALIZER not in definition["metadata"].get("finalizers", ()):
            return
        if await self._delete_instances(name):
            await self._writer.change(kind, key, _without_finalizer, OPTIONS, "patch")

    async def _delete_instances(self, name: str) -> bool:
        """Delete what is left. True when nothing is."""
        context = self._context
        kind = context.registry.by_resource(name)
        if kind is None or not context.cache.count(name):
            return True
        if name not in self._instances:
            self._instances[name] = context.cache.watch(name, "", None, None, context.cache.revision, self._instance_changed)
        await self._deleter.delete_all(kind, context.cache.list(name), DeleteOptions())
        return not context.cache.count(name)

    def _instance_changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.type == "DELETED" and not self._context.cache.count(event.entry.key.resource):
                self._queue(event.entry.key.resource)

    def _forget_instances(self, name: str) -> None:
        watcher = self._instances.pop(name, None)
        if watcher is not None:
            watcher.close()


def _without_finalizer(entry: Entry, live: Json) -> Json:
    changed: Json = decode(encode(live))
    changed["metadata"]["finalizers"] = [name for name in changed["metadata"]["finalizers"] if name != CLEANUP_FINALIZER]
    return changed
