"""What a machine alone cannot carry out is refused when it is stored, or when a run of it is made, and never in the middle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plum_client.errors import ApiError, InvalidObjectError, error_of
from plum_client.transport import Request
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from tests.support.workflows import Site, echo, on_site

WAITS_FOR_EVENT = {"name": "news", "type": "wait", "wait": {"event": {"type": "news"}}}
DEEP = {"name": "deep", "type": "subworkflow", "workflowRef": "deeper"}
MAIL = {"name": "mail", "type": "email", "config": {"to": "a@example.com", "subject": "s", "text": "t"}}


def delegating(name: str = "round", **more: Any) -> dict[str, Any]:
    return {"name": "edge", "type": "subworkflow", "workflowRef": name, "delegate": {"nodeName": "node-1"}, **more}


def test_a_workflow_that_delegates_what_no_machine_can_do_is_refused_with_its_place() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow(
            "round", nodes=[echo("first"), MAIL, {"name": "deep", "type": "subworkflow", "workflowRef": "deeper"}]
        )
        await site.workflow("deeper", nodes=[{"name": "l", "type": "loop", "count": 2, "body": {"nodes": [WAITS_FOR_EVENT]}}])

        with pytest.raises(InvalidObjectError) as caught:
            await site.workflow("shift", nodes=[echo("a"), delegating()])

        text = caught.value.message
        assert 'spec.nodes[1].workflowRef: Invalid value: "round"' in text, text
        assert "Workflow round: spec.nodes[1].type: Forbidden: the controller carries out nodes of type email" in text
        assert "Workflow deeper: spec.nodes[0].body.nodes[0].wait.event: Forbidden" in text
        await site.workflow(
            "here", nodes=[{"name": "inside", "type": "subworkflow", "workflowRef": "round"}]
        )  # the controller can

    on_site(scenario)


def test_a_workflow_that_is_delegated_already_is_refused_at_its_own_place() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("shift", nodes=[delegating()])  # manifests come in any order
        await site.workflow("round", nodes=[DEEP])

        with pytest.raises(InvalidObjectError) as caught:
            await site.workflow("deeper", nodes=[echo("a"), MAIL])
        assert "spec.nodes[1].type: Forbidden: the controller carries out nodes of type email" in caught.value.message
        assert "delegated by Workflow shift" in caught.value.message

        await site.workflow("deeper", nodes=[echo("a")])
        with pytest.raises(InvalidObjectError, match=r"spec\.nodes"):
            await site.api.apply(await site.manifest("Workflow", "deeper", {"nodes": [MAIL]}), kind=Workflow.info, force=True)
        await site.workflow("other", nodes=[MAIL])

    on_site(scenario)


def test_a_run_of_what_no_machine_can_do_is_refused_when_it_is_made() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("round", nodes=[{"name": "work", "taskRef": "work"}])
        await site.workflow("shift", nodes=[delegating()])
        with pytest.raises(InvalidObjectError, match=r"Workflow round: spec.nodes\[0\].taskRef: .*no TaskDefinition work"):
            await site.run("shift")

        plugin = {"executor": "plugin", "plugin": {"name": "x"}}
        await site.api.create(await site.manifest("TaskDefinition", "work", plugin), kind=TaskDefinition.info)
        with pytest.raises(InvalidObjectError, match="executor plugin, which needs the controller"):
            await site.run("shift")
        with pytest.raises(InvalidObjectError, match=r"spec.definition.nodes\[0\].wait.event"):
            spec = {"definition": {"nodes": [WAITS_FOR_EVENT]}, "delegate": {"nodeName": "node-1"}}
            await site.api.create(await site.manifest("WorkflowRun", "own", spec), kind=WorkflowRun.info)
        assert await site.api.get(WorkflowRun, "own", "default") is None

    on_site(scenario)


@pytest.mark.parametrize(
    ("nodes", "place"),
    [
        ([{"name": "a", "type": "database", "config": {"url": "sqlite:///a.db", "query": "select 1"}}], "spec.nodes[0].type"),
        ([{"name": "a", "type": "llm", "config": {"model": "m", "prompt": "p"}}], "spec.nodes[0].config.url"),
        ([{"name": "a", "taskRef": "builtin.kv"}], "spec.nodes[0].taskRef"),
        ([{"name": "a", "type": "wait", "wait": {"condition": "true"}}], "spec.nodes[0].wait.condition"),
        ([delegating("other")], "spec.nodes[0].delegate"),
    ],
)
def test_what_needs_the_controller_is_named(nodes: list[dict[str, Any]], place: str) -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("round", nodes=nodes)
        with pytest.raises(InvalidObjectError) as caught:
            await site.workflow("shift", nodes=[delegating()])
        assert f"Workflow round: {place}: Forbidden" in caught.value.message

    on_site(scenario)


def test_what_a_machine_can_do_is_taken() -> None:
    async def scenario(site: Site) -> None:
        nodes = [
            {"name": "get", "type": "http", "config": {"url": "http://127.0.0.1:1/"}},
            {"name": "tell", "type": "webhook", "config": {"url": "http://127.0.0.1:1/"}},
            {"name": "run", "type": "script", "config": {"code": "print(1)"}},
            {"name": "ask", "type": "wait", "wait": {"approval": {"message": "go on?"}}},
            {"name": "deep", "type": "subworkflow", "workflowRef": "deeper"},
            {"name": "key", "taskRef": "builtin.delay", "concurrency": {"key": "x"}},
        ]
        hook = {"name": "h", "on": ["RunFinished"], "url": "http://127.0.0.1:1/"}
        await site.workflow("round", nodes=nodes, hooks=[hook], **{"finally": {"nodes": [echo("z")]}})
        await site.workflow("shift", nodes=[delegating()])

    on_site(scenario)


def test_a_simulation_refuses_it_too() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("round", nodes=[MAIL])
        body = json.dumps({"definition": {"nodes": [delegating()]}}).encode()
        response = await site.api.transport.send(Request("POST", Workflow.info, "default", "shift", "simulate", body=body))
        with pytest.raises(ApiError, match=r"spec.nodes\[0\].workflowRef: .*Workflow round: spec.nodes\[0\].type"):
            raise error_of(response.status, response.body, "simulate")

    on_site(scenario)
