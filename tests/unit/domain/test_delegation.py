"""What the controller makes of delegated runs: what hooks are told of merged rows, and which runs inside do not count."""

from __future__ import annotations

from datetime import UTC, datetime

from plum_controller.domain.delegation import given_up, tellings
from plum_flow.delegation import NODE_LOST
from plum_flow.running.names import CARRIED_ANNOTATION
from plum_flow.workflow.rows import RUN_KEY, NodeRow, RunRow, encode
from plum_schemas.base import ObjectMeta, OwnerReference
from plum_schemas.workflowrun import WorkflowRun, WorkflowRunSpec, WorkflowRunStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def told(before: dict[str, NodeRow | RunRow], after: dict[str, NodeRow | RunRow]) -> list[tuple[str, str, str]]:
    found = tellings({key: encode(row) for key, row in before.items()}, {key: encode(row) for key, row in after.items()})
    return [(one.told.what, one.told.key, one.told.phase) for one in found]


def node(phase: str, attempt: int = 1, kind: str = "task", **more: bool) -> NodeRow:
    return NodeRow(name="a", type=kind, phase=phase, attempt=attempt, started_at=NOW, **more)  # type: ignore[arg-type]


def test_hooks_are_told_once_of_what_became_of_a_row() -> None:
    going, done = node("Running"), node("Succeeded")
    begun, over = RunRow(started_at=NOW), RunRow(started_at=NOW, stage="done", phase="Failed", finished_at=NOW)

    assert told({}, {"a": going}) == [("NodeStarted", "a", "Running")]
    assert told({"a": going}, {"a": going}) == []
    assert told({"a": going}, {"a": done}) == [("NodeFinished", "a", "Succeeded")]
    assert told({}, {"a": done}) == [("NodeStarted", "a", "Running"), ("NodeFinished", "a", "Succeeded")]
    assert told({"a": done}, {"a": done}) == []
    assert told({"a": done}, {"a": node("Succeeded", 2)}) == [("NodeStarted", "a", "Running"), ("NodeFinished", "a", "Succeeded")]
    assert told({}, {"a": node("Waiting", kind="wait"), "b": node("Succeeded", reused=True)}) == []
    assert told({}, {RUN_KEY: over, "a": done})[0][0] == "RunStarted"
    assert told({}, {RUN_KEY: over, "a": done})[-1] == ("RunFinished", "", "Failed")
    assert told({RUN_KEY: begun}, {RUN_KEY: over}) == [("RunFinished", "", "Failed")]
    assert told({RUN_KEY: over}, {RUN_KEY: over}) == []


def run(name: str, owner: str = "", reason: str = "") -> WorkflowRun:
    reference = OwnerReference(api_version="plum.dev/v1", kind="WorkflowRun", name=owner, uid=f"uid-{owner}")
    metadata = ObjectMeta(
        name=name, namespace="default", uid=f"uid-{name}", owner_references=[reference] if owner else [],
        annotations={CARRIED_ANNOTATION: "node-1"} if owner else {},
    )  # fmt: skip
    return WorkflowRun(metadata=metadata, spec=WorkflowRunSpec(workflow_ref="w"), status=WorkflowRunStatus(reason=reason))


def test_a_run_inside_counts_no_more_once_one_around_it_was_given_up() -> None:
    runs = {one.metadata.name: one for one in (run("a"), run("b", "a"), run("c", "b"))}
    assert given_up(runs.get, runs["c"]) == ""

    runs["a"] = run("a", reason=NODE_LOST)
    assert given_up(runs.get, runs["c"]) == "a"
    assert given_up(runs.get, runs["a"]) == "", "that is told by its own token"
    runs["a"] = run("a")
    runs["b"] = run("b", "a", reason=NODE_LOST)
    assert given_up(runs.get, runs["c"]) == "b"
    del runs["b"]
    assert given_up(runs.get, runs["c"]) == ""
