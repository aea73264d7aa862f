"""The garbage collector: deletes what is owned by nobody any more, and carries out foreground and orphan deletions.

    every kind's informer -> graph of owners (uid) -> key -> reconcile -> delete, or take dead owners out, or drop a finalizer

The graph is built from what informers show. Before anything is deleted because an owner is absent, the owner is read from
the API once more: a graph that is behind never costs an object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from plum_client.controller import Controller
from plum_client.errors import ConflictError, NotFoundError
from plum_client.informer import Informer
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import KindInfo, ObjectKey, OwnerReference

from plum_controller.controllers.served_kinds import ServedKinds
from plum_controller.domain.garbage import FOREGROUND_FINALIZER, ORPHAN_FINALIZER, OwnerState, judge


class _Metadata(msgspec.Struct, rename="camel"):
    uid: str = ""
    resource_version: str = ""
    deletion_timestamp: str | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: list[OwnerReference] = []


class _Head(msgspec.Struct):
    metadata: _Metadata


_decode = msgspec.json.Decoder(_Head).decode


@dataclass(slots=True)
class Vertex:
    """One object that owns or is owned."""

    info: KindInfo
    key: ObjectKey
    metadata: _Metadata

    @property
    def waiting(self) -> bool:
        """Being deleted, after its dependents."""
        return self.metadata.deletion_timestamp is not None and FOREGROUND_FINALIZER in self.metadata.finalizers

    @property
    def queue_key(self) -> ObjectKey:
        return ObjectKey(self.info.resource, str(self.key))


def add_to(manager: Manager) -> None:
    """Register the controller."""
    collector = GarbageCollector(manager)
    collector.controller = Controller("garbage-collector", collector, workers=8)
    manager.add(collector.controller)


class GarbageCollector:
    """Reconciles keys of any kind: the resource in the place of the namespace, `namespace/name` in that of the name."""

    controller: Controller

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._vertices: dict[str, Vertex] = {}
        """By uid: objects that name owners, or are being deleted with their dependents in mind."""
        self._uids: dict[ObjectKey, str] = {}
        """By queue key: the uid last seen."""
        self._dependents: dict[str, set[str]] = {}
        """Uid of an owner to uids of what names it."""
        self._kinds = ServedKinds(manager, self._watch)

    # ---- the graph

    def _watch(self, info: KindInfo, informer: Informer[Any]) -> None:
        informer.add_raw_handler(lambda key, old, new: self._changed(info, key, new))

    def _changed(self, info: KindInfo, key: ObjectKey, new: bytes | None) -> None:
        queue_key = ObjectKey(info.resource, str(key))
        metadata = _decode(new).metadata if new is not None else None
        before = self._uids.get(queue_key)
        if before is not None and (metadata is None or metadata.uid != before):
            self._forget(queue_key, before)
        if metadata is None:
            return
        self._uids[queue_key] = metadata.uid
        known = self._vertices.get(metadata.uid)
        if known is not None:
            self._unlink(known)
        if metadata.owner_references or metadata.deletion_timestamp is not None:
            vertex = Vertex(info, key, metadata)
            self._vertices[metadata.uid] = vertex
            for owner in metadata.owner_references:
                self._dependents.setdefault(owner.uid, set()).add(metadata.uid)
            if self._needs_a_look(vertex, known):
                self.controller.enqueue(queue_key)
        elif known is not None:
            del self._vertices[metadata.uid]

    def _needs_a_look(self, vertex: Vertex, known: Vertex | None) -> bool:
        """Whether a change can matter: new owners, or a deletion that waits for dependents."""
        if vertex.metadata.deletion_timestamp is not None:
            return any(name in vertex.metadata.finalizers for name in (FOREGROUND_FINALIZER, ORPHAN_FINALIZER))
        return known is None or known.metadata.owner_references != vertex.metadata.owner_references

    def _forget(self, queue_key: ObjectKey, uid: str) -> None:
        """An object is gone: look at what it owned, and at owners that waited for it."""
        del self._uids[queue_key]
        vertex = self._vertices.pop(uid, None)
        for dependent in self._dependents.get(uid, ()):
            self._enqueue(dependent)
        if vertex is not None:
            self._unlink(vertex)
            for owner in vertex.metadata.owner_references:
                if (waiting := self._vertices.get(owner.uid)) is not None and waiting.waiting:
                    self.controller.enqueue(waiting.queue_key)

    def _unlink(self, vertex: Vertex) -> None:
        for owner in vertex.metadata.owner_references:
            dependents = self._dependents.get(owner.uid)
            if dependents is not None:
                dependents.discard(vertex.metadata.uid)
                if not dependents:
                    del self._dependents[owner.uid]

    def _enqueue(self, uid: str) -> None:
        vertex = self._vertices.get(uid)
        if vertex is not None:
            self.controller.enqueue(vertex.queue_key)

    def _dependents_of(self, uid: str) -> list[Vertex]:
        found = (self._vertices.get(dependent) for dependent in self._dependents.get(uid, ()))
        return [vertex for vertex in found if vertex is not None]

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """Do what is due for one object: finish its own deletion, or judge it by its owners."""
        vertex = self._vertices.get(self._uids.get(key, ""))
        if vertex is None:
            return Result.wait_for_change()
        finalizers = vertex.metadata.finalizers
        if vertex.metadata.deletion_timestamp is not None:
            if ORPHAN_FINALIZER in finalizers:
                await self._orphan_dependents(vertex)
            elif FOREGROUND_FINALIZER in finalizers:
                await self._finish_foreground(vertex)
            return Result.wait_for_change()
        owners = {owner.uid: await self._state_of(vertex, owner) for owner in vertex.metadata.owner_references}
        verdict = judge(owners, bool(self._dependents.get(vertex.metadata.uid)), finalizers)
        if verdict.action == "release":
            await self._release(vertex, verdict.release)
        elif verdict.action == "delete":
            try:
                await self._api.delete(vertex.info, vertex.key, propagation=verdict.propagation, uid=vertex.metadata.uid)
            except NotFoundError:
                pass  # gone already: that was the aim
        return Result.wait_for_change()

    async def _state_of(self, vertex: Vertex, owner: OwnerReference) -> OwnerState:
        info = self._kinds.by_kind(owner.api_version, owner.kind)
        if info is None:
            return OwnerState.UNKNOWN
        key = ObjectKey(vertex.key.namespace if info.namespaced else "", owner.name)
        if info.namespaced and not key.namespace:
            return OwnerState.UNKNOWN
        if self._uids.get(ObjectKey(info.resource, str(key))) == owner.uid:
            known = self._vertices.get(owner.uid)
            waits = known is not None and known.waiting and owner.block_owner_deletion is not False
            return OwnerState.WAITING if waits else OwnerState.PRESENT
        found = await self._api.get(info, key)
        if found is None or found["metadata"]["uid"] != owner.uid:
            return OwnerState.ABSENT
        return OwnerState.PRESENT

    async def _release(self, vertex: Vertex, uids: tuple[str, ...]) -> None:
        """Take owners out of the owner references of an object that stays."""
        kept = [msgspec.to_builtins(owner) for owner in vertex.metadata.owner_references if owner.uid not in uids]
        patch = {
            "metadata": {
                "resourceVersion": vertex.metadata.resource_version,
                "uid": vertex.metadata.uid,
                "ownerReferences": kept or None,
            }
        }
        try:
            await self._api.patch(vertex.info, vertex.key, patch)
        except NotFoundError:
            pass

    async def _orphan_dependents(self, vertex: Vertex) -> None:
        """Let all dependents go, then the owner."""
        for dependent in self._dependents_of(vertex.metadata.uid):
            await self._release(dependent, (vertex.metadata.uid,))
        await self._drop_finalizer(vertex, ORPHAN_FINALIZER)

    async def _finish_foreground(self, vertex: Vertex) -> None:
        """Have dependents deleted; let the owner go when none is left that blocks it."""
        dependents = self._dependents_of(vertex.metadata.uid)
        blocking = [d for d in dependents if _blocks(d.metadata, vertex.metadata.uid)]
        for dependent in dependents:
            if dependent.metadata.deletion_timestamp is None:
                self.controller.enqueue(dependent.queue_key)
        if not blocking:
            await self._drop_finalizer(vertex, FOREGROUND_FINALIZER)

    async def _drop_finalizer(self, vertex: Vertex, name: str) -> None:
        live = await self._api.get(vertex.info, vertex.key)
        if live is None or live["metadata"]["uid"] != vertex.metadata.uid:
            return
        metadata: Mapping[str, Any] = live["metadata"]
        left = [finalizer for finalizer in metadata.get("finalizers") or () if finalizer != name]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": left or None}}
        try:
            await self._api.patch(vertex.info, vertex.key, patch)
        except NotFoundError:
            pass
        except ConflictError:
            self.controller.enqueue(vertex.queue_key)


def _blocks(metadata: _Metadata, owner: str) -> bool:
    return any(reference.uid == owner and reference.block_owner_deletion for reference in metadata.owner_references)
