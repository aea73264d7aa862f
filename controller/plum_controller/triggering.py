"""Firing: a run and the status of its trigger are written in one transaction, so each cause starts one run and is told of once.

    trigger as it was read, Starts --fire--> [create run ..., status of the trigger at its revision] --> one revision, or nothing

Used by the controller of triggers, by webhooks, and by whoever fires by hand. A run's name says its cause: where two of them
decide at the same time, one transaction is refused, and the second look finds that all is done.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

import msgspec
from plum_client import transactions as tx
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ConflictError, ForbiddenError, InvalidObjectError, NotFoundError
from plum_schemas.base import ObjectKey
from plum_schemas.trigger import Firing, Trigger, TriggerStatus
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.domain.triggers import (
    RefusedError,
    Start,
    check_interval,
    check_workflow,
    is_same,
    record,
    refused,
    run_name,
    run_of,
    started,
)

AT_ONCE = 50
"""Runs of one transaction, which may hold 128 operations."""
ATTEMPTS = 20
"""For whoever fires once and is told: others may write the status of the trigger meanwhile."""


_OF_TRANSACTION = re.compile(r"^then\[\d+\] \(.*?\): |; nothing was written$")
"""What an error of a transaction says about the transaction: people know of the run alone."""


class Timepiece(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """UTC and aware."""


@dataclass(slots=True)
class Fired:
    """What was done."""

    runs: list[str] = field(default_factory=list)
    """Names of the runs that were started now."""
    known: list[str] = field(default_factory=list)
    """Runs of the same causes that were there already."""
    refusals: list[Firing] = field(default_factory=list)


async def fire(
    api: ApiClient,
    clock: Timepiece,
    trigger: Trigger,
    starts: Sequence[Start],
    *,
    status: TriggerStatus | None = None,
    before: Sequence[Firing] = (),
    operations: Sequence[tx.Operation] = (),
) -> Fired:
    """Start these runs, at most `AT_ONCE`, and write the status that tells of it.

    `status` is what else changes in it, `before` what else happened, `operations` what else belongs to the runs that are made.
    Writes nothing when there is nothing new. Raises `ConflictError` when the trigger was changed since it was read: decide anew.
    """
    now = clock.now()
    base = trigger.status if status is None else status
    fired = Fired()
    wanted: list[tuple[Start, WorkflowRun]] = []
    told: list[Firing] = list(before)
    workflow = await api.get(Workflow, trigger.spec.workflow_ref, trigger.metadata.namespace) if starts else None
    for start in starts:
        name = run_name(trigger.metadata.name, start.key)
        try:
            found = await api.get(WorkflowRun, name, trigger.metadata.namespace)
            if found is not None and is_same(found, trigger):
                fired.known.append(name)
                continue
            if found is not None:
                raise RefusedError("NameTaken", f"somebody else made a run called {name}")
            check_workflow(workflow, trigger.spec.workflow_ref)
            check_interval(trigger, start.source, now)
            wanted.append((start, run_of(trigger, start)))
        except RefusedError as error:
            fired.refusals.append(refused(start, error, now))
    told += fired.refusals
    try:
        runs = [run for _, run in wanted]
        told_all = [*told, *(started(start, run.metadata.name, now) for start, run in wanted)]
        await _write(api, trigger, runs, record(base, told_all, trigger.spec.keep_firings), operations if runs else ())
    except AlreadyExistsError as error:
        raise ConflictError(error.message, error.status) from error  # somebody was faster: look again
    except (InvalidObjectError, ForbiddenError) as error:
        if not wanted:
            raise
        # The workflow takes no such run. None of them was made, and each is told of as refused.
        failure = RefusedError("InvalidRun", _OF_TRANSACTION.sub("", error.message)[:1000])
        failed = [refused(start, failure, now) for start, _ in wanted]
        fired.refusals += failed
        await _write(api, trigger, [], record(base, [*told, *failed], trigger.spec.keep_firings), ())
        return fired
    fired.runs = [run.metadata.name for run in runs]
    return fired


async def fire_now(
    api: ApiClient, clock: Timepiece, key: ObjectKey, starts: Sequence[Start], operations: Sequence[tx.Operation] = ()
) -> tuple[Trigger, Fired]:
    """Start runs on request: look again for as long as others write the trigger. Raises `NotFoundError`, `ConflictError`."""
    for attempt in range(ATTEMPTS):
        trigger = await api.get(Trigger, key)
        if trigger is None:
            raise NotFoundError(f'triggers.plum.dev "{key.name}" not found')
        try:
            return trigger, await fire(api, clock, trigger, starts, operations=operations)
        except ConflictError:
            if attempt == ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def _write(
    api: ApiClient, trigger: Trigger, runs: Sequence[WorkflowRun], status: TriggerStatus, operations: Sequence[tx.Operation]
) -> None:
    then: list[tx.Operation] = [*operations, *(tx.create(run) for run in runs)]
    if status != trigger.status:
        then.append(tx.update_status(msgspec.structs.replace(trigger, status=status)))
    if then:
        # A trigger that was changed or deleted meanwhile starts nothing: the other branch is refused with what is wrong.
        await api.transact(then, compare=[tx.at_revision(trigger)], otherwise=[tx.update_status(trigger)])
