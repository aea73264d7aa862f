"""Definitions of the orchestrator surface as Workflows and Triggers, and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plum_client.manifests.documents import Loaded, load_text
from plum_schemas import orchestrator
from plum_schemas.orchestrator import DefinitionError, to_definition, to_trigger, to_trigger_spec, to_workflow_spec
from plum_schemas.trigger import Trigger
from plum_schemas.workflow import Workflow

SAMPLE = """
version: "1.0"
variables: {source: "", batch: 500}
steps:
  - {id: pull, name: pull, type: http, config: {method: GET, url: "{{variables.source}}", timeout: 30s}}
  - {id: clean, name: clean, type: script, depends_on: [pull], config: {script: clean.py, timeout: 5m}, input_mapping: {raw: "{{steps.pull.output.body}}"}}
triggers:
  - {type: schedule, name: nightly, config: {cron: "0 2 * * *", timezone: Asia/Shanghai}}
  - {type: webhook, name: hook, config: {path: /webhook/pull, method: POST}}
"""  # noqa: E501  as its users write it


def load(text: str, source: str = "etl.yaml") -> Loaded:
    loaded = Loaded()
    load_text(source, text, loaded)
    return loaded


def definition(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"version": "1.0", "steps": list(steps), **more}


def test_a_definition_becomes_a_workflow_and_its_triggers() -> None:
    loaded = load(SAMPLE)

    assert not loaded.problems
    workflow, nightly, hook = (manifest.data for manifest in loaded.manifests)
    assert (workflow["kind"], workflow["metadata"]["name"]) == ("Workflow", "etl")
    assert workflow["spec"]["nodes"] == [
        {"name": "pull", "type": "http", "config": {"method": "GET", "url": "{{variables.source}}", "timeout": "30s"}},
        {"name": "clean", "type": "script", "dependsOn": [{"node": "pull"}], "config": {"script": "clean.py", "timeout": "5m"},
         "payload": {"raw": "{{steps.pull.output.body}}"}},
    ]  # fmt: skip
    assert nightly["metadata"]["name"] == "etl-nightly"
    assert nightly["spec"]["cron"] == {"schedule": "0 2 * * *", "timezone": "Asia/Shanghai"}
    assert hook["spec"]["webhook"] == {"path": "/webhook/pull", "method": "POST"}
    for data, kind in ((workflow, Workflow), (nightly, Trigger), (hook, Trigger)):
        typed = msgspec.convert(data, kind)
        assert list(typed.validate(None)) == []


def test_mistakes_are_shown_where_they_are_written() -> None:
    loaded = load(SAMPLE.replace("type: script", "type: scrpt"))

    (problem,) = loaded.problems
    assert problem.where == "etl.yaml:6"
    assert "steps[1].type: is scrpt; there are http, agent" in problem.message
    workflow = load(SAMPLE).manifests[0]
    assert workflow.where("spec.nodes[1].config") == "etl.yaml:6"
    assert load(SAMPLE).manifests[1].where("spec.cron") == "etl.yaml:8"


def test_what_runs_are_given_is_one_parameter() -> None:
    spec = to_workflow_spec(
        definition(
            {
                "id": "a",
                "type": "http",
                "config": {"url": "http://x/{{input.zone}}/{{ variables.input.x }}", "body": ["{{ input['b'] }}"]},
            }
        )
    )

    assert spec["nodes"][0]["config"] == {
        "url": "http://x/{{params.input.zone}}/{{ variables.input.x }}", "body": ["{{ params.input['b'] }}"],
    }  # fmt: skip
    assert spec["params"] == [{"name": "input", "type": "object", "default": {}}]
    assert to_definition(spec)["steps"][0]["config"]["url"] == "http://x/{{input.zone}}/{{ variables.input.x }}"


def test_steps_inside_of_parallel_are_waited_for() -> None:
    spec = to_workflow_spec(
        definition(
            {"id": "begin", "type": "http", "config": {"url": "x"}},
            {"id": "both", "type": "parallel", "depends_on": ["begin"], "config": {"steps": [
                {"id": "a", "type": "http", "config": {"url": "x"}},
                {"id": "b1", "type": "http", "config": {"url": "x"}},
                {"id": "b2", "type": "http", "depends_on": ["b1"], "config": {"url": "x"}},
            ]}},
            {"id": "end", "type": "http", "depends_on": ["both"], "config": {"url": "x"}},
        )
    )  # fmt: skip

    edges = {node["name"]: [edge["node"] for edge in node.get("dependsOn", [])] for node in spec["nodes"]}
    assert edges == {"begin": [], "both": ["begin"], "a": ["both"], "b1": ["both"], "b2": ["b1"], "end": ["a", "b2"]}
    assert {node["name"]: node for node in to_workflow_spec(to_definition(spec))["nodes"]} == {
        node["name"]: node for node in spec["nodes"]
    }


def test_conditions_and_loops() -> None:
    spec = to_workflow_spec(
        definition(
            {"id": "high", "type": "condition", "config": {
                "expression": "{{steps.pull.output.n}} > {{input.limit}}", "then": ["tell"], "else": "calm",
            }},
            {"id": "tell", "type": "email", "depends_on": ["high"], "config": {"to": "a@b.c"}},
            {"id": "calm", "type": "http", "config": {"url": "x"}},
            {"id": "each", "type": "loop", "config": {"items": "{{input.zones}}", "variable": "zone", "steps": [
                {"id": "scan", "type": "http", "config": {"url": "http://x/{{loop.zone}}"}},
            ]}},
            {"id": "thrice", "type": "loop", "config": {
                "count": 3, "steps": [{"id": "s", "type": "http", "config": {"url": "x"}}],
            }},
            {"id": "pull", "type": "http", "config": {"url": "x"}, "retry_policy": {}, "timeout": 90, "continue_on_error": True},
        )
    )  # fmt: skip

    nodes = {node["name"]: node for node in spec["nodes"]}
    assert nodes["high"]["condition"] == "steps.pull.output.n > params.input.limit"
    assert nodes["tell"]["dependsOn"] == [{"node": "high", "on": "true"}]
    assert nodes["calm"]["dependsOn"] == [{"node": "high", "on": "false"}]
    assert (nodes["each"]["type"], nodes["each"]["items"]) == ("map", "{{params.input.zones}}")
    assert nodes["each"]["body"]["nodes"][0]["name"] == "scan"
    assert nodes["thrice"]["count"] == 3
    assert nodes["pull"]["retry"] == {"limit": 3, "initial": "30s", "factor": 2.0, "max": "5m"}
    assert (nodes["pull"]["timeout"], nodes["pull"]["continueOnFailure"]) == ("1m30s", True)
    typed = msgspec.convert({"metadata": {"name": "x"}, "spec": spec}, Workflow)
    assert list(typed.validate(None)) == []
    back = to_definition(spec)
    assert to_workflow_spec(back)["nodes"] == spec["nodes"]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"version": "2.0", "steps": []}, "version"),
        ({"version": "1.0", "steps": {}}, "steps"),
        ({"version": "1.0", "steps": [1]}, "steps[0]"),
        (definition({"type": "http"}), "steps[0].id"),
        (definition({"id": "a", "type": "http", "dependsOn": []}), "steps[0].dependsOn"),
        (definition({"id": "a", "type": "http", "depends_on": [1]}), "steps[0].depends_on"),
        (definition({"id": "a", "type": "condition", "config": {}}), "steps[0].config.expression"),
        (definition({"id": "a", "type": "loop", "config": {"times": 3}}), "steps[0].config.times"),
        (
            definition({"id": "a", "type": "http", "config": {"url": "x"}, "retry_policy": {"tries": 3}}),
            "steps[0].retry_policy.tries",
        ),
        (definition({"id": "a", "type": "http", "config": {"url": "x"}, "timeout": "soon"}), "steps[0].timeout"),
        (definition(variables=[1]), "variables"),
    ],
)
def test_what_cannot_be_taken_over_is_named(data: dict[str, Any], path: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        to_workflow_spec(data)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "trigger",
    [
        {"type": "schedule", "config": {"cron": "@daily", "timezone": "UTC", "concurrency_policy": "Forbid"}},
        {"type": "webhook", "config": {"path": "/webhook/x", "method": "POST", "secret_ref": {"name": "s", "key": "k"}}},
        {"type": "event", "config": {"type": "TankFull", "when": "event.data.level > 3"}},
        {"type": "condition", "config": {"expression": 'kv("a", "b") > 1', "for": "1m"}},
        {"type": "manual", "config": {"input": {"a": 1}}},
    ],
)
def test_triggers_there_and_back(trigger: dict[str, Any]) -> None:
    spec = to_trigger_spec(trigger, "etl")

    assert to_trigger(spec) == trigger
    assert list(msgspec.convert({"metadata": {"name": "x"}, "spec": spec}, Trigger).validate(None)) == []


def test_a_document_that_is_no_definition_stays_what_it_is() -> None:
    loaded = load("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {version: '1', steps: ''}\n")

    assert [manifest.kind for manifest in loaded.manifests] == ["ConfigMap"]
    assert "name" in str(load(SAMPLE, "stdin").problems[0]), "a name is needed when no file has one"
    assert orchestrator.slug("Nightly ETL (v2)") == "nightly-etl-v2"
