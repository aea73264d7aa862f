"""Restart policy: verdicts, waits, and what exit codes mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_agent.restart import Backoff, Ending, RestartPolicy, Verdict, judge
from plum_schemas.template import Backoff as WantedBackoff
from plum_schemas.template import ExitCodeRule, Template

RESTART, SUCCEEDED, FAILED = Verdict.RESTART, Verdict.SUCCEEDED, Verdict.FAILED
FATAL = ExitCodeRule(codes=[2, 3], action="Fail")
DONE = ExitCodeRule(codes=[0, 9], action="Succeed")
ONLY_TEN = ExitCodeRule(codes=[10], operator="NotIn", action="Fail")


@pytest.mark.parametrize(("policy", "rules", "ending", "verdict"), [
    ("Always", (), Ending(0), RESTART), ("Always", (), Ending(1), RESTART), ("Always", (), Ending(None), RESTART),
    ("OnFailure", (), Ending(0), SUCCEEDED), ("OnFailure", (), Ending(1), RESTART), ("OnFailure", (), Ending(None), RESTART),
    ("OnFailure", (), Ending(0, probe_failed=True), RESTART),
    ("Never", (), Ending(0), SUCCEEDED), ("Never", (), Ending(137), FAILED), ("Never", (), Ending(None), FAILED),
    ("Never", (), Ending(0, probe_failed=True), FAILED),
    ("Always", (FATAL,), Ending(2), FAILED), ("Always", (FATAL,), Ending(1), RESTART), ("Always", (DONE,), Ending(9), SUCCEEDED),
    ("Never", (ExitCodeRule(codes=[143], action="Restart"),), Ending(143), RESTART),
    ("Always", (ONLY_TEN,), Ending(10), RESTART), ("Always", (ONLY_TEN,), Ending(11), FAILED),
    ("Always", (ONLY_TEN,), Ending(None), RESTART),
    ("Always", (FATAL, ExitCodeRule(codes=[2], action="Succeed")), Ending(2), FAILED),
    ("Always", (DONE,), Ending(0, probe_failed=True), RESTART),
])  # fmt: skip
def test_verdicts(policy: str, rules: tuple[ExitCodeRule, ...], ending: Ending, verdict: Verdict) -> None:
    assert judge(RestartPolicy(policy, rules=rules), ending) is verdict


def test_the_waits_of_the_default_backoff() -> None:
    backoff = Backoff()

    waits = [backoff.delay(failures) for failures in range(11)]

    assert waits == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]


@given(st.floats(0, 100), st.floats(1, 10), st.floats(0, 1000), st.integers(0, 10_000))
def test_waits_grow_and_stay_bounded(initial: float, factor: float, maximum: float, failures: int) -> None:
    backoff = Backoff(initial, factor, maximum)

    assert 0 <= backoff.delay(failures) <= backoff.delay(failures + 1) <= maximum


def test_a_run_that_lasted_counts_as_the_first_failure() -> None:
    backoff = Backoff(reset_after=600)

    assert backoff.failures_after(7, 599.9) == 8
    assert backoff.failures_after(7, 600) == 1
    assert backoff.failures_after(0, 0) == 1


def test_everything_of_the_template_arrives() -> None:
    template = Template(
        restart_policy="OnFailure",
        backoff=WantedBackoff(initial="500ms", factor=3, max="1m", reset_after="2h"),
        exit_code_rules=[FATAL],
    )

    assert RestartPolicy.of(template) == RestartPolicy("OnFailure", Backoff(0.5, 3, 60, 7200), (FATAL,))
