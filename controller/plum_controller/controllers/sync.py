"""The Sync controller: makes the store equal to a folder, a Git repository or a bundle, and says where it is not.

    watch Sync, what it applied, what it reads -> key -> reconcile
      fetch -> load -> plan (dry run of all) -> guards -> status with the wider inventory -> apply by stages -> delete -> status

Nothing is changed before everything was checked, and every object is in the inventory before it exists: a crash at any
moment leaves nothing that the next reconcile does not find.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from plum_client.client import ApiClient
from plum_client.controller import Controller, Watch
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.sync import Sync

from plum_controller.controllers.syncing.engine import Engine
from plum_controller.controllers.syncing.flags import ensure_flags
from plum_controller.controllers.syncing.inputs import references, secret_value
from plum_controller.controllers.syncing.live import Json, Live
from plum_controller.controllers.syncing.run import Run
from plum_controller.controllers.syncing.state import SyncState
from plum_controller.domain.health import Health, assess
from plum_controller.domain.sync.identity import ObjectId, label_of
from plum_controller.sources.base import SourceError

logger = logging.getLogger(__name__)
AsAccount = Callable[[str, str], ApiClient]
"""Gives the API with the rights of a ServiceAccount, by namespace and name."""


def add_to(manager: Manager, data_dir: Path, folders: Sequence[str] = (), as_account: AsAccount | None = None) -> SyncReconciler:
    """Register the controller. `data_dir`: where clones and revisions are kept; `folders`: those that flags name."""
    reconciler = SyncReconciler(manager, data_dir, as_account)
    reconciler.folders = folders
    controller = SyncController("sync", reconciler, Sync, watches=[Watch(Sync, reconciler.dependents)], workers=4)
    reconciler.enqueue = controller.enqueue
    manager.add(controller)
    return reconciler


class SyncController(Controller):
    """Ends the watches of folders with the controller."""

    async def work(self, manager: Manager) -> None:
        try:
            if isinstance(self.reconciler, SyncReconciler):
                await ensure_flags(manager.api, self.reconciler.syncs, self.reconciler.folders)
            await super().work(manager)
        finally:
            if isinstance(self.reconciler, SyncReconciler):
                await self.reconciler.close()


class SyncReconciler:
    """Drives one Sync towards its source."""

    def __init__(self, manager: Manager, data_dir: Path, as_account: AsAccount | None = None) -> None:
        self.api = manager.api
        self._as_account = as_account
        self._accounts: dict[ObjectKey, ApiClient] = {}
        self.clock = manager.clock
        self.data_dir = data_dir
        self.syncs = manager.informer(Sync)
        self.events = manager.recorder("plum-sync")
        self._states: dict[ObjectKey, SyncState] = {}
        self._labels: dict[str, ObjectKey] = {}
        self._readers: dict[ObjectId, set[ObjectKey]] = {}
        self.folders: Sequence[str] = ()
        self.enqueue: Any = lambda key: None
        self.live = Live(manager, self._of_object, self._of_configuration)
        self.engine = Engine(self.api_of, self.live, self._owner)

    def api_of(self, sync: Sync) -> ApiClient:
        """The API with the rights that a Sync has. Raises `SourceError`."""
        account = ObjectKey(sync.metadata.namespace, sync.spec.service_account_name)
        if not account.name:
            return self.api
        if self._as_account is None:
            raise SourceError("spec.serviceAccountName: this controller cannot act for others")
        if account not in self._accounts:
            self._accounts[account] = self._as_account(*account)
        return self._accounts[account]

    async def close(self) -> None:
        """End what goes on beside the reconciles."""
        tasks = [state.watch for state in self._states.values() if state.watch is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what wakes it

    def dependents(self, old: Sync | None, new: Sync | None) -> Iterable[ObjectKey]:
        """Syncs that wait for this one."""
        found = new or old
        if found is None:
            return []
        name, namespace = found.metadata.name, found.metadata.namespace
        return [sync.key for sync in self.syncs.list(namespace) if name in sync.spec.depends_on]

    def source_changed(self, key: ObjectKey) -> None:
        """Read the source again: a file changed, or a webhook was called."""
        state = self._states.get(key)
        if state is not None:
            state.dirty = True
        self.enqueue(key)

    def _of_object(self, label: str, identity: ObjectId, obj: Json | None) -> None:
        key = self._labels.get(label)
        state = self._states.get(key) if key is not None else None
        if key is None or state is None:
            return
        known = state.verified.get(identity)
        content = self.live.content(identity) if obj is not None else ""
        if known is None or known.content != content or self._health(key, obj) != state.health.get(identity):
            self.enqueue(key)

    def _of_configuration(self, identity: ObjectId) -> None:
        for key in self._readers.get(identity, ()):
            self.source_changed(key)

    def _owner(self, label: str) -> str:
        found = self._labels.get(label)
        if found is not None and found in self.syncs:
            return str(found)
        return next((str(sync.key) for sync in self.syncs.list() if label_of(*sync.key) == label), "")

    # ---- reconciling

    async def reconcile(self, key: ObjectKey) -> Result:
        """Read, check, apply, delete, report."""
        sync = self.syncs.get(key)
        if sync is None or sync.metadata.deletion_timestamp is not None:
            await self._forget(key)
            return Result.wait_for_change()
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = SyncState(label_of(*key))
            self._labels[state.label] = key
        for identity in references(sync):
            self._readers.setdefault(identity, set()).add(key)
        async with state.lock:
            return await Run(self, sync, state).run()

    async def _forget(self, key: ObjectKey) -> None:
        """Its Sync was deleted: nothing that it applied is touched."""
        state = self._states.pop(key, None)
        for readers in self._readers.values():
            readers.discard(key)
        if state is None:
            return
        self._labels.pop(state.label, None)
        if state.watch is not None:
            state.watch.cancel()
            await asyncio.gather(state.watch, return_exceptions=True)

    def _health(self, key: ObjectKey, obj: Json | None) -> Health:
        sync = self.syncs.get(key)
        return self.health_of(sync, obj)

    def health_of(self, sync: Sync | None, obj: Json | None) -> Health:
        """The health of one object, by the rules of the Sync, of the object and of its kind."""
        rule = None
        if obj is not None:
            for entry in sync.spec.health if sync is not None else ():
                if (entry.api_version, entry.kind) == (obj.get("apiVersion"), obj.get("kind")):
                    rule = self.live.rule(entry.healthy, entry.failed)
            rule = rule or self.live.rule_of(obj)
        return assess(obj, rule)

    # ---- for plans

    async def plan(self, key: ObjectKey) -> Json | None:
        """What a sync would do now, as JSON; None when there is no such Sync. Raises `SourceError`."""
        sync = self.syncs.get(key)
        if sync is None:
            return None
        state = self._states.get(key) or SyncState(label_of(*key))
        async with state.lock:
            return await Run(self, sync, state).preview()

    def webhook_secret(self, key: ObjectKey) -> str:
        """What calls of this Sync's webhook are signed with; empty when it has none. Raises `SourceError`."""
        sync = self.syncs.get(key)
        git = sync.spec.source.git if sync is not None else None
        if sync is None or git is None or git.webhook_secret_ref is None:
            return ""
        return secret_value(sync, self.live, git.webhook_secret_ref, "spec.source.git.webhookSecretRef")
