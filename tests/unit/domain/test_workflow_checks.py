"""What can be known to be wrong with a definition when it is stored is refused then, with its place and what was expected."""

from __future__ import annotations

import importlib.util
from typing import Any

import msgspec
import pytest
from plum_flow.steps import http_step
from plum_flow.workflow.checks import check_definition
from plum_flow.workflow.graph import STEPS
from plum_flow.workflow.step_checks import METHODS, STEP_SETTINGS
from plum_schemas.workflow import WorkflowSpec, normalize_definition


def errors_of(*nodes: dict[str, Any], **spec: Any) -> dict[str, str]:
    """Field -> message of everything that is wrong."""
    given = {"nodes": list(nodes), **spec}
    normalize_definition(given)
    return {error.field: error.message for error in check_definition(msgspec.convert(given, WorkflowSpec), "spec")}


def echo(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "taskRef": "builtin.echo", **more}


def step(kind: str, **config: Any) -> dict[str, Any]:
    return {"name": "a", "type": kind, "config": config}


def loop(*body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "again", "type": "loop", "body": {"nodes": list(body)}, **({"count": 2} | more)}


@pytest.mark.parametrize(
    ("node", "field", "words"),
    [
        (step("http"), "config.url", "cannot do without"),
        (step("http", ulr="http://x.example"), "config.ulr", "did you mean url?"),
        (step("http", url="x.example/path"), "config.url", "use an address such as"),
        (step("http", url="http://x.example", method="FETCH"), "config.method", "use one of GET"),
        (step("http", url="http://x.example", timeout="soon"), "config.timeout", "soon"),
        (step("http", url="http://x.example", expect="404"), "config.expect", "list of statuses"),
        (step("webhook"), "config.url", "cannot do without"),
        (step("script"), "config", "name one of script, command, code"),
        (step("script", script="a.py", code="print()"), "config", "not several"),
        (step("script", code="print()", env=["A=1"]), "config.env", "use a map"),
        (step("agent", agnet="resize"), "config.agnet", "did you mean agent?"),
        (step("database", query="select 1"), "config.url", "cannot do without"),
        (step("database", url="sqlite:///a.db"), "config", "name query or statements"),
        (step("database", url="sqlite:///a.db", query="select 1", max_rows=-1), "config.max_rows", "from 0 to 10000"),
        (step("email", subject="hello"), "config", "name to or cc or bcc"),
        (step("email", to="a@example.com", subject="x", security="ssl"), "config.security", "use one of none, starttls, tls"),
        (step("llm", prompt="why?"), "config.model", "cannot do without"),
        (step("llm", model="m"), "config", "name a prompt, or messages"),
        (step("mcp", url="http://x.example"), "config", "name one of tool, resource, prompt, list"),
        (step("operation", resource="r", method="m", delivery="Twice"), "config.delivery", "AtMostOnce, AtLeastOnce"),
        ({"name": "a", "taskRef": "builtin.delay", "payload": {"secs": 60}}, "payload", "takes seconds"),
        ({"name": "a", "taskRef": "builtin.patch", "payload": {"kind": "KV", "name": "x"}}, "payload.patch", "cannot do without"),
        ({"name": "a", "taskRef": "builtin.apply", "payload": {}}, "payload", "name one of manifest, manifests"),
        (echo(timeout="0s"), "timeout", "longer than 0"),
        (echo(when="1 + 1"), "when", "must be true or false, not 2"),
        ({"name": "a", "type": "branch", "condition": "1 / 0 == 1"}, "condition", "division by zero"),
        ({"name": "a", "type": "wait", "wait": {"until": "tomorrow"}}, "wait.until", "use a time such as"),
        ({"name": "a", "type": "map", "items": "${{ 5 }}", "body": [echo("x")]}, "items", "must be a list"),
        ({"name": "a", "type": "map", "items": "some text", "body": [echo("x")]}, "items", "must be a list"),
        ({"name": "a", "type": "branch", "compare": {"field": "x", "operator": "=="}}, "compare.sourceTask", "no task comes"),
        (echo(payload={"x": "${{ params.zoen }}"}), "payload.x", "did you mean zone?"),
        (echo(payload={"x": "{{input.nothing}}"}), "payload.x", "there are zone"),
        (echo(payload={"x": "${{ variables.siet }}"}), "payload.x", "did you mean site?"),
        (echo(payload={"x": "${{ run.nmae }}"}), "payload.x", "did you mean name?"),
        (echo(payload={"x": [{"deep": "${{ params.q }}"}]}), "payload.x[0].deep", "no parameter of this name"),
    ],
)  # fmt: skip
def test_what_can_never_work_is_refused(node: dict[str, Any], field: str, words: str) -> None:
    found = errors_of(node, params=[{"name": "zone", "default": "4"}], variables={"site": "pier3"})

    assert words in found[f"spec.nodes[0].{field}"]
    assert len(found) == 1


def test_facts_of_nodes_are_known() -> None:
    found = errors_of(echo(), echo("b", dependsOn=["a"], payload={"x": "${{ nodes.a.outptu.y }}"}))

    assert "did you mean output?" in found["spec.nodes[1].payload.x"]


def test_loop_variables_are_those_of_the_loops_around() -> None:
    inner = loop(echo("x", payload={"ok": "${{ loop.k + loop.j + loop.index }}", "bad": "${{ loop.i }}"}), variable="j")
    found = errors_of(loop({**inner, "name": "deep"}, variable="k"))

    assert found == {
        "spec.nodes[0].body.nodes[0].body.nodes[0].payload.bad": (
            'Invalid value: "loop.i": there is no loop variable of this name; there are index, j, k'
        )
    }


def test_an_item_is_that_of_a_map() -> None:
    assert "no map around" in errors_of(loop(echo("x", payload={"v": "${{ item }}"})))["spec.nodes[0].body.nodes[0].payload.v"]
    each = {"name": "each", "type": "map", "items": [1], "variable": "file"}
    assert errors_of({**each, "body": [loop(echo("x", payload={"v": "${{ [item, loop.file, loop.i, loop.item] }}"}))]}) == {}


def test_a_classic_condition_reads_a_node_of_its_own_graph() -> None:
    branch = {"name": "found", "type": "branch", "compare": {"sourceTask": "scan", "field": "x", "operator": "exists"}}
    found = errors_of(echo("scan"), loop(echo("x"), {**branch, "dependsOn": ["x"]}, dependsOn=["scan"]))

    assert "there is no such node in this graph; there are found, x" in found["spec.nodes[1].body.nodes[1].compare.sourceTask"]


def test_what_is_written_with_expressions_is_judged_when_it_runs() -> None:
    assert errors_of(
        step("http", url="${{ params.base }}/items", method="${{ params.method }}", timeout="{{variables.wait}}"),
        {"name": "b", "type": "wait", "wait": {"until": "${{ params.base }}"}},
        {"name": "c", "taskRef": "builtin.delay", "payload": {"seconds": "${{ params.base }}"}},
        echo("d", payload={"x": "${{ params[run.name] }}", "y": "${{ nodes.b.output.?z.orValue(0) }}"}, dependsOn=["b"]),
        params=[{"name": "base"}, {"name": "method"}],
        variables={"wait": "30s"},
    ) == {}  # fmt: skip


def fields_of(kind: str) -> set[str]:
    """What the code that carries out a step takes; some steps are carried out by nodes too."""
    for name in (f"plum_flow.steps.{kind}_step", f"plum_flow.steps.{kind}", f"plum_controller.tasks.steps.{kind}_step"):
        if importlib.util.find_spec(name) is not None:
            return set(importlib.import_module(name).FIELDS)
    raise AssertionError(f"there is no code of step {kind}")


def test_every_setting_of_every_step_is_known_to_the_checks() -> None:
    assert set(STEP_SETTINGS) == STEPS
    assert {kind: set(settings.fields) for kind, settings in STEP_SETTINGS.items()} == {kind: fields_of(kind) for kind in STEPS}
    assert METHODS == http_step.METHODS
