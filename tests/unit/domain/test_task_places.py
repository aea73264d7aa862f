"""Places of concurrency keys, against a model that counts."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from plum_controller.domain.task_places import Places
from plum_schemas.base import ObjectKey

LIMIT = 2


def key(number: int) -> ObjectKey:
    return ObjectKey("default", f"run-{number}")


class PlacesMachine(RuleBasedStateMachine):
    """Runs come, are admitted when it is their turn, and go."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Places()
        self.number = 0
        self.waiting: dict[str, tuple[int, int]] = {}
        self.holding: set[str] = set()

    @rule(priority=st.integers(0, 2))
    def come(self, priority: int) -> None:
        self.number += 1
        uid = str(self.number)
        self.waiting[uid] = (-priority, self.number)
        self.places.wait("g", uid, key(self.number), (-priority, 0.0, ""), 0.0)

    @rule(data=st.data())
    def try_to_enter(self, data: st.DataObject) -> None:
        if not self.waiting:
            return
        uid = data.draw(st.sampled_from(sorted(self.waiting)))
        free = LIMIT - len(self.holding)
        turn = sorted(self.waiting, key=self.waiting.__getitem__).index(uid)

        assert self.places.has_place("g", uid, LIMIT) == (turn < free)

        if turn < free:
            self.places.hold("g", uid, key(int(uid)), (-self.waiting[uid][0], 0.0, ""), 0.0)
            del self.waiting[uid]
            self.holding.add(uid)

    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        if not self.waiting and not self.holding:
            return
        uid = data.draw(st.sampled_from(sorted([*self.waiting, *self.holding])))
        self.waiting.pop(uid, None)
        self.holding.discard(uid)

        woken = self.places.leave(uid)

        first = sorted(self.waiting, key=self.waiting.__getitem__)[:1]
        assert woken[:1] == [key(int(one)) for one in first]

    @invariant()
    def never_more_than_the_limit_hold_places(self) -> None:
        assert len(self.places.holders("g")) == len(self.holding) <= LIMIT
        assert self.places.knows("g") == bool(self.holding or self.waiting)


TestPlaces = PlacesMachine.TestCase
TestPlaces.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize(("limit", "replaced"), [(1, [1, 2]), (2, [1]), (3, [])])
def test_newer_runs_replace_all_but_the_newest(limit: int, replaced: list[int]) -> None:
    places = Places()
    for number in (1, 2, 3):
        places.wait("g", str(number), key(number), (0, 0.0, ""), float(number))
    places.hold("g", "1", key(1), (0, 0.0, ""), 1.0)

    assert places.surplus("g", limit) == [key(number) for number in replaced]


def test_a_place_that_could_not_be_used_is_given_back() -> None:
    places = Places()
    places.hold("g", "1", key(1), (0, 0.0, ""), 0.0)
    places.wait("g", "1", key(1), (0, 0.0, ""), 0.0)

    assert places.has_place("g", "2", 1) is False
    assert places.has_place("g", "1", 1) is True
