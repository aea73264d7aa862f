"""Runs with a definition of their own belong to no Workflow that says how many are kept: here the default of `keepRuns` holds.

watch WorkflowRun without workflowRef -> namespace -> reconcile -> the oldest that have ended are deleted
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from plum_client.controller import Controller, Watch
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow.workflow.history import Ended, forgettable
from plum_schemas.base import ObjectKey
from plum_schemas.workflow import KeepRuns
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

KEEP = KeepRuns()


def add_to(manager: Manager) -> None:
    """Register the controller."""
    loose = LooseRuns(manager)
    manager.add(Controller("workflow-loose-runs", loose, watches=[Watch(WorkflowRun, loose.of_run)], workers=1))


class LooseRuns:
    """Forgets runs of one namespace at a time."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._ended: dict[str, dict[str, Ended]] = defaultdict(dict)

    def of_run(self, old: WorkflowRun | None, new: WorkflowRun | None) -> Iterable[ObjectKey]:
        """The namespace of a run that has ended, or that is gone."""
        found = new or old
        assert found is not None  # noqa: S101
        if found.spec.workflow_ref:
            return []
        namespace, uid = found.metadata.namespace, found.metadata.uid
        if new is None:
            self._ended[namespace].pop(uid, None)
            return []
        if new.status.phase not in TERMINAL_RUN_PHASES or uid in self._ended[namespace]:
            return []
        finished = new.status.finished_at or new.metadata.creation_timestamp or self._clock.now()
        owned = any(owner.kind == "WorkflowRun" for owner in new.metadata.owner_references)
        self._ended[namespace][uid] = Ended(finished, new.key, uid, new.status.phase, None, owned)
        return [ObjectKey("", namespace)]

    async def reconcile(self, key: ObjectKey) -> Result:
        """Delete what is over the limit, or too old."""
        going, following = forgettable(self._ended[key.name].values(), KEEP, self._clock.now())
        for run in going:
            await self._api.delete(WorkflowRun, run.key, propagation="Background")
        return Result.requeue(after=following) if following is not None else Result.wait_for_change()
