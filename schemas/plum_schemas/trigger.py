"""Trigger: starts runs of a workflow by time, by events, by requests, by conditions, or after other runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.durations import parse_duration
from plum_schemas.markers import FreeMap, ListMap
from plum_schemas.node_types import EventMatch
from plum_schemas.scalars import Duration, Name, NonNegative, Positive
from plum_schemas.template import KeyRef
from plum_schemas.validation import FieldError, exactly_one, forbidden, invalid, required
from plum_schemas.workflow import ConcurrencyPolicy
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, RunPhase

TRIGGER_LABEL = "plum.dev/trigger"
"""On runs: the trigger that started them."""
_ALIASES = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
MAX_JITTER_SECONDS = 86_400.0


class CronTrigger(Struct):
    """Fires by the clock of a time zone: a time that occurs twice in autumn fires once, one that is skipped in spring fires after
    the gap."""

    schedule: Annotated[str, Meta(min_length=1, max_length=256)]
    """Minute, hour, day of month, month, day of week; or `@daily` and the like."""
    timezone: str = "UTC"
    """Name of a time zone, such as `Asia/Shanghai`."""
    concurrency_policy: ConcurrencyPolicy = "Allow"
    """What a firing does while a run of this trigger goes on."""
    starting_deadline: Duration | None = None
    """A firing that is later than this is missed; no limit if absent."""
    catch_up: Literal["None", "Last", "All"] = "None"
    """Which missed times are made up for when the controller was away."""
    max_catch_up: Annotated[int, Meta(ge=1, le=1000)] = 10
    """Most runs that catchUp All makes: the newest."""
    jitter: Duration = "0s"
    """Each firing is delayed by a random part of this, the same for the same time; at most a day."""


class WebhookTrigger(Struct):
    """Fires on a signed request to `/hooks/NAMESPACE/PATH`."""

    path: Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^/?[A-Za-z0-9._~/-]+$")]
    """Last part of the address; unique in the namespace."""
    method: Literal["POST", "PUT", "GET"] = "POST"
    """Method of the request."""
    secret_ref: KeyRef | None = None
    """Key of the HMAC-SHA256 signature; requests without a valid one are refused."""
    signature_header: str = "X-Plum-Signature"
    """Header with the signature as `sha256=HEX`: of timestamp, delivery and body. `X-Hub-Signature-256` is GitHub's, of the body
    alone."""
    tolerance: Duration = "5m"
    """How far the time that a request carries may be from the controller's."""
    when: str = ""
    """Expression over `event` that must be true; other requests are answered and start nothing."""
    max_body_bytes: Annotated[int, Meta(ge=0, le=3 * 1024 * 1024)] = 256 * 1024
    """Largest body; a larger one is refused."""


class ConditionTrigger(Struct):
    """Fires when an expression becomes true."""

    expression: Annotated[str, Meta(min_length=1)]
    """Expression over objects, KV and resources."""
    for_: Duration = field(default="0s", name="for")
    """How long it must have been true."""


class RunTrigger(Struct):
    """Fires when a run of another workflow ends."""

    workflow_ref: Name
    """Name of that workflow."""
    phases: list[RunPhase] = []
    """Ends that count; all if empty."""


class Firing(Struct):
    """One thing a trigger did, or did not do."""

    at: datetime
    """When."""
    result: Literal["Started", "Queued", "Missed", "Refused"]
    """Started made a run; Missed and Refused did not."""
    source: str = ""
    """What made it fire: cron, event, webhook, condition, run, manual, backfill."""
    scheduled_for: datetime | None = None
    """Cron: the time it fired for."""
    run: str = ""
    """Name of the run."""
    reason: str = ""
    """CamelCase: why there is no run."""
    message: str = ""
    """A sentence for people."""
    count: Positive = 1
    """How many this stands for."""


class TriggerSpec(Struct):
    """What it waits for and what it starts. At most one of cron, event, webhook, condition, run; none is a manual trigger."""

    workflow_ref: Name
    """Name of the Workflow it starts."""
    params: FreeMap = {}
    """Parameters of the runs; expressions over `event` are allowed."""
    enabled: bool = True
    """False fires nothing; times that pass meanwhile are not made up for."""
    priority: int | None = None
    """Priority of the runs; that of the workflow if absent."""
    cron: CronTrigger | None = None
    """By the clock."""
    event: EventMatch | None = None
    """By a change of an object, or an event somebody sent."""
    webhook: WebhookTrigger | None = None
    """By a request."""
    condition: ConditionTrigger | None = None
    """By an expression that becomes true."""
    run: RunTrigger | None = None
    """After runs of another workflow."""
    min_interval: Duration = "0s"
    """Least time between two firings; those in between are dropped and counted. Cron is not limited."""
    keep_firings: Annotated[int, Meta(ge=0, le=50)] = 10
    """How many firings the status remembers."""


class TriggerStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    last_fired_at: datetime | None = None
    """When it last started a run."""
    last_scheduled_time: datetime | None = None
    """Cron: the last time that was dealt with, fired or missed."""
    last_run: str = ""
    """Name of the last run."""
    next_times: list[datetime] = []
    """Cron: the next five times."""
    fired: NonNegative = 0
    """Runs it started."""
    missed: NonNegative = 0
    """Firings that were too late, forbidden or dropped."""
    true_since: datetime | None = None
    """Condition: since when the expression is true."""
    condition_fired: bool = False
    """Condition: it has fired since the expression is true."""
    observed_schedule: str = ""
    """Cron: schedule and time zone that lastScheduledTime is of. Another one counts from when it was seen."""
    queue: list[datetime] = []
    """Cron with policy Queue: times that wait for a run to end."""
    observed_revision: str = ""
    """Event and run: changes up to this revision are dealt with."""
    observed_changes: list[str] = []
    """Event and run: changes after it that have fired."""
    firings: list[Firing] = []
    """What it did last, newest first."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready: it can fire."""


class Trigger(Object):
    """Starts runs of a workflow."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Trigger",
        plural="triggers",
        short_names=("trg",),
        columns=(
            Column("Workflow", ".spec.workflowRef"),
            Column("Schedule", ".spec.cron.schedule"),
            Column("Enabled", ".spec.enabled", "boolean"),
            Column("Last", ".status.lastFiredAt", "date", description="When it last started a run"),
            Column("Next", ".status.nextTimes[0]", description="When it fires next"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Timezone", ".spec.cron.timezone", priority=1),
            Column("Fired", ".status.fired", "integer", priority=1),
            Column("Missed", ".status.missed", "integer", priority=1),
        ),
        selectable_fields=(".spec.workflowRef",),
    )

    spec: TriggerSpec
    """What it waits for and what it starts."""
    status: TriggerStatus = field(default_factory=TriggerStatus)
    """What was last seen."""

    def validate(self, old: Trigger | None) -> Iterator[FieldError]:
        spec = self.spec
        sources = {
            "cron": spec.cron,
            "event": spec.event,
            "webhook": spec.webhook,
            "condition": spec.condition,
            "run": spec.run,
        }
        if any(source is not None for source in sources.values()):
            yield from exactly_one("spec", sources)
        if spec.cron is not None:
            schedule = spec.cron.schedule
            if schedule not in _ALIASES and len(schedule.split()) != 5:
                yield invalid("spec.cron.schedule", schedule, "must have five fields, or be an alias such as @daily")
            if parse_duration(spec.cron.jitter) > MAX_JITTER_SECONDS:
                yield invalid("spec.cron.jitter", spec.cron.jitter, "must not be longer than a day")
        if spec.run is not None and spec.run.workflow_ref == spec.workflow_ref:
            yield invalid("spec.run.workflowRef", spec.run.workflow_ref, "its own runs would start it for ever")
        for index, phase in enumerate(spec.run.phases if spec.run is not None else ()):
            if phase not in TERMINAL_RUN_PHASES:
                ends = ", ".join(sorted(TERMINAL_RUN_PHASES))
                yield invalid(f"spec.run.phases[{index}]", phase, f"a run that is {phase} has not ended; use one of {ends}")
        if spec.event is not None and spec.event.kind and spec.event.type:
            yield forbidden("spec.event.type", "may not be set together with kind")
        if spec.event is not None and not spec.event.kind and not spec.event.type:
            yield required("spec.event.kind", "name a kind, or the type of an event somebody sends")
