"""One instance as this agent knows it: its record on disk, its run, and what the plan needs to see of both.

Instance -> wanted_of -> Wanted      Unit -> Unit.observed -> Observed      both -> plan.next_step
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec
from plum_schemas.base import Condition, ObjectKey
from plum_schemas.instance import Instance, InstanceStatus
from plum_schemas.template import Template

from plum_agent.artifacts.package import PreparedPackage
from plum_agent.drivers.base import Exit, Launch, Run
from plum_agent.ledger import Record, RunRecord
from plum_agent.plan import Observed, RunState, StopReason, Wanted
from plum_agent.preparing import Preparation
from plum_agent.probes import Prober
from plum_agent.restart import Ending, RestartPolicy, Verdict


@dataclass(slots=True)
class Refusal:
    """Why the last start was not even tried."""

    reason: str
    message: str
    retry_at: float
    """Monotonic seconds."""
    count: int = 1


@dataclass(slots=True)
class Fence:
    """Until when exclusive runs may run. Monotonic seconds."""

    stop_at: float
    kill_at: float
    may_start: bool
    """The lease is held, with time left to start something under it."""


@dataclass(slots=True, eq=False)
class Unit:
    """States of `state`: those of `plan.RunState`; STARTING after a restart of the agent means: to be adopted."""

    key: ObjectKey
    record: Record
    state: RunState = RunState.NONE
    run: Run | None = None
    """The current run as the driver knows it."""
    launch: Launch | None = None
    """How it was started; probes and hooks run in the same folder and environment."""
    exit: Exit | None = None
    """Seen by the watch, not yet written down."""
    watch: asyncio.Task[None] | None = None
    stopping: asyncio.Task[None] | None = None
    """preStop hook and stop signal."""
    stop_deadline: float = 0.0
    prober: Prober | None = None
    refusal: Refusal | None = None
    preparation: Preparation | None = None
    """What the next start waits for, while it is being prepared."""
    package: PreparedPackage | None = None
    """What it is started from; None for commands of the node."""
    image_owner: tuple[int, int] | None = None
    """Who the files of a container belong to, once its image was looked at."""
    adopted: bool = False
    """The run was started by an agent before this one."""
    conditions: list[Condition] = field(default_factory=list)
    """Own conditions with the times of their last change."""
    told: InstanceStatus | None = None
    """The status as it was last put together."""
    delivered: int = 0
    """Store revision of the last status that arrived; an object older than that says nothing about it."""
    next_start: float | None = None
    """Monotonic seconds, while it waits in backoff."""
    failure: str = ""
    """What went wrong with the last start or stop, for people."""
    _wanted: tuple[str, Wanted] | None = None

    @property
    def alive(self) -> bool:
        """A run may have processes."""
        return self.state not in (RunState.NONE, RunState.ENDED)

    @property
    def is_preparing(self) -> bool:
        """Something that the start needs is on its way."""
        return self.preparation is not None and not self.preparation.done

    def wanted(self, instance: Instance, deleted: bool) -> Wanted:
        """What the spec says now; computed once per version of the object."""
        version = f"{instance.metadata.uid}/{instance.metadata.resource_version}/{deleted}"
        if self._wanted is None or self._wanted[0] != version:
            self._wanted = (version, wanted_of(instance, deleted))
        return self._wanted[1]

    def observed(self, now: float, fence: Fence | None) -> Observed:
        """The current run as the plan sees it. `fence` is None for instances that are not exclusive."""
        record, run = self.record, self.record.run
        may_start = (self.refusal is None or now >= self.refusal.retry_at) and not self.is_preparing
        probe_failed = bool(self.prober is not None and self.prober.state.failed)
        return Observed(
            state=self.state,
            launch=run.launch if run else "",
            restart_request=run.restart_request if run else "",
            ending=_ending_of(run) if run and self.state is RunState.ENDED else None,
            stop_reason=StopReason(run.stop_reason) if run and run.stop_reason else None,
            stop_deadline=self.stop_deadline,
            ended_at=run.ended_seconds if run else 0.0,
            failures=record.failures,
            probe_failed=probe_failed,
            finished=Verdict(record.finished) if record.finished else None,
            may_start=may_start and (fence is None or fence.may_start),
            fence_stop_at=fence.stop_at if fence else None,
            fence_at=fence.kill_at if fence else None,
        )


def _ending_of(run: RunRecord) -> Ending:
    return Ending(run.exit.code if run.exit else None, probe_failed=run.stop_reason == StopReason.PROBE)


def wanted_of(instance: Instance, deleted: bool) -> Wanted:
    spec = instance.spec
    gone = deleted or instance.metadata.deletion_timestamp is not None
    grace = instance.metadata.deletion_grace_period_seconds or 0  # 0 is what every deletion of a kind like this carries
    return Wanted(
        run=spec.state == "Running" and not gone,
        deleted=gone,
        launch=launch_hash(spec.template),
        restart_request=spec.restart_request,
        policy=RestartPolicy.of(spec.template),
        grace_seconds=float(grace if gone and grace else spec.template.termination_grace_period_seconds),
        exclusive=spec.template.exclusive,
    )


_LATER_FIELDS = ("env_from", "files")
"""Came later: they count only where they are set, so that what ran before an upgrade of the agent runs on."""
_LAUNCH_FIELDS = (
    "runtime",
    "artifact",
    "image",
    "command",
    "env",
    "working_dir",
    "user",
    "ports",
    "network",
    "mounts",
    "exclusive",
)
_LATER_FIELDS = ("security_context", "init")
"""Part of the hash only where they are used: a new release of the agent must not restart what an older one started."""
_NOTHING = Template()


def launch_hash(template: Template) -> str:
    """Names everything a running process cannot take over: only a change of these starts a new run."""
    parts = [getattr(template, name) for name in _LAUNCH_FIELDS]
    parts += [value for name in _LATER_FIELDS if (value := getattr(template, name))]
    parts.append(template.resources.limits)
    later = {name: value for name in _LATER_FIELDS if (value := getattr(template, name)) != getattr(_NOTHING, name)}
    if later:
        parts.append(later)
    return blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()
