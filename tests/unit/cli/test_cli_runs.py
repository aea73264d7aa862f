"""Runs in the terminal: the graph as a tree, and what waits for what."""

from __future__ import annotations

from datetime import UTC, datetime

from plum_cli.output import format_rows
from plum_cli.run_graph import draw
from plum_cli.run_logs import in_order
from plum_client.explaining.runs import explain_run, whereabouts

NOW = datetime(2026, 1, 1, 0, 1, 0, tzinfo=UTC)
DEFINITION = {
    "nodes": [
        {"name": "scan"},
        {"name": "found", "type": "branch", "dependsOn": [{"node": "scan"}]},
        {"name": "photo", "dependsOn": [{"node": "found", "on": "true"}]},
        {"name": "again", "type": "loop", "dependsOn": [{"node": "found", "on": "false"}]},
        {"name": "close", "dependsOn": [{"node": "photo"}, {"node": "again"}]},
    ],
    "finally": {"nodes": [{"name": "clean"}]},
}
ROWS = {
    "scan": {"key": "scan", "phase": "Succeeded", "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:00:01.5Z"},
    "found": {"key": "found", "phase": "Succeeded", "outcome": "false"},
    "photo": {"key": "photo", "phase": "Skipped"},
    "again": {"key": "again", "phase": "Running", "startedAt": "2026-01-01T00:00:30Z", "iteration": 1, "total": 3, "attempt": 1},
    "close": {"key": "close", "phase": "Pending", "waitsFor": "again"},
}


def test_each_node_is_drawn_once_below_the_last_it_waits_for() -> None:
    assert list(draw(DEFINITION, ROWS, NOW)) == [
        "+ scan  Succeeded  1.5s",
        "└─ + found  Succeeded  branch -> false",
        "   ├─ - [true] photo  Skipped",
        "   │  └─ . close  Pending  (after photo, again)",
        "   └─ * [false] again  Running  loop  iteration 2 of 3  since 30s",
        "finally:",
        ". clean  Pending",
    ]


def test_handlers_say_when_they_come_and_that_they_were_not_needed() -> None:
    definition = {
        "nodes": [{"name": "a", "displayName": "扫描"}],
        "onFailure": {"nodes": [{"name": "back"}]},
        "finally": {"nodes": [{"name": "clean"}]},
    }
    rows = {"a": {"key": "a", "phase": "Succeeded"}, "finally:clean": {"key": "finally:clean", "phase": "Succeeded"}}

    assert list(draw(definition, {}, NOW))[1:] == [
        "onFailure: (only if the run fails)",
        ". back  Pending",
        "finally:",
        ". clean  Pending",
    ]
    assert list(draw(definition, rows, NOW, ended=True)) == [
        "+ a (扫描)  Succeeded",
        "onFailure: not needed",
        "finally:",
        "+ clean  Succeeded",
    ]
    assert "x back  Failed" in list(draw(definition, {"onFailure:back": {"phase": "Failed"}}, NOW, ended=True))


def test_what_ended_in_one_step_is_told_in_the_order_of_its_causes() -> None:
    body = {"nodes": [{"name": "check", "type": "branch"}, {"name": "keep", "dependsOn": [{"node": "check", "on": "true"}]}]}
    definition = {
        "nodes": [
            {"name": "zz"},
            {"name": "each", "type": "map", "dependsOn": [{"node": "zz"}], "body": body},
            {"name": "after", "dependsOn": [{"node": "each"}]},
        ],
        "finally": {"nodes": [{"name": "aa"}]},
    }
    wanted = [
        "zz", "each[00000000].check", "each[00000000].keep", "each[00000000]", "each[00000001].check", "each[00000001]", "each",
        "after", "finally:aa",
    ]  # fmt: skip
    later = {"key": "each[00000002].check", "finishedAt": "2026-01-01T00:00:02Z"}
    rows = [{"key": key, "finishedAt": "2026-01-01T00:00:01Z"} for key in sorted(wanted)]

    assert [row["key"] for row in in_order([later, *rows], definition)] == [*wanted, later["key"]]


def test_a_long_chain_is_drawn() -> None:
    nodes = [{"name": f"n{i}", "dependsOn": [{"node": f"n{i - 1}"}] if i else []} for i in range(3000)]

    assert sum(1 for _ in draw({"nodes": nodes}, {}, NOW)) == 3000


def test_a_run_that_goes_on_says_what_waits_for_what() -> None:
    run = {"kind": "WorkflowRun", "metadata": {"name": "r"}, "status": {"phase": "Running", "startedAt": "2026-01-01T00:00:00Z"}}
    waiting = {"name": "ok", "phase": "Waiting", "startedAt": "2026-01-01T00:00:50Z", "waitsFor": "approval: go."}

    finding = explain_run(run, [*ROWS.values(), waiting], NOW)

    assert list(finding.lines()) == [
        "WorkflowRun r is running since 60s.",
        "  again runs since 30s, attempt 1.",
        "  close waits for again.",
        "  ok waits since 10s for approval: go.",
    ]
    assert not finding.settled


def test_a_delegated_run_says_where_it_is_and_since_when_its_node_is_away() -> None:
    begun = {"phase": "Running", "startedAt": "2026-01-01T00:00:00Z"}
    status = {**begun, "node": "node-1", "outOfContactSince": "2026-01-01T00:00:30Z"}
    spec = {"delegate": {"nodeName": "node-1", "lostAfter": "1h"}}
    run = {"kind": "WorkflowRun", "metadata": {"name": "r"}, "spec": spec, "status": status}
    outer = {"kind": "WorkflowRun", "metadata": {"name": "o"}, "status": begun}
    row = {"name": "edge", **begun, "attempt": 1, "made": "WorkflowRun/r"}
    place = "on node node-1, out of contact since 30s"
    waits = "the run goes on there, what is shown was heard last, and it is given up after 1h."

    assert list(explain_run(run, [], NOW).lines()) == [
        f"WorkflowRun r is running since 60s, {place}.",
        f"  node node-1 has not answered since 30s; {waits}",
    ]
    assert list(explain_run(outer, [row], NOW, {"r": run}).lines())[1:] == [
        f"  edge runs since 60s (WorkflowRun/r, {place}), attempt 1."
    ]
    rows = {"edge": row | {"place": whereabouts(run, NOW)}}
    drawn = list(draw({"nodes": [{"name": "edge", "type": "subworkflow"}]}, rows, NOW))
    assert drawn == [f"* edge  Running  subworkflow  since 60s  {place}"]
    assert whereabouts({"status": status | {"phase": "Pending"}}, NOW) == "offered to node node-1"
    assert whereabouts({"status": status | {"phase": "Succeeded"}}, NOW) == ""


def test_a_run_that_ended_says_how() -> None:
    def run(**status: str) -> dict[str, object]:
        return {"kind": "WorkflowRun", "metadata": {"name": "r"}, "status": status}

    failed = [{"name": "bad", "phase": "Failed", "attempt": 2, "message": "no signal"}]
    assert explain_run(run(phase="Succeeded"), [], NOW).settled
    assert list(explain_run(run(phase="Failed", message="node bad failed"), failed, NOW).lines()) == [
        "WorkflowRun r ended as Failed: node bad failed",
        "  bad failed after 2 attempts: no signal.",
    ]
    assert "run a comes first" in explain_run(run(phase="Queued", message="run a comes first"), [], NOW).text


def test_columns_stand_under_each_other_whatever_the_letters() -> None:
    lines = format_rows(["NAME", "STATE"], [["水位报警", "Failed"], ["e\u0301t\u00e9", "Succeeded"], ["plain", "Running"]])

    assert lines == ["NAME       STATE", "水位报警   Failed", "e\u0301t\u00e9        Succeeded", "plain      Running"]
