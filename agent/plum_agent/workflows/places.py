"""Concurrency keys of tasks in delegated runs: all of them on one node share a limit, whichever run they are of.

new task + those that go on -> placed -> admitted | Queued, until a place is free | Failed (Reject); Replace: older ones go
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec
from plum_flow import task_states
from plum_flow.running.names import KEY_ANNOTATION
from plum_flow.task_states import Outcome
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun, TaskRunStatus

NAMED = 3
"""Holders of a place that a message names."""


def holders(runs: Iterable[TaskRun], run: TaskRun) -> list[TaskRun]:
    """Tasks that hold a place of its key, oldest first."""
    return [one for one in _sharing(runs, run) if one.status.phase in ("Pending", "Running")]


def waiting(runs: Iterable[TaskRun], run: TaskRun) -> list[TaskRun]:
    """Tasks that wait for a place of its key: highest priority first, then oldest."""
    found = [one for one in _sharing(runs, run) if one.status.phase == "Queued" and not one.spec.canceled]
    return sorted(found, key=lambda one: -(one.status.task.priority if one.status.task is not None else 0))


def has_place(runs: Iterable[TaskRun], run: TaskRun) -> bool:
    """Whether one more may begin."""
    concurrency = run.status.task.concurrency if run.status.task is not None else None
    return concurrency is None or len(holders(runs, run)) < concurrency.limit


def placed(runs: Iterable[TaskRun], run: TaskRun, node: str, now: datetime) -> tuple[TaskRunStatus, list[ObjectKey]]:
    """What becomes of a new task whose definition is in its status, and which ones have to go for it."""
    known, status = list(runs), run.status
    concurrency = status.task.concurrency if status.task is not None else None
    if concurrency is None or (has_place(known, run) and not waiting(known, run)):
        return admitted(run, now), []
    going = holders(known, run)
    names = ", ".join(one.metadata.name for one in going[:NAMED])
    key, limit = status.concurrency_key, concurrency.limit
    if concurrency.on_limit == "Reject":
        text = f"{limit} runs of {key} go on already on node {node} ({names}), and onLimit is Reject"
        return task_states.end(status, Outcome("Failed", "ConcurrencyLimit", text), now), []
    older = going[: len(going) - limit + 1] if concurrency.on_limit == "Replace" else []
    text = f"waits for a place of {key}; {limit} at once on node {node}; {names} go on"
    return msgspec.structs.replace(status, reason="ConcurrencyLimit", error=text), [one.key for one in older]


def admitted(run: TaskRun, now: datetime) -> TaskRunStatus:
    """A task whose turn it is."""
    task = run.status.task
    assert task is not None  # noqa: S101  prepared
    key = run.metadata.annotations.get(KEY_ANNOTATION, run.metadata.uid)
    plain = msgspec.structs.replace(run.status, reason="", error="")
    return msgspec.structs.replace(task_states.admit(plain, task, key, now), concurrency_key=run.status.concurrency_key)


def _sharing(runs: Iterable[TaskRun], run: TaskRun) -> list[TaskRun]:
    key, namespace = run.status.concurrency_key, run.metadata.namespace
    found = [one for one in runs if key and one.status.concurrency_key == key and one.metadata.namespace == namespace]
    return sorted((one for one in found if one.metadata.uid != run.metadata.uid), key=_age)


def _age(run: TaskRun) -> tuple[float, int]:
    queued = run.status.queued_at
    return queued.timestamp() if queued is not None else 0.0, int(run.metadata.resource_version or 0)
