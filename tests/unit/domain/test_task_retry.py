"""What follows an attempt: retries with jitter, lost attempts, at-most-once, deadlines, cancellation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_flow import task_retry, task_states
from plum_flow.task_states import Claim, Holder, Outcome, TransitionError
from plum_schemas.durations import format_duration
from plum_schemas.retry import RetryPolicy
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunSpec, TaskRunStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FAILED = Outcome("Failed", "Error", "no")
LOST = Outcome("Unknown", "WorkerLost", "gone")


def running(task: TaskDefinitionSpec | None = None, **spec: object) -> TaskRun:
    status = task_states.admit(TaskRunStatus(), task or TaskDefinitionSpec(), "key", NOW)
    status = task_states.take(status, Holder(worker="w-1"), NOW)
    return TaskRun(spec=TaskRunSpec(task_ref="t", **spec), status=status)  # type: ignore[arg-type]


def settle(run: TaskRun, outcome: Outcome, now: datetime = NOW, chance: float = 0.5) -> TaskRun:
    return TaskRun(spec=run.spec, status=task_retry.settle(run, task_states.claim_of(run.status), outcome, now, chance))


def take_next(run: TaskRun) -> TaskRun:
    at = run.status.next_attempt_at or NOW
    return TaskRun(spec=run.spec, status=task_states.take(run.status, Holder(worker="w-2"), at))


def test_a_failure_is_tried_again_as_often_as_the_policy_says_with_growing_waits() -> None:
    run = running(TaskDefinitionSpec(retry=RetryPolicy(limit=3, initial="1s", factor=3, max="5s")))
    waits = []
    while run.status.phase == "Running":
        run = settle(run, FAILED)
        if run.status.phase == "Pending":
            waits.append((run.status.next_attempt_at or NOW) - NOW)
            run = take_next(run)

    assert waits == [timedelta(seconds=1), timedelta(seconds=3), timedelta(seconds=5)]
    assert run.status.phase == "Failed"
    assert [attempt.number for attempt in run.status.attempts] == [1, 2, 3, 4]


@given(
    st.floats(0, 1e6),
    st.floats(1, 1e308),
    st.floats(0, 1e6),
    st.floats(0, 1),
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
)
def test_every_wait_is_within_its_jitter_of_the_longest(
    initial: float, factor: float, longest: float, jitter: float, number: int, chance: float
) -> None:
    policy = RetryPolicy(limit=1, initial=format_duration(initial), factor=factor, max=format_duration(longest), jitter=jitter)

    wait = task_retry.wait_seconds(policy, number, chance)

    assert 0 <= wait <= longest * (1 + jitter) + 1e-3


@pytest.mark.parametrize(
    ("on", "outcome", "retried"),
    [
        ([], FAILED, True),
        (["Error"], FAILED, True),
        (["ExitCode"], FAILED, False),
        (["3"], Outcome("Failed", "ExitCode", exit_code=3), True),
        (["4"], Outcome("Failed", "ExitCode", exit_code=3), False),
        (["503"], Outcome("Failed", "HttpStatus", code="503"), True),
        (["Timeout"], Outcome("Timeout", "Timeout"), True),
        (["Error"], Outcome("Timeout", "Timeout"), False),
        ([], Outcome("Failed", "Refused", retryable=False), False),
    ],
)
def test_what_is_tried_again_is_chosen_by_reason_or_code(on: list[str], outcome: Outcome, retried: bool) -> None:
    run = running(TaskDefinitionSpec(retry=RetryPolicy(limit=1, on=on)))

    assert (settle(run, outcome).status.phase == "Pending") is retried


def test_a_lost_attempt_is_repeated_without_a_retry_and_not_for_ever() -> None:
    run, rounds = running(), 0
    while run.status.phase == "Running":
        run = settle(run, LOST)
        rounds += 1
        if run.status.phase == "Pending":
            run = take_next(run)

    assert rounds == task_retry.MAX_LOST
    assert run.status.phase == "Failed"
    assert "not tried again" in run.status.error


def test_a_lost_attempt_leaves_the_retries_as_they_were() -> None:
    run = running(TaskDefinitionSpec(retry=RetryPolicy(limit=1)))
    run = take_next(settle(run, LOST))
    run = take_next(settle(run, FAILED))

    assert settle(run, FAILED).status.phase == "Failed"


def test_at_most_once_ends_as_unknown_when_nobody_saw_the_end_and_repeats_a_failure_that_was_seen() -> None:
    task = TaskDefinitionSpec(execution="AtMostOnce", retry=RetryPolicy(limit=1))

    assert settle(running(task), LOST).status.phase == "Unknown"
    assert settle(running(task), FAILED).status.phase == "Pending"


def test_no_attempt_starts_after_the_deadline() -> None:
    task = TaskDefinitionSpec(retry=RetryPolicy(limit=5, initial="10s"))

    assert settle(running(task, deadline=NOW + timedelta(seconds=11)), FAILED).status.phase == "Pending"
    assert settle(running(task, deadline=NOW + timedelta(seconds=9)), FAILED).status.phase == "Failed"
    assert settle(running(deadline=NOW - timedelta(seconds=1)), LOST).status.phase == "Timeout"


def test_a_cancelled_run_is_not_tried_again_but_a_result_that_came_counts() -> None:
    run = running(TaskDefinitionSpec(retry=RetryPolicy(limit=5)), canceled=True)

    assert settle(run, FAILED).status.phase == "Canceled"
    assert settle(run, LOST).status.phase == "Canceled"
    assert settle(run, Outcome("Succeeded", output=1)).status.phase == "Succeeded"


OUTCOMES = st.sampled_from([FAILED, LOST, Outcome("Timeout", "Timeout"), Outcome("Succeeded"), Outcome("Canceled")])


@given(st.lists(OUTCOMES, min_size=1, max_size=60), st.integers(0, 4), st.sampled_from(["AtLeastOnce", "AtMostOnce"]))
def test_every_run_ends_within_its_attempts_and_a_late_claim_changes_nothing(
    outcomes: list[Outcome], limit: int, execution: str
) -> None:
    run = running(TaskDefinitionSpec(retry=RetryPolicy(limit=limit), execution=execution))  # type: ignore[arg-type]
    claims = [task_states.claim_of(run.status)]
    for outcome in outcomes:
        run = settle(run, outcome)
        for claim in claims:
            with pytest.raises(TransitionError):
                task_retry.settle(run, claim, Outcome("Succeeded"), NOW, 0.0)
        if run.status.phase in TERMINAL_PHASES:
            break
        run = take_next(run)
        claims.append(task_states.claim_of(run.status))

    assert run.status.attempt <= 1 + limit + task_retry.MAX_LOST
    if len(outcomes) > limit + task_retry.MAX_LOST:
        assert run.status.phase in TERMINAL_PHASES


def test_a_claim_names_attempt_and_token() -> None:
    run = running()

    for claim in (Claim(1, 0), Claim(2, 1), Claim(1, 2)):
        with pytest.raises(TransitionError, match="given to another"):
            task_retry.settle(run, claim, FAILED, NOW, 0.0)
