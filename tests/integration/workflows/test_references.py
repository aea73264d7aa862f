"""What nodes refer to: workflows may name it before it exists, runs may not."""

from __future__ import annotations

import pytest
from plum_client.errors import InvalidObjectError
from plum_schemas.taskdefinition import TaskDefinition

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
