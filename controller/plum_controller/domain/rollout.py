"""The rollout decision: which instances of a Deployment to create, to delete, and to wait for.

    Deployment, its Instances, its Revisions, nodes, now --plan--> Plan --reconciler--> writes

One property holds in every plan: what it deletes never takes the number of available instances below
`wanted - maxUnavailable`. The status that belongs to a plan is made in `rollout_status`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from plum_schemas.deployment import Deployment, RolloutStatus
from plum_schemas.durations import parse_duration
from plum_schemas.instance import Instance
from plum_schemas.int_or_percent import resolve
from plum_schemas.revision import Revision
from plum_schemas.template import Template

from plum_controller.domain.members import REPLACES_ANNOTATION, Member, State, classify, count_by_group, least_valuable_first
from plum_controller.domain.revisions import template_hash

FAILED_KEPT = 10
"""Failed instances kept of one template, for their exit codes and logs; older ones are deleted."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a rollout needs to know of a node."""

    usable: bool
    """Ready, or only briefly silent: instances may be made for it."""
    ready_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to create."""

    revision: str
    node: str
    """Node it is bound to; empty: the scheduler chooses."""
    home_node: str = ""
    """Node that `nodeReplicas` wants it on, while that one is lost."""
    replaces: str = ""
    """Name of the instance on a lost node that it stands in for."""


@dataclass(slots=True)
class Plan:
    """What to do now, and when to look again."""

    revision: str
    """Hash of the template that instances are made from."""
    template: Template
    create: list[NewInstance] = field(default_factory=list)
    delete: list[Instance] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    wanted: int = 0
    min_available: int = 0
    halted: str = ""
    """Why nothing moves: `Paused`, `Failed`, or empty."""
    missing_nodes: list[str] = field(default_factory=list)
    """Nodes named in `nodeReplicas` that do not exist or are lost without a way to fail over."""
    rollout: RolloutStatus = field(default_factory=RolloutStatus)
    rolled_back: bool = False
    """The template of the spec failed and instances are made from the last one that was available."""
    wake_after: float | None = None
    """Seconds until time alone changes the answer."""

    def wake(self, seconds: float) -> None:
        """Look again after this long at the latest."""
        seconds = max(0.01, seconds)
        self.wake_after = seconds if self.wake_after is None else min(self.wake_after, seconds)

    @property
    def updated(self) -> list[Member]:
        """Instances that are to stay."""
        return [m for m in self.members if m.alive and m.revision == self.revision and not m.evicting]

    @property
    def old(self) -> list[Member]:
        """Instances that are to be replaced: of another template, or on a node that is being emptied."""
        return [m for m in self.members if m.alive and (m.revision != self.revision or m.evicting)]


def plan(
    deployment: Deployment,
    instances: Sequence[Instance],
    revisions: Sequence[Revision],
    nodes: Mapping[str, NodeView],
    now: datetime,
    failover_default: bool = True,
) -> Plan:
    """Decide the next step of one Deployment. Deleted Deployments are not planned: their instances go with them."""
    spec = deployment.spec
    failover = failover_default if spec.failover.enabled is None else spec.failover.enabled
    by_node = spec.node_replicas is not None
    may_replace = failover and spec.template.disconnect.replace
    members = [classify(i, by_node, spec.strategy.min_ready_seconds, may_replace, now) for i in instances]
    wanted_hash = template_hash(spec.template, deployment.status.collision_count)
    revision, template, rolled_back = _effective(deployment, wanted_hash, revisions)
    groups = _groups(deployment)
    todo = Plan(revision=revision, template=template, members=members, wanted=sum(groups.values()), rolled_back=rolled_back)
    surge, unavailable = _budget(deployment, todo.wanted)
    todo.min_available = todo.wanted - unavailable
    todo.rollout = _progress(deployment, todo, wanted_hash, now)
    todo.halted = _halted(deployment, todo)
    for member in members:
        if member.available_in is not None:
            todo.wake(member.available_in.total_seconds())

    _settle_returned(deployment, todo)
    _drop_failed(todo)
    _fail_back(deployment, todo, groups, nodes, now)
    if todo.halted:
        _scale_only(todo, groups)
    elif spec.strategy.type == "Recreate" and (todo.old or _stopping_old(todo)):
        todo.delete += [m.instance for m in todo.old]
    else:
        _roll(deployment, todo, groups, surge, now)
    _place(deployment, todo, nodes, failover)
    return todo


def _effective(deployment: Deployment, wanted_hash: str, revisions: Sequence[Revision]) -> tuple[str, Template, bool]:
    """The template to make instances from: the spec's, or after a failed rollout the last one that was available."""
    status = deployment.status
    failed = status.rollout.hash == wanted_hash and status.rollout.failed_at is not None
    if failed and status.rolled_back_generation and status.last_available_revision not in ("", wanted_hash):
        for revision in revisions:
            if revision.spec.hash == status.last_available_revision and revision.spec.template is not None:
                return revision.spec.hash, revision.spec.template, True
    return wanted_hash, deployment.spec.template, False


def _groups(deployment: Deployment) -> dict[str, int]:
    """Wanted instances per node, or all of them under the empty name."""
    if deployment.spec.node_replicas is not None:
        return dict(deployment.spec.node_replicas)
    return {"": 1 if deployment.spec.replicas is None else deployment.spec.replicas}


def _budget(deployment: Deployment, wanted: int) -> tuple[int, int]:
    """Instances that may be too many, and too few. One of them is never zero, or nothing could move.

    Of an exclusive template there is never one too many: its successor waits until it is gone.
    """
    if deployment.spec.state == "Stopped":
        return 0, wanted
    surge = resolve(deployment.spec.strategy.max_surge, wanted, round_up=True)
    unavailable = min(wanted, resolve(deployment.spec.strategy.max_unavailable, wanted, round_up=False))
    if deployment.spec.strategy.type == "Recreate":
        return 0, wanted
    if deployment.spec.template.exclusive:
        return 0, max(unavailable, min(1, wanted))
    return (surge, unavailable) if surge or unavailable else (0, min(1, wanted))


def _progress(deployment: Deployment, todo: Plan, wanted_hash: str, now: datetime) -> RolloutStatus:
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
    if after.failed_at is None and not deployment.spec.paused and not _canary_waits(deployment, after):
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


def _halted(deployment: Deployment, todo: Plan) -> Literal["", "Paused", "Failed"]:
    """Whether the rollout may move."""
    if deployment.spec.paused:
        return "Paused"
    failed = todo.rollout.failed_at is not None and not todo.rolled_back
    if failed and deployment.spec.strategy.on_failure != "Ignore":
        return "Failed"
    return ""


def _stopping_old(todo: Plan) -> bool:
    return any(m.state is State.STOPPING and m.revision != todo.revision for m in todo.members)


def _occupying(deployment: Deployment, todo: Plan) -> int:
    """Instances that hold a place: also those that still stop, unless the template says replacements need not wait."""
    states = {State.ALIVE}
    if _waits_for_the_end(deployment):
        states.add(State.STOPPING)
    return sum(m.state in states for m in todo.members)


def _waits_for_the_end(deployment: Deployment) -> bool:
    """Whether a replacement starts only when the one before it is gone."""
    spec = deployment.spec
    return spec.template.exclusive or spec.strategy.replacement_policy == "TerminationComplete"


def _settle_returned(deployment: Deployment, todo: Plan) -> None:
    """When a lost instance came back, delete it or its replacement, as `disconnect.reconcile` says."""
    alive = {m.name: m for m in todo.members if m.alive}
    policy = deployment.spec.template.disconnect.reconcile
    for replacement in list(alive.values()):
        original = alive.get(replacement.instance.metadata.annotations.get(REPLACES_ANNOTATION, ""))
        if original is None:
            continue
        loser = _loser(original, replacement, policy)
        if loser is not None:
            todo.delete.append(loser.instance)
            todo.members = [m for m in todo.members if m is not loser]


def _loser(original: Member, replacement: Member, policy: str) -> Member | None:
    """Which of two copies goes. None while deleting either would leave none that works."""
    keep, drop = (original, replacement) if policy == "keepOriginal" else (replacement, original)
    if policy == "longestRunning":
        ran = sorted((original, replacement), key=_started)
        keep, drop = ran[0], ran[1]
    if keep.available or not drop.available:
        return drop
    return None


def _started(member: Member) -> float:
    started = member.instance.status.started_at
    return started.timestamp() if started else float("inf")


def _drop_failed(todo: Plan) -> None:
    """Delete failed instances of other templates, and the oldest beyond those kept."""
    failed = sorted((m for m in todo.members if m.state is State.FAILED), key=_finished, reverse=True)
    current = [m for m in failed if m.revision == todo.revision]
    todo.delete += [m.instance for m in failed if m.revision != todo.revision]
    todo.delete += [m.instance for m in current[FAILED_KEPT:]]


def _finished(member: Member) -> float:
    status = member.instance.status
    finished = status.finished_at or member.instance.metadata.creation_timestamp
    return finished.timestamp() if finished else 0.0


def _held_by_backoff(deployment: Deployment, todo: Plan, now: datetime) -> int:
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


def _scale_only(todo: Plan, groups: Mapping[str, int]) -> None:
    """While halted, follow the wanted number with the template that most instances have, and replace nothing."""
    alive = [m for m in todo.members if m.alive]
    spare = sum(m.available for m in alive) - todo.min_available
    for member in least_valuable_first([m for m in alive if m.evicting]):
        if not member.available or spare > 0:
            todo.delete.append(member.instance)
            alive.remove(member)
            spare -= member.available
    counts = count_by_group(alive)
    for group in set(counts) | set(groups):
        surplus = counts.get(group, 0) - groups.get(group, 0)
        if surplus > 0:
            here = [m for m in alive if m.group == group]
            todo.delete += [m.instance for m in least_valuable_first(here)[:surplus]]
    templates: dict[str, int] = {}
    for member in alive:
        templates[member.revision] = templates.get(member.revision, 0) + 1
    if not templates:
        return
    main = max(templates, key=lambda revision: (templates[revision], revision))
    for group, wanted in groups.items():
        for _ in range(wanted - counts.get(group, 0)):
            todo.create.append(NewInstance(main, group))


def _roll(deployment: Deployment, todo: Plan, groups: Mapping[str, int], surge: int, now: datetime) -> None:
    """One step of a rolling update (also of a canary, and of plain scaling when there is nothing old)."""
    target = _canary_target(deployment, todo, now)
    _delete_surplus(todo, groups)
    going = {i.metadata.name for i in todo.delete}
    updated = [m for m in todo.updated if m.name not in going]
    old = [m for m in todo.old if m.name not in going]
    keep_old = max(0, todo.wanted - target) if target < todo.wanted else 0
    available = sum(m.available for m in updated + old)
    new_unavailable = sum(not m.available for m in updated)
    may_delete = min(len(old) - keep_old, len(updated) + len(old) - todo.min_available - new_unavailable)
    crowded = _crowding(updated + old, groups)
    for member in sorted(least_valuable_first(old), key=lambda m: (m.available, -crowded.get(m.group, 0))):
        if may_delete <= 0:
            break
        if member.available and available <= todo.min_available:
            break
        todo.delete.append(member.instance)
        available -= member.available
        may_delete -= 1

    occupied = _occupying(deployment, todo)
    if not _waits_for_the_end(deployment):
        occupied -= sum(1 for i in todo.delete if i.metadata.deletion_timestamp is None)
    room = todo.wanted + surge - occupied
    room = min(room, target - len(updated)) - _held_by_backoff(deployment, todo, now)
    missing = {group: wanted - count_by_group(updated).get(group, 0) for group, wanted in groups.items()}
    for _ in range(max(0, room)):
        group = max(missing, key=lambda name: (missing[name], -crowded.get(name, 0), name))
        if missing[group] <= 0:
            break
        missing[group] -= 1
        crowded[group] = crowded.get(group, 0) + 1
        todo.create.append(NewInstance(todo.revision, group))


def _delete_surplus(todo: Plan, groups: Mapping[str, int]) -> None:
    """Scale down: delete what is more than wanted of the current template, and what runs where nothing is wanted."""
    going = {i.metadata.name for i in todo.delete}
    updated = [m for m in todo.updated if m.name not in going]
    counts = count_by_group(updated)
    for group, count in counts.items():
        surplus = count - groups.get(group, 0)
        if surplus > 0:
            here = [m for m in updated if m.group == group]
            todo.delete += [m.instance for m in least_valuable_first(here)[:surplus]]
    todo.delete += [m.instance for m in todo.old if m.group not in groups and m.name not in going]


def _crowding(members: Sequence[Member], groups: Mapping[str, int]) -> dict[str, int]:
    """How far each group is above its wanted number."""
    counts = count_by_group(members)
    return {group: counts.get(group, 0) - groups.get(group, 0) for group in set(counts) | set(groups)}


def _canary_waits(deployment: Deployment, rollout: RolloutStatus) -> bool:
    """Whether a canary stands at a step that waits for time or for a person: no progress is expected."""
    return deployment.spec.strategy.type == "Canary" and rollout.canary_step_at is not None


def _canary_target(deployment: Deployment, todo: Plan, now: datetime) -> int:
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


def _fail_back(
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


def _place(deployment: Deployment, todo: Plan, nodes: Mapping[str, NodeView], failover: bool) -> None:
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
        if not new.node or (node is not None and node.usable):
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
