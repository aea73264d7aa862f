"""Single decisions that histories do not single out: bounded memory and cost, limits, branches, loops, classic conditions."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

import pytest
from plum_flow.workflow import phases
from plum_flow.workflow.decide import decide
from plum_flow.workflow.graph import compile_definition, definition_hash
from plum_flow.workflow.messages import Begin, Done, Execute, SetState, Tick
from plum_flow.workflow.rows import NodeRow, RunRow
from plum_flow.workflow.starting import compare
from plum_flow.workflow.state import Run
from plum_schemas.node_types import Comparison

from tests.support.workflow_model import START, spec_of

WORK = {"taskRef": "work"}


def started(nodes: list[dict[str, Any]], **more: Any) -> Run:
    params = more.pop("given", {})
    run = Run(compile_definition(spec_of({"nodes": nodes, **more})), "uid", "run", RunRow(params=params))
    decide(run, Begin(START))
    return run


def asked(run: Run) -> list[str]:
    return [effect.key for effect in run.take().effects if isinstance(effect, Execute)]


def test_a_long_loop_is_as_small_as_a_short_one() -> None:
    run = started([{"name": "l", "type": "loop", "count": 20_000, "body": {"nodes": [{"name": "x", "taskRef": "builtin.echo"}]}}])
    sizes = []
    for number in range(20_000):
        key = f"l[{number:08}].x"
        [effect] = [effect for effect in run.take().effects if isinstance(effect, Execute)]
        assert effect.key == key
        decide(run, Done(key, 1, phases.SUCCEEDED, START, {"n": number}))
        if number % 5000 == 10:
            body = run.scopes["main"].bodies[0]
            held = (run.active, run.timers, run.ready, run.check, run.ended, run.counts, body.running, body.results, body.folded)
            sizes.append(sum(len(part) for part in held) + sys.getsizeof(body.items))
    assert max(sizes) <= sizes[0] + 1
    assert run.row.phase == "Succeeded"
    assert run.counts[phases.SUCCEEDED] == 20_001


def test_the_rows_of_one_decision_follow_what_changed() -> None:
    """A node in a graph of 5,000 writes its own row, whatever else there is."""
    nodes = [{"name": f"n{number}", **WORK, "dependsOn": [f"n{number - 1}"] if number % 50 else []} for number in range(5000)]
    run = started(nodes)
    assert len(asked(run)) == 100

    decide(run, Done("n0", 1, phases.SUCCEEDED, START))

    changes = run.take()
    assert sorted(changes.rows) == ["n0", "n1"]
    assert len(changes.effects) == 1


def test_a_wide_join_fires_once() -> None:
    nodes = [{"name": f"n{number}", **WORK} for number in range(300)]
    run = started([*nodes, {"name": "j", **WORK, "dependsOn": [node["name"] for node in nodes]}])
    asked(run)
    fired = []
    for node in reversed(nodes):
        decide(run, Done(str(node["name"]), 1, phases.SUCCEEDED, START))
        fired += asked(run)
    assert fired == ["j"]


def test_places_of_a_run_and_of_a_parallel_node_are_limited() -> None:
    group = [
        {"name": "p", "type": "parallel", "maxParallel": 2},
        *({"name": f"n{i}", **WORK, "dependsOn": ["p"]} for i in range(5)),
    ]
    run = started(group)
    assert asked(run) == ["n0", "n1"]
    decide(run, Done("n1", 1, phases.FAILED, START))
    assert asked(run) == ["n2"]

    run = started([{"name": f"n{i}", **WORK} for i in range(5)], maxParallel=3)
    assert asked(run) == ["n0", "n1", "n2"]
    decide(run, SetState("Paused", START))
    decide(run, Done("n0", 1, phases.SUCCEEDED, START))
    assert asked(run) == []
    decide(run, SetState("Running", START))
    assert asked(run) == ["n3"]


def test_a_branch_with_cases_takes_the_first_that_is_true() -> None:
    cases = [{"name": "low", "condition": "params.n < 10"}, {"name": "mid", "condition": "params.n < 20"}]
    nodes = [
        {"name": "b", "type": "branch", "cases": cases, "defaultCase": "high"},
        *({"name": name, **WORK, "dependsOn": [{"node": "b", "on": name}]} for name in ("low", "mid", "high")),
    ]
    assert [asked(started(nodes, given={"n": n})) for n in (5, 15, 25)] == [["low"], ["mid"], ["high"]]
    del nodes[0]["defaultCase"], nodes[3]
    run = started(nodes, given={"n": 25})
    assert (run.row.phase, run.scopes["main"].phase[0]) == ("Failed", phases.FAILED)


@pytest.mark.parametrize(
    ("field", "operator", "value", "holds"),
    [
        ("n", ">", "0", True), ("n", ">", "10", False), ("n", ">=", "3", True), ("n", "<", "20", True), ("n", "<=", "2", False),
        ("n", "==", "3.0", True), ("n", "!=", "3", False), ("s", "==", "ok", True), ("s", "contains", "k", True),
        ("l", "contains", "2", True), ("l", "contains", "9", False), ("d.x", "==", "true", True), ("l.1", "==", "2", True),
        ("none", "exists", "", False), ("n", "exists", "", True), ("none", "exists", "false", True), ("none", ">", "0", False),
        ("none", "==", "", False), ("none", "!=", "x", True), ("s", ">", "a", True),
    ],
)  # fmt: skip
def test_the_classic_condition(field: str, operator: Any, value: str, holds: bool) -> None:
    output = {"n": 3, "s": "ok", "l": [1, 2], "d": {"x": True}}

    assert compare(Comparison(field=field, operator=operator, value=value), output) is holds


def test_the_classic_condition_reads_the_nearest_task_before() -> None:
    nodes = [
        {"name": "scan", **WORK},
        {"name": "p", "type": "parallel", "dependsOn": ["scan"]},
        {"name": "hit", "type": "branch", "dependsOn": ["p"], "condition": {"field": "contacts", "operator": ">", "value": 0}},
        {"name": "photo", **WORK, "dependsOn": [{"node": "hit", "on": "true"}]},
    ]
    run = started(nodes)
    run.take()

    decide(run, Done("scan", 1, phases.SUCCEEDED, START, {"contacts": 2}))

    assert asked(run) == ["photo"]


@pytest.mark.parametrize(
    ("loop", "given", "passes", "phase"),
    [
        ({"until": "nodes.x.output.n >= 2"}, {}, 3, "Succeeded"),
        ({"while": "loop.i < 3", "maxIterations": 10}, {}, 3, "Succeeded"),
        ({"until": "false", "maxIterations": 4}, {}, 4, "Failed"),
        ({"count": 0}, {}, 0, "Succeeded"),
        ({"until": "nodes.x.output.missing"}, {}, 1, "Failed"),
    ],
)
def test_loops_end(loop: dict[str, Any], given: dict[str, Any], passes: int, phase: str) -> None:
    run = started([{"name": "l", "type": "loop", **loop, "body": {"nodes": [{"name": "x", "taskRef": "builtin.echo"}]}}])
    count = 0
    while keys := asked(run):
        decide(run, Done(keys[0], 1, phases.SUCCEEDED, START, {"n": count}))
        count += 1
    assert (count, run.row.phase) == (passes, phase)


def test_a_node_that_takes_too_long_is_stopped_and_tried_again() -> None:
    run = started([{"name": "s", "type": "http", "config": {}, "timeout": "5s", "retry": {"limit": 1, "initial": "2s"}}])
    assert asked(run) == ["s"]
    decide(run, Tick(START + timedelta(seconds=5)))
    row = run.changes.rows["s"]
    assert isinstance(row, NodeRow) and (row.phase, row.reason) == (phases.WAITING, "Timeout")
    run.take()
    decide(run, Done("s", 1, phases.SUCCEEDED, START + timedelta(seconds=6)))  # too late: that attempt was given up
    assert not run.take()
    decide(run, Tick(START + timedelta(seconds=7)))
    assert asked(run) == ["s"]
    decide(run, Tick(START + timedelta(seconds=12)))
    assert run.row.message == "node s failed: the attempt took longer than 5s"


def test_the_hash_names_what_a_run_does() -> None:
    spec = spec_of({"nodes": [{"name": "a", **WORK}]})
    same = spec_of({"nodes": [{"name": "a", **WORK}], "state": "Paused", "tags": ["x"], "keepRuns": {"failed": 1}})
    other = spec_of({"nodes": [{"name": "a", **WORK, "timeout": "1s"}]})

    assert definition_hash(spec) == definition_hash(same) != definition_hash(other)
