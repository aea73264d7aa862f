"""How far a rollout has come: the deadline it must keep, the steps of a canary, and whether it may move at all.

Progress is measured against the best that was ever reached, which the status keeps: a crash loop that flaps is none.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import msgspec
from plum_schemas.deployment import Deployment, RolloutStatus
from plum_schemas.durations import parse_duration

from plum_controller.domain.rollout_plan import Plan


def progress(deployment: Deployment, todo: Plan, wanted_hash: str, now: datetime) -> RolloutStatus:
    """How far the rollout has come, against the best it ever was: a crash loop that flaps is no progress."""
    generation = deployment.metadata.generation
    before = deployment.status.rollout
    if before.hash != wanted_hash:
        kept = {"failback_at": before.failback_at, "observed_failback": before.observed_failback}
        before = RolloutStatus(hash=wanted_hash, generation=generation, started_at=now, progressed_at=now, **kept)  # type: ignore[arg-type]
    elif before.generation != generation:
        restarted = before.failed_at is not None and not todo.rolled_back
        failed_at = None if restarted else before.failed_at
        moved = before.progressed_at if before.complete else now
        before = msgspec.structs.replace(before, generation=generation, failed_at=failed_at, progressed_at=moved)
    updated = [m for m in todo.members if m.alive and m.revision == wanted_hash]
    old = sum(m.alive and m.revision != wanted_hash for m in todo.members)
    available = sum(m.available for m in updated)
    closer = len(updated) > before.most_updated or available > before.most_available
    closer = closer or before.fewest_old is None or old < before.fewest_old
    after = msgspec.structs.replace(
        before,
        most_updated=max(before.most_updated, len(updated)),
        most_available=max(before.most_available, available),
        fewest_old=old if before.fewest_old is None else min(before.fewest_old, old),
        progressed_at=now if closer and not before.complete else before.progressed_at,
    )
    stopped = deployment.spec.state == "Stopped"
    satisfied = len(updated) >= todo.wanted and (stopped or available >= todo.wanted) and old == 0
    if after.complete or satisfied:
        return msgspec.structs.replace(after, complete=True, failed_at=None)
    if after.failed_at is None and not deployment.spec.paused and not canary_waits(deployment, after):
        _check_deadline(deployment, todo, after, now)
    return after


def _check_deadline(deployment: Deployment, todo: Plan, rollout: RolloutStatus, now: datetime) -> None:
    """Note a rollout that has not come closer for too long; otherwise look again when the time is up."""
    since = rollout.progressed_at or now
    left = timedelta(seconds=deployment.spec.strategy.progress_deadline_seconds) - (now - since)
    if left <= timedelta(0):
        rollout.failed_at = now
    else:
        todo.wake(left.total_seconds())


def halted(deployment: Deployment, todo: Plan) -> Literal["", "Paused", "Failed"]:
    """Whether the rollout may move."""
    if deployment.spec.paused:
        return "Paused"
    failed = todo.rollout.failed_at is not None and not todo.rolled_back
    if failed and deployment.spec.strategy.on_failure != "Ignore":
        return "Failed"
    return ""


def canary_waits(deployment: Deployment, rollout: RolloutStatus) -> bool:
    """Whether a canary stands at a step that waits for time or for a person: no progress is expected."""
    return deployment.spec.strategy.type == "Canary" and rollout.canary_step_at is not None


def canary_target(deployment: Deployment, todo: Plan, now: datetime) -> int:
    """Wanted instances of the current template: all, or those of the canary step. Moves to the next step when it is due."""
    canary = deployment.spec.strategy.canary
    first = not todo.old and not any(m.revision != todo.revision for m in todo.members)
    if deployment.spec.strategy.type != "Canary" or canary is None or todo.rollout.complete or first or todo.rolled_back:
        return todo.wanted
    rollout = todo.rollout
    index = rollout.canary_step or 0
    available = sum(m.available for m in todo.updated)
    while index < len(canary.steps):
        step = canary.steps[index]
        goal = step.replicas if step.replicas is not None else -(-todo.wanted * (step.weight or 0) // 100)
        goal = min(goal, todo.wanted)
        rollout.canary_step = index
        if available < goal:
            return goal
        if step.pause is not None:
            rollout.canary_step_at = rollout.canary_step_at or now
            pause = parse_duration(step.pause)
            resumed = deployment.metadata.annotations.get("plum.dev/canary-resume", "") == f"{rollout.hash}/{index}"
            left = pause - (now - rollout.canary_step_at).total_seconds()
            if not resumed and (pause == 0 or left > 0):
                if pause:
                    todo.wake(left)
                return goal
        index += 1
        rollout.canary_step_at = None
        rollout.progressed_at = now
    rollout.canary_step = index
    return todo.wanted
