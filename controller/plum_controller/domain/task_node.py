"""Tasks on nodes: which node gets one, and what its agent's report means.

task -> demand_of_task -> placement (the scheduler's own filters) -> node, or the reason why none fits
AttemptReport -> outcome_of -> Outcome for `task_retry.settle`
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec
from plum_schemas.quantities import parse_bytes, parse_cpu
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import AttemptReport, TaskRun

from plum_controller.domain.demand import Demand
from plum_controller.domain.task_states import Outcome

STDOUT_IN_OUTPUT = 65_536
"""Characters of stdout that are part of the output; all that is kept of it is in `status.stdout`."""


def demand_of_task(run: TaskRun, task: TaskDefinitionSpec) -> Demand:
    """What the node of a task must have."""
    requests = task.resources.requests
    return Demand(
        namespace=run.metadata.namespace,
        owner=f"task/{run.metadata.namespace}/{run.spec.task_ref or run.metadata.uid}",
        labels=run.metadata.labels,
        revision=_digest(task),
        runtime="container" if task.executor == "container" else "process",
        cpu=parse_cpu(requests["cpu"]) if "cpu" in requests else 0,
        memory=parse_bytes(requests["memory"]) if "memory" in requests else 0,
        other=tuple((name, parse_bytes(amount)) for name, amount in requests.items() if name not in ("cpu", "memory")),
        ports=(),
        devices=tuple(task.resources.devices),
        node_selector=task.node_selector,
        affinity=None,
        tolerations=tuple(task.tolerations),
        topology_spread=(),
        priority=task.priority,
    )


def _digest(task: TaskDefinitionSpec) -> str:
    """Names what decides which nodes fit; what was found out about it once is remembered."""
    parts = [task.executor, task.node_selector, task.tolerations]
    return blake2b(msgspec.json.encode(parts, order="sorted"), digest_size=8).hexdigest()


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
