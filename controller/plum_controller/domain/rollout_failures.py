"""What becomes of instances that failed, were lost and came back, or run away from home.

failed           kept for their logs, replaced after a growing wait
lost, returned   of two copies one goes, as `disconnect.reconcile` says
away from home   back to the node that `nodeReplicas` names, as `failover.failback` says
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from plum_schemas.deployment import Deployment
from plum_schemas.durations import parse_duration

from plum_controller.domain.members import REPLACES_ANNOTATION, Member, State
from plum_controller.domain.rollout_plan import NewInstance, NodeView, Plan

FAILED_KEPT = 10
"""Failed instances kept of one template, for their exit codes and logs; older ones are deleted."""


def settle_returned(deployment: Deployment, todo: Plan) -> None:
    """When a lost instance came back, delete it or its replacement, as `disconnect.reconcile` says.

    Until the copy that is to stay is available, both go on and only the working one counts: the other is no surplus.
    """
    alive = {m.name: m for m in todo.members if m.alive}
    policy = deployment.spec.template.disconnect.reconcile
    for replacement in list(alive.values()):
        original = alive.get(replacement.instance.metadata.annotations.get(REPLACES_ANNOTATION, ""))
        if original is None:
            continue
        keep, drop = _ranked(original, replacement, policy)
        if keep.available or not drop.available:
            todo.delete.append(drop.instance)
        else:
            keep, drop = drop, keep
        todo.members = [m for m in todo.members if m is not drop]


def _ranked(original: Member, replacement: Member, policy: str) -> tuple[Member, Member]:
    """Of two copies the one that is to stay, and the other."""
    if policy == "longestRunning":
        first, second = sorted((original, replacement), key=_started)
        return first, second
    return (original, replacement) if policy == "keepOriginal" else (replacement, original)


def _started(member: Member) -> float:
    started = member.instance.status.started_at
    return started.timestamp() if started else float("inf")


def drop_failed(todo: Plan) -> None:
    """Delete failed instances of other templates, and the oldest beyond those kept."""
    failed = sorted((m for m in todo.members if m.state is State.FAILED), key=_finished, reverse=True)
    current = [m for m in failed if m.revision == todo.revision]
    todo.delete += [m.instance for m in failed if m.revision != todo.revision]
    todo.delete += [m.instance for m in current[FAILED_KEPT:]]


def _finished(member: Member) -> float:
    status = member.instance.status
    finished = status.finished_at or member.instance.metadata.creation_timestamp
    return finished.timestamp() if finished else 0.0


def held_by_backoff(deployment: Deployment, todo: Plan, now: datetime) -> int:
    """Places of failed instances that are not to be filled yet: the n-th failure waits `initial * factor^n`."""
    backoff = deployment.spec.template.backoff
    initial, longest = parse_duration(backoff.initial), parse_duration(backoff.max)
    failed = sorted((m for m in todo.members if m.state is State.FAILED and m.revision == todo.revision), key=_finished)
    held = 0
    for index, member in enumerate(failed):
        wait = _finished(member) + min(longest, initial * backoff.factor**index) - now.timestamp()
        if wait > 0:
            held += 1
            todo.wake(wait)
    return held


def fail_back(
    deployment: Deployment, todo: Plan, groups: Mapping[str, int], nodes: Mapping[str, NodeView], now: datetime
) -> None:
    """Delete instances that run away from home once their node is back, as `failover.failback` says."""
    failover = deployment.spec.failover
    asked = deployment.metadata.annotations.get("plum.dev/failback", "")
    manual = failover.failback == "Manual" and asked != "" and asked != todo.rollout.observed_failback
    if failover.failback == "Never" or (failover.failback == "Manual" and not manual):
        return
    away = [m for m in todo.members if m.alive and m.group in groups and m.group and m.instance.spec.node_name != m.group]
    for member in away:
        node = nodes.get(member.group)
        if node is None or not node.usable or node.ready_since is None:
            continue
        if not manual:
            stable = failover.failback_stable_seconds - (now - node.ready_since).total_seconds()
            last = todo.rollout.failback_at
            pause = 60 / failover.failback_max_rate - (now - last).total_seconds() if last else 0.0
            if max(stable, pause) > 0:
                todo.wake(max(stable, pause))
                continue
        todo.delete.append(member.instance)
        todo.rollout.failback_at = now
    if manual:
        todo.rollout.observed_failback = asked


def place(deployment: Deployment, todo: Plan, nodes: Mapping[str, NodeView], failover: bool) -> None:
    """Bind what `nodeReplicas` wants to its node, or send it elsewhere while the node is lost; name what is replaced."""
    standing_in = {m.instance.metadata.annotations.get(REPLACES_ANNOTATION, "") for m in todo.members if m.alive}
    lost = [m for m in todo.members if m.state is State.LOST and m.name not in standing_in]
    placed: list[NewInstance] = []
    missing: set[str] = set()
    for new in todo.create:
        original = next((m for m in lost if m.group == new.node), None)
        if original is not None:
            lost.remove(original)
        replaces = original.name if original is not None else ""
        node = nodes.get(new.node) if new.node else None
        # Where the original is lost its replacement would be lost as well, and replaced again, without end.
        there = original is not None and original.instance.spec.node_name == new.node
        if not new.node or (node is not None and node.usable and not there):
            placed.append(NewInstance(new.revision, new.node, replaces=replaces))
        elif node is not None and failover and deployment.spec.template.disconnect.replace:
            placed.append(NewInstance(new.revision, "", home_node=new.node, replaces=replaces))
        else:
            missing.add(new.node)
    todo.create = placed
    todo.missing_nodes = sorted(missing)
    if deployment.spec.template.exclusive:
        gone = {m.name: m.instance for m in todo.members if m.state is State.LOST}
        todo.delete += [gone[new.replaces] for new in placed if new.replaces in gone]
