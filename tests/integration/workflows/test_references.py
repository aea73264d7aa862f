"""What nodes refer to: workflows may name it before it exists, runs may not."""

from __future__ import annotations

from typing import Any

import pytest
from plum_client.errors import InvalidObjectError
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.workflowrun import WorkflowRun

from tests.support.workflows import Site, echo, on_site


def test_a_run_is_refused_while_a_definition_is_missing() -> None:
    async def scenario(site: Site) -> None:
        inner = {"name": "again", "type": "loop", "count": 1, "body": [{"name": "scan", "taskRef": "sonar"}]}
        sub = {"name": "sub", "type": "subworkflow", "workflowRef": "nowhere"}
        await site.workflow("flow", nodes=[echo("a"), inner], **{"finally": [sub]})

        with pytest.raises(InvalidObjectError) as caught:
            await site.run("flow")

        causes = caught.value.status["details"]["causes"]
        assert {cause["field"] for cause in causes} == {"spec.workflowRef"}
        assert "node scan names TaskDefinition sonar" in causes[1]["message"] + causes[0]["message"]
        assert "node sub names Workflow nowhere" in causes[1]["message"] + causes[0]["message"]

        await site.api.create(await site.manifest("TaskDefinition", "sonar", {"task": "builtin.echo"}), kind=TaskDefinition.info)
        await site.workflow("nowhere", nodes=[echo("b")])
        run = await site.ended(await site.run("flow"))
        assert run.status.phase == "Succeeded"

    on_site(scenario)


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ({"state": "Draft"}, "this workflow is a draft: set spec.state to Active"),
        ({"archived": True}, "this workflow is archived"),
        ({"template": True}, "this workflow is a template"),
    ],
)
def test_a_run_of_what_cannot_run_is_refused(field: dict[str, Any], words: str) -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("flow", nodes=[echo("a")], **field)
        with pytest.raises(InvalidObjectError, match=words):
            await site.run("flow")

        await site.workflow("outer", nodes=[{"name": "sub", "type": "subworkflow", "workflowRef": "flow"}])
        outer = await site.ended(await site.run("outer"))
        assert outer.status.phase == "Failed"
        assert words in outer.status.message

    on_site(scenario)


def test_a_rerun_from_a_node_that_there_is_not_is_refused_and_makes_nothing() -> None:
    async def scenario(site: Site) -> None:
        body = {"name": "again", "type": "loop", "count": 1, "body": [echo("inner")]}
        await site.workflow("flow", nodes=[echo("a"), body], **{"finally": [echo("clean")]})
        await site.ended(await site.run("flow"))

        for node in ("nobody", "inner[0]", "finally:clean"):
            with pytest.raises(InvalidObjectError, match="in the main graph; there are a, again"):
                await site.control("flow-1", "rerun", node=node)
        assert len(await site.api.list(WorkflowRun, "default")) == 1
        assert (await site.control("flow-1", "rerun", node="again"))["metadata"]["name"] != "flow-1"

    on_site(scenario)
