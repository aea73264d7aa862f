"""Commands of people: skip, mark, approve, cancel a node, run nodes again. Each is dealt with once, refused ones too."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from plum_schemas.workflowrun import RunCommand

from plum_flow.workflow import controls
from plum_flow.workflow.graph import DefinitionPlan, NodePlan
from plum_flow.workflow.messages import Abort, Ask, Refused
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
    WAITING,
)
from plum_flow.workflow.rows import NodeRow, key_of
from plum_flow.workflow.settle import COLUMN, settle, shown_name
from plum_flow.workflow.state import Run, Scope


class AskError(Exception):
    """Why a command is refused, for people."""


def ask(run: Run, event: Ask) -> None:
    """Carry out a command that was not dealt with yet."""
    if event.number <= run.row.commands:
        return
    run.row.commands = event.number
    run.put_run()
    try:
        _carry_out(run, event.command, event.now)
    except AskError as error:
        run.changes.effects.append(Refused(event.command, str(error)))


def refusal(run: Run, command: RunCommand, groups: Sequence[str] = ()) -> str | None:
    """Why a command would be refused now; None if it would be carried out. `groups` are those of whoever asks."""
    try:
        _, places = _check(run, command)
        if command.action in ("Approve", "Reject"):
            scope, index = places[0]
            _check_approver(scope.graph.nodes[index], command, groups)
    except AskError as error:
        return str(error)
    return None


def _check(run: Run, command: RunCommand) -> tuple[str, list[tuple[Scope, int]]]:
    control = controls.COMMANDS[command.action]
    phase = run.row.phase if run.is_done else "Paused" if run.paused else "Running"
    refused = controls.run_refusal(control, phase)
    if refused is None and run.is_done:
        refused = f"{control} is not possible: the run has ended ({phase}); start a new one from it"
    if refused:
        raise AskError(refused)
    if run.row.stopping and run.row.stopped_stage == run.row.stage:
        raise AskError(f"{control} is not possible: the run is being stopped")
    if control == "retry" and not command.node:
        failed = [
            (scope, index) for scope in _going(run) for index, found in enumerate(scope.phase) if found in (FAILED, CANCELED)
        ]
        if not failed:
            raise AskError("retry is not possible: no node has failed")
        return control, failed
    found = locate(run, command.node)
    scope, index = found
    if scope.chain()[-1] is not run.scopes.get(run.row.stage):
        raise AskError(f"{control} is not possible: {command.node} is in a part that is over; the run is at {run.row.stage}")
    refused = controls.node_refusal(control, command.node, scope.phase[index])
    node = scope.graph.nodes[index]
    if control in ("approve", "reject") and (node.node.wait is None or node.node.wait.approval is None):
        refused = f"{control} is not possible: node {command.node} waits for no approval"
    if control in ("retry", "rerun") or scope.phase[index] in TERMINAL:
        busy = [scope.graph.nodes[i].name for i in _after(scope, [index]) if scope.phase[i] in ACTIVE]
        if busy:
            refused = refused or f"{control} is not possible: {busy[0]}, which comes after, is running"
    if node.body is not None and control == "markSucceeded" and scope.phase[index] == RUNNING:
        refused = f"{control} is not possible: {command.node} is a {node.type} that goes on; cancel it first"
    if refused:
        raise AskError(refused)
    return control, [found]


def approver_refusal(plan: DefinitionPlan, command: RunCommand, groups: Sequence[str]) -> str | None:
    """Why whoever asks may not answer for a node of a run that goes on elsewhere. All else is judged there."""
    if command.action not in ("Approve", "Reject"):
        return None
    name = command.node.rpartition(":")[2].rpartition(".")[2].partition("[")[0]
    try:
        for node in (node for graph in plan.graphs() for node in graph.walk() if node.name == name):
            _check_approver(node, command, groups)
    except AskError as error:
        return str(error)
    return None


def _check_approver(node: NodePlan, command: RunCommand, groups: Sequence[str]) -> None:
    wait = node.node.wait
    approvers = wait.approval.approvers if wait is not None and wait.approval is not None else []
    if approvers and command.requested_by not in approvers and not set(groups) & set(approvers):
        who = command.requested_by or "somebody unknown"
        raise AskError(f"{who} may not answer for {command.node}; those who may: {', '.join(approvers)}")


def locate(run: Run, name: str) -> tuple[Scope, int]:
    """A node by the name people give it: `scan`, `sweep[2]`, `again[2].sweep`, `finally:close`. Raises `AskError`."""
    found = run.find(key_of(name))
    if found is None:
        base, bracket, rest = name.partition("[")
        node = run.plan.unique.get(base)
        if node is not None and bracket:
            found = _inside(run, node.graph, base, [int(part) for part in rest.rstrip("]").split("][") if part.isdigit()])
    if found is None:
        known = name in run.plan.unique or name.partition("[")[0] in run.plan.unique
        raise AskError(f"there is no node {name} in this run" if not known else f"node {name} is not in a part that goes on now")
    return found


def _inside(run: Run, graph: object, name: str, indexes: list[int]) -> tuple[Scope, int] | None:
    for scope in _going(run):
        if scope.graph is graph and [one.index for one in reversed(scope.chain()) if one.parent is not None] == indexes:
            return scope, scope.graph.by_name[name].index
    return None


def _going(run: Run) -> list[Scope]:
    """The scopes that go on, outside first."""
    pending = [scope for stage, scope in run.scopes.items() if stage == run.row.stage]
    found = []
    while pending:
        scope = pending.pop()
        found.append(scope)
        pending.extend(inner for body in scope.bodies.values() for inner in body.running.values())
    return found


def _carry_out(run: Run, command: RunCommand, now: datetime) -> None:
    control, places = _check(run, command)
    by = f" by {command.requested_by}" if command.requested_by else ""
    said = f": {command.message}" if command.message else ""
    if control in ("retry", "rerun"):
        by_scope: dict[int, tuple[Scope, list[int]]] = {}
        for scope, index in places:
            by_scope.setdefault(id(scope), (scope, []))[1].append(index)
        for scope, indexes in by_scope.values():
            reset(run, scope, indexes)
        return
    [(scope, index)] = places
    if scope.phase[index] in TERMINAL:
        reset(run, scope, [index])
    elif scope.phase[index] in ACTIVE:
        row = scope.rows.get(index)
        run.changes.effects.append(Abort(scope.key_of(index), row.attempt if row is not None else 0, False))
        if scope.graph.nodes[index].body is not None:
            drop_bodies(run, scope, index, now)
    scope.queued[index] = max(scope.queued[index], 1)
    match control:
        case "skip":
            settle(run, scope, index, SKIPPED, now, reason="Skipped", message=f"skipped{by}{said}")
        case "markSucceeded":
            output = command.output or None
            settle(run, scope, index, SUCCEEDED, now, output=output, outcome=_outcome(command), reason="Marked",
                   message=f"marked as succeeded{by}{said}")  # fmt: skip
        case "markFailed":
            settle(run, scope, index, FAILED, now, reason="Marked", message=f"marked as failed{by}{said}")
        case "cancelNode":
            settle(run, scope, index, CANCELED, now, reason="Canceled", message=f"cancelled{by}{said}")
        case "approve":
            output = {"approved": True, "by": command.requested_by, "message": command.message, **command.output}
            settle(run, scope, index, SUCCEEDED, now, output=output, reason="Approved", message=f"approved{by}{said}")
        case "reject":
            settle(run, scope, index, FAILED, now, reason="Rejected", message=f"rejected{by}{said}")


def _outcome(command: RunCommand) -> str:
    return str(command.output.get("outcome") or "")


def drop_bodies(run: Run, scope: Scope, index: int, now: datetime) -> None:
    """Iterations of a loop or map that is ended by hand: what runs in them is stopped, nothing follows from them."""
    body = scope.bodies.pop(index, None)
    pending = list(body.running.values()) if body is not None else []
    while pending:
        inner = pending.pop()
        for at, phase in enumerate(list(inner.phase)):
            if phase in ACTIVE:
                row = inner.rows.get(at)
                run.changes.effects.append(Abort(inner.key_of(at), row.attempt if row is not None else 0, False))
                if phase == RUNNING and inner.graph.nodes[at].is_executed:
                    run.executing -= 1
                run.put(inner.key_of(at), NodeRow(name=shown_name(run, inner, inner.graph.nodes[at]),
                        type=inner.graph.nodes[at].type, phase=CANCELED, finished_at=now))  # fmt: skip
            if phase not in TERMINAL:
                run.enter(inner, at, CANCELED)
                inner.queued[at] = 1
        pending.extend(one for found in inner.bodies.values() for one in found.running.values())
    run.changes.folds.append(scope.key_of(index) + "[")


def reset(run: Run, scope: Scope, indexes: list[int]) -> None:
    """Nodes, and all that come after them, are to run again. None of them is active."""
    again = _after(scope, indexes) | set(indexes)
    for index in again:
        node = scope.graph.nodes[index]
        phase = scope.phase[index]
        if phase not in TERMINAL:
            continue
        row = NodeRow(name=shown_name(run, scope, node), type=node.type, phase=PENDING, attempt=scope.attempts.get(index, 0))
        scope.rows.pop(index, None)
        for inside, count in scope.folded.pop(index, {}).items():
            run.counts[inside] -= count
        run.put(scope.key_of(index), row)
        run.enter(scope, index, PENDING)
        scope.open += 1
        if phase in (FAILED, CANCELED) and not node.node.continue_on_failure:
            scope.bad -= 1
        scope.queued[index] = 0
        scope.output.pop(index, None)
        scope.outcome.pop(index, None)
        scope.bodies.pop(index, None)
    for index in again:
        recount(scope, index)
        run.check.append((scope, index))
    failed = next((i for i, phase in enumerate(scope.phase) if phase == FAILED), None) if scope.bad else None
    scope.failed_name = "" if failed is None else shown_name(run, scope, scope.graph.nodes[failed])
    scope.failed_message = "" if failed is None or failed not in scope.rows else scope.rows[failed].message
    run.row.failed_node = scope.failed_name


def recount(scope: Scope, index: int) -> None:
    """How the nodes before one ended, from their phases."""
    tally = [0, 0, 0, 0]
    for edge in scope.graph.nodes[index].preds:
        before = scope.graph.nodes[edge.at]
        phase = scope.phase[edge.at]
        if phase not in TERMINAL:
            if edge.at in scope.opened:
                tally[0] += 1
            continue
        if phase in (FAILED, CANCELED) and before.node.continue_on_failure:
            phase = SUCCEEDED
        if before.type in ("branch", "condition") and phase == SUCCEEDED and edge.on:
            phase = phase if edge.on == scope.outcome.get(edge.at) else SKIPPED
        tally[COLUMN[phase]] += 1
    scope.tally[index] = tally


def _after(scope: Scope, indexes: list[int]) -> set[int]:
    found: set[int] = set()
    pending = [edge.at for index in indexes for edge in scope.graph.nodes[index].succs]
    while pending:
        index = pending.pop()
        if index not in found:
            found.add(index)
            pending.extend(edge.at for edge in scope.graph.nodes[index].succs)
    return found


__all__ = ["UPSTREAM_FAILED", "WAITING", "AskError", "ask", "locate", "msgspec", "recount", "refusal", "reset"]
