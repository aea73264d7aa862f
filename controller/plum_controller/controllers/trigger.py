"""The trigger controller: fires cron and condition triggers, and says of every trigger whether it can fire.

    watch Trigger                       -> its key ------------------+
    watch Workflow (state)              -> Triggers that start it ---+-> reconcile -> WorkflowRun + Trigger.status, in one
    watch WorkflowRun (end)             -> Trigger that started it --+                transaction
    the clock, what conditions look at  -> its key ------------------+

`domain.cron_firing` decides, from the clock and from what the status remembers. A run is named after the time it is for. Changes
of objects are followed by `trigger_events`, which shares this controller's memory of triggers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from plum_client import transactions as tx
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.conditions import find_condition, set_condition
from plum_client.controller import Controller, Watch
from plum_client.events import EventRecorder
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.trigger import CronTrigger, Firing, Trigger, TriggerStatus
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.controllers.trigger_conditions import ConditionWatcher
from plum_controller.controllers.trigger_events import TriggerEvents
from plum_controller.controllers.trigger_telling import tell
from plum_controller.domain.cron import CronError
from plum_controller.domain.cron_firing import CronPlan, CronPolicy, CronState, plan
from plum_controller.domain.trigger_events import watched_kind
from plum_controller.domain.triggers import (
    NEXT_TIMES,
    Start,
    is_active,
    missed,
    policy_of,
    queued,
    ready,
    start_at,
)
from plum_controller.triggering import AT_ONCE, fire

CLOCK_SECONDS = 10.0
"""How often the clock is looked at: timers do not notice when it is set."""
CLOCK_DRIFT = timedelta(seconds=0.5)
"""By how much the clock must differ from the time that passed, so that all triggers are looked at."""
COMPONENT = "trigger"


def add_to(manager: Manager) -> None:
    """Register the controller and what follows objects for it."""
    events = TriggerEvents(manager)
    reconciler = TriggerReconciler(manager, events)
    watches = [Watch(Workflow, reconciler.of_workflow), Watch(WorkflowRun, reconciler.of_run)]
    controller = TriggerController("trigger", reconciler, Trigger, watches=watches, workers=4, condition="Ready")
    reconciler.conditions.enqueue = controller.enqueue
    events.look_again = controller.enqueue
    manager.add(controller)
    manager.add(events)


class TriggerController(Controller):
    """Looks at all triggers again when the clock is set."""

    async def work(self, manager: Manager) -> None:
        watching = asyncio.create_task(self._watch(manager.clock), name="trigger-clock")
        try:
            await super().work(manager)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, clock: Clock) -> None:
        start = clock.now() - timedelta(seconds=clock.monotonic())
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            found = clock.now() - timedelta(seconds=clock.monotonic())
            if abs(found - start) > CLOCK_DRIFT:
                start = found
                self.enqueue_all()


class TriggerReconciler:
    """Fires one Trigger when its time has come."""

    def __init__(self, manager: Manager, events: TriggerEvents) -> None:
        self._api: ApiClient = manager.api
        self._clock: Clock = manager.clock
        self._recorder: EventRecorder = manager.recorder(COMPONENT)
        self._triggers = manager.informer(Trigger, indexers={"workflow": _workflow_of})
        self._workflows = manager.informer(Workflow)
        self._runs = manager.informer(WorkflowRun, indexers={"trigger": _trigger_of})
        self._events = events
        self.conditions = ConditionWatcher(manager)

    def of_workflow(self, old: Workflow | None, new: Workflow | None) -> Iterable[ObjectKey]:
        """The Triggers of a workflow that came, went or changed its spec."""
        if old is not None and new is not None and old.metadata.generation == new.metadata.generation:
            return []
        found = new or old
        return self._triggers.index_keys("workflow", str(found.key)) if found is not None else []

    def of_run(self, old: WorkflowRun | None, new: WorkflowRun | None) -> Iterable[ObjectKey]:
        """The Trigger of a run that has ended or gone: another one may wait for its place."""
        found = new or old
        if found is None or (new is not None and is_active(new)):
            return []
        name = found.spec.triggered_by.removeprefix("trigger/")
        return [ObjectKey(found.metadata.namespace, name)] if name != found.spec.triggered_by else []

    async def reconcile(self, key: ObjectKey) -> Result:
        """Fire what is due, and write the status if it differs."""
        trigger = self._triggers.get(key)
        self._events.look_at(key, trigger)
        if trigger is None or trigger.metadata.deletion_timestamp is not None:
            self.conditions.forget(key)
            return Result.wait_for_change()
        if trigger.spec.cron is not None and trigger.spec.enabled:
            return await self._cron(trigger, trigger.spec.cron)
        if trigger.spec.condition is not None and trigger.spec.enabled:
            return await self._condition(trigger)
        self.conditions.forget(key)
        await self._fire(trigger, [], self._status(trigger, self._events.problem(key)))
        return Result.wait_for_change()

    # ---- cron

    async def _cron(self, trigger: Trigger, cron: CronTrigger) -> Result:
        try:
            policy = policy_of(trigger, cron)
        except CronError as error:
            await self._fire(trigger, [], self._status(trigger, str(error)))
            return Result.wait_for_change()
        now = self._clock.now()
        dealt, waiting = _known(trigger, cron, now)
        goes_on = [run for run in self._runs.by_index("trigger", str(trigger.key)) if is_active(run)]
        done = plan(policy, CronState(dealt, waiting, len(goes_on)), now)
        starts, rest = done.start[:AT_ONCE], done.start[AT_ONCE:]
        operations = [_canceled(run) for run in goes_on[:AT_ONCE]] if done.replace else []
        told = [missed(gone, now) for gone in done.missed]
        told += [queued(time, now) for time in done.queue if time not in waiting]
        status = msgspec.structs.replace(
            self._status(trigger),
            observed_schedule=_text(cron),
            last_scheduled_time=_whole(starts[-1] if rest else done.dealt),
            queue=list(done.queue),
            next_times=_next_times(policy, done, now),
        )
        await self._fire(trigger, [start_at(time) for time in starts], status, told, operations)
        if done.set_back:
            text = f"the clock was set back; times are counted from {now:%Y-%m-%d %H:%M} on"
            self._recorder.event(trigger, "Warning", "ClockSetBack", text)
        if rest:
            return Result.requeue(0.0)
        return Result.wait_for_change() if done.wake_at is None else Result.requeue((done.wake_at - now).total_seconds())

    async def _condition(self, trigger: Trigger) -> Result:
        found = await self.conditions.look(trigger, self._clock.now())
        starts = [] if found.start is None else [found.start]
        status = self._status(trigger, found.problem, found.note)
        status = msgspec.structs.replace(status, true_since=found.true_since, condition_fired=found.fired)
        await self._fire(trigger, starts, status)
        return Result.wait_for_change() if found.left is None else Result.requeue(found.left)

    async def _fire(
        self,
        trigger: Trigger,
        starts: Sequence[Start],
        status: TriggerStatus,
        told: Sequence[Firing] = (),
        operations: Sequence[tx.Operation] = (),
    ) -> None:
        done = await fire(self._api, self._clock, trigger, starts, status=status, before=told, operations=operations)
        tell(self._recorder, trigger, done, told)

    def _status(self, trigger: Trigger, problem: str = "", note: str = "") -> TriggerStatus:
        """What every trigger's status says."""
        workflow = self._workflows.get(ObjectKey(trigger.metadata.namespace, trigger.spec.workflow_ref))
        condition = ready(trigger, workflow, problem, note)
        return msgspec.structs.replace(
            trigger.status,
            observed_generation=trigger.metadata.generation,
            conditions=set_condition(trigger.status.conditions, condition, self._clock.now()),
            next_times=[],
            true_since=None,
            condition_fired=False,
            **_observed(trigger),
        )


def _known(trigger: Trigger, cron: CronTrigger, now: datetime) -> tuple[datetime, tuple[datetime, ...]]:
    """Up to where times are dealt with, and which of them wait. A schedule counts from when it was first seen, and again from
    when the trigger is enabled."""
    status = trigger.status
    created = trigger.metadata.creation_timestamp or now
    if not status.observed_generation:
        return _whole(created), ()
    if status.observed_schedule != _text(cron) or _was_disabled(trigger):
        return _whole(now), ()
    return status.last_scheduled_time or created, tuple(status.queue)


def _observed(trigger: Trigger) -> dict[str, Any]:
    """From where a trigger follows objects: where it was first seen, and again when it is enabled."""
    if watched_kind(trigger) is None or not trigger.spec.enabled:
        return {}
    if trigger.status.observed_revision and not _was_disabled(trigger):
        return {}
    return {"observed_revision": trigger.metadata.resource_version, "observed_changes": []}


def _was_disabled(trigger: Trigger) -> bool:
    condition = find_condition(trigger.status.conditions, "Ready")
    return condition is not None and condition.reason == "Disabled"


def _next_times(policy: CronPolicy, done: CronPlan, now: datetime) -> list[datetime]:
    """The next times by the schedule, jitter not counted."""
    found = []
    for time in policy.schedule.times(max(done.dealt, now)):
        found.append(time)
        if len(found) == NEXT_TIMES:
            break
    return found


def _whole(moment: datetime) -> datetime:
    """As objects keep times."""
    return moment.replace(microsecond=0)


def _text(cron: CronTrigger) -> str:
    return f"{cron.schedule} {cron.timezone}"


def _canceled(run: WorkflowRun) -> tx.Operation:
    return tx.patch(WorkflowRun, run.key, {"spec": {"state": "Canceled"}})


def _workflow_of(trigger: Trigger) -> Sequence[str]:
    return [str(ObjectKey(trigger.metadata.namespace, trigger.spec.workflow_ref))]


def _trigger_of(run: WorkflowRun) -> Sequence[str]:
    kind, _, name = run.spec.triggered_by.partition("/")
    return [str(ObjectKey(run.metadata.namespace, name))] if kind == "trigger" and name else []
