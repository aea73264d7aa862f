"""A simulation decides as a run does: retries, timeouts and what only computes count; results that mean nothing are refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plum_flow.workflow.simulate import check_results, simulate
from plum_schemas.workflow import WorkflowSpec, normalize_definition


def spec_of(*nodes: dict[str, Any], **more: Any) -> WorkflowSpec:
    given = {"nodes": list(nodes), **more}
    normalize_definition(given)
    return msgspec.convert(given, WorkflowSpec)


def schedule(spec: WorkflowSpec, results: dict[str, Any]) -> list[tuple[float, str, str]]:
    return [(entry["at"], entry["node"], entry["what"]) for entry in simulate(spec, {}, results)["schedule"]]


RETRIED = {"name": "a", "taskRef": "scan", "retry": {"limit": 1, "initial": "2s"}}


def test_a_task_is_tried_again_as_its_node_says() -> None:
    assert schedule(spec_of(RETRIED), {"a": {"fail": "dark", "times": 1}}) == [
        (0.0, "a", "starts"),
        (1.0, "a", "Waiting"),
        (3.0, "a", "starts"),
        (4.0, "a", "Succeeded"),
    ]
    assert schedule(spec_of(RETRIED), {"a": {"fail": "dark"}})[-1] == (4.0, "a", "Failed")
    picky = {**RETRIED, "retry": {"limit": 1, "on": ["Timeout"]}}
    assert schedule(spec_of(picky), {"a": {"fail": "dark"}})[-1] == (1.0, "a", "Failed")


def test_timeouts_of_tasks_and_of_the_run_count() -> None:
    late = simulate(spec_of({"name": "a", "taskRef": "scan", "timeout": "5s"}), {}, {"a": {"seconds": 60}})
    assert (late["phase"], late["seconds"]) == ("Failed", 5.0)
    assert "attempt 1 took longer than its timeout of 5s" in late["message"]

    stuck = simulate(spec_of({"name": "a", "taskRef": "scan"}, timeout="10s"), {}, {"a": {"never": True}})
    assert (stuck["phase"], stuck["seconds"]) == ("Timeout", 10.0)

    during = simulate(spec_of(RETRIED, timeout="2s"), {}, {"a": {"fail": "dark"}})
    assert (during["phase"], during["seconds"]) == ("Timeout", 2.0)


def test_what_only_computes_does_so_unless_a_result_is_given() -> None:
    count = {"name": "count", "taskRef": "builtin.transform", "payload": {"input": "abc", "output": {"n": "size(input)"}}}
    stop = {"name": "stop", "taskRef": "builtin.fail", "payload": {"message": "坏了"}, "dependsOn": ["count"]}
    spec = spec_of(count, stop, outputs={"n": "${{ nodes.count.output.n }}"})

    assert simulate(spec, {}, {})["message"] == "node stop failed: 坏了"
    assert simulate(spec, {}, {"stop": {"output": {}}})["outputs"] == {"n": 3}
    assert simulate(spec, {}, {"stop": {"output": {}}, "count": {"output": {"n": 7}}})["outputs"] == {"n": 7}


def test_secrets_stand_for_themselves() -> None:
    payload = {"key": "${{ secrets.db.password }}", "other": "${{ secrets.db.user }}", "whole": "${{ secrets.token }}"}
    spec = spec_of({"name": "a", "taskRef": "scan", "payload": payload}, outputs={"all": "${{ nodes.a.output }}"})

    assert simulate(spec, {}, {})["outputs"]["all"] == {
        "key": "<secret db.password>",
        "other": "<secret db.user>",
        "whole": "<secret token>",
    }


@pytest.mark.parametrize(
    ("results", "field"),
    [
        ({"skan": {}}, "results.skan"),
        ({"scan": 5}, "results.scan"),
        ({"scan": {"seonds": 5}}, "results.scan.seonds"),
        ({"scan": {"seconds": -1}}, "results.scan.seconds"),
        ({"sweep[1]": {"times": 0}}, "results.sweep[1].times"),
        ({"again[1].sweep": {"fail": True}}, "results.again[1].sweep.fail"),
        ({"finally:clean": {"never": "yes"}}, "results.finally:clean.never"),
    ],
)
def test_a_result_that_means_nothing_is_refused(results: dict[str, Any], field: str) -> None:
    body = {"nodes": [{"name": "sweep", "taskRef": "scan"}]}
    spec = spec_of(
        {"name": "scan", "taskRef": "scan"},
        {"name": "again", "type": "loop", "count": 2, "body": body},
        **{"finally": [{"name": "clean", "taskRef": "scan"}]},
    )

    assert [error.field for error in check_results(spec, results)] == [field]
    assert not list(check_results(spec, {"scan": {"seconds": 2.5, "output": 1}, "sweep[0]": {}, "finally:clean": {"fail": "x"}}))
