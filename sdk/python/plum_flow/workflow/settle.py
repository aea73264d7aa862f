"""A node ends, and what follows in its graph: the nodes after it are looked at, groups get a free place, scopes end.

Cost follows the edges of the node that ended; nothing walks the graph.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from plum_flow.workflow.graph import Edge, NodePlan
from plum_flow.workflow.messages import Told
from plum_flow.workflow.phases import (
    ACTIVE,
    CANCELED,
    FAILED,
    PENDING,
    RUNNING,
    SKIPPED,
    SUCCEEDED,
    TERMINAL,
    UPSTREAM_FAILED,
)
from plum_flow.workflow.rows import NodeRow, shown
from plum_flow.workflow.rules import START, WAIT, Tally, judge
from plum_flow.workflow.state import Run, Scope

COLUMN = {SUCCEEDED: 0, FAILED: 1, CANCELED: 1, UPSTREAM_FAILED: 2, SKIPPED: 3}


def settle(
    run: Run,
    scope: Scope,
    index: int,
    phase: str,
    now: datetime,
    *,
    output: Any = None,
    outcome: str = "",
    reason: str = "",
    message: str = "",
    store: bool = True,
    reused: bool = False,
) -> None:
    """End a node. `store` false: its row is there already, or is not needed."""
    node = scope.graph.nodes[index]
    was_active, was_running = scope.phase[index] in ACTIVE, scope.phase[index] == RUNNING
    row = scope.rows.pop(index, None)
    if store:
        row = finished_row(run, scope, index, phase, now, row if was_active else None)
        row.output, row.outcome, row.reason, row.message, row.reused = output, outcome, reason, message, reused
        run.put(scope.key_of(index), row)
        if run.plan.spec.hooks and node.is_executed:
            run.changes.effects.append(Told("NodeFinished", scope.key_of(index), phase))
    if was_running and node.is_executed:
        run.executing -= 1
    if row is not None and row.attempt:
        scope.attempts[index] = row.attempt
    run.enter(scope, index, phase)
    scope.open -= 1
    if outcome:
        scope.outcome[index] = outcome
    if node.used and output is not None:
        scope.output[index] = output
    if phase in (FAILED, CANCELED):
        scope.rows[index] = NodeRow(message=message)
        if not node.node.continue_on_failure:
            scope.bad += 1
            if not scope.failed_name:
                scope.failed_name, scope.failed_message = shown_name(run, scope, node), message
    _release(run, scope, node)
    opened = scope.opened.pop(index, None)
    if opened is None:
        _tell(run, scope, node, phase, outcome)
    if scope.open == 0:
        run.ended.append(scope)
    for edge in node.preds:
        if edge.at in scope.opened:
            after_parallel(run, scope, edge.at, now)
    if scope.parent is None and scope.failed_name and not run.row.failed_node:
        run.row.failed_node = scope.failed_name


def finished_row(run: Run, scope: Scope, index: int, phase: str, now: datetime, row: NodeRow | None) -> NodeRow:
    """The row of a node that has ended."""
    node = scope.graph.nodes[index]
    if row is None:
        started = None if phase in (SKIPPED, UPSTREAM_FAILED) else now
        attempt = scope.attempts.get(index, 0)
        return NodeRow(
            name=shown_name(run, scope, node), type=node.type, phase=phase, started_at=started, finished_at=now, attempt=attempt
        )
    return msgspec.structs.replace(row, phase=phase, finished_at=now, due_at=None, timeout_at=None, waits_for="")


def shown_name(run: Run, scope: Scope, node: NodePlan) -> str:
    """How people write the name of a node: `sweep[2]` where it is the only node of that name."""
    if scope.parent is None:
        return scope.prefix + node.name
    if node.name in run.plan.unique:
        indexes = "".join(f"[{one.index}]" for one in reversed(scope.chain()) if one.parent is not None)
        return node.name + indexes
    return shown(scope.prefix) + node.name


def _tell(run: Run, scope: Scope, node: NodePlan, phase: str, outcome: str) -> None:
    """The edges to the nodes after it."""
    seen = SUCCEEDED if phase in (FAILED, CANCELED) and node.node.continue_on_failure else phase
    branches = node.type in ("branch", "condition")
    for edge in node.succs:
        view = SKIPPED if branches and seen == SUCCEEDED and edge.on and edge.on != outcome else seen
        _count(run, scope, edge, view)


def _count(run: Run, scope: Scope, edge: Edge, phase: str) -> None:
    tally = scope.tally[edge.at]
    if tally is None:
        tally = scope.tally[edge.at] = [0, 0, 0, 0]
    tally[COLUMN[phase]] += 1
    if scope.phase[edge.at] == PENDING and not scope.queued[edge.at]:
        run.check.append((scope, edge.at))


def open_parallel(run: Run, scope: Scope, index: int, now: datetime) -> None:
    """The nodes after a parallel node may start; it goes on until they have ended."""
    node = scope.graph.nodes[index]
    left = sum(scope.phase[edge.at] not in TERMINAL for edge in node.succs)
    scope.opened[index] = left
    _tell(run, scope, node, SUCCEEDED, "")
    if not left or (node.node.wait_policy == "any" and left < len(node.succs)):
        settle(run, scope, index, SUCCEEDED, now)


def after_parallel(run: Run, scope: Scope, index: int, now: datetime) -> None:
    """A node after a parallel node has ended."""
    scope.opened[index] -= 1
    if scope.opened[index] <= 0 or scope.graph.nodes[index].node.wait_policy == "any":
        settle(run, scope, index, SUCCEEDED, now)


def _release(run: Run, scope: Scope, node: NodePlan) -> None:
    """Give the place in a limited group to the next node."""
    group = scope.groups.get(node.group) if node.group >= 0 else None
    if group is None:
        return
    if scope.queued[node.index] == 2:
        group.running -= 1
        scope.queued[node.index] = 1
    limit = scope.graph.nodes[node.group].node.max_parallel or 1
    if group.held and group.running < limit:
        run.queue(scope, group.held.popleft())


def examine(run: Run, scope: Scope, index: int, now: datetime) -> None:
    """Judge a node that waits: queue it, skip it, or leave it."""
    if scope.phase[index] != PENDING or scope.queued[index]:
        return
    node = scope.graph.nodes[index]
    verdict = judge(node.rule, tally_of(scope, node))
    if verdict == START:
        scope.queued[index] = 1
        run.queue(scope, index)
    elif verdict != WAIT:
        settle(run, scope, index, verdict, now)


def tally_of(scope: Scope, node: NodePlan) -> Tally:
    """How the nodes before one ended."""
    counted = scope.tally[node.index]
    return Tally(len(node.preds), *counted) if counted is not None else Tally(len(node.preds))


__all__ = ["TERMINAL", "after_parallel", "examine", "open_parallel", "settle", "shown_name", "tally_of"]
