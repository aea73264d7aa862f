"""Keeps the newest ended Operations of each namespace, for some time, and deletes older ones.

    Operation that has ended -> sorted by its end, per namespace -> key of the namespace -> delete what is beyond count or age

Operations that belong to something else go with it, and are not counted.
"""

from __future__ import annotations

from typing import Protocol

from plum_client.controller import Controller
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.operation import Operation
from plum_schemas.operation_states import is_final
from sortedcontainers import SortedList

Entry = tuple[float, str, str]
"""When it ended, its name and its uid."""
AT_ONCE = 100
"""Deletions of one reconcile."""


class RetentionSettings(Protocol):
    """What is kept."""

    @property
    def operations_kept_seconds(self) -> float:
        """How long an ended Operation is kept."""

    @property
    def operations_kept(self) -> int:
        """Most ended Operations of a namespace; 0: no limit."""


class OperationRetention:
    """Deletes the oldest ended operations of one namespace."""

    controller: Controller

    def __init__(self, manager: Manager, settings: RetentionSettings) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._settings = settings
        self._ended: dict[str, SortedList[Entry]] = {}
        self._known: dict[str, Entry] = {}
        manager.informer(Operation).add_handler(self._changed)

    def _changed(self, old: Operation | None, new: Operation | None) -> None:
        operation = new or old
        if operation is None or any(owner.controller for owner in operation.metadata.owner_references):
            return
        uid, namespace = operation.metadata.uid, operation.metadata.namespace
        if new is None:
            entry = self._known.pop(uid, None)
            if entry is not None:
                self._ended[namespace].remove(entry)
        elif is_final(new.status.phase) and uid not in self._known:
            ended = new.status.finished_at
            entry = (ended.timestamp() if ended is not None else 0.0, operation.metadata.name, uid)
            self._known[uid] = entry
            entries = self._ended.setdefault(namespace, SortedList())
            entries.add(entry)
            limit = self._settings.operations_kept
            if len(entries) == 1 or (limit and len(entries) > limit):
                self.controller.enqueue(ObjectKey("", namespace))

    async def reconcile(self, key: ObjectKey) -> Result:
        """Delete the oldest beyond the limits, and come back for the next."""
        entries, limit = self._ended.get(key.name), self._settings.operations_kept
        if not entries:
            return Result.wait_for_change()
        oldest = self._clock.now().timestamp() - self._settings.operations_kept_seconds
        surplus = max(len(entries) - limit if limit else 0, entries.bisect_left((oldest, "", "")))
        for _, name, uid in list(entries[: min(surplus, AT_ONCE)]):
            await self._api.delete(Operation, ObjectKey(key.name, name), uid=uid)
        if surplus > AT_ONCE:
            return Result.requeue(after=0.001)
        if surplus >= len(entries):
            return Result.wait_for_change()
        return Result.requeue(after=max(1.0, entries[surplus][0] - oldest))


def add_to(manager: Manager, settings: RetentionSettings) -> None:
    """Register the controller."""
    retention = OperationRetention(manager, settings)
    retention.controller = Controller("operation-retention", retention, workers=2)
    manager.add(retention.controller)
