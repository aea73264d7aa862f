"""A node starts: what each type does first.

task, steps, subworkflow   an `Execute` for whoever carries it out        branch, condition   judged at once
parallel                   opens the nodes after it                       wait                a timer, an `Await`, or a person
loop, map                  iterations (`bodies.py`)
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from plum_schemas.durations import parse_duration
from plum_schemas.node_types import Comparison
from plum_schemas.retry import RetryPolicy

from plum_flow.expressions import UnresolvedError
from plum_flow.workflow import bodies
from plum_flow.workflow.graph import NodePlan
from plum_flow.workflow.messages import Await, Execute, Told
from plum_flow.workflow.phases import FAILED, RUNNING, SKIPPED, SUCCEEDED, WAITING
from plum_flow.workflow.rows import NodeRow, shown
from plum_flow.workflow.settle import open_parallel, settle, shown_name
from plum_flow.workflow.state import Group, Run, Scope
from plum_flow.workflow.values import values_for

DEFAULT_RETRY = RetryPolicy()
MAX_MADE_NAME = 180
"""Characters of the name of an object that was made for a node, before its suffixes."""
_UNFIT = re.compile(r"[^a-z0-9.-]+").sub


def start(run: Run, scope: Scope, index: int, now: datetime) -> None:
    """Start a node whose rule holds. In a limited group it may have to wait for a place."""
    node = scope.graph.nodes[index]
    try:
        if node.when is not None and not node.when.is_true(values_for(run, scope, node.when.references)):
            settle(run, scope, index, SKIPPED, now, reason="When", message="its condition `when` is false")
            return
        if not takes_place(scope, node):
            return
        match node.type:
            case "branch" | "condition":
                _branch(run, scope, node, now)
            case "parallel":
                run.enter(scope, index, RUNNING)
                open_parallel(run, scope, index, now)
            case "loop" | "map":
                bodies.start(run, scope, node, now)
            case "wait":
                _wait(run, scope, node, now)
            case _:
                execute(run, scope, node, now)
    except UnresolvedError as error:
        settle(run, scope, index, FAILED, now, reason="ExpressionFailed", message=str(error))


def takes_place(scope: Scope, node: NodePlan) -> bool:
    """Take a place in the node's group, if it is in one; False: it waits for one now."""
    if node.group < 0 or scope.queued[node.index] == 2:
        return True
    group = scope.groups.setdefault(node.group, Group())
    limit = scope.graph.nodes[node.group].node.max_parallel or 1
    if group.running >= limit:
        group.held.append(node.index)
        return False
    group.running += 1
    scope.queued[node.index] = 2
    return True


# ---- nodes that somebody else carries out


def execute(run: Run, scope: Scope, node: NodePlan, now: datetime, *, again: bool = False) -> None:
    """Ask for an attempt. Its row is stored before, unless carrying it out again would not matter."""
    index = node.index
    known = scope.rows.get(index)
    if not again:
        attempt = max(known.attempt if known is not None else 0, scope.attempts.get(index, 0)) + 1
        row = NodeRow(
            name=shown_name(run, scope, node), type=node.type, phase=RUNNING, attempt=attempt,
            started_at=known.started_at if known is not None and known.started_at is not None else now,
        )  # fmt: skip
        if not node.inline:
            row.made = f"{'WorkflowRun' if node.type == 'subworkflow' else 'TaskRun'}/{made_name(run, scope, node, attempt)}"
        if node.timeout is not None and not ends_itself(node):
            row.timeout_at = now + timedelta(seconds=node.timeout)
        scope.rows[index] = known = row
        if not node.inline:
            run.put(scope.key_of(index), row)
        run.executing += 1
        run.enter(scope, index, RUNNING)
        if run.plan.spec.hooks:
            run.changes.effects.append(Told("NodeStarted", scope.key_of(index), RUNNING))
    assert known is not None  # noqa: S101
    if known.timeout_at is not None:
        run.set_timer(known.timeout_at, scope.key_of(index), known.attempt, "timeout")
    values = values_for(run, scope, node.reads)
    name = known.made.partition("/")[2]
    run.changes.effects.append(Execute(scope.key_of(index), known.attempt, node, values, again, name))


def made_name(run: Run, scope: Scope, node: NodePlan, attempt: int) -> str:
    """Name of the object that carries out an attempt: the same whenever it is worked out."""
    parts = [run.name, *([scope.graph.part] if scope.parent is None and scope.graph.part else []), node.name]
    rounds = []
    for one in reversed(scope.chain()):
        if one.parent is not None and one.graph.owner is not None:
            parts.append(str(one.index))
            rounds.append(one.parent.attempts.get(one.graph.owner.index, 0))
    plain = "-".join(parts)
    name = _UNFIT("-", plain.lower()).strip("-")
    if name != plain or len(name) > MAX_MADE_NAME or (scope.parent is not None and node.name not in run.plan.unique):
        digest = hashlib.sha256(f"{run.name}/{scope.key_of(node.index)}".encode()).hexdigest()
        name = f"{name[:MAX_MADE_NAME]}-{digest[:8]}"
    if any(rounds):
        name += "-again" + "-".join(map(str, rounds))
    return name if attempt == 1 else f"{name}-r{attempt}"


def ends_itself(node: NodePlan) -> bool:
    """A TaskRun is tried again and stopped in time by whoever carries it out."""
    return node.type == "task" and not node.inline


def failed(run: Run, scope: Scope, node: NodePlan, now: datetime, reason: str, message: str, *, retryable: bool) -> None:
    """An attempt failed: wait for the next one, or the node has failed."""
    row = scope.rows[node.index]
    policy = node.node.retry or DEFAULT_RETRY
    fits = not policy.on or reason in policy.on
    if not retryable or ends_itself(node) or not fits or row.attempt > policy.limit:
        settle(run, scope, node.index, FAILED, now, reason=reason, message=message)
        return
    row = NodeRow(
        name=row.name, type=row.type, phase=WAITING, attempt=row.attempt, started_at=row.started_at, reason=reason,
        message=message, made=row.made,
        due_at=now + timedelta(seconds=retry_seconds(policy, row.attempt, f"{run.uid}/{scope.key_of(node.index)}")),
        waits_for=f"attempt {row.attempt + 1} of {policy.limit + 1}",
    )  # fmt: skip
    scope.rows[node.index] = row
    run.executing -= 1
    run.enter(scope, node.index, WAITING)
    run.put(scope.key_of(node.index), row)
    assert row.due_at is not None  # noqa: S101
    run.set_timer(row.due_at, scope.key_of(node.index), row.attempt, "retry")


def retry_seconds(policy: RetryPolicy, attempt: int, seed: str) -> float:
    """How long to wait after an attempt. The jitter follows from the seed, so that it is the same when worked out again."""
    wait = min(parse_duration(policy.initial) * policy.factor ** min(attempt - 1, 64), parse_duration(policy.max))
    if policy.jitter:
        digest = hashlib.sha256(f"{seed}/{attempt}".encode()).digest()
        wait *= 1 + policy.jitter * (2 * int.from_bytes(digest[:4]) / 2**32 - 1)
    return wait


# ---- branches


def _branch(run: Run, scope: Scope, node: NodePlan, now: datetime) -> None:
    outcome = _outcome(run, scope, node)
    if outcome is None:
        message = "no case is true, and there is no defaultCase"
        settle(run, scope, node.index, FAILED, now, reason="NoCase", message=message)
        return
    settle(run, scope, node.index, SUCCEEDED, now, outcome=outcome, output={"outcome": outcome})


def _outcome(run: Run, scope: Scope, node: NodePlan) -> str | None:
    if node.node.compare is not None:
        output = scope.output.get(node.compare_source) if node.compare_source >= 0 else None
        return "true" if compare(node.node.compare, output) else "false"
    if node.condition is not None:
        return "true" if node.condition.is_true(values_for(run, scope, node.condition.references)) else "false"
    for name, case in node.cases:
        if case.is_true(values_for(run, scope, case.references)):
            return name
    return node.node.default_case or None


def compare(comparison: Comparison, output: Any) -> bool:
    """The classic condition: numbers are compared as numbers, everything else as text. A missing field equals nothing."""
    found: Any = output
    for part in comparison.field.split("."):
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdigit() and int(part) < len(found):
            found = found[int(part)]
        else:
            found = None
            break
    wanted = comparison.value
    match comparison.operator:
        case "exists":
            return (found is not None) is (wanted.lower() != "false")
        case "contains":
            return any(_text(item) == wanted for item in found) if isinstance(found, list) else wanted in _text(found)
        case "==":
            return _same(found, wanted)
        case "!=":
            return not _same(found, wanted)
    left, right = _number(found), _number(wanted)
    a, b = (left, right) if left is not None and right is not None else (_text(found), wanted)
    if found is None:
        return False
    return {">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}[comparison.operator]  # type: ignore[operator]


def _same(found: Any, wanted: str) -> bool:
    left, right = _number(found), _number(wanted)
    return left == right if left is not None and right is not None else found is not None and _text(found) == wanted


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- waits


def _wait(run: Run, scope: Scope, node: NodePlan, now: datetime) -> None:
    wait = node.node.wait
    assert wait is not None  # noqa: S101
    row = NodeRow(name=shown_name(run, scope, node), type="wait", phase=WAITING, attempt=1, started_at=now)
    if node.timeout is not None:
        row.timeout_at = now + timedelta(seconds=node.timeout)
    if wait.duration is not None:
        row.due_at = now + timedelta(seconds=parse_duration(wait.duration))
        row.waits_for = f"{wait.duration} to pass"
    elif node.wait_until is not None:
        row.due_at = moment(node.wait_until.evaluate(values_for(run, scope, node.wait_until.references)))
        row.waits_for = f"{row.due_at.isoformat()}"
    elif wait.approval is not None:
        row.waits_for = "approval" + (f": {wait.approval.message}" if wait.approval.message else "")
    elif wait.event is not None:
        row.waits_for = (
            f"event {wait.event.type}" if wait.event.type else f"a change of {wait.event.kind} {wait.event.name}".strip()
        )
    else:
        row.waits_for = wait.condition
    scope.rows[node.index] = row
    run.enter(scope, node.index, WAITING)
    run.put(scope.key_of(node.index), row)
    arm_wait(run, scope, node, row)


def arm_wait(run: Run, scope: Scope, node: NodePlan, row: NodeRow) -> None:
    """Timers and subscriptions of a node that waits; again after a restart."""
    wait, key = node.node.wait, scope.key_of(node.index)
    assert wait is not None  # noqa: S101
    if row.timeout_at is not None:
        run.set_timer(row.timeout_at, key, row.attempt, "timeout")
    if row.due_at is not None:
        run.set_timer(row.due_at, key, row.attempt, "due")
    elif wait.event is not None or wait.condition:
        values = values_for(run, scope, node.condition.references) if node.condition is not None else {}
        run.changes.effects.append(Await(key, row.attempt, node, values, row.started_at))


def moment(value: Any) -> datetime:
    """A point in time from what an expression gave. Raises `UnresolvedError`."""
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        raise UnresolvedError("wait.until", f"{value!r:.60} is no time such as 2026-01-02T03:04:05Z") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


__all__ = ["arm_wait", "compare", "execute", "failed", "moment", "shown", "start"]
