"""What triggers have in common, whatever they wait for: names of runs, their parameters, and the memory of what was done.

    trigger, Start --run_of--> WorkflowRun        the name says what it is for, so that nothing starts twice
    status, Firing --record--> status             counts, and the last firings

Pure: `plum_controller.triggering` writes a run and the status that tells of it in one transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from plum_flow.expressions import UnresolvedError, compile_value
from plum_flow.workflow.params import resolve
from plum_schemas.base import Condition, ObjectMeta
from plum_schemas.durations import parse_duration
from plum_schemas.trigger import TRIGGER_LABEL, CronTrigger, Firing, Trigger, TriggerStatus
from plum_schemas.validation import invalid, required
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun, WorkflowRunSpec

from plum_controller.domain.cron import parse
from plum_controller.domain.cron_firing import CronPolicy, Missed

SOURCE_ANNOTATION = "plum.dev/trigger-source"
"""On runs: what made the trigger fire."""
USER_ANNOTATION = "plum.dev/requested-by"
"""On runs that somebody asked for: who."""
PARAM_NAMES = frozenset({"event", "trigger"})
"""What expressions in the parameters of a trigger may refer to."""
NEXT_TIMES = 5
UNLIMITED = frozenset({"cron", "manual", "backfill"})
"""Sources that `minInterval` does not hold back."""
MAX_NAME = 253
MAX_LABEL = 63
MISSED_TEXTS = {
    "TooLate": "later than startingDeadline",
    "NotCaughtUp": "passed while nobody looked at the clock, and catchUp does not ask for it",
    "Forbidden": "a run of this trigger goes on, and concurrencyPolicy is Forbid",
    "Replaced": "a newer time replaced it at once, as concurrencyPolicy asks",
    "QueueFull": "too many wait already",
    "TooSoon": "minInterval after the last firing is not over",
}


@dataclass(frozen=True, slots=True)
class Start:
    """One run to start."""

    key: str
    """What tells it from the other runs of the trigger: the same for the same cause, however often it is seen."""
    source: str
    event: Mapping[str, Any] = field(default_factory=dict)
    """What expressions in the parameters see as `event`."""
    scheduled_for: datetime | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    """Instead of those of the trigger."""
    user: str = ""


class RefusedError(Exception):
    """A firing that can start no run. Recorded in the status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def policy_of(trigger: Trigger, cron: CronTrigger) -> CronPolicy:
    """The policy a trigger asks for. Raises `CronError`."""
    return CronPolicy(
        schedule=parse(cron.schedule, cron.timezone),
        seed=trigger.metadata.uid,
        concurrency=cron.concurrency_policy,
        deadline=None if cron.starting_deadline is None else timedelta(seconds=parse_duration(cron.starting_deadline)),
        catch_up=cron.catch_up,
        max_catch_up=cron.max_catch_up,
        jitter=timedelta(seconds=parse_duration(cron.jitter)),
    )


def start_at(time: datetime, source: str = "cron", user: str = "") -> Start:
    """The run for one time of a schedule. A back-fill and the clock mean the same run."""
    moment = time.astimezone(UTC)
    event = {"type": source, "scheduledTime": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return Start(moment.strftime("%Y%m%d-%H%M"), source, event, moment, user=user)


def run_name(trigger: str, key: str) -> str:
    """`nightly-20261121-0130`. A long name is cut, and keeps apart by a hash."""
    name = f"{trigger}-{key}"
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{trigger[: MAX_NAME - 18 - len(key)].rstrip('.-')}-{digest}-{key}"


def label_of(trigger: str) -> str:
    """Name of a trigger as the value of a label, which is shorter than a name may be."""
    if len(trigger) <= MAX_LABEL:
        return trigger
    return f"{trigger[:46].rstrip('.-')}-{hashlib.sha256(trigger.encode()).hexdigest()[:16]}"


def short_hash(text: str) -> str:
    """Keeps things apart in names."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def triggered_by(trigger: str) -> str:
    """What runs carry in `spec.triggeredBy`."""
    return f"trigger/{trigger}"


def run_of(trigger: Trigger, start: Start) -> WorkflowRun:
    """The run to create. Raises `RefusedError` when an expression has no value."""
    values = {"event": dict(start.event), "trigger": {"name": trigger.metadata.name, "namespace": trigger.metadata.namespace}}
    try:
        params = compile_value(dict(trigger.spec.params), PARAM_NAMES).evaluate(values)
    except (UnresolvedError, ValueError) as error:
        raise RefusedError("InvalidParams", f"spec.params: {error}") from error
    annotations = {SOURCE_ANNOTATION: start.source}
    if start.user:
        annotations[USER_ANNOTATION] = start.user
    return WorkflowRun(
        metadata=ObjectMeta(
            name=run_name(trigger.metadata.name, start.key),
            namespace=trigger.metadata.namespace,
            labels={TRIGGER_LABEL: label_of(trigger.metadata.name)},
            annotations=annotations,
        ),
        spec=WorkflowRunSpec(
            workflow_ref=trigger.spec.workflow_ref,
            params={**params, **start.params},
            priority=trigger.spec.priority,
            triggered_by=triggered_by(trigger.metadata.name),
            scheduled_for=start.scheduled_for,
        ),
    )


def is_same(run: WorkflowRun, trigger: Trigger) -> bool:
    """Whether a run of the wanted name was started by this trigger, and not called so by a person."""
    return run.spec.triggered_by == triggered_by(trigger.metadata.name)


def is_active(run: WorkflowRun) -> bool:
    return run.status.phase not in TERMINAL_RUN_PHASES


def check_workflow(workflow: Workflow | None, name: str) -> None:
    """Raises `RefusedError` unless runs of it may start."""
    if workflow is None:
        raise RefusedError("WorkflowNotFound", f"there is no workflow {name}")
    spec = workflow.spec
    if spec.template:
        raise RefusedError("WorkflowIsTemplate", f"workflow {name} is a template; make a workflow from it")
    if spec.archived:
        raise RefusedError("WorkflowArchived", f"workflow {name} is archived")
    if spec.state != "Active":
        raise RefusedError(f"Workflow{spec.state}", f"workflow {name} is {spec.state}")


def check_params(trigger: Trigger, workflow: Workflow) -> None:
    """Raises `RefusedError` when every run would be refused for its parameters, whatever the trigger's expressions give."""
    wanted, given = workflow.spec.params, trigger.spec.params
    constant = {name: value for name, value in given.items() if compile_value(value, PARAM_NAMES).is_constant}
    errors = [
        error for error in resolve(wanted, constant, "spec.params")[1] if error.field.removeprefix("spec.params.") in constant
    ]
    unknown = sorted(given.keys() - {param.name for param in wanted} - constant.keys())
    errors += [invalid(f"spec.params.{name}", given[name], "the workflow has no such parameter") for name in unknown]
    if any(source_of(trigger)):
        missing = [param for param in wanted if param.name not in given and param.default is None]
        errors += [required(f"spec.params.{param.name}", "the workflow needs it, and has no default") for param in missing]
    if errors:
        raise RefusedError("InvalidParams", "; ".join(f"{error.field}: {error.message}" for error in errors))


def source_of(trigger: Trigger) -> tuple[str, str]:
    """What fires it by itself, and that in words; two empty texts for one that is only fired by hand."""
    spec = trigger.spec
    if spec.cron is not None:
        return "cron", "it fires when its time comes"
    if spec.event is not None:
        return "event", f"it waits for {f'events {spec.event.type}' if spec.event.type else f'changes of {spec.event.kind}'}"
    if spec.webhook is not None:
        return "webhook", f"it waits for requests to /hooks/{trigger.metadata.namespace}/{spec.webhook.path.lstrip('/')}"
    if spec.condition is not None:
        return "condition", "it waits for its expression to become true"
    if spec.run is not None:
        return "run", f"it waits for runs of {spec.run.workflow_ref} to end"
    return "", ""


def check_interval(trigger: Trigger, source: str, now: datetime) -> None:
    """Raises `RefusedError` while `minInterval` is not over."""
    last = trigger.status.last_fired_at
    least = parse_duration(trigger.spec.min_interval)
    if source not in UNLIMITED and last is not None and least and timedelta(0) <= now - last < timedelta(seconds=least):
        raise RefusedError("TooSoon", MISSED_TEXTS["TooSoon"])


# ---- the status


def started(start: Start, run: str, now: datetime) -> Firing:
    return Firing(at=_whole(now), result="Started", source=start.source, scheduled_for=start.scheduled_for, run=run)


def refused(start: Start, error: RefusedError, now: datetime) -> Firing:
    result: Any = "Missed" if error.reason == "TooSoon" else "Refused"
    return Firing(
        at=_whole(now),
        result=result,
        source=start.source,
        scheduled_for=start.scheduled_for,
        reason=error.reason,
        message=error.message,
    )


def missed(gone: Missed, now: datetime) -> Firing:
    """Times that start nothing, as one firing."""
    return Firing(
        at=_whole(now),
        result="Missed",
        source="cron",
        scheduled_for=gone.last,
        reason=gone.reason,
        message=MISSED_TEXTS[gone.reason],
        count=gone.count,
    )


def queued(time: datetime, now: datetime) -> Firing:
    return Firing(
        at=_whole(now), result="Queued", source="cron", scheduled_for=time, reason="RunGoesOn", message="waits for a run"
    )


def record(status: TriggerStatus, firings: Iterable[Firing], keep: int) -> TriggerStatus:
    """The status that tells of these firings, in the order they happened. Repetitions of a refusal are counted together."""
    known, fired, lost = list(status.firings), status.fired, status.missed
    last_run, last_at = status.last_run, status.last_fired_at
    for firing in firings:
        if firing.result == "Started":
            fired += firing.count
            last_run, last_at = firing.run, firing.at
        elif firing.result != "Queued":
            lost += firing.count
        newest = known[0] if known else None
        if newest is not None and firing.result in ("Missed", "Refused") and _alike(newest, firing):
            known[0] = msgspec.structs.replace(firing, count=newest.count + firing.count)
        else:
            known.insert(0, firing)
    return msgspec.structs.replace(
        status, firings=known[:keep], fired=fired, missed=lost, last_run=last_run, last_fired_at=last_at
    )


def _alike(one: Firing, other: Firing) -> bool:
    return (one.result, one.source, one.reason, one.message) == (other.result, other.source, other.reason, other.message)


def ready(trigger: Trigger, workflow: Workflow | None, problem: str = "", note: str = "") -> Condition:
    """Whether it can fire, and if not, why. `note` is what there is to say of one that can."""

    def condition(status: Any, reason: str, message: str) -> Condition:
        return Condition(
            type="Ready", status=status, reason=reason, message=message, observed_generation=trigger.metadata.generation
        )

    if not trigger.spec.enabled:
        return condition("False", "Disabled", "it is disabled and fires nothing")
    if problem:
        return condition("False", "InvalidSpec", problem)
    try:
        check_workflow(workflow, trigger.spec.workflow_ref)
        if workflow is not None:
            check_params(trigger, workflow)
    except RefusedError as error:
        return condition("False", error.reason, error.message)
    return condition("True", "Waiting", note or source_of(trigger)[1] or "it is fired by hand")


def _whole(moment: datetime) -> datetime:
    """Without the fraction of a second, as objects keep times."""
    return moment.astimezone(UTC).replace(microsecond=0)
