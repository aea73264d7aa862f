"""Conditions: the time of the last change stays, and what did not change is the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from plum_client.conditions import find_condition, is_true, remove_condition, set_condition
from plum_schemas.base import Condition

START = datetime(2026, 1, 1, 12, 0, 0, 500, tzinfo=UTC)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["Ready", "Available", "Paused"]),
        st.sampled_from(["True", "False", "Unknown"]),
        st.sampled_from(["A", "B"]),
        st.integers(0, 100),
    )
)


@given(changes=CHANGES)
def test_the_time_moves_exactly_when_the_status_does(changes: list[tuple[str, str, str, int]]) -> None:
    conditions: list[Condition] = []
    model: dict[str, tuple[str, datetime]] = {}
    now = START
    for type_, status, reason, seconds in changes:
        now += timedelta(seconds=seconds)
        conditions = set_condition(conditions, Condition(type=type_, status=status, reason=reason), now)
        if model.get(type_, ("",))[0] != status:
            model[type_] = (status, now.replace(microsecond=0))

        found = find_condition(conditions, type_)
        assert found is not None
        assert (found.reason, is_true(conditions, type_)) == (reason, status == "True")
        assert {known.type: (known.status, known.last_transition_time) for known in conditions} == model
    assert [known.type for known in conditions] == list(model)


def test_setting_the_same_again_changes_nothing_and_no_argument_is_changed() -> None:
    ready = Condition(type="Ready", status="True", reason="Fine", message="all good")
    first = set_condition([], ready, START)
    later = set_condition(first, ready, START + timedelta(hours=1))

    assert later == first
    assert ready.last_transition_time is None
    assert remove_condition(first, "Ready") == []
    assert find_condition(first, "Other") is None
    assert not is_true(first, "Other")
