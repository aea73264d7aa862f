"""What follows when a run has ended: again, later, or never. Pure.

    Ending + RestartPolicy -> judge -> RESTART | SUCCEEDED | FAILED
    failures + Backoff     -> delay -> seconds to wait before the next start

The agent decides here only about its own node. Whether the cluster replaces an instance that failed for good is
the Deployment's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from plum_schemas.durations import parse_duration
from plum_schemas.template import ExitCodeRule, Template


class Verdict(Enum):
    """What becomes of an instance whose run has ended."""

    RESTART = "Restart"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, as far as anybody saw it."""

    code: int | None
    """Exit code, 128 + signal number for a run ended by a signal; None when nobody could observe it."""
    probe_failed: bool = False
    """A startup or liveness probe ended it: a failure whatever the exit code says."""

    @property
    def success(self) -> bool:
        return self.code == 0 and not self.probe_failed


@dataclass(frozen=True, slots=True)
class Backoff:
    """The waits between runs, in seconds."""

    initial: float = 1.0
    factor: float = 2.0
    max: float = 300.0
    reset_after: float = 600.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after `failures` runs in a row that did not last; 0 for none."""
        if failures <= 0:
            return 0.0
        wait = self.initial
        for _ in range(failures - 1):
            wait *= self.factor
            if wait >= self.max or self.factor <= 1.0:
                break
        return min(wait, self.max)

    def failures_after(self, failures: int, lasted_seconds: float) -> int:
        """The count of failures in a row after one more run ended that lasted so long."""
        return 1 if lasted_seconds >= self.reset_after else failures + 1


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """Everything the template says about restarts on this node."""

    policy: str = "Always"
    """`Always`, `OnFailure` or `Never`."""
    backoff: Backoff = Backoff()
    rules: tuple[ExitCodeRule, ...] = ()

    @staticmethod
    def of(template: Template) -> RestartPolicy:
        wanted = template.backoff
        return RestartPolicy(
            template.restart_policy,
            Backoff(
                parse_duration(wanted.initial), wanted.factor, parse_duration(wanted.max), parse_duration(wanted.reset_after)
            ),
            tuple(template.exit_code_rules),
        )


_ACTIONS = {"Restart": Verdict.RESTART, "Fail": Verdict.FAILED, "Succeed": Verdict.SUCCEEDED}


def judge(policy: RestartPolicy, ending: Ending) -> Verdict:
    """The first rule that matches the exit code decides; without one, the restart policy.

    A code that nobody observed matches no rule, also not `NotIn`: it is unknown what it was not.
    """
    if ending.code is not None and not ending.probe_failed:
        for rule in policy.rules:
            if (ending.code in rule.codes) == (rule.operator == "In"):
                return _ACTIONS[rule.action]
    if policy.policy == "Always":
        return Verdict.RESTART
    if policy.policy == "OnFailure" and not ending.success:
        return Verdict.RESTART
    return Verdict.SUCCEEDED if ending.success else Verdict.FAILED
