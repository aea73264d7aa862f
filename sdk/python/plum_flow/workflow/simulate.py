"""What a run would do, with results that are given: the same decisions, a clock that jumps, nothing carried out.

    simulate(spec, params, {"scan": {"output": {"contacts": 0}, "seconds": 5}, "sweep[1]": {"fail": "no signal"}})
        -> {"phase": ..., "seconds": 12.0, "schedule": [{"at": 0.0, "node": "scan", "what": "starts"}, ...], "outputs": {...}}

A node without a given result succeeds after a second with its payload as output. Waits for events, conditions and people
are met at once, unless the result says otherwise.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from plum_schemas.workflow import WorkflowSpec
from plum_schemas.workflowrun import RunCommand

from plum_flow.expressions import UnresolvedError
from plum_flow.workflow import phases
from plum_flow.workflow.decide import decide
from plum_flow.workflow.graph import compile_definition
from plum_flow.workflow.messages import Ask, Await, Begin, Done, Execute, SetState, Tick
from plum_flow.workflow.rows import NodeRow, RunRow, shown
from plum_flow.workflow.state import Run

START = datetime(2000, 1, 1, tzinfo=UTC)
DEFAULT_SECONDS = 1.0
MAX_STEPS = 100_000
MAX_SCHEDULE = 10_000


def simulate(spec: WorkflowSpec, params: dict[str, Any], results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Play a run to its end. A definition that waits for ever ends as `Waiting`."""
    return _Simulation(spec, params, results).play()


class _Simulation:
    def __init__(self, spec: WorkflowSpec, params: dict[str, Any], results: Mapping[str, Mapping[str, Any]]) -> None:
        self._results = results
        self._now = START
        self._pending: list[tuple[datetime, int, Any]] = []
        self._number = 0
        self._schedule: list[dict[str, Any]] = []
        self._asked = 0
        self._run = Run(
            compile_definition(spec), "simulated", "simulated", RunRow(params=params), {"workflow": "", "namespace": ""}
        )
        if spec.timeout:
            self._run.row.deadline = None

    def play(self) -> dict[str, Any]:
        run = self._run
        decide(run, Begin(self._now))
        self._note()
        for _ in range(MAX_STEPS):
            if run.is_done or not self._step():
                break
        return {
            "phase": run.row.phase if run.is_done else "Waiting",
            "message": run.row.message if run.is_done else self._waits_for(),
            "seconds": self._seconds(),
            "outputs": run.row.outputs,
            "schedule": self._schedule[:MAX_SCHEDULE],
        }

    def _step(self) -> bool:
        due, first = self._run.next_due, self._pending[0][0] if self._pending else None
        if due is None and first is None:
            return False
        if first is not None and (due is None or first <= due):
            self._now, _, make = heapq.heappop(self._pending)
            decide(self._run, make(self._now))
        else:
            assert due is not None  # noqa: S101
            self._now = max(self._now, due)
            decide(self._run, Tick(self._now))
        self._note()
        return True

    def _note(self) -> None:
        changes = self._run.take()
        for key, row in changes.rows.items():
            if isinstance(row, NodeRow) and (row.phase in phases.TERMINAL or row.phase == phases.WAITING):
                entry: dict[str, Any] = {"at": self._seconds(), "node": row.name or shown(key), "what": row.phase}
                entry |= {name: value for name, value in (("outcome", row.outcome), ("message", row.message),
                          ("waitsFor", row.waits_for)) if value}  # fmt: skip
                self._schedule.append(entry)
        for effect in changes.effects:
            if isinstance(effect, Execute):
                self._schedule.append({"at": self._seconds(), "node": self._name(effect.key), "what": "starts"})
                self._execute(effect)
            elif isinstance(effect, Await):
                self._meet(effect)
        for scope, index in list(self._run.active.values()):
            wait = scope.graph.nodes[index].node.wait
            if wait is not None and wait.approval is not None and not self._known(scope.key_of(index)).get("asked"):
                self._approve(scope.key_of(index))

    def _execute(self, effect: Execute) -> None:
        result = self._known(effect.key)
        try:
            given = effect.node.payload.evaluate({**effect.values, "secrets": _Anything()})
        except UnresolvedError as error:
            self._later(0.0, lambda now, text=str(error): Done(effect.key, effect.attempt, phases.FAILED, now, None,
                        "ExpressionFailed", text, False))  # fmt: skip
            return
        fails = result.get("fail")
        times = int(result.get("times") or 10**9)
        if fails is not None and effect.attempt <= times:
            text = str(fails)
            self._later(
                _seconds_of(result), lambda now: Done(effect.key, effect.attempt, phases.FAILED, now, None, "Error", text)
            )
            return
        output = result.get("output", given.get("payload") if effect.node.type == "task" else given)
        self._later(_seconds_of(result), lambda now: Done(effect.key, effect.attempt, phases.SUCCEEDED, now, output))

    def _meet(self, effect: Await) -> None:
        result = self._known(effect.key)
        if not result.get("never"):
            output = result.get("output", {"met": True})
            self._later(_seconds_of(result), lambda now: Done(effect.key, effect.attempt, phases.SUCCEEDED, now, output))

    def _approve(self, key: str) -> None:
        result = dict(self._known(key))
        if result.get("never"):
            return
        self._results = {**self._results, key: {**result, "asked": True}}
        action = "Reject" if result.get("reject") else "Approve"
        self._asked += 1
        number = self._asked
        command = RunCommand(name=f"a{number}", action=action, node=shown(key), requested_by="simulation")  # type: ignore[arg-type]
        self._later(_seconds_of(result), lambda now: Ask(command, number, now))

    def _later(self, seconds: float, make: Any) -> None:
        self._number += 1
        heapq.heappush(self._pending, (self._now + timedelta(seconds=seconds), self._number, make))

    def _known(self, key: str) -> Mapping[str, Any]:
        for name in (key, shown(key), self._name(key)):
            if name in self._results:
                return self._results[name]
        plain = shown(key).rpartition(".")[2]
        return self._results.get(plain, {})

    def _name(self, key: str) -> str:
        found = self._run.active.get(key)
        row = found[0].rows.get(found[1]) if found is not None else None
        return row.name if row is not None else shown(key)

    def _seconds(self) -> float:
        return round((self._now - START).total_seconds(), 3)

    def _waits_for(self) -> str:
        return "it waits for " + ", ".join(self._name(key) for key in self._run.active) if self._run.active else "nothing goes on"


class _Anything(dict[str, Any]):
    """Secrets of a simulation: each is its own name."""

    def __contains__(self, key: object) -> bool:
        return True

    def __missing__(self, key: str) -> Any:
        return f"<secret {key}>"


def _seconds_of(result: Mapping[str, Any]) -> float:
    value = result.get("seconds", DEFAULT_SECONDS)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else DEFAULT_SECONDS


__all__ = ["SetState", "simulate"]
