"""How a run ends: main graph, then onFailure if it failed, then finally in any case, then its outputs.

main --failed, timed out--> onFailure --> finally --> done        cancelled: main --> finally --> done
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from plum_flow.expressions import UnresolvedError
from plum_flow.workflow import bodies
from plum_flow.workflow.messages import Abort, Told
from plum_flow.workflow.phases import CANCELED, PENDING, RUNNING, WAITING
from plum_flow.workflow.settle import settle
from plum_flow.workflow.state import Run, Scope
from plum_flow.workflow.values import values_for

STAGES = ("main", "onFailure", "finally")


def open_stage(run: Run, stage: str) -> Scope | None:
    """Begin with a graph; None when the definition has none for this stage."""
    graph = run.plan.graph_of(stage)
    if graph is None:
        return None
    run.row.stage = stage
    scope = run.scopes[stage] = Scope(graph, "" if stage == "main" else f"{stage}:")
    run.open_scope(scope)
    return scope


def scope_ended(run: Run, scope: Scope, now: datetime) -> None:
    """All nodes of a scope are terminal."""
    if scope.parent is not None:
        bodies.iteration_ended(run, scope, now)
        return
    stage = run.row.stage
    if scope is not run.scopes.get(stage):
        return
    row = run.row
    stopped = row.stopping and row.stopped_stage == stage
    if stopped:
        row.phase = row.stopping
        row.reason = "Canceled" if row.stopping == "Canceled" else "DeadlineExceeded"
        row.message = "the run was cancelled" if row.stopping == "Canceled" else "the run took longer than its timeout"
    elif scope.bad and row.phase == "Running":
        row.phase, row.reason = "Failed", "NodeFailed" if stage == "main" else "FinallyFailed"
        row.failed_node = scope.failed_name
        row.message = f"node {scope.failed_name} failed" + (f": {scope.failed_message}" if scope.failed_message else "")
    if stage == "main" and row.phase in ("Failed", "Timeout") and open_stage(run, "onFailure") is not None:
        run.put_run()
        return
    if stage in ("main", "onFailure") and open_stage(run, "finally") is not None:
        run.put_run()
        return
    finish(run, now)


def finish(run: Run, now: datetime) -> None:
    """The run has ended for good."""
    row = run.row
    if row.phase == "Running":
        row.phase, row.reason = "Succeeded", "Succeeded"
        row.outputs, problems = _outputs(run)
        row.message = "; ".join(problems)
    row.stage, row.finished_at, row.paused = "done", now, False
    row.counts = {phase: count for phase, count in run.counts.items() if count > 0}
    run.put_run()
    run.timers.clear()
    run.changes.effects.append(Told("RunFinished", phase=row.phase))


def _outputs(run: Run) -> tuple[dict[str, Any], list[str]]:
    """Outputs of the run. One that has no value is null, and the message says why."""
    found: dict[str, Any] = {}
    problems = []
    for name, template in run.plan.outputs.items():
        try:
            found[name] = template.evaluate(values_for(run, run.scopes["main"], template.references))
        except UnresolvedError as error:
            found[name] = None
            problems.append(f"output {name} is null: {error}")
    return found, problems


def stop(run: Run, why: str, now: datetime) -> None:
    """Stop the stage that goes on: what has not started never will, what runs is asked to stop."""
    run.row.stopping, run.row.stopped_stage = why, run.row.stage
    run.row.paused = False
    run.put_run()
    scope = run.scopes.get(run.row.stage)
    if scope is not None:
        stop_scope(run, scope, now)


def stop_scope(run: Run, scope: Scope, now: datetime) -> None:
    """Cancel every node of a scope and of the iterations inside."""
    for index, phase in enumerate(list(scope.phase)):
        node = scope.graph.nodes[index]
        if phase == PENDING:
            scope.queued[index] = 1
            settle(run, scope, index, CANCELED, now, reason="Canceled", store=False)
        elif node.body is not None and index in scope.bodies:
            body = scope.bodies[index]
            body.ending = body.ending or CANCELED
            for inner in list(body.running.values()):
                stop_scope(run, inner, now)
            if not body.running:
                bodies.go_on(run, scope, node, now)
        elif phase == RUNNING and node.is_executed:
            run.changes.effects.append(Abort(scope.key_of(index), scope.rows[index].attempt, True))
        elif phase in (RUNNING, WAITING) and scope.phase[index] in (RUNNING, WAITING):
            row = scope.rows.get(index)
            run.changes.effects.append(Abort(scope.key_of(index), row.attempt if row is not None else 0, False))
            settle(run, scope, index, CANCELED, now, reason="Canceled")
