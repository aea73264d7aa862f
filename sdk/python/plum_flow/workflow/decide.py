"""One decision: an event of a run, and everything that follows from it.

    decide(run, event) -> the run has moved on; run.take() has the rows to store and the effects to carry out

Deterministic: the same events make the same run, so a run loaded from its rows goes on as the one that was lost would have.
"""

from __future__ import annotations

import heapq
from datetime import datetime, timedelta

from plum_flow.workflow import asks, endings, starting
from plum_flow.workflow.messages import Abort, Ask, Begin, Done, Event, SetState, Tick, Told
from plum_flow.workflow.phases import ACTIVE, CANCELED, FAILED, PENDING, RUNNING, SKIPPED, SUCCEEDED, WAITING
from plum_flow.workflow.rows import NodeRow
from plum_flow.workflow.settle import examine, settle
from plum_flow.workflow.state import Run, Scope


def decide(run: Run, event: Event) -> None:
    """Take in one event. After its end a run takes in nothing."""
    if run.is_done:
        return
    match event:
        case Begin():
            begin(run, event.now)
        case Done():
            done(run, event)
        case Tick():
            tick(run, event.now)
        case SetState():
            set_state(run, event)
        case Ask():
            asks.ask(run, event)
    advance(run, event.now)


def begin(run: Run, now: datetime) -> None:
    """The first start of a run. A run that was loaded has begun."""
    if run.row.started_at is not None:
        return
    run.row.started_at = now
    if run.row.deadline is None and run.plan.timeout is not None:
        run.row.deadline = now + timedelta(seconds=run.plan.timeout)
    if run.row.deadline is not None:
        run.set_timer(run.row.deadline, "", 0, "deadline")
    run.put_run()
    run.changes.effects.append(Told("RunStarted"))
    endings.open_stage(run, "main")


def advance(run: Run, now: datetime) -> None:
    """Follow up until nothing more follows."""
    while not run.is_done:
        if run.check:
            examine(run, *run.check.popleft(), now)
        elif run.ended:
            endings.scope_ended(run, run.ended.popleft(), now)
        elif run.paused:
            return
        elif run.quick:
            _start(run, *run.quick.popleft(), now)
        elif run.ready and (run.plan.spec.max_parallel is None or run.executing < run.plan.spec.max_parallel):
            _start(run, *run.ready.popleft(), now)
        else:
            return


def _start(run: Run, scope: Scope, index: int, now: datetime) -> None:
    phase = scope.phase[index]
    if phase == PENDING:
        starting.start(run, scope, index, now)
    elif phase == WAITING and scope.graph.nodes[index].is_executed:  # the next attempt
        starting.execute(run, scope, scope.graph.nodes[index], now)


def done(run: Run, event: Done) -> None:
    """What was started has ended. What is not awaited, or of another attempt, changes nothing."""
    found = run.active.get(event.key)
    if found is None:
        return
    scope, index = found
    node = scope.graph.nodes[index]
    row = scope.rows.get(index)
    if row is None or row.attempt != event.attempt or (scope.phase[index] == WAITING) is not (node.type == "wait"):
        return
    if event.phase == SUCCEEDED:
        settle(run, scope, index, SUCCEEDED, event.now, output=event.output)
    elif event.phase == CANCELED or (run.row.stopping and run.row.stopped_stage == run.row.stage):
        phase = CANCELED if run.row.stopping or event.phase == CANCELED else FAILED
        settle(run, scope, index, phase, event.now, reason=event.reason or "Canceled", message=event.message)
    elif event.phase == SKIPPED:
        settle(run, scope, index, SKIPPED, event.now, reason=event.reason, message=event.message)
    elif node.type == "wait":
        settle(run, scope, index, FAILED, event.now, reason=event.reason, message=event.message)
    else:
        if event.output is not None and node.used:
            scope.output[index] = event.output
        starting.failed(run, scope, node, event.now, event.reason, event.message, retryable=event.retryable)


def tick(run: Run, now: datetime) -> None:
    """Everything whose time has come."""
    while run.timers and run.timers[0][0] <= now:
        _, _, key, attempt, purpose = heapq.heappop(run.timers)
        if purpose == "deadline":
            if run.row.stage == "main" and not run.row.stopping:
                endings.stop(run, "Timeout", now)
            continue
        found = run.active.get(key)
        if found is None:
            continue
        scope, index = found
        row = scope.rows.get(index)
        if row is not None and row.attempt == attempt:
            _due(run, scope, index, row, purpose, now)


def _due(run: Run, scope: Scope, index: int, row: NodeRow, purpose: str, now: datetime) -> None:
    node, phase = scope.graph.nodes[index], scope.phase[index]
    if purpose == "due" and phase == WAITING:
        settle(run, scope, index, SUCCEEDED, now)
    elif purpose == "retry" and phase == WAITING and node.is_executed:
        run.queue(scope, index)
    elif purpose == "timeout" and node.body is not None:
        asks.drop_bodies(run, scope, index, now)
        settle(run, scope, index, FAILED, now, reason="Timeout", message=f"it took longer than {node.node.timeout}")
    elif purpose == "timeout" and phase == WAITING and node.type == "wait":
        run.changes.effects.append(Abort(scope.key_of(index), row.attempt, False))
        message = f"it waited longer than {node.node.timeout} for {row.waits_for}"
        settle(run, scope, index, FAILED, now, reason="Timeout", message=message)
    elif purpose == "timeout" and phase == RUNNING:
        run.changes.effects.append(Abort(scope.key_of(index), row.attempt, False))
        starting.failed(run, scope, node, now, "Timeout", f"the attempt took longer than {node.node.timeout}", retryable=True)


def set_state(run: Run, event: SetState) -> None:
    """Pause, resume, cancel. Repeating one changes nothing."""
    if event.state == "Canceled":
        if not (run.row.stopping and run.row.stopped_stage == run.row.stage) and run.row.stopping != "Canceled":
            endings.stop(run, "Canceled", event.now)
        return
    paused = event.state == "Paused"
    if run.row.paused != paused and run.row.started_at is not None:
        run.row.paused = paused
        run.put_run()


__all__ = ["ACTIVE", "FAILED", "advance", "decide"]
