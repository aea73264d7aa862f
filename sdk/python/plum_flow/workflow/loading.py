"""From rows back to a run: what was decided stays decided, and what follows from it is worked out again.

    live rows --load--> Run, with `Execute(again=True)` for what ran, timers and `Await` for what waited

Rows of iterations that have ended are not live: they are not read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from plum_flow.expressions import UnresolvedError
from plum_flow.workflow import bodies, endings, starting
from plum_flow.workflow.asks import recount
from plum_flow.workflow.decide import advance
from plum_flow.workflow.graph import DefinitionPlan, NodePlan
from plum_flow.workflow.phases import (
    CANCELED,
    FAILED,
    PENDING,
    RUNNING,
    SUCCEEDED,
    TERMINAL,
    UPSTREAM_FAILED,
    WAITING,
)
from plum_flow.workflow.rows import NodeRow, RunRow, encode, iteration_key
from plum_flow.workflow.state import Body, Run, Scope


def load(
    plan: DefinitionPlan,
    uid: str,
    name: str,
    row: RunRow,
    rows: Iterable[tuple[str, NodeRow]],
    now: datetime,
    facts: dict[str, Any] | None = None,
) -> Run:
    """The run as it was when these rows were stored, and its next effects."""
    run = Run(plan, uid, name, row, facts)
    if run.is_done:
        run.counts.update(row.counts)
        return run
    by_prefix: dict[str, dict[str, NodeRow]] = defaultdict(dict)
    for key, found in rows:
        cut = max(key.rfind("."), key.rfind(":")) + 1
        by_prefix[key[:cut]][key[cut:]] = found
    if row.deadline is not None:
        run.set_timer(row.deadline, "", 0, "deadline")
    stage = row.stage
    for known in endings.STAGES[: endings.STAGES.index(stage) + 1]:
        if plan.graph_of(known) is not None:
            scope = endings.open_stage(run, known)
            assert scope is not None  # noqa: S101
            _fill(run, scope, by_prefix, now)
            if known != stage:
                _forget(run, scope)
    row.stage = stage
    for scope in list(run.ended):
        if scope.parent is None and scope is not run.scopes.get(stage):
            run.ended.remove(scope)
    if row.stopping and row.stopped_stage == stage:
        endings.stop_scope(run, run.scopes[stage], now)
    advance(run, now)
    return run


def _forget(run: Run, scope: Scope) -> None:
    """A stage that is over: its results stay, nothing of it goes on."""
    for index, phase in enumerate(scope.phase):
        if phase not in TERMINAL:  # cancelled before it started: such nodes leave no row
            run.enter(scope, index, CANCELED)
    run.check = type(run.check)(place for place in run.check if place[0] is not scope)


def _fill(run: Run, scope: Scope, by_prefix: Mapping[str, Mapping[str, NodeRow]], now: datetime) -> None:
    rows = by_prefix.get(scope.prefix, {})
    going: list[tuple[NodePlan, NodeRow]] = []
    for node in scope.graph.nodes:
        row = rows.get(node.name)
        if row is None:
            continue
        if row.phase in TERMINAL:
            _ended(run, scope, node, row)
        elif row.phase == PENDING:
            scope.attempts[node.index] = row.attempt
        else:
            going.append((node, row))
    for node, row in going:
        _resume(run, scope, node, row, by_prefix, now)
    for node in scope.graph.nodes:
        if scope.phase[node.index] == PENDING and any(_tells(scope, edge.at) for edge in node.preds):
            recount(scope, node.index)
            run.check.append((scope, node.index))
    if scope.open == 0:
        run.ended.append(scope)


def _tells(scope: Scope, index: int) -> bool:
    return scope.phase[index] in TERMINAL or index in scope.opened


def _ended(run: Run, scope: Scope, node: NodePlan, row: NodeRow) -> None:
    index = node.index
    run.enter(scope, index, row.phase)
    scope.open -= 1
    scope.queued[index] = 1
    if row.outcome:
        scope.outcome[index] = row.outcome
    if node.used and row.output is not None:
        scope.output[index] = row.output
    if row.attempt:
        scope.attempts[index] = row.attempt
    if row.folded:
        scope.folded[index] = dict(row.folded)
        run.counts.update(row.folded)
    if row.phase in (FAILED, CANCELED):
        scope.rows[index] = NodeRow(message=row.message)
        if not node.node.continue_on_failure:
            scope.bad += 1
            if not scope.failed_name:
                scope.failed_name, scope.failed_message = row.name, row.message


def _resume(
    run: Run, scope: Scope, node: NodePlan, row: NodeRow, by_prefix: Mapping[str, Mapping[str, NodeRow]], now: datetime
) -> None:
    index = node.index
    scope.rows[index] = row
    scope.queued[index] = 1
    starting.takes_place(scope, node)
    if node.body is not None:
        run.enter(scope, index, RUNNING)
        if row.attempt > 1:
            scope.attempts[index] = row.attempt - 1
        if row.timeout_at is not None:
            run.set_timer(row.timeout_at, scope.key_of(index), row.attempt, "timeout")
        _resume_body(run, scope, node, row, by_prefix, now)
    elif node.type == "wait":
        run.enter(scope, index, WAITING)
        starting.arm_wait(run, scope, node, row)
    elif row.phase == WAITING:
        run.enter(scope, index, WAITING)
        if row.due_at is not None:
            run.set_timer(row.due_at, scope.key_of(index), row.attempt, "retry")
    else:
        run.enter(scope, index, RUNNING)
        run.executing += 1
        starting.execute(run, scope, node, now, again=True)


def _resume_body(
    run: Run, scope: Scope, node: NodePlan, row: NodeRow, by_prefix: Mapping[str, Mapping[str, NodeRow]], now: datetime
) -> None:
    try:
        body = bodies.make(run, scope, node)
    except UnresolvedError as error:
        scope.bodies[node.index] = Body()
        bodies.end(run, scope, node, FAILED, now, reason="ExpressionFailed", message=str(error))
        return
    scope.bodies[node.index] = body
    started = -1 if row.iteration is None else row.iteration
    ended: set[int] = set()
    if node.type == "map":
        siblings = by_prefix.get(scope.prefix, {})
        for index in range(started + 1):
            found = siblings.get(iteration_key(node.name, index))
            if found is None:
                continue
            ended.add(index)
            body.done += 1
            body.failures += found.phase != SUCCEEDED
            body.folded.update(found.folded)
            if found.phase == SUCCEEDED:
                body.results[index] = found.output
                body.results_bytes += len(encode(found.output))
        if body.failures > body.allowed:
            body.ending = FAILED
    else:
        body.last = row.output
        body.done = max(started, 0)
        body.folded.update(row.folded)
        ended = set(range(max(started, 0)))
    run.counts.update(body.folded)
    body.next = started + 1
    opened = [bodies.open_iteration(run, scope, node, body, i) for i in range(max(started, 0) if node.type == "loop" else 0,
              started + 1) if i not in ended]  # fmt: skip
    for inner in opened:
        _fill(run, inner, by_prefix, now)
    if not opened:
        bodies.go_on(run, scope, node, now)


__all__ = ["UPSTREAM_FAILED", "load"]
