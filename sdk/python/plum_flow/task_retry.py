"""What follows when an attempt has ended: the run ends, or the next attempt waits. Pure; chance is an argument.

    settle(run, claim, outcome) -> Succeeded | Failed | Timeout | Canceled | Unknown, or Pending with the next attempt

An attempt whose end nobody saw is repeated (AtLeastOnce) or ends the run as Unknown (AtMostOnce). Such attempts do not count as
retries, but a task that takes its holder down with it is not repeated for ever.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from plum_schemas.durations import parse_duration
from plum_schemas.retry import RetryPolicy
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun, TaskRunStatus

from plum_flow import task_states
from plum_flow.task_states import Claim, Outcome, claim_of

MAX_LOST = 10
"""Attempts of one run that may be lost before it fails."""
LOST_PAUSE_SECONDS = 1.0
"""Before an attempt is repeated that was lost for the second time; doubles each time, up to `MAX_LOST_PAUSE_SECONDS`."""
MAX_LOST_PAUSE_SECONDS = 60.0
MAX_WAIT_SECONDS = 10 * 365 * 86_400.0
NOTHING = TaskDefinitionSpec()


def settle(run: TaskRun, claim: Claim, outcome: Outcome, now: datetime, chance: float) -> TaskRunStatus:
    """The status after the attempt of this claim has ended so. `chance`: 0 to 1, from the caller's random source.

    Raises `TransitionError` (409) when the claim is not on the attempt under way: it was given to another, or the run has ended.
    Write the answer with the resourceVersion of `run`, and on a conflict read the run again and ask again.
    """
    task_states.check_claim(run.status, claim)
    status, task = run.status, run.status.task or NOTHING
    if outcome.phase in ("Succeeded", "Canceled"):
        return task_states.end(status, outcome, now)
    if outcome.phase == "Unknown":
        return _after_loss(run, task, outcome, now)
    if run.spec.canceled:
        return task_states.end(status, canceled_instead(outcome), now)
    wait = _retry_wait(status, task.retry, outcome, chance)
    if wait is None or not _in_time(run, now + timedelta(seconds=wait)):
        return task_states.end(status, outcome, now)
    return task_states.again(status, outcome, now + timedelta(seconds=wait), now)


def lose(run: TaskRun, reason: str, message: str, now: datetime) -> TaskRunStatus:
    """The status after nobody is left who could tell how the attempt under way ended. Raises `TransitionError`."""
    return settle(run, claim_of(run.status), Outcome("Unknown", reason, message), now, 0.0)


def _after_loss(run: TaskRun, task: TaskDefinitionSpec, outcome: Outcome, now: datetime) -> TaskRunStatus:
    status = run.status
    if task.execution == "AtMostOnce":
        return task_states.end(status, outcome, now)
    if run.spec.canceled:
        return task_states.end(status, canceled_instead(outcome), now)
    if status.lost + 1 >= MAX_LOST:
        text = f"{outcome.error}; the task was lost {status.lost + 1} times, so it is not tried again"
        return task_states.end(status, Outcome("Failed", outcome.reason, text), now)
    pause = 0.0 if not status.lost else min(MAX_LOST_PAUSE_SECONDS, LOST_PAUSE_SECONDS * 2 ** (status.lost - 1))
    again_at = now + timedelta(seconds=pause)
    if not _in_time(run, again_at):
        return task_states.end(status, Outcome("Timeout", "DeadlineExceeded", outcome.error), now)
    return task_states.again(status, outcome, again_at, now)


def canceled_instead(outcome: Outcome) -> Outcome:
    """The same end of an attempt in a run that was cancelled."""
    return Outcome("Canceled", "Canceled", outcome.error, exit_code=outcome.exit_code, finished_at=outcome.finished_at)


def _retry_wait(status: TaskRunStatus, policy: RetryPolicy, outcome: Outcome, chance: float) -> float | None:
    """Seconds until the next attempt; None when there is none."""
    retries = status.attempt - 1 - status.lost
    if retries >= policy.limit or not outcome.retryable or not is_retried(policy, outcome):
        return None
    return wait_seconds(policy, retries + 1, chance)


def is_retried(policy: RetryPolicy, outcome: Outcome) -> bool:
    """Whether `retry.on` names this failure: by its reason, exit code, status code, or `Timeout`."""
    if not policy.on:
        return True
    known = {outcome.reason, outcome.code, str(outcome.exit_code) if outcome.exit_code is not None else ""} - {""}
    if outcome.phase == "Timeout":
        known.add("Timeout")
    return any(word in known for word in policy.on)


def wait_seconds(policy: RetryPolicy, number: int, chance: float) -> float:
    """The wait before retry `number` (from 1), with jitter by `chance` between 0 and 1."""
    longest = min(parse_duration(policy.max), MAX_WAIT_SECONDS)
    try:
        wait = min(parse_duration(policy.initial) * policy.factor ** (number - 1), longest)
    except OverflowError:
        wait = longest
    return wait * (1 + policy.jitter * (2 * chance - 1))


def _in_time(run: TaskRun, start: datetime) -> bool:
    """No attempt starts after `spec.deadline`."""
    return run.spec.deadline is None or start <= run.spec.deadline


# ---- times at which something is due


def timeout_at(status: TaskRunStatus) -> datetime | None:
    """When the attempt under way has taken too long; None without a limit."""
    if status.phase != "Running" or status.task is None or status.task.timeout is None or status.attempt_started_at is None:
        return None
    return status.attempt_started_at + timedelta(seconds=parse_duration(status.task.timeout))


def timed_out(status: TaskRunStatus) -> Outcome:
    """The end of an attempt that took too long."""
    limit = status.task.timeout if status.task is not None else ""
    return Outcome("Timeout", "Timeout", f"attempt {status.attempt} took longer than its timeout of {limit}")


def order(run: TaskRun) -> tuple[int, float, str]:
    """What runs are sorted by: higher priority first, then older, then by name."""
    status, metadata = run.status, run.metadata
    task = status.task or run.spec.task
    priority = run.spec.priority if run.spec.priority is not None else task.priority if task is not None else 0
    since = status.queued_at or metadata.creation_timestamp
    return -priority, since.timestamp() if since is not None else 0.0, metadata.name
