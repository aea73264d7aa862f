"""The registry: which kinds there are. Built-in ones from the generated definitions, the rest from the store, live.

    plum_schemas.crds.load() ----------------------+
                                                    +--> by_path, by_kind, all, index
    CustomResourceDefinition objects <--watch-- cache

A definition's kinds are served before the write that created it is answered, because the watch cache publishes first.
`generation` moves with every change, so whoever keeps something derived from the kinds knows when it is old.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from plum_schemas.crds import load

from plum_controller.resources.artifact_rules import ArtifactRules
from plum_controller.resources.definition_rules import DEFINITIONS, DefinitionRules, is_established
from plum_controller.resources.device_rules import OPERATIONS, RESOURCES, OperationRules, ResourceRules
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.indexing import Indexer, empty_index
from plum_controller.resources.kinds import ResourceKind as ResourceKind
from plum_controller.resources.kinds import kinds_of, served
from plum_controller.resources.kv_rules import EntryRules
from plum_controller.resources.namespaces import NamespaceRules
from plum_controller.resources.object_rules import ConfigMapRules, LeaseRules, SecretRules
from plum_controller.resources.rules import NO_RULES, KindRules
from plum_controller.resources.task_rules import TaskDefinitionRules, TaskRunRules
from plum_controller.resources.trigger_rules import TRIGGERS, TriggerRules
from plum_controller.resources.workflow_rules import WorkflowRules, WorkflowRunRules
from plum_controller.store.base import Key, Store
from plum_controller.store.cache import Indexed, WatchCache, Watcher, WatchEvent

RULES: dict[str, KindRules] = {
    "namespaces": NamespaceRules(),
    "secrets": SecretRules(),
    "configmaps": ConfigMapRules(),
    "leases.coordination.k8s.io": LeaseRules(),
    "artifacts.plum.dev": ArtifactRules(),
    "taskdefinitions.plum.dev": TaskDefinitionRules(),
    "taskruns.plum.dev": TaskRunRules(),
    "kvs.plum.dev": EntryRules(),
    TRIGGERS: TriggerRules(),
    RESOURCES: ResourceRules(),
    OPERATIONS: OperationRules(),
    "workflows.plum.dev": WorkflowRules(),
    "workflowruns.plum.dev": WorkflowRunRules(),
    DEFINITIONS: DefinitionRules(),
}
"""Kinds with rules of their own, by resource."""


class Registry:
    """Kinds by every name that a request may use. Every look-up is one look into a dictionary."""

    def __init__(self, builtin: Iterable[Json] | None = None) -> None:
        """`builtin` are the definitions to start with: those of `plum_schemas` if None."""
        self.generation = 0
        """Moves with every change of the kinds."""
        self._paths: dict[tuple[str, str, str], ResourceKind] = {}
        self._kinds: dict[tuple[str, str], ResourceKind] = {}
        self._defined: dict[str, list[ResourceKind]] = {}
        self._indexers: dict[str, Indexer] = {}
        self._cache: WatchCache | None = None
        self._watcher: Watcher | None = None
        for definition in load() if builtin is None else builtin:
            self._add(definition, builtin=True)
        self._builtin = frozenset(self._defined)

    def by_path(self, group: str, version: str, plural: str) -> ResourceKind | None:
        """The kind served at `/apis/GROUP/VERSION/PLURAL`; the core group is empty."""
        return self._paths.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> ResourceKind | None:
        """The kind that a manifest names."""
        return self._kinds.get((api_version, kind))

    def by_resource(self, resource: str) -> ResourceKind | None:
        """The storage version of what the store calls `deployments.plum.dev`."""
        kinds = self._defined.get(resource)
        return kinds[0].storage if kinds else None

    def require(self, resource: str) -> ResourceKind:
        """A built-in kind. Raises `KeyError`: the program would be incomplete without it."""
        return self._defined[resource][0].storage

    def all(self) -> Sequence[ResourceKind]:
        """Every served version of every kind: built-in ones first."""
        return list(self._paths.values())

    def is_builtin(self, resource: str) -> bool:
        return resource in self._builtin

    def index(self, key: Key, value: bytes) -> Indexed:
        """What the watch cache finds an object by."""
        indexer = self._indexers.get(key.resource)
        return indexer(value) if indexer is not None else empty_index(value)

    async def load_definitions(self, store: Store) -> None:
        """Know the stored definitions before the watch cache indexes their objects."""
        for entry in await store.read_at(store.revision, DEFINITIONS):
            self._put(decode(entry.value))

    def follow(self, cache: WatchCache) -> None:
        """Take definitions from the cache, now and whenever they change."""
        self._cache = cache
        self._watcher = cache.watch(DEFINITIONS, "", None, None, None, self._changed)

    def close(self) -> None:
        """Stop following. Safe to repeat."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def _changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            definition = decode(event.entry.value)
            if event.type == "DELETED":
                self._remove(definition["metadata"]["name"])
            else:
                self._put(definition)

    def _put(self, definition: Json) -> None:
        if is_established(definition):
            self._add(definition)
        else:
            self._remove(definition["metadata"]["name"])

    def _add(self, definition: Json, *, builtin: bool = False) -> None:
        rules = RULES.get(_resource_of(definition, builtin), NO_RULES) if builtin else NO_RULES
        kinds = kinds_of(definition, rules=rules, builtin=builtin)
        resource = kinds[0].info.resource
        previous = self._forget(resource)
        self._defined[resource] = kinds
        labels = kinds[0].storage.field_labels
        self._indexers[resource] = Indexer(labels)
        for kind in served(definition, kinds):
            info = kind.info
            self._paths[info.group, info.version, info.plural] = kind
            self._kinds[info.api_version, info.kind] = kind
        self.generation += 1
        if previous:
            _keep_compiled(previous, kinds)
            if self._cache is not None and previous[0].storage.field_labels != labels:
                self._cache.reindex(resource)

    def _remove(self, resource: str) -> None:
        if resource in self._defined and resource not in self._builtin:
            self._forget(resource)
            self.generation += 1

    def _forget(self, resource: str) -> list[ResourceKind]:
        kinds = self._defined.pop(resource, [])
        self._indexers.pop(resource, None)
        for kind in kinds:
            info = kind.info
            self._paths.pop((info.group, info.version, info.plural), None)
            self._kinds.pop((info.api_version, info.kind), None)
        return kinds


def _resource_of(definition: Json, builtin: bool) -> str:
    spec: Any = definition["spec"]
    plural, group = spec["names"]["plural"], spec["group"]
    return plural if builtin and group in ("", "core") else f"{plural}.{group}"


def _keep_compiled(previous: Sequence[ResourceKind], kinds: Sequence[ResourceKind]) -> None:
    """A status write on a definition does not change its schemas; compiling them again would cost milliseconds."""
    compiled = {kind.info.version: kind for kind in previous}
    for kind in kinds:
        before = compiled.get(kind.info.version)
        if before is not None and before.openapi == kind.openapi:
            for name in ("schema", "fields"):
                if name in before.__dict__:
                    kind.__dict__[name] = before.__dict__[name]
