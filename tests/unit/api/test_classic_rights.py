"""What requests on the classic routes of tasks and workflows want, in the words of roles."""

from __future__ import annotations

import pytest
from plum_controller.api.access import attributes_of
from plum_controller.api.requests import ApiRequest, parse_query


@pytest.mark.parametrize(
    ("request_line", "wanted"),
    [
        ("GET /v1/tasks", "list taskruns"),
        ("POST /v1/tasks", "create taskruns"),
        ("GET /v1/tasks/ID", "get taskruns"),
        ("DELETE /v1/tasks/ID", "delete taskruns"),
        ("POST /v1/tasks/start/ID", "patch taskruns"),
        ("POST /v1/tasks/cancel/ID", "patch taskruns"),
        ("POST /v1/tasks/rerun/ID", "create taskruns"),
        ("POST /v1/tasks/ID?action=cancel", "patch taskruns"),
        ("POST /v1/tasks/ID?action=rerun", "create taskruns"),
        ("POST /v1/tasks/rerun/ID?action=start", "create taskruns"),
        ("GET /v1/task-defs", "list taskdefinitions"),
        ("POST /v1/task-defs", "create taskdefinitions"),
        ("DELETE /v1/task-defs?id=ID", "delete taskdefinitions"),
        ("POST /v1/task-defs/ID?action=run", "create taskruns"),
        ("GET /v1/workflows", "list workflows"),
        ("POST /v1/workflows", "create workflows"),
        ("DELETE /v1/workflows/ID", "delete workflows"),
        ("POST /v1/workflows/ID?action=run", "create workflowruns"),
        ("GET /v1/workflow-runs", "list workflowruns"),
        ("DELETE /v1/workflow-runs/ID", "delete workflowruns"),
        ("GET /v1/dag/workflows", "list workflows"),
        ("POST /v1/dag/workflows", "create workflows"),
        ("DELETE /v1/dag/workflows/ID", "delete workflows"),
        ("POST /v1/dag/workflows/ID/run", "create workflowruns"),
        ("GET /v1/dag/workflows/ID/runs", "list workflowruns"),
        ("GET /v1/dag/runs/ID", "get workflowruns"),
    ],
)
def test_a_request_wants_what_it_does(request_line: str, wanted: str) -> None:
    method, _, target = request_line.partition(" ")
    path, _, query = target.partition("?")
    request = ApiRequest(method, path.strip("/").split("/"), parse_query(f"{query}&namespace=team".encode()))

    attributes = attributes_of(request)

    assert attributes is not None
    assert f"{attributes.verb} {attributes.resource}" == wanted
    assert (attributes.group, attributes.namespace) == ("plum.dev", "team")
