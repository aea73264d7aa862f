"""What a run would do, with results that are given: the same decisions, a clock that jumps, nothing carried out.

    simulate(spec, params, {"scan": {"output": {"contacts": 0}, "seconds": 5}, "sweep[1]": {"fail": "no signal"}})
        -> {"phase": ..., "seconds": 12.0, "schedule": [{"at": 0.0, "node": "scan", "what": "starts"}, ...], "outputs": {...}}

A node without a given result succeeds after a second with its payload as output; builtins that only compute do so. Waits for
events, conditions and people are met then, unless the result says otherwise. A secret is its own name. Of tasks, the retries and
the timeout count that the node itself has; those of their definitions are not looked at.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.validation import FieldError, invalid
from plum_schemas.workflow import WorkflowSpec
from plum_schemas.workflowrun import RunCommand

from plum_flow.builtins import PURE
from plum_flow.calls import Call, TaskFailedError
from plum_flow.expressions import UnresolvedError
from plum_flow.expressions.expression import References
from plum_flow.workflow import phases
from plum_flow.workflow.decide import decide
from plum_flow.workflow.graph import compile_definition
from plum_flow.workflow.messages import Abort, Ask, Await, Begin, Done, Execute, Tick
from plum_flow.workflow.rows import NodeRow, RunRow, shown
from plum_flow.workflow.starting import DEFAULT_RETRY, ends_itself, retry_seconds
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
            event = make(self._now)
            if event is not None:
                decide(self._run, event)
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
            elif isinstance(effect, Abort) and effect.told:
                self._stop(effect)
        for scope, index in list(self._run.active.values()):
            wait = scope.graph.nodes[index].node.wait
            if wait is not None and wait.approval is not None and not self._known(scope.key_of(index)).get("asked"):
                self._approve(scope.key_of(index))

    def _execute(self, effect: Execute) -> None:
        try:
            given = effect.node.payload.evaluate({**effect.values, "secrets": _stand_ins(effect.node.reads)})
        except UnresolvedError as error:
            self._later(0.0, lambda now, text=str(error): Done(effect.key, effect.attempt, phases.FAILED, now, None,
                        "ExpressionFailed", text, False))  # fmt: skip
            return
        if ends_itself(effect.node):
            self._attempt(effect, given, 1)
            return
        self._end(effect, given, effect.attempt)

    def _attempt(self, effect: Execute, given: Any, number: int) -> None:
        """One attempt of a task, which is tried again and stopped in time by whoever carries it out."""
        policy = effect.node.node.retry or DEFAULT_RETRY
        why, seconds = self._failure(effect, number)
        fits = not policy.on or why[0] in policy.on
        if not why[0] or not fits or number > policy.limit:
            self._end(effect, given, number)
            return
        wait = retry_seconds(policy, number, effect.key)

        def failed(now: datetime) -> None:
            text = f"attempt {number + 1} of {policy.limit + 1}"
            self._schedule_unless_over(effect, phases.WAITING, message=why[1], waitsFor=text)

        def again(now: datetime) -> None:
            if self._schedule_unless_over(effect, "starts"):
                self._attempt(effect, given, number + 1)

        self._later(seconds, failed)
        self._later(seconds + wait, again)

    def _end(self, effect: Execute, given: Any, number: int) -> None:
        """How an attempt ends, unless it never does."""
        (reason, message), seconds = self._failure(effect, number)
        result = self._known(effect.key)
        if effect.node.inline and not reason and "output" not in result:
            self._compute(effect, given.get("payload") or {}, seconds)
        elif reason:
            self._later(
                seconds,
                lambda now: Done(effect.key, effect.attempt, phases.FAILED, now, None, reason, message, reason == "Error"),
            )
        elif not result.get("never"):
            output = result.get("output", given.get("payload") if effect.node.type == "task" else given)
            self._later(seconds, lambda now: Done(effect.key, effect.attempt, phases.SUCCEEDED, now, output))

    def _compute(self, effect: Execute, payload: Mapping[str, Any], seconds: float) -> None:
        """A builtin that only computes does so here as well."""
        try:
            output = _computed(effect.node.node.task_ref, payload, effect.attempt)
        except TaskFailedError as error:
            done = Done(effect.key, effect.attempt, phases.FAILED, START, None, error.reason, error.message, error.retryable)
        else:
            done = Done(effect.key, effect.attempt, phases.SUCCEEDED, START, output)
        self._later(seconds, lambda now: done._replace(now=now))

    def _failure(self, effect: Execute, number: int) -> tuple[tuple[str, str], float]:
        """Reason and message of an attempt that fails, two empty texts of one that does not; and after how long it ends."""
        result, limit = self._known(effect.key), effect.node.timeout
        seconds = inf if result.get("never") else _seconds_of(result)
        if limit is not None and seconds > limit and ends_itself(effect.node):
            return ("Timeout", f"attempt {number} took longer than its timeout of {effect.node.node.timeout}"), limit
        if result.get("fail") is not None and number <= int(result.get("times") or 10**9):
            return ("Error", str(result["fail"])), seconds
        return ("", ""), seconds

    def _schedule_unless_over(self, effect: Execute, what: str, **more: str) -> bool:
        """Tell what happens to a task; False if its node has ended meanwhile."""
        if effect.key not in self._run.active:
            return False
        self._schedule.append({"at": self._seconds(), "node": self._name(effect.key), "what": what, **more})
        return True

    def _stop(self, effect: Abort) -> None:
        """What runs is asked to stop, and does."""
        self._later(0.0, lambda now: Done(effect.key, effect.attempt, phases.CANCELED, now, None, "Canceled"))

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


def check_results(spec: WorkflowSpec, results: Mapping[str, Any]) -> Iterator[FieldError]:
    """What is wrong with given results: nodes that there are not, words that mean nothing."""
    names = {node.name for graph in compile_definition(spec).graphs() for node in graph.walk()}
    for node, result in results.items():
        path = f"results.{node}"
        plain = _PLAIN(node)
        if plain is None or plain[1] not in names:
            yield invalid(path, node, f"there is no node of this name; there are {', '.join(sorted(names))}")
            continue
        if not isinstance(result, Mapping):
            yield invalid(path, result, "give an object with output, seconds, fail, times, never or reject")
            continue
        for word, value in result.items():
            wanted = RESULT_WORDS.get(word)
            if wanted is None:
                yield invalid(f"{path}.{word}", value, f"it means nothing here; there are {', '.join(RESULT_WORDS)}")
            elif not wanted[0](value):
                yield invalid(f"{path}.{word}", value, wanted[1])


def _computed(name: str, payload: Mapping[str, Any], attempt: int) -> Any:
    """What a builtin gives that waits for nothing. Raises `TaskFailedError`."""
    call = Call("simulated", "", TaskDefinitionSpec(task=name), payload, attempt=attempt)
    working = PURE[name](payload, call, lambda: START)
    try:
        working.send(None)
    except StopIteration as done:
        return done.value
    working.close()
    raise AssertionError(f"{name} waits")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


RESULT_WORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "output": (lambda value: True, ""),
    "seconds": (_is_number, "use a number of seconds, 0 or more"),
    "fail": (lambda value: isinstance(value, str), "say why, as a text"),
    "times": (lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 1, "use a whole number from 1"),
    "never": (lambda value: isinstance(value, bool), "use true or false"),
    "reject": (lambda value: isinstance(value, bool), "use true or false"),
}
"""What a result may say of a node."""
_PLAIN = re.compile(r"(?:.*[:.])?([A-Za-z0-9_-]+)(?:\[\d+\])*\Z").match


def _stand_ins(references: References) -> dict[str, Any]:
    """For each secret its own name."""
    found: dict[str, Any] = {}
    for path in sorted(references.paths_of("secrets"), key=len):
        if len(path) == 1:
            found[path[0]] = f"<secret {path[0]}>"
        elif path:
            keys = found.get(path[0])
            found[path[0]] = {**(keys if isinstance(keys, dict) else {}), path[1]: f"<secret {'.'.join(path)}>"}
    return found


def _seconds_of(result: Mapping[str, Any]) -> float:
    value = result.get("seconds", DEFAULT_SECONDS)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else DEFAULT_SECONDS


__all__ = ["check_results", "simulate"]
