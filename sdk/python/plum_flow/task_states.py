"""The life of a TaskRun: one table of transitions, and the functions that take one step each.

    Queued --admit--> Pending --take--> Running --end--> Succeeded | Failed | Timeout | Canceled | Unknown
                         ^                 |
                         +----try again----+         Queued and Pending can end too

Everything that changes `status.phase` goes through `move`; the API refuses what is not in the table with 409, whoever asks.
An attempt is held by whoever took it, and may be ended only with the claim he got: number of the attempt and fencing token.
The status that comes out of a step is written with the resourceVersion it was computed from, so each step is recorded once.

    python -m plum_flow.task_states      prints the table of docs/tasks.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from plum_schemas.base import Condition
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, Attempt, TaskPhase, TaskRunStatus

PHASES: tuple[TaskPhase, ...] = ("Queued", "Pending", "Running", "Succeeded", "Failed", "Timeout", "Canceled", "Unknown")
TRANSITIONS: Mapping[tuple[TaskPhase, TaskPhase], str] = {
    ("Queued", "Pending"): "admitted: not held by `spec.suspend`, the definition is there, the payload fits its schema, its "
    "concurrency key has a place",
    ("Queued", "Succeeded"): "admitted, taken and ended in one transaction: builtins that only compute",
    (
        "Queued",
        "Failed",
    ): "refused: unfit payload, or the limit of its concurrency key with `Reject`; or a builtin that only "
    "computes failed, in one transaction",
    ("Queued", "Timeout"): "`spec.deadline` passed",
    ("Queued", "Canceled"): "cancelled, or replaced by a newer run of the same concurrency key",
    ("Pending", "Running"): "a worker, a node or the controller took the attempt",
    ("Pending", "Failed"): "it can never be executed: unknown builtin, plugin or executor",
    ("Pending", "Timeout"): "`spec.deadline` passed",
    ("Pending", "Canceled"): "cancelled, or replaced by a newer run of the same concurrency key",
    ("Running", "Pending"): "the attempt failed or was lost, and is tried again",
    ("Running", "Succeeded"): "the holder reported a result",
    ("Running", "Failed"): "the holder reported a failure, and no retry is left",
    ("Running", "Timeout"): "the attempt took longer than its timeout, and no retry is left",
    ("Running", "Canceled"): "cancelled, or replaced by a newer run of the same concurrency key",
    ("Running", "Unknown"): "nobody saw the end of an attempt with `execution: AtMostOnce`",
}
"""Every allowed change of `status.phase`, and what makes it. A phase that is no start of any is final."""
MAX_ATTEMPTS_KEPT = 20
SUCCEEDED = "Succeeded"
"""Type of the condition that says how the run stands. Others speak of its last attempt, and end with the next."""


class TransitionError(Exception):
    """A step that the run cannot take now. The message is the text of the 409 that answers it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to end one attempt: what its holder got when it took it."""

    attempt: int
    fencing_token: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Who executes an attempt. One of the two is set."""

    worker: str = ""
    """Name of a Worker, or `controller/<id of its process>`."""
    node: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    phase: TaskPhase
    """Terminal. `Unknown`: nobody saw its end."""
    reason: str = ""
    """CamelCase: Error, Timeout, WorkerLost, ExitCode, HttpStatus, ..."""
    error: str = ""
    output: Any = None
    exit_code: int | None = None
    code: str = ""
    """HTTP or gRPC status that `retry.on` may name, besides the reason and the exit code."""
    finished_at: datetime | None = None
    """Now, if None."""
    retryable: bool = True
    """False: the next attempt would end the same way, whatever the policy says."""


def is_final(phase: TaskPhase) -> bool:
    return phase in TERMINAL_PHASES


def check_move(old: TaskPhase, new: TaskPhase, name: str = "") -> None:
    """Raises `TransitionError` unless the table has this change. No change is no transition, and fine."""
    if old != new:
        require(old, new, name)


def require(old: TaskPhase, new: TaskPhase, name: str = "") -> None:
    """Raises `TransitionError` unless the table has this step; a second time is no step."""
    if (old, new) in TRANSITIONS:
        return
    subject = f"taskrun {name}" if name else "the run"
    if is_final(old):
        raise TransitionError(f"{subject} ended as {old}, which is final; it cannot become {new}; run the task again")
    allowed = ", ".join(to for start, to in TRANSITIONS if start == old)
    raise TransitionError(f"{subject} is {old} and cannot become {new}; from {old} it can become {allowed}")


def move(status: TaskRunStatus, to: TaskPhase, now: datetime, **changes: Any) -> TaskRunStatus:
    """A copy of the status in its next phase, with the condition that goes with it. Raises `TransitionError`."""
    require(status.phase, to)
    moved = msgspec.structs.replace(status, phase=to, **changes)
    others = [] if to == "Running" else [one for one in status.conditions if one.type != SUCCEEDED]
    return msgspec.structs.replace(moved, conditions=[_condition(status, moved, now), *others])


def claim_of(status: TaskRunStatus) -> Claim:
    """The claim on the attempt under way."""
    return Claim(status.attempt, status.fencing_token)


def check_claim(status: TaskRunStatus, claim: Claim, holder: Holder | None = None) -> None:
    """Raises `TransitionError` unless the run is Running, with this attempt, this token and (if given) this holder."""
    if status.phase != "Running":
        if is_final(status.phase):
            require(status.phase, "Succeeded")
        raise TransitionError(f"the run is {status.phase}, and attempt {claim.attempt} is not under way")
    if claim != claim_of(status):
        raise TransitionError(
            f"attempt {claim.attempt} with fencing token {claim.fencing_token} was given to another; "
            f"now attempt {status.attempt} with token {status.fencing_token} is under way"
        )
    if holder is not None and holder != Holder(status.worker, status.node):
        raise TransitionError(
            f"attempt {claim.attempt} is held by {status.worker or status.node}, not by {holder.worker or holder.node}"
        )


def admit(status: TaskRunStatus, task: TaskDefinitionSpec, idempotency_key: str, now: datetime) -> TaskRunStatus:
    """Queued -> Pending: the first attempt may be taken. What is executed is pinned."""
    if status.phase == "Running":
        raise TransitionError(f"the run was admitted before; attempt {status.attempt} is under way")
    return move(
        status,
        "Pending",
        now,
        attempt=1,
        task=task,
        idempotency_key=idempotency_key,
        queued_at=status.queued_at or now,
        reason="",
        error="",
    )


def take(status: TaskRunStatus, holder: Holder, now: datetime, lease_until: datetime | None = None) -> TaskRunStatus:
    """Pending -> Running: the holder gets the attempt, with a new fencing token. Its claim is `claim_of` the answer."""
    if status.phase == "Running":
        raise TransitionError(f"attempt {status.attempt} is held by {status.worker or status.node}")
    require(status.phase, "Running")
    if status.next_attempt_at is not None and now < status.next_attempt_at:
        raise TransitionError(f"attempt {status.attempt} starts no earlier than {status.next_attempt_at.isoformat()}")
    return move(
        status,
        "Running",
        now,
        fencing_token=status.fencing_token + 1,
        worker=holder.worker,
        node=holder.node,
        lease_expires_at=lease_until,
        started_at=status.started_at or now,
        attempt_started_at=now,
        next_attempt_at=None,
        progress=None,
        progress_message="",
        reason="",
        error="",
        exit_code=None,
        stdout="",
        stderr="",
        report=None,
    )


def renew(
    status: TaskRunStatus, claim: Claim, lease_until: datetime | None, progress: float | None = None, message: str = ""
) -> TaskRunStatus:
    """The holder is alive: a longer lease, and how far it is. Raises `TransitionError` when it holds this no more."""
    check_claim(status, claim)
    return msgspec.structs.replace(
        status,
        lease_expires_at=lease_until,
        progress=status.progress if progress is None else progress,
        progress_message=message or status.progress_message,
    )


def end(status: TaskRunStatus, outcome: Outcome, now: datetime) -> TaskRunStatus:
    """The run ends for good, from any phase that may end so. The attempt under way, if any, is written down."""
    finished = outcome.finished_at or now
    return move(
        status,
        outcome.phase,
        now,
        attempts=_with_attempt(status, outcome, finished),
        finished_at=finished,
        lease_expires_at=None,
        next_attempt_at=None,
        output=outcome.output,
        reason=outcome.reason,
        error=outcome.error,
        exit_code=outcome.exit_code if outcome.exit_code is not None else status.exit_code,
        queued_at=status.queued_at or now,
        lost=status.lost + (1 if outcome.phase == "Unknown" else 0),
        progress=1.0 if outcome.phase == "Succeeded" and status.progress is not None else status.progress,
        report=None,
    )


def again(status: TaskRunStatus, outcome: Outcome, not_before: datetime, now: datetime) -> TaskRunStatus:
    """Running -> Pending: the attempt is written down, and the next may be taken from `not_before` on."""
    if status.phase == "Queued":
        raise TransitionError("the run has had no attempt that could be tried again")
    return move(
        status,
        "Pending",
        now,
        attempts=_with_attempt(status, outcome, outcome.finished_at or now),
        attempt=status.attempt + 1,
        lost=status.lost + (1 if outcome.phase == "Unknown" else 0),
        next_attempt_at=not_before if not_before > now else None,
        worker="",
        node="",
        lease_expires_at=None,
        reason=outcome.reason,
        error=outcome.error,
        report=None,
    )


def _with_attempt(status: TaskRunStatus, outcome: Outcome, finished: datetime) -> list[Attempt]:
    if status.phase != "Running":
        return status.attempts
    attempt = Attempt(
        number=max(status.attempt, 1),
        phase=outcome.phase,
        worker=status.worker,
        node=status.node,
        started_at=status.attempt_started_at,
        finished_at=finished,
        reason=outcome.reason,
        error=outcome.error,
        exit_code=outcome.exit_code,
    )
    return [*status.attempts, attempt][-MAX_ATTEMPTS_KEPT:]


def _condition(old: TaskRunStatus, new: TaskRunStatus, now: datetime) -> Condition:
    """`Succeeded`: Unknown until the run has ended."""
    verdict = {"Succeeded": "True"}.get(new.phase, "False" if is_final(new.phase) else "Unknown")
    before = next((condition for condition in old.conditions if condition.type == SUCCEEDED), None)
    since = before.last_transition_time if before is not None and before.status == verdict else now
    reason = new.reason or new.phase
    return Condition(type=SUCCEEDED, status=verdict, reason=reason, message=new.error, last_transition_time=since)


def table() -> str:
    """The transitions as Markdown."""
    lines = ["| from | to | when |", "|---|---|---|"]
    lines += [f"| {old} | {new} | {why} |" for (old, new), why in TRANSITIONS.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")  # noqa: T201 -- the program's answer
