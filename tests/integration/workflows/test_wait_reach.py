"""A wait looks at objects of the namespace of its run, and at none that hold secrets or belong to the cluster."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from plum_client.errors import InvalidObjectError
from plum_controller.workflows import waiting
from plum_flow.calls import TaskFailedError
from plum_flow.workflow.graph import compile_definition
from plum_schemas.workflow import WorkflowSpec, normalize_definition

from tests.support.workflows import Site, echo, on_site

SECRETS = [
    ({"event": {"apiVersion": "v1", "kind": "Secret"}}, "event.kind"),
    ({"condition": 'object("Secret", "x").data.key != ""'}, "condition"),
    ({"condition": 'nodes.find-all.output == 1 && object("secrets", "x") != null'}, "condition"),
]
ELSEWHERE = [
    ({"event": {"apiVersion": "v1", "kind": "ConfigMap", "namespace": "other"}}, "event.namespace"),
    ({"event": {"type": "TankFull", "namespace": "other"}}, "event.namespace"),
    ({"condition": 'object("ConfigMap", "other", "x") != null'}, "condition"),
    ({"condition": 'resource("other", "pump").online'}, "condition"),
    ({"condition": 'kv("other", "level") > 1'}, "condition"),
]
CLUSTER = [({"event": {"kind": "Node"}}, ""), ({"condition": 'object("Node", "node-1") != null'}, "")]


def nodes_with(wait: dict[str, Any]) -> list[dict[str, Any]]:
    inner = {"name": "w", "type": "wait", "dependsOn": ["find-all"], "wait": wait}
    return [echo("find-all"), inner]


@pytest.mark.parametrize(("wait", "field"), SECRETS + ELSEWHERE)
def test_a_wait_that_looks_too_far_is_not_stored(wait: dict[str, Any], field: str) -> None:
    async def scenario(site: Site) -> None:
        with pytest.raises(InvalidObjectError) as caught:
            await site.workflow("flow", nodes=nodes_with(wait))
        assert [cause.field for cause in caught.value.causes] == [f"spec.nodes[1].wait.{field}"]
        body = {"name": "again", "type": "loop", "count": 1, "body": [{"name": "w", "type": "wait", "wait": wait}]}
        with pytest.raises(InvalidObjectError, match=r"spec\.finally\.nodes\[0\]\.body\.nodes\[0\]\.wait"):
            await site.workflow("flow", nodes=[echo("find-all")], **{"finally": [body]})

    on_site(scenario)


@pytest.mark.parametrize(("wait", "field"), SECRETS + ELSEWHERE + CLUSTER)
def test_nor_is_it_carried_out(wait: dict[str, Any], field: str) -> None:
    """One that was stored before it was checked, or whose kind is known to the server alone."""

    async def scenario(site: Site) -> None:
        spec = {"nodes": nodes_with(wait)}
        normalize_definition(spec)
        node = compile_definition(msgspec.convert(spec, WorkflowSpec)).main.by_name["w"]
        with pytest.raises(TaskFailedError, match="a workflow cannot wait for a"):
            await waiting.Waiter(site.api).wait("default", node, {"nodes": {"find-all": {"output": 1}}}, None, True)

    on_site(scenario)
