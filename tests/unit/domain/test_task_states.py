"""The life of a TaskRun: the table is the only way, an end is final, and only the claim of the attempt under way ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_flow import task_states
from plum_flow.task_states import PHASES, TRANSITIONS, Claim, Holder, Outcome, TransitionError
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRunStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ECHO = TaskDefinitionSpec(task="builtin.echo")


def running() -> TaskRunStatus:
    pending = task_states.admit(TaskRunStatus(), ECHO, "key", NOW)
    return task_states.take(pending, Holder(worker="w-1"), NOW)


@pytest.mark.parametrize("new", PHASES)
@pytest.mark.parametrize("old", PHASES)
def test_only_what_is_in_the_table_is_allowed(old: str, new: str) -> None:
    if old == new or (old, new) in TRANSITIONS:
        task_states.check_move(old, new)
    else:
        with pytest.raises(TransitionError, match=f"{old}.* become {new}"):
            task_states.check_move(old, new)


def test_every_phase_can_be_reached_and_the_final_ones_are_those_of_the_schema() -> None:
    starts = {old for old, _ in TRANSITIONS}

    assert {new for _, new in TRANSITIONS} | {"Queued"} == set(PHASES)
    assert set(PHASES) - starts == TERMINAL_PHASES


def test_a_second_end_is_refused_with_its_reason() -> None:
    ended = task_states.end(running(), Outcome("Succeeded", output={"n": 1}), NOW)

    with pytest.raises(TransitionError, match="ended as Succeeded, which is final"):
        task_states.end(ended, Outcome("Failed"), NOW)
    with pytest.raises(TransitionError, match="final"):
        task_states.check_claim(ended, Claim(1, 1))


def test_an_older_claim_is_refused_after_the_attempt_was_given_to_another() -> None:
    first = running()
    claim = task_states.claim_of(first)
    second = task_states.take(task_states.again(first, Outcome("Unknown", "WorkerLost"), NOW, NOW), Holder(worker="w-2"), NOW)

    with pytest.raises(TransitionError, match="was given to another"):
        task_states.check_claim(second, claim)
    with pytest.raises(TransitionError, match="held by w-2, not by w-1"):
        task_states.check_claim(second, task_states.claim_of(second), Holder(worker="w-1"))
    assert (second.attempt, second.fencing_token, second.lost) == (2, 2, 1)
    assert [(a.number, a.worker, a.reason) for a in second.attempts] == [(1, "w-1", "WorkerLost")]


def test_a_held_attempt_is_not_taken_again_and_a_later_one_not_early() -> None:
    with pytest.raises(TransitionError, match="attempt 1 is held by w-1"):
        task_states.take(running(), Holder(worker="w-2"), NOW)

    later = task_states.again(running(), Outcome("Failed", "Error"), NOW + timedelta(seconds=5), NOW)

    with pytest.raises(TransitionError, match="starts no earlier"):
        task_states.take(later, Holder(worker="w-2"), NOW + timedelta(seconds=4))
    assert task_states.take(later, Holder(worker="w-2"), NOW + timedelta(seconds=5)).phase == "Running"


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "take", "again", "renew", *sorted(TERMINAL_PHASES)]), st.integers(0, 30)), max_size=40
)


@given(STEPS)
def test_whatever_is_tried_attempts_and_tokens_grow_and_an_end_stays(steps: list[tuple[str, int]]) -> None:
    status, now = TaskRunStatus(), NOW
    for name, seconds in steps:
        now += timedelta(seconds=seconds)
        before = status
        try:
            if name == "admit":
                status = task_states.admit(status, ECHO, "key", now)
            elif name == "take":
                status = task_states.take(status, Holder(node="n"), now)
            elif name == "again":
                status = task_states.again(status, Outcome("Failed", "Error"), now + timedelta(seconds=9), now)
            elif name == "renew":
                status = task_states.renew(status, task_states.claim_of(status), now)
            else:
                status = task_states.end(status, Outcome(name), now)  # type: ignore[arg-type]
        except TransitionError:
            continue

        assert before.phase not in TERMINAL_PHASES
        assert before.phase == status.phase or (before.phase, status.phase) in TRANSITIONS
        assert status.attempt >= before.attempt
        assert status.fencing_token >= before.fencing_token
        assert (status.phase == "Running") == bool(status.node) or status.phase in TERMINAL_PHASES
        assert (status.conditions[0].status == "Unknown") == (status.phase not in TERMINAL_PHASES)
        assert len(status.attempts) <= task_states.MAX_ATTEMPTS_KEPT


def test_the_table_of_the_documentation_is_this_one() -> None:
    text = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text()

    begin, end = "<!-- generated: python -m plum_flow.task_states -->\n", "<!-- end -->"

    assert text.partition(begin)[2].partition(end)[0] == task_states.table()
