"""What the report of an agent means for a task.

AttemptReport -> outcome_of -> Outcome for `task_retry.settle`
"""

from __future__ import annotations

from typing import Any

import msgspec
from plum_schemas.taskrun import AttemptReport, TaskRun

from plum_flow.task_states import Outcome

STDOUT_IN_OUTPUT = 65_536
"""Characters of stdout that are part of the output; all that is kept of it is in `status.stdout`."""


def outcome_of(run: TaskRun, report: AttemptReport) -> Outcome:
    """How the attempt ended, from what its node saw."""
    ended, code = report.finished_at, report.exit_code
    match report.outcome:
        case "Timeout":
            return Outcome("Timeout", "Timeout", report.error, exit_code=code, finished_at=ended)
        case "Canceled":
            return Outcome("Canceled", "Canceled", report.error, exit_code=code, finished_at=ended)
        case "Lost":
            return Outcome("Unknown", report.reason or "ExitUnknown", report.error, finished_at=ended)
        case "Refused":
            return Outcome("Failed", report.reason or "Refused", report.error, finished_at=ended, retryable=False)
    if code == 0:
        return Outcome("Succeeded", output=output_of(run.status.stdout), exit_code=0, finished_at=ended)
    error = report.error or f"the program ended with exit code {code}"
    reason = report.reason or "ExitCode"
    return Outcome("Failed", reason, error, output_of(run.status.stdout, code), code, finished_at=ended)


def output_of(stdout: str, exit_code: int | None = 0) -> dict[str, Any]:
    """What follows in a workflow: the fields of a JSON object on stdout, besides the text and the exit code."""
    output: dict[str, Any] = {"exitCode": exit_code, "stdout": stdout[-STDOUT_IN_OUTPUT:]}
    text = stdout.strip()
    if text.startswith("{") and text.endswith("}"):
        try:
            output |= msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass
    return output
