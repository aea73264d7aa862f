"""Random workflows through random histories: nothing is lost, nothing starts twice, every run ends, the end is final."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.workflow_model import Case, expected_phases

SEEDS = st.integers(min_value=0, max_value=2**48)
FULL = int(os.environ.get("PLUM_WORKFLOW_CASES", "1000000"))


def play(seed: int) -> None:
    Case(seed).play()
    Case(seed, asks=True).play()
    calm = Case(seed, crashes=bool(seed % 2), interrupts=False)
    run = calm.play()
    ended = {node.name: run.scopes["main"].phase[node.index] for node in calm.plan.main.nodes}
    assert ended == expected_phases(calm, run), f"seed {seed}"


@settings(max_examples=250, deadline=None)
@given(SEEDS)
def test_every_history_ends_as_it_must(seed: int) -> None:
    play(seed)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
def test_a_million_histories_end_as_they_must() -> None:
    for seed in range(FULL):
        play(seed)
