"""A resource service over a real store, and short words for the calls that its tests make."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import DeleteOptions, ListOptions, Outcome, WatchOptions, WriteOptions
from plum_controller.resources.registry import Registry
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Store
from plum_controller.store.cache import WatchCache, Watcher, WatchEvent
from plum_controller.store.memory import MemoryStore
from plum_controller.store.sqlite import SqliteStore
from plum_schemas.base import ObjectKey

Json = dict[str, Any]


class ManualClock:
    """Shows the time that the test sets."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 31, 8, 0, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, seconds: float) -> None:
        self.moment += timedelta(seconds=seconds)


class World:
    """Everything between a caller and the store."""

    def __init__(self, store: Store, clock: ManualClock) -> None:
        self.store = store
        self.clock = clock
        self.registry = Registry()
        self.cache = WatchCache(store, self.registry.index)
        self.service = ResourceService(store, self.cache, self.registry, clock)

    async def start(self) -> None:
        await self.store.open()
        await self.registry.load_definitions(self.store)
        await self.cache.load()
        self.registry.follow(self.cache)
        await self.service.start()

    async def stop(self) -> None:
        await self.service.close()
        self.registry.close()
        await self.store.close()

    def kind(self, name: str) -> ResourceKind:
        """A kind by its plural, or by `plural.version.group`."""
        for kind in self.registry.all():
            info = kind.info
            if name in (info.plural, info.resource, f"{info.plural}.{info.version}.{info.group}"):
                return kind
        raise KeyError(name)

    async def create(self, plural: str, data: Json, namespace: str = "default", **options: Any) -> Json:
        return decode(await self.create_outcome(plural, data, namespace, **options))

    async def create_outcome(self, plural: str, data: Json, namespace: str = "default", **options: Any) -> Outcome:
        kind = self.kind(plural)
        return await self.service.create(
            kind, namespace if kind.info.namespaced else "", copy.deepcopy(data), WriteOptions(**options)
        )

    async def update(self, plural: str, data: Json, namespace: str = "default", name: str = "", **options: Any) -> Json:
        key = self.key(plural, name or data["metadata"]["name"], namespace)
        return decode(await self.service.update(self.kind(plural), key, copy.deepcopy(data), WriteOptions(**options)))

    async def patch(
        self, plural: str, name: str, patch: Any, namespace: str = "default", patch_type: Any = "merge", **options: Any
    ) -> Json:
        return decode(await self.patch_outcome(plural, name, patch, namespace, patch_type, **options))

    async def patch_outcome(
        self, plural: str, name: str, patch: Any, namespace: str = "default", patch_type: Any = "merge", **options: Any
    ) -> Outcome:
        key = self.key(plural, name, namespace)
        return await self.service.patch(self.kind(plural), key, patch_type, copy.deepcopy(patch), WriteOptions(**options))

    async def apply(self, plural: str, config: Json, manager: str, namespace: str = "default", **options: Any) -> Json:
        info = self.kind(plural).info
        config = {"apiVersion": info.api_version, "kind": info.kind, **config}
        return await self.patch(plural, config["metadata"]["name"], config, namespace, "apply", field_manager=manager, **options)

    async def delete(self, plural: str, name: str, namespace: str = "default", **options: Any) -> Outcome:
        chosen = DeleteOptions(**options)
        return await self.service.delete(self.kind(plural), self.key(plural, name, namespace), chosen)

    def get(self, plural: str, name: str, namespace: str = "default", revision: str | None = None) -> Json:
        value: Json = msgspec.json.decode(self.service.get(self.kind(plural), self.key(plural, name, namespace), revision))
        return value

    def exists(self, plural: str, name: str, namespace: str = "default") -> bool:
        try:
            self.get(plural, name, namespace)
        except ApiStatusError as error:
            assert error.code == 404
            return False
        return True

    async def names(self, plural: str, **options: Any) -> list[str]:
        result = await self.service.list(self.kind(plural), ListOptions(**options))
        return [entry.key.name for entry in result.entries]

    def watch(self, plural: str, **options: Any) -> Recorder:
        recorder = Recorder()
        recorder.watcher = self.service.watch(self.kind(plural), WatchOptions(**options), recorder.take)
        return recorder

    def key(self, plural: str, name: str, namespace: str) -> ObjectKey:
        return ObjectKey(namespace if self.kind(plural).info.namespaced else "", name)


class Recorder:
    """Keeps what a watch delivers."""

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self.watcher: Watcher | None = None

    def take(self, events: Any) -> None:
        self.events.extend(events)

    @property
    def seen(self) -> list[tuple[str, str]]:
        return [(event.type, event.entry.key.name) for event in self.events]


def decode(outcome: Outcome) -> Json:
    value: Json = msgspec.json.decode(outcome.value)
    return value


@asynccontextmanager
async def refused(code: int, *parts: str, reason: str = "") -> AsyncIterator[Any]:
    """Expects an `ApiStatusError` with this code whose message has these parts."""
    with pytest.raises(ApiStatusError) as caught:
        yield caught
    assert caught.value.code == code, caught.value.message
    if reason:
        assert caught.value.reason == reason
    for part in parts:
        assert part in caught.value.message, caught.value.message


async def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for a condition, fail after a deadline."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def make_store(engine: str, folder: Path, **options: Any) -> Store:
    return MemoryStore() if engine == "memory" else SqliteStore(folder / "plum.db", **options)


def deployment(name: str = "web", **spec: Any) -> Json:
    template = {"command": ["sleep", "1"], "runtime": "process"}
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": 2, "template": template, **spec},
    }


def config_map(name: str = "settings", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def definition(plural: str = "widgets", group: str = "example.com", **spec: Any) -> Json:
    """A CustomResourceDefinition with status, scale, a list map, a default, and a selectable field."""
    kind = plural[:-1].capitalize()
    properties = {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "minimum": 0},
                "color": {"type": "string", "default": "red"},
                "replicas": {"type": "integer", "minimum": 0},
                "parts": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}},
                    },
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}, "phase": {"type": "string"}},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.color"}],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [version],
            **spec,
        },
    }


def widget(name: str = "gear", **spec: Any) -> Json:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec}
