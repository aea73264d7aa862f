"""Loops and maps: a body is run once per iteration or item, and what has ended is folded away.

    loop   one iteration at a time: count, or while (asked before each) / until (asked after each), up to maxIterations
    map    one body per item, maxParallel at once, maxFailures may fail

The node's own row says how far it is; with it, rows of iterations that have ended need not be read after a restart.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec

from plum_flow.expressions import UnresolvedError
from plum_flow.workflow.graph import MAX_ITERATIONS, NodePlan
from plum_flow.workflow.phases import ALL, CANCELED, FAILED, PENDING, RUNNING, SKIPPED, SUCCEEDED
from plum_flow.workflow.rows import NodeRow, iteration_key, shown
from plum_flow.workflow.settle import settle, shown_name
from plum_flow.workflow.state import Body, Run, Scope
from plum_flow.workflow.values import values_for

MAX_RESULTS_BYTES = 1 << 20
"""Of all results of a map that its output holds; further ones stay in their rows only."""
MAX_ITEMS = 100_000


def start(run: Run, scope: Scope, node: NodePlan, now: datetime) -> None:
    """Start a loop or map. Raises `UnresolvedError`."""
    body = make(run, scope, node)
    attempt = scope.attempts.get(node.index, 0) + 1
    row = NodeRow(
        name=shown_name(run, scope, node), type=node.type, phase=RUNNING, attempt=attempt, started_at=now, total=body.total
    )
    if node.timeout is not None:
        row.timeout_at = now + timedelta(seconds=node.timeout)
        run.set_timer(row.timeout_at, scope.key_of(node.index), attempt, "timeout")
    scope.rows[node.index] = row
    scope.bodies[node.index] = body
    run.enter(scope, node.index, RUNNING)
    run.put(scope.key_of(node.index), row)
    go_on(run, scope, node, now)


def make(run: Run, scope: Scope, node: NodePlan) -> Body:
    """A body before its first iteration. Raises `UnresolvedError`."""
    body = Body()
    if node.type == "loop":
        body.total = node.node.count
        return body
    assert node.items is not None  # noqa: S101
    items = node.items.evaluate(values_for(run, scope, node.items.references))
    if not isinstance(items, list):
        raise UnresolvedError("items", f"a list is needed, not {items!r:.60}")
    if len(items) > MAX_ITEMS:
        raise UnresolvedError("items", f"a map may have {MAX_ITEMS} items, not {len(items)}")
    body.items, body.total = items, len(items)
    failures = node.node.max_failures
    if isinstance(failures, str):
        body.allowed = int(len(items) * float(failures.rstrip("%")) / 100)
    else:
        body.allowed = failures
    return body


def go_on(run: Run, scope: Scope, node: NodePlan, now: datetime) -> None:
    """Start the iterations that may start now, or end the node."""
    body = scope.bodies[node.index]
    try:
        while not body.ending and _may_start(run, scope, node, body):
            _start_iteration(run, scope, node, body)
    except UnresolvedError as error:
        end(run, scope, node, FAILED, now, reason="ExpressionFailed", message=str(error))
        return
    if not body.running and _is_over(body):
        _end_well(run, scope, node, body, now)


def _is_over(body: Body) -> bool:
    return bool(body.ending) or (body.total is not None and body.next >= body.total)


def _may_start(run: Run, scope: Scope, node: NodePlan, body: Body) -> bool:
    if body.total is not None and body.next >= body.total:
        return False
    if node.type == "map":
        return len(body.running) < (node.node.max_parallel or MAX_ITEMS)
    if body.running:
        return False
    limit = node.node.max_iterations or MAX_ITEMS if body.total is not None else node.node.max_iterations or MAX_ITERATIONS
    if body.next == 0 and not _goes_on(run, scope, node, 0):
        body.ending = "Done"
        return False
    if body.next >= limit:
        raise UnresolvedError("maxIterations", f"the loop needs more than {limit} iterations")
    return True


def _start_iteration(run: Run, scope: Scope, node: NodePlan, body: Body) -> None:
    index = body.next
    body.next += 1
    open_iteration(run, scope, node, body, index)
    row = msgspec.structs.replace(scope.rows[node.index], iteration=index, folded=_folded(body), failures=body.failures)
    if node.type == "loop":
        row.output = body.last
    scope.rows[node.index] = row
    run.put(scope.key_of(node.index), row)


def open_iteration(run: Run, scope: Scope, node: NodePlan, body: Body, index: int) -> Scope:
    """The scope of an iteration, with its variables."""
    assert node.body is not None  # noqa: S101
    inner = Scope(node.body, run.body_prefix(scope, node, index), scope, index)
    inner.loop["index"] = index
    if node.type == "map":
        item = body.items[index]
        inner.loop |= {"i": index, "item": item, node.node.variable or "item": item}
    else:
        inner.loop[node.node.variable or "i"] = index
    body.running[index] = inner
    run.open_scope(inner)
    return inner


def iteration_ended(run: Run, inner: Scope, now: datetime) -> None:
    """All nodes of an iteration are terminal: fold it, and go on with the loop or map it belongs to."""
    scope = inner.parent
    owner = inner.graph.owner
    assert scope is not None and owner is not None  # noqa: S101
    body = scope.bodies[owner.index]
    del body.running[inner.index]
    body.done += 1
    fold(run, body, inner)
    bad = inner.bad > 0
    if owner.type == "map":
        _map_result(run, scope, owner, body, inner, bad, now)
    else:
        body.last = result_of(inner)
        if not bad and not body.ending:
            _ask(run, owner, body, inner)
    if bad:
        body.failures += 1
        if not body.message:
            body.message = f"node {inner.failed_name} failed" + (f": {inner.failed_message}" if inner.failed_message else "")
        if owner.type == "loop" or body.failures > body.allowed:
            body.ending = body.ending or FAILED
    go_on(run, scope, owner, now)


def _ask(run: Run, owner: NodePlan, body: Body, inner: Scope) -> None:
    """Whether a loop with a condition goes on. An error fails the loop, with its message kept for the end."""
    try:
        if owner.until is not None and owner.until.is_true(values_for(run, inner, owner.until.references)):
            body.ending = "Done"
        if not _goes_on(run, inner, owner, body.next):
            body.ending = "Done"
    except UnresolvedError as error:
        body.ending, body.message = FAILED, str(error)


def _goes_on(run: Run, scope: Scope, owner: NodePlan, index: int) -> bool:
    """What `while` says before an iteration, whose index it sees. Raises `UnresolvedError`."""
    if owner.while_ is None:
        return True
    values = values_for(run, scope, owner.while_.references)
    if "loop" in values:
        values["loop"] = {**scope.loop, "index": index, owner.node.variable or "i": index}
    return owner.while_.is_true(values)


def _map_result(run: Run, scope: Scope, owner: NodePlan, body: Body, inner: Scope, bad: bool, now: datetime) -> None:
    result = None if bad else result_of(inner)
    size = len(msgspec.json.encode(result))
    if body.results_bytes + size <= MAX_RESULTS_BYTES:
        body.results[inner.index] = result
        body.results_bytes += size
    phase = FAILED if bad else SUCCEEDED
    name = f"{shown(scope.key_of(owner.index))}[{inner.index}]"
    row = NodeRow(name=name, type="iteration", phase=phase, output=result, finished_at=now, folded=_counted(inner))
    run.put(iteration_key(scope.key_of(owner.index), inner.index), row)


def fold(run: Run, body: Body, inner: Scope) -> None:
    """Forget an iteration that has ended; its rows are history."""
    for phase in inner.phase:
        body.folded[phase] += 1
    for inside in inner.folded.values():
        body.folded.update(inside)
    run.changes.folds.append(inner.prefix)


def _counted(inner: Scope) -> dict[str, int]:
    found = {phase: count for phase in ALL if (count := inner.phase.count(phase))}
    for inside in inner.folded.values():
        for phase, count in inside.items():
            found[phase] = found.get(phase, 0) + count
    return found


def _folded(body: Body) -> dict[str, int]:
    return {phase: count for phase, count in body.folded.items() if count}


def result_of(inner: Scope) -> Any:
    """What a body gives: the output of its last node, or of its last nodes by name."""
    sinks = inner.graph.sinks
    if len(sinks) == 1:
        return inner.output.get(sinks[0].index)
    return {node.name: inner.output.get(node.index) for node in sinks}


def _end_well(run: Run, scope: Scope, node: NodePlan, body: Body, now: datetime) -> None:
    if body.ending == CANCELED:
        end(run, scope, node, CANCELED, now, reason="Canceled", message="")
    elif body.ending == FAILED:
        message = body.message
        if node.type == "map":
            message = f"{body.failures} of {body.done} bodies failed, {body.allowed} may; first {message}"
        end(run, scope, node, FAILED, now, reason="BodyFailed", message=message)
    else:
        end(run, scope, node, SUCCEEDED, now)


def end(run: Run, scope: Scope, node: NodePlan, phase: str, now: datetime, *, reason: str = "", message: str = "") -> None:
    """End a loop or map. Its output says how often the body ran and what it gave."""
    body = scope.bodies.pop(node.index, None)
    output: Any = None
    row = scope.rows.get(node.index)
    if body is not None:
        scope.folded[node.index] = _folded(body)
        if node.type == "map":
            results = [body.results.get(index) for index in range(body.next)]
            output = {"count": body.done, "succeeded": body.done - body.failures, "failed": body.failures, "results": results}
            if len(body.results) < body.done:
                output |= {"results": [body.results[index] for index in sorted(body.results)], "truncated": True}
        else:
            output = {"iterations": body.done, "last": body.last}
        if row is not None:
            scope.rows[node.index] = msgspec.structs.replace(row, folded=_folded(body), failures=body.failures, output=None)
    settle(run, scope, node.index, phase, now, output=output, reason=reason, message=message)
    run.changes.folds.append(scope.key_of(node.index) + "[")


__all__ = ["PENDING", "SKIPPED", "end", "fold", "go_on", "iteration_ended", "make", "open_iteration", "start"]
