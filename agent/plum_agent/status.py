"""What the agent says about an instance. Pure: the unit and the time in, a status out; then the patch that writes it.

Only the fields and conditions named here belong to the agent; those of others are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from plum_client.conditions import find_condition, remove_condition, set_condition
from plum_client.merge_patch import replacing
from plum_schemas.base import Condition
from plum_schemas.instance import BoundPort, Exit, Instance, InstanceStatus, Phase

from plum_agent.artifacts.package import as_packaged
from plum_agent.drivers import base
from plum_agent.plan import RunState, StopReason
from plum_agent.unit import Unit

OWN_FIELDS = (
    "observed_generation", "phase", "ready", "reason", "message", "pid", "container_id", "boot_id", "address", "ports",
    "artifact_sha256", "started_at", "finished_at", "next_start_at", "restarts", "observed_restart_request", "exit", "last_exit",
)  # fmt: skip
OWN_CONDITIONS = ("Scheduled", "Prepared", "Started", "Ready", "ResourceLimits", "Lost")
"""`Lost` is the node controller's word for our silence, `Scheduled` may be an old refusal: our report ends both."""
BACK_OFF = "BackOff"
"""The reason of an instance that waits before it is started again."""
_CAMEL = dict(zip(InstanceStatus.__struct_fields__, InstanceStatus.__struct_encode_fields__, strict=True))


@dataclass(frozen=True, slots=True)
class Moment:
    """The present, on both clocks, and where this node is reached."""

    now: datetime
    monotonic: float
    boot_id: str
    address: str

    def at(self, monotonic: float) -> datetime:
        return (self.now + timedelta(seconds=monotonic - self.monotonic)).replace(microsecond=0)


def status_of(unit: Unit, instance: Instance, moment: Moment) -> InstanceStatus:
    """The status as it is now. `unit.conditions` gives the times of the conditions that did not change."""
    run = unit.record.run
    ended_for_good = bool(unit.record.finished)
    phase, reason, message = _phase(unit, instance)
    started, ready, not_ready = _readiness(unit, instance)
    conditions = _conditions(unit, instance, moment.now, (started, ready), not_ready or message or reason)
    alive = unit.state in (RunState.RUNNING, RunState.STOPPING, RunState.KILLING)
    handle = run.handle if run and alive else None
    return InstanceStatus(
        observed_generation=instance.metadata.generation,
        phase=phase,
        ready=ready,
        reason=reason,
        message=message or ("" if ready else not_ready),
        pid=handle.pid if handle else None,
        container_id=handle.container_id if handle else "",
        boot_id=moment.boot_id,
        address=moment.address,
        ports=_ports(unit, instance),
        artifact_sha256=unit.package.sha256 if unit.package is not None else "",
        started_at=run.started_at if run else None,
        finished_at=run.exit.finished_at if ended_for_good and run and run.exit else None,
        next_start_at=moment.at(unit.next_start) if unit.next_start is not None else None,
        restarts=max(0, unit.record.runs - 1),
        observed_restart_request=run.restart_request if run else "",
        exit=run.exit if ended_for_good and run else None,
        last_exit=unit.record.last_exit,
        conditions=conditions,
    )


def _phase(unit: Unit, instance: Instance) -> tuple[Phase, str, str]:
    """Phase, reason, message."""
    record = unit.record
    if unit.state in (RunState.STOPPING, RunState.KILLING):
        stop_reason = record.run.stop_reason if record.run else ""
        return "Stopping", stop_reason, unit.failure or _stop_message(unit)
    if unit.state is RunState.RUNNING:
        started = unit.prober is None or unit.prober.state.started is not False
        if started and _has_started(unit, instance):
            return "Running", "", ""
        return "Starting", "Probing", "waiting for the startup probe"
    if record.finished:
        ended = record.run.exit if record.run else None
        return ("Succeeded" if record.finished == "Succeeded" else "Failed"), ended.reason if ended else "", _describe(ended)
    if unit.is_preparing and unit.preparation is not None and instance.spec.state == "Running":
        return "Preparing", unit.preparation.reason, unit.preparation.message
    if unit.refusal is not None:
        return "Preparing", unit.refusal.reason, unit.refusal.message
    if record.at_rest and instance.spec.state == "Stopped":
        return "Stopped", "", ""
    if instance.spec.state == "Stopped":
        return "Stopped", "", "never started"
    if unit.next_start is not None:
        return "Starting", BACK_OFF, f"waiting before the next start; {_describe(record.last_exit)}"
    if unit.state is RunState.ENDED and record.run and record.run.stop_reason == StopReason.FENCED:
        return "Starting", "Fenced", "stopped because the lease of the node was not renewed in time; waiting for the lease"
    return "Starting", "", unit.failure


def _stop_message(unit: Unit) -> str:
    return unit.prober.state.failed if unit.prober is not None else ""


def _describe(ended: Exit | None) -> str:
    if ended is None:
        return ""
    if ended.message:
        return ended.message
    if ended.code is None:
        return "the last run ended while nobody could observe its exit code"
    return f"the last run ended with code {ended.code}" + (f" ({ended.signal})" if ended.signal else "")


def was_started(unit: Unit, instance: Instance) -> bool:
    """Was the run that is there known to have started, by what was told about it last?"""
    return _was(unit, instance, "Started")


def _has_started(unit: Unit, instance: Instance) -> bool:
    if unit.prober is None:
        return False
    if unit.prober.state.started is not None:
        return unit.prober.state.started
    return unit.adopted and _was(unit, instance, "Started")


def _was(unit: Unit, instance: Instance, condition: str) -> bool:
    """What was last told about this run, when it was adopted and its probes have not answered yet."""
    run = unit.record.run
    same = run is not None and run.handle is not None and instance.status.pid == run.handle.pid
    found = find_condition(instance.status.conditions, condition)
    return same and found is not None and found.status == "True"


def _readiness(unit: Unit, instance: Instance) -> tuple[bool, bool, str]:
    """Started, ready, and why not."""
    if unit.state is not RunState.RUNNING or unit.prober is None:
        return False, False, ""
    started = _has_started(unit, instance)
    state = unit.prober.state
    if state.failed:
        return started, False, state.failed
    ready = state.ready if state.ready is not None else (unit.adopted and _was(unit, instance, "Ready"))
    waiting = f"waiting for the {'readiness' if started else 'startup'} probe"
    return started, started and ready, state.message or waiting


def _conditions(unit: Unit, instance: Instance, now: datetime, reached: tuple[bool, bool], why: str) -> list[Condition]:
    conditions = unit.conditions or [one for one in instance.status.conditions if one.type in OWN_CONDITIONS]
    started, ready = reached
    placed = Condition(type="Scheduled", status="True", reason="Placed", message=f"placed on {instance.spec.node_name}")
    wanted = [placed, _prepared(unit), _flag("Started", started, why), _flag("Ready", ready, why)]
    conditions = remove_condition(conditions, "Lost")
    limits = _limits(unit, instance)
    if limits is None:
        conditions = remove_condition(conditions, "ResourceLimits")
    else:
        wanted.append(limits)
    for condition in wanted:
        condition.observed_generation = instance.metadata.generation
        conditions = set_condition(conditions, condition, now)
    return conditions


def _flag(kind: str, value: bool, why: str) -> Condition:
    if value:
        return Condition(type=kind, status="True", reason=kind)
    return Condition(type=kind, status="False", reason=f"Not{kind}", message=why)


def _prepared(unit: Unit) -> Condition:
    if unit.is_preparing and unit.preparation is not None:
        preparation = unit.preparation
        return Condition(type="Prepared", status="False", reason=preparation.reason, message=preparation.message)
    if unit.refusal is not None:
        return Condition(type="Prepared", status="False", reason=unit.refusal.reason, message=unit.refusal.message)
    status: Literal["True", "False"] = "True" if unit.record.run is not None else "False"
    notices = "; ".join(unit.package.notices) if unit.package is not None else ""
    return Condition(type="Prepared", status=status, reason="Prepared" if status == "True" else "Preparing", message=notices)


def _limits(unit: Unit, instance: Instance) -> Condition | None:
    run = unit.record.run
    if run is None or not instance.spec.template.resources.limits:
        return None
    if run.unenforced:
        return Condition(type="ResourceLimits", status="False", reason="NotEnforced", message="; ".join(run.unenforced))
    return Condition(type="ResourceLimits", status="True", reason="Enforced")


def _ports(unit: Unit, instance: Instance) -> list[BoundPort]:
    numbers = unit.record.run.ports if unit.record.run and unit.alive else {}
    return [
        BoundPort(name=port.name, port=numbers[port.name], protocol=port.protocol)
        for port in as_packaged(instance, unit.package).spec.template.ports
        if port.name in numbers
    ]


def exit_of(seen: base.Exit, started_at: datetime | None, finished_at: datetime, stop_reason: str, message: str) -> Exit:
    """The exit as it is reported: the code as it was, and why."""
    reason = "Completed" if seen.code == 0 else "Error"
    if seen.code is None:
        reason, message = "Unknown", message or "the run ended while nobody could observe its exit code"
    if stop_reason == StopReason.PROBE:
        reason = "ProbeFailed"
    elif seen.fenced or stop_reason == StopReason.FENCED:
        reason = "Fenced"
    elif stop_reason and seen.code is not None:
        reason = "Stopped"
    if seen.out_of_memory and not seen.fenced:
        reason, message = "OutOfMemory", message or "the kernel ended it because it used more memory than its limit"
    return Exit(
        code=seen.code, signal=seen.signal, reason=reason, message=message, started_at=started_at,
        finished_at=finished_at.replace(microsecond=0),
    )  # fmt: skip


def builtins_of(status: InstanceStatus) -> dict[str, Any]:
    """The agent's fields as a merge patch: what is absent is removed, conditions are not in it."""
    given = replacing(status)
    return {_CAMEL[name]: given[_CAMEL[name]] for name in OWN_FIELDS}


def merge_conditions(known: Sequence[Condition], own: Sequence[Condition]) -> list[Condition]:
    """The conditions of others as they are, ours as we say, in the order they have."""
    mine = {condition.type: condition for condition in own}
    merged = [
        mine.pop(one.type) if one.type in mine else one for one in known if one.type in mine or one.type not in OWN_CONDITIONS
    ]
    return merged + list(mine.values())


def differs(known: InstanceStatus, status: InstanceStatus) -> bool:
    """Would writing this status change anything?"""
    if any(getattr(known, name) != getattr(status, name) for name in OWN_FIELDS):
        return True
    return [one for one in known.conditions if one.type in OWN_CONDITIONS] != status.conditions
