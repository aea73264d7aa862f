"""Runs of builtins that only compute: admitted, taken and ended in one step, so that one write records all of it.

    status, as admitted --take--> an attempt --compute--> outcome --settle--> ended, or the next attempt waits

The steps are those of the table, one after the other; only nobody sees what lies between. A crash before the write changes
nothing: computing again gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import msgspec
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_flow import task_retry, task_states
from plum_flow.builtins import PURE
from plum_flow.calls import Call, TaskFailedError, result_of
from plum_flow.task_admission import is_builtin
from plum_flow.task_states import Holder, Outcome, claim_of

BUILTINS = frozenset({"builtin.echo", "builtin.fail", "builtin.transform"})
"""Their time is bounded: what expressions may cost is limited."""


def fits(run: TaskRun, task: TaskDefinitionSpec) -> bool:
    """Whether a run is done so. One that needs secrets is executed where they are kept out of its output."""
    return is_builtin(task) and task.task in BUILTINS and not run.spec.secrets


async def carry_out(
    run: TaskRun, admitted: TaskRunStatus, holder: Holder, now: Callable[[], datetime], chance: float
) -> TaskRunStatus:
    """The status after the first attempt. `admitted` is what `task_states.admit` gave; `chance` as for `task_retry.settle`."""
    taken = msgspec.structs.replace(run, status=task_states.take(admitted, holder, now()))
    status, task = taken.status, admitted.task
    assert task is not None  # noqa: S101  admitted
    call = Call(
        name=run.metadata.name,
        namespace=run.metadata.namespace,
        task=task,
        payload=taken.input,
        uid=run.metadata.uid,
        idempotency_key=status.idempotency_key,
        attempt=status.attempt,
        started_at=status.started_at,
        labels=run.metadata.labels,
    )
    try:
        outcome = result_of(await PURE[task.task](taken.input, call, now))
    except TaskFailedError as error:
        outcome = Outcome("Failed", error.reason, error.message, code=error.code, retryable=error.retryable)
    return task_retry.settle(taken, claim_of(status), outcome, now(), chance)
