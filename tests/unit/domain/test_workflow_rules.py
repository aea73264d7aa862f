"""The truth table of every trigger rule over every combination of states of up to four nodes before."""

from __future__ import annotations

from collections import Counter
from itertools import combinations_with_replacement

import pytest
from plum_flow.workflow.rules import START, WAIT, WAIT_FOR_ALL, Tally, judge

from tests.support.workflow_model import RULES, verdict_in_words

STATES = ("Succeeded", "Failed", "Canceled", "UpstreamFailed", "Skipped", "Pending")


def tally_of(before: tuple[str, ...]) -> Tally:
    count = Counter(before)
    return Tally(len(before), count["Succeeded"], count["Failed"] + count["Canceled"], count["UpstreamFailed"], count["Skipped"])


@pytest.mark.parametrize("rule", RULES)
def test_the_whole_table(rule: str) -> None:
    for number in range(5):
        for before in combinations_with_replacement(STATES, number):
            found = judge(rule, tally_of(before))
            if "Pending" not in before:
                assert found == verdict_in_words(rule, list(before)), before
            elif rule in WAIT_FOR_ALL:
                assert found == WAIT, before
            else:
                # What has ended so far decides only if nothing that is still to come could change it.
                ended = [phase for phase in before if phase != "Pending"]
                now = bool(ended) and verdict_in_words(rule, ended) == START
                assert found == (START if now or rule == "always" else WAIT), before


def test_a_rule_that_does_not_exist_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="no trigger rule"):
        judge("some", Tally(1, 1))
