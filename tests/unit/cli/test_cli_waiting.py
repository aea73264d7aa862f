"""When an object counts as being where it should be."""

from __future__ import annotations

from typing import Any

import pytest
from plum_cli.commands.node import drained
from plum_cli.waiting import readiness


def deployment(
    *, wanted: int | None = 3, generation: int = 2, observed: int = 2, spec: dict[str, Any] | None = None, **status: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "generation": generation},
        "spec": {"replicas": wanted, "template": {}, **(spec or {})},
        "status": {"observedGeneration": observed, **status},
    }


def full(count: int) -> dict[str, int]:
    return {"replicas": count, "updatedReplicas": count, "readyReplicas": count, "availableReplicas": count}


@pytest.mark.parametrize(
    ("item", "done", "failed", "part"),
    [
        (deployment(**full(3)), True, False, "3 of 3 instances are available"),
        (deployment(observed=1, **full(3)), False, False, "has not seen the change"),
        (deployment(**{**full(3), "updatedReplicas": 1}), False, False, "1 of 3 instances have the new template"),
        (deployment(**{**full(3), "replicas": 4}), False, False, "1 old instances are still to go"),
        (deployment(**{**full(3), "availableReplicas": 2}), False, False, "2 of 3 instances are available"),
        (deployment(wanted=0, **full(0)), True, False, "0 of 0"),
        (deployment(wanted=None, spec={"nodeReplicas": {"a": 2, "b": 1}}, **full(3)), True, False, "3 of 3"),
        (deployment(spec={"state": "Stopped"}, readyReplicas=0), True, False, "is stopped"),
        (deployment(spec={"state": "Stopped"}, readyReplicas=2), False, False, "2 instances are stopping"),
        (deployment(rolledBackGeneration=2, **full(3)), False, True, "was rolled back"),
        (
            deployment(
                conditions=[
                    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "no progress"}
                ]
            ),
            False,
            True,
            "no progress",
        ),
    ],
)
def test_a_deployment_is_ready_when_all_instances_of_the_new_template_are_available(
    item: dict[str, Any], done: bool, failed: bool, part: str
) -> None:
    found = readiness(item)

    assert (found.done, found.failed) == (done, failed)
    assert part in found.text


def other(metadata: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "x/v1",
        "kind": "Thing",
        "metadata": {"name": "a", "generation": 1, **(metadata or {})},
        "status": status,
    }


@pytest.mark.parametrize(
    ("item", "done", "failed"),
    [
        ({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}, True, False),
        (other(conditions=[{"type": "Ready", "status": "True"}]), True, False),
        (other(conditions=[{"type": "Ready", "status": "False", "message": "no"}]), False, False),
        (other({"generation": 2}, observedGeneration=1), False, False),
        (other(phase="Failed", message="broken"), False, True),
        (other({"deletionTimestamp": "2025-01-01T00:00:00Z"}), False, True),
    ],
)
def test_other_kinds_are_judged_by_generation_phase_and_conditions(item: dict[str, Any], done: bool, failed: bool) -> None:
    found = readiness(item)

    assert (found.done, found.failed) == (done, failed)


def test_a_drain_is_complete_when_the_condition_says_so() -> None:
    node: dict[str, Any] = {
        "kind": "Node",
        "metadata": {"name": "n", "generation": 2},
        "spec": {"drain": {}},
        "status": {"conditions": []},
    }
    assert not drained(node).done

    node["status"]["conditions"] = [{"type": "Drained", "status": "True", "observedGeneration": 1}]
    assert not drained(node).done, "that was an earlier drain"

    node["status"]["conditions"] = [{"type": "Drained", "status": "True", "observedGeneration": 2}]
    assert drained(node).done

    node["spec"] = {}
    assert drained(node).failed


@pytest.mark.parametrize(
    ("status", "done", "failed", "text"),
    [
        ({}, False, False, "Queued"),
        ({"phase": "Running", "current": ["scan", "photo"]}, False, False, "Running (scan, photo)"),
        ({"phase": "Running", "counts": {"waiting": 1}}, False, False, "Running (1 waiting)"),
        ({"phase": "Running", "message": "a failed; the rest goes on", "current": ["b"], "counts": {"waiting": 2}}, False, False,
         "Running: a failed; the rest goes on (b, 2 waiting)"),
        ({"phase": "Failed", "message": "node a failed: dark"}, False, True, "is Failed: node a failed: dark"),
        ({"phase": "Succeeded", "conditions": [{"type": "Succeeded", "status": "True"}]}, True, False, "Succeeded"),
    ],
)  # fmt: skip
def test_a_run_says_how_far_it_is(status: dict[str, Any], done: bool, failed: bool, text: str) -> None:
    conditions = status.get("conditions") or [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]
    item = {"kind": "WorkflowRun", "metadata": {"name": "r"}, "spec": {}, "status": {**status, "conditions": conditions}}

    found = readiness(item)

    assert (found.done, found.failed, found.text) == (done, failed, text)
