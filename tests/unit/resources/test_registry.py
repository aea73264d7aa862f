from __future__ import annotations

import copy

from plum_controller.resources.definition_rules import set_condition
from plum_controller.resources.encode import head_of, tail_of
from plum_controller.resources.registry import Registry
from plum_controller.store.base import Key, Transaction, Write
from plum_controller.store.cache import WatchCache
from plum_controller.store.memory import MemoryStore

from tests.support.resources import definition


def test_built_in_kinds_are_found_by_path_kind_and_resource() -> None:
    registry = Registry()
    kind = registry.by_path("plum.dev", "v1", "deployments")

    assert kind is not None
    assert kind is registry.by_kind("plum.dev/v1", "Deployment") is registry.by_resource("deployments.plum.dev")
    assert registry.by_path("", "v1", "namespaces") is registry.by_kind("v1", "Namespace")
    assert registry.by_path("plum.dev", "v2", "deployments") is None


def test_core_kinds_come_first() -> None:
    groups = [kind.info.group for kind in Registry().all()]

    assert groups.index("plum.dev") > max(index for index, group in enumerate(groups) if group == "")


def test_every_built_in_kind_compiles_and_indexes() -> None:
    registry = Registry()
    for kind in registry.all():
        data = {"apiVersion": kind.info.api_version, "kind": kind.info.kind, "metadata": {"name": "x", "zz": 1}, "zz": {}}
        assert "zz" in kind.schema.prune(data)
        kind.schema.default(data)
        assert kind.fields.root is not None
        indexed = registry.index(Key(kind.info.resource, "", "x"), b'{"metadata":{"labels":{"a":"b"}}}')
        assert indexed.labels == {"a": "b"}
        assert set(indexed.fields) == set(kind.field_labels)


async def test_definitions_come_and_go_with_the_cache() -> None:
    registry, store = Registry([]), MemoryStore()
    await store.open()
    cache = WatchCache(store, registry.index)
    await cache.load()
    registry.follow(cache)
    data = definition()
    key = Key("customresourcedefinitions.apiextensions.k8s.io", "", "widgets.example.com")

    await put(store, key, data)
    assert registry.by_path("example.com", "v1", "widgets") is None, "not established yet"

    set_condition(data, "Established", "True", "InitialNamesAccepted", "", "2026-01-31T08:00:00Z")
    await put(store, key, data)
    first = registry.by_path("example.com", "v1", "widgets")
    assert first is not None

    compiled, before = first.schema, registry.generation
    set_condition(data, "Other", "True", "Whatever", "", "2026-01-31T08:00:00Z")
    await put(store, key, data)
    second = registry.by_path("example.com", "v1", "widgets")
    assert second is not None
    assert second.schema is compiled, "a status does not compile schemas again"
    assert registry.generation > before

    await put(store, key, data, deleted=True)
    assert registry.by_path("example.com", "v1", "widgets") is None
    assert registry.all() == []


async def put(store: MemoryStore, key: Key, data: object, *, deleted: bool = False) -> None:
    head = head_of("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    await store.commit(Transaction((Write(key, head, tail_of(copy.deepcopy(data)), deleted=deleted),)))  # type: ignore[arg-type]
