"""The rollout decision: which instances of a Deployment to create, to delete, and to wait for.

    Deployment, its Instances, its Revisions, nodes, now --plan--> Plan --reconciler--> writes

One property holds in every plan: what it deletes never takes the number of available instances below
`wanted - maxUnavailable`. The status that belongs to a plan is made in `rollout_status`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.int_or_percent import resolve
from plum_schemas.revision import Revision
from plum_schemas.template import Template

from plum_controller.domain.members import Member, State, classify, count_by_group, least_valuable_first
from plum_controller.domain.revisions import template_hash
from plum_controller.domain.rollout_failures import drop_failed, fail_back, held_by_backoff, place, settle_returned
from plum_controller.domain.rollout_plan import NewInstance, NodeView, Plan
from plum_controller.domain.rollout_progress import canary_target, halted, progress


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
    todo.rollout = progress(deployment, todo, wanted_hash, now)
    todo.halted = halted(deployment, todo)
    for member in members:
        if member.available_in is not None:
            todo.wake(member.available_in.total_seconds())

    settle_returned(deployment, todo)
    drop_failed(todo)
    fail_back(deployment, todo, groups, nodes, now)
    if todo.halted:
        _scale_only(todo, groups)
    elif spec.strategy.type == "Recreate" and (todo.old or _stopping_old(todo)):
        todo.delete += [m.instance for m in todo.old]
    else:
        _roll(deployment, todo, groups, surge, now)
    place(deployment, todo, nodes, failover)
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
    target = canary_target(deployment, todo, now)
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
    room = min(room, target - len(updated)) - held_by_backoff(deployment, todo, now)
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
