"""Names of Worker objects from what workers call themselves."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.domain.worker_names import label_problem, worker_name

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@given(st.text(min_size=1, max_size=300))
def test_every_id_has_a_valid_name(worker_id: str) -> None:
    name = worker_name(worker_id)

    assert SUBDOMAIN.fullmatch(name)
    assert len(name) <= 253
    assert worker_name(name) == name


@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=10, unique=True))
def test_different_ids_have_different_names(ids: list[str]) -> None:
    assert len({worker_name(one) for one in ids}) == len(ids)


@pytest.mark.parametrize("worker_id", ["web-0", "a.b-c", "5"])
def test_an_id_that_is_a_name_stays(worker_id: str) -> None:
    assert worker_name(worker_id) == worker_id


def test_labels_that_no_object_can_carry_are_named() -> None:
    assert label_problem("zone", "a") == label_problem("plum.dev/app", "Sonar_1") == label_problem("x", "") == ""
    assert "'a b'" in label_problem("a b", "x")
    assert "zone is 'a b'" in label_problem("zone", "a b")
