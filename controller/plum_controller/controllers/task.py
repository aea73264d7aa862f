"""The task controller: admits runs, ends those that are late, lost or cancelled, records what nodes report, deletes old ones.

    watch TaskRun, TaskDefinition, Node -> key -> reconcile
       Queued    definition, payload, concurrency key -> Pending | Failed | wait
       Pending   cancelled, past its deadline         -> Canceled | Timeout
       Running   report of its node, timeout, lease, node lost, cancelled -> settle: ended, or Pending again
       ended     kept for a while, then deleted

Who executes takes a Pending run with a guarded write of its own (`tasks/` in this process, worker gateway, agents). Every
decision is in `domain/task_*`; every write carries the resourceVersion it was computed from, so nothing is recorded twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Protocol

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.errors import ApiError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow import at_once, task_retry, task_states
from plum_flow.task_admission import Prepared, Refused, idempotency_key, prepare
from plum_flow.task_reports import outcome_of
from plum_flow.task_states import Holder, Outcome, TransitionError, claim_of, is_final
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.node import Node
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinition
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_controller.domain.drain import seconds_until_moved
from plum_controller.domain.task_places import Places

WORKERS = 64
"""Writes under way at once; the store commits those that wait together."""
LEAST_LEASE_SECONDS = 10.0
"""After a lease was first seen here: a worker whose lease ran out while this controller was away gets this long to come back."""
GRACE_SECONDS = 30.0
"""For a holder that ends attempts by its own clock, an agent or this process, to do so and report it."""
CONTROLLER_WORKER = "controller/"
"""How holders in the controller's own process are named."""

AT_ADMISSION = Holder(worker=f"{CONTROLLER_WORKER}admission")
"""Who does what is done in one step with the admission."""


class TaskSettings(Protocol):
    """What this controller needs of the settings."""

    @property
    def task_lost_seconds(self) -> float:
        """How long a node may be away before its task counts as lost."""

    @property
    def tasks_kept_seconds(self) -> float:
        """How long finished runs are kept."""


def add_to(manager: Manager, settings: TaskSettings, random: Random | None = None) -> None:
    """Register the controller."""
    reconciler = TaskReconciler(manager, settings, random or Random())  # noqa: S311  jitter
    watches = [Watch(TaskDefinition, reconciler.of_definition), Watch(Node, reconciler.of_node)]
    reconciler.controller = Controller("task", reconciler, TaskRun, watches=watches, workers=WORKERS)
    manager.add(reconciler.controller)


def by_definition(run: TaskRun) -> Sequence[str]:
    """Index of runs that wait to be admitted, by what they execute."""
    waits = run.status.phase == "Queued" and run.spec.task_ref
    return [f"{run.metadata.namespace}/{run.spec.task_ref}"] if waits else ()


def by_node(run: TaskRun) -> Sequence[str]:
    """Index of runs that a node has or shall have."""
    return [run.status.node] if run.status.node and not is_final(run.status.phase) else ()


@dataclass(slots=True)
class _Watched:
    """Times of one attempt by our monotonic clock: a jump of the wall clock ends nothing."""

    token: int
    lease: datetime | None = None
    lease_due: float = 0.0
    timeout_due: float | None = None
    canceled_at: float | None = None


class TaskReconciler:
    """Drives one run, apart from executing it."""

    controller: Controller

    def __init__(self, manager: Manager, settings: TaskSettings, random: Random) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._settings = settings
        self._random = random
        self._recorder = manager.recorder("task")
        self._places = Places()
        self._registered: set[str] = set()
        """Definitions whose waiting runs are known to `_places`."""
        self._watched: dict[str, _Watched] = {}
        self._away: dict[str, float] = {}
        """Nodes that do not answer, and since when, by our monotonic clock."""
        self._runs = manager.informer(TaskRun, indexers={"definition": by_definition, "node": by_node})
        self._runs.add_handler(self._run_changed)
        self._definitions = manager.informer(TaskDefinition)
        self._nodes = manager.informer(Node)
        self._nodes.add_handler(self._node_changed)

    # ---- what the informers say

    def of_definition(self, old: TaskDefinition | None, new: TaskDefinition | None) -> Iterable[ObjectKey]:
        """Runs that wait for this definition."""
        if new is None or (old is not None and old.spec == new.spec):
            return []
        return self._runs.index_keys("definition", str(new.key))

    def of_node(self, old: Node | None, new: Node | None) -> Iterable[ObjectKey]:
        """Runs of a node that came or went."""
        node = new or old
        if node is None:
            return []
        if old is not None and new is not None and _answers(old) == _answers(new) and old.spec.drain == new.spec.drain:
            return []
        return self._runs.index_keys("node", node.metadata.name)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        node = new or old
        if node is None:
            return
        if new is not None and _answers(new):
            self._away.pop(node.metadata.name, None)
        else:
            self._away.setdefault(node.metadata.name, self._clock.monotonic())

    def _run_changed(self, old: TaskRun | None, new: TaskRun | None) -> None:
        run = new or old
        if run is None:
            return
        uid, status = run.metadata.uid, run.status
        if new is None or is_final(status.phase):
            self._watched.pop(uid, None)
            self._leave(uid)
        elif status.concurrency_key and status.phase != "Queued":
            self._hold(run, f"{run.metadata.namespace}/{status.concurrency_key}")

    def _hold(self, run: TaskRun, group: str) -> None:
        self._places.hold(group, run.metadata.uid, run.key, task_retry.order(run), _since(run))

    def _leave(self, uid: str) -> None:
        for key in self._places.leave(uid):
            self.controller.enqueue(key)

    # ---- the work

    async def reconcile(self, key: ObjectKey) -> Result:
        """One step of one run."""
        run = self._runs.get(key)
        if run is None or run.metadata.deletion_timestamp is not None:
            return Result.wait_for_change()
        if is_final(run.status.phase):
            return await self._keep(run)
        if run.spec.canceled and run.status.phase in ("Queued", "Pending"):
            return await self._end(run, Outcome("Canceled", "Canceled", "cancelled before it was started"))
        if run.status.phase in ("Queued", "Pending"):
            late = self._seconds_until(run.spec.deadline)
            if late is not None and late <= 0:
                text = f"spec.deadline {run.spec.deadline} passed before an attempt could start"
                return await self._end(run, Outcome("Timeout", "DeadlineExceeded", run.status.error or text))
            if run.status.phase == "Queued" and run.spec.suspend:
                self._leave(run.metadata.uid)
                await self._say(run, "Suspended", "held by spec.suspend; it goes on once that is false")
                return Result.requeue(late) if late is not None else Result.wait_for_change()
            if run.status.phase == "Queued":
                return await self._admit(run, late)
            return Result.requeue(late) if late is not None else Result.wait_for_change()
        return await self._watch(run)

    def _seconds_until(self, moment: datetime | None) -> float | None:
        return (moment - self._clock.now()).total_seconds() if moment is not None else None

    async def _write(self, run: TaskRun, status: TaskRunStatus) -> None:
        status = msgspec.structs.replace(status, observed_generation=run.metadata.generation)
        if status != run.status:
            await self._api.write_status(msgspec.structs.replace(run, status=status))

    async def _end(self, run: TaskRun, outcome: Outcome) -> Result:
        await self._record(run, task_states.end(run.status, outcome, self._clock.now()))
        return Result.wait_for_change()

    async def _record(self, run: TaskRun, status: TaskRunStatus) -> None:
        """Write an end, or a further attempt, and tell people what went wrong."""
        await self._write(run, status)
        if status.phase == "Pending":
            self._recorder.event(run, "Warning", status.reason or "Retry", f"attempt {status.attempt - 1}: {status.error}")
        elif status.phase == "Canceled":
            self._recorder.event(run, "Normal", "Canceled", status.error or "cancelled")
        elif status.phase != "Succeeded":
            self._recorder.event(run, "Warning", status.reason or status.phase, status.error)

    # ---- admission

    async def _admit(self, run: TaskRun, late: float | None) -> Result:
        definition, wait = None, Result.requeue(late) if late is not None else Result.wait_for_change()
        reference = run.spec.task_ref
        if reference and not reference.startswith(BUILTIN_PREFIX):
            definition = self._definitions.get(ObjectKey(run.metadata.namespace, reference))
            if definition is None:
                text = f"waits for TaskDefinition {reference} in namespace {run.metadata.namespace}, which does not exist"
                await self._say(run, "DefinitionMissing", text)
                return wait
        prepared = prepare(run, definition)
        if isinstance(prepared, Refused):
            return await self._end(run, Outcome("Failed", prepared.reason, prepared.message))
        group = f"{run.metadata.namespace}/{prepared.group}" if prepared.group else ""
        if group and not await self._has_place(run, prepared, group):
            return wait
        if group:
            self._hold(run, group)
        status = task_states.admit(run.status, prepared.task, idempotency_key(run), self._clock.now())
        status = msgspec.structs.replace(status, concurrency_key=prepared.group)
        if at_once.fits(run, prepared.task):
            status = await at_once.carry_out(run, status, AT_ADMISSION, self._clock.now, self._random.random())
        try:
            await self._record(run, status) if at_once.fits(run, prepared.task) else await self._write(run, status)
        except ApiError:
            if group:
                self._places.wait(group, run.metadata.uid, run.key, task_retry.order(run), _since(run))
            raise
        return wait

    async def _has_place(self, run: TaskRun, prepared: Prepared, group: str) -> bool:
        concurrency, uid = prepared.task.concurrency, run.metadata.uid
        assert concurrency is not None  # noqa: S101  there is no group without one
        self._register(run)
        self._places.wait(group, uid, run.key, _order(run, prepared), _since(run))
        if self._places.has_place(group, uid, concurrency.limit):
            return True
        if concurrency.on_limit == "Reject" and self._places.is_full(group, uid, concurrency.limit):
            names = ", ".join(key.name for key in self._places.holders(group)[:3])
            self._leave(uid)
            text = f"{concurrency.limit} runs of {prepared.group} go on already ({names}), and onLimit is Reject"
            await self._end(run, Outcome("Failed", "ConcurrencyLimit", text))
            return False
        if concurrency.on_limit == "Replace":
            for older in self._places.surplus(group, concurrency.limit):
                await self._replace(older)
        names = ", ".join(key.name for key in self._places.holders(group)[:3])
        await self._say(
            run, "ConcurrencyLimit", f"waits for a place of {prepared.group}; {concurrency.limit} at once; {names} go on"
        )
        return False

    def _register(self, run: TaskRun) -> None:
        """The first run of a definition since this controller started: those that waited before wait again, in their order."""
        definition = f"{run.metadata.namespace}/{run.spec.task_ref}"
        if definition in self._registered or not run.spec.task_ref:
            return
        self._registered.add(definition)
        for other in self._runs.by_index("definition", definition):
            prepared = prepare(other, self._definitions.get(ObjectKey(run.metadata.namespace, run.spec.task_ref)))
            if isinstance(prepared, Prepared) and prepared.group and not other.spec.suspend:
                group = f"{other.metadata.namespace}/{prepared.group}"
                self._places.wait(group, other.metadata.uid, other.key, _order(other, prepared), _since(other))

    async def _replace(self, key: ObjectKey) -> None:
        older = self._runs.get(key)
        if older is not None and not older.spec.canceled and not is_final(older.status.phase):
            await self._api.patch(TaskRun, key, {"metadata": {"uid": older.metadata.uid}, "spec": {"canceled": True}})
            self._recorder.event(older, "Normal", "Replaced", "cancelled because a newer run of its concurrency key came")

    async def _say(self, run: TaskRun, reason: str, message: str) -> None:
        """Why a queued run waits; written when the reason changes."""
        if run.status.reason == reason and (run.status.error == message or reason == "ConcurrencyLimit"):
            return
        queued_at = run.status.queued_at or self._clock.now()
        await self._write(run, msgspec.structs.replace(run.status, reason=reason, error=message, queued_at=queued_at))

    # ---- attempts under way

    async def _watch(self, run: TaskRun) -> Result:
        """An attempt under way: has it ended, is it late, is somebody still there?"""
        now, status = self._clock.monotonic(), run.status
        report = status.report
        if report is not None and (report.attempt, report.fencing_token) == (status.attempt, status.fencing_token):
            return await self._settle(run, outcome_of(run, report))
        seen = self._seen(run, now)
        on_node = bool(status.node)
        due: list[float] = []
        if run.spec.canceled:
            waits = self._cancel_wait(run, seen, now)
            if waits is None or waits <= 0:
                return await self._settle(run, Outcome("Canceled", "Canceled", "cancelled while it was running"))
            due.append(waits)
        if seen.timeout_due is not None:
            grace = GRACE_SECONDS if on_node or status.worker.startswith(CONTROLLER_WORKER) else 0.0
            left = seen.timeout_due + grace - now
            if left <= 0:
                return await self._settle(run, self._late(run))
            due.append(left)
        if status.lease_expires_at is not None and not on_node:
            if seen.lease_due <= now:
                text = f"the lease of worker {status.worker} ran out"
                return await self._settle(run, Outcome("Unknown", "WorkerLost", text))
            due.append(seen.lease_due - now)
        if on_node and (left_of_node := self._lost_in(run, now)) is not None:
            if left_of_node <= 0:
                text = f"node {status.node} has been away for {self._settings.task_lost_seconds:g} s"
                return await self._settle(run, Outcome("Unknown", "NodeLost", text))
            due.append(left_of_node)
        node = self._nodes.get(ObjectKey("", status.node)) if on_node else None
        if (left_of_drain := seconds_until_moved(node, self._clock.now())) is not None:
            if left_of_drain <= 0:
                text = f"node {status.node} is drained, and its deadline is over"
                return await self._settle(run, Outcome("Unknown", "NodeDrained", text))
            due.append(left_of_drain)
        return Result.requeue(min(due)) if due else Result.wait_for_change()

    def _seen(self, run: TaskRun, now: float) -> _Watched:
        """When things are due by our own clock, from the first look at this attempt on."""
        status, uid = run.status, run.metadata.uid
        seen = self._watched.get(uid)
        if seen is None or seen.token != status.fencing_token:
            seen = self._watched[uid] = _Watched(status.fencing_token)
            limit = task_retry.timeout_at(status)
            if limit is not None and status.task is not None and status.task.timeout is not None:
                longest = parse_duration(status.task.timeout)
                left = (limit - self._clock.now()).total_seconds()
                seen.timeout_due = now + min(max(left, 0.0), longest)
        if status.lease_expires_at is not None and seen.lease != status.lease_expires_at:
            seen.lease = status.lease_expires_at
            left = (status.lease_expires_at - self._clock.now()).total_seconds()
            seen.lease_due = now + max(left, LEAST_LEASE_SECONDS)
        return seen

    def _cancel_wait(self, run: TaskRun, seen: _Watched, now: float) -> float | None:
        """How long the holder may take to end it itself. Workers learn of the end from the gateway, and hold nothing then."""
        if seen.canceled_at is None:
            seen.canceled_at = now
        ends_it_itself = run.status.worker.startswith(CONTROLLER_WORKER) or (
            run.status.node and run.status.node not in self._away
        )
        return seen.canceled_at + GRACE_SECONDS - now if ends_it_itself else None

    def _late(self, run: TaskRun) -> Outcome:
        """A timeout; for at-most-once the last attempt, because nobody saw its end."""
        outcome = task_retry.timed_out(run.status)
        once = run.status.task is not None and run.status.task.execution == "AtMostOnce"
        return replace(outcome, retryable=False) if once else outcome

    def _lost_in(self, run: TaskRun, now: float) -> float | None:
        """Seconds until the node of an attempt counts as lost; None while it answers, or when no other node may do it."""
        node, task = run.status.node, run.status.task
        if self._nodes.get(ObjectKey("", node)) is None:
            return 0.0
        since = self._away.get(node)
        if since is None or (task is not None and task.node_name):
            return None
        return since + self._settings.task_lost_seconds - now

    async def _settle(self, run: TaskRun, outcome: Outcome) -> Result:
        try:
            status = task_retry.settle(run, claim_of(run.status), outcome, self._clock.now(), self._random.random())
        except TransitionError:
            return Result.wait_for_change()
        await self._record(run, status)
        return Result.wait_for_change()

    # ---- after the end

    async def _keep(self, run: TaskRun) -> Result:
        """Delete it when it was kept for long enough. How many are kept is `task_retention`'s business."""
        kept = parse_duration(run.spec.keep_for) if run.spec.keep_for is not None else self._settings.tasks_kept_seconds
        finished = run.status.finished_at or self._clock.now()
        left = (finished + timedelta(seconds=kept) - self._clock.now()).total_seconds()
        if left > 0:
            return Result.requeue(left)
        await self._api.delete(TaskRun, run.key, uid=run.metadata.uid)
        return Result.wait_for_change()


def _order(run: TaskRun, prepared: Prepared) -> tuple[int, float, str]:
    return -prepared.task.priority, _since(run), run.metadata.name


def _since(run: TaskRun) -> float:
    created = run.metadata.creation_timestamp
    return created.timestamp() if created is not None else 0.0


def _answers(node: Node) -> bool:
    return any(condition.type == "Ready" and condition.status == "True" for condition in node.status.conditions)
