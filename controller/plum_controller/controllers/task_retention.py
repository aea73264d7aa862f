"""Task retention: keeps the newest finished TaskRuns of each namespace and deletes older ones.

    watch TaskRun -> finished ones, sorted, per namespace -> key of the namespace, a moment later -> delete what is beyond

Deletions wait for each other, so that many share one commit: beside full namespaces a run would otherwise wait for one of each.

Runs that belong to something else (a WorkflowRun) go with it, and are not counted.
"""

from __future__ import annotations

import asyncio

from plum_client.controller import Controller
from plum_client.errors import ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow.task_states import is_final
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun
from sortedcontainers import SortedList

Entry = tuple[float, str, str]
"""When it finished, its name and its uid."""
AT_ONCE = 100
"""Deletions of one reconcile, which the store commits together."""
WAIT_SECONDS = 2.0
"""After the limit was passed: what ends meanwhile makes room with the same commit."""


def add_to(manager: Manager, kept: int) -> None:
    """Register the controller. `kept`: finished runs per namespace; 0: no limit."""
    if kept <= 0:
        return
    retention = TaskRetention(manager, kept)
    retention.controller = Controller("task-retention", retention, workers=2)
    manager.add(retention.controller)


class TaskRetention:
    """Deletes the oldest finished runs of one namespace."""

    controller: Controller

    def __init__(self, manager: Manager, kept: int) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._kept = kept
        self._finished: dict[str, SortedList[Entry]] = {}
        self._known: dict[str, Entry] = {}
        self._since: dict[str, float] = {}
        """Namespaces that hold more, and since when, by the monotonic clock."""
        manager.informer(TaskRun).add_handler(self._run_changed)

    def _run_changed(self, old: TaskRun | None, new: TaskRun | None) -> None:
        run = new or old
        if run is None or any(owner.controller for owner in run.metadata.owner_references):
            return
        uid, namespace = run.metadata.uid, run.metadata.namespace
        if new is None:
            entry = self._known.pop(uid, None)
            if entry is not None:
                self._finished[namespace].remove(entry)
        elif is_final(new.status.phase) and uid not in self._known:
            finished = new.status.finished_at
            entry = (finished.timestamp() if finished is not None else 0.0, run.metadata.name, uid)
            self._known[uid] = entry
            entries = self._finished.setdefault(namespace, SortedList())
            entries.add(entry)
            if len(entries) > self._kept and namespace not in self._since:
                self._since[namespace] = self._clock.monotonic()
                self.controller.enqueue(ObjectKey("", namespace))

    async def reconcile(self, key: ObjectKey) -> Result:
        """Delete the oldest beyond the limit."""
        entries = self._finished.get(key.name)
        surplus = len(entries) - self._kept if entries is not None else 0
        if entries is None or surplus <= 0:
            self._since.pop(key.name, None)
            return Result.wait_for_change()
        left = self._since.setdefault(key.name, self._clock.monotonic()) + WAIT_SECONDS - self._clock.monotonic()
        if left > 0 and surplus < AT_ONCE:
            return Result.requeue(left)
        going = [self._delete(ObjectKey(key.name, name), uid) for _, name, uid in entries[: min(surplus, AT_ONCE)]]
        await asyncio.gather(*going)
        self._since.pop(key.name, None)
        return Result.requeue(0.0)

    async def _delete(self, key: ObjectKey, uid: str) -> None:
        try:
            await self._api.delete(TaskRun, key, uid=uid)
        except (NotFoundError, ConflictError):
            pass  # somebody else deleted it; another run may have its name
