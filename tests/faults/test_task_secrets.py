"""Secrets in payloads: whoever executes a task gets their values; objects, rows, outputs and logs of the controller do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.endpoint import Endpoint
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.http_site import Asked, Reply, http_site
from tests.support.programs import Sandbox, sandbox

VALUE = "hunter22-of-the-plant"
PAYLOAD = {"auth": "Bearer ${{ secrets.plant.token }}"}


async def make(box: Sandbox, kind: Any, name: str, spec: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": "default"}
    manifest = {"apiVersion": "plum.dev/v1", "kind": kind.info.kind, "metadata": metadata, "spec": spec}
    await box.api().create(manifest, kind=kind.info)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_executor_gets_the_value_and_nothing_keeps_it(tmp_path: Path) -> None:
    seen: dict[str, str] = {}

    def answer(request: Asked) -> Reply:
        body = request.json()
        payload = body.get("payload", body)
        seen[request.path] = payload["auth"]
        return Reply({"said": f"you sent {payload['auth']}"})

    async with http_site(answer) as site, sandbox(tmp_path) as box:
        host, port = site.url.removeprefix("http://").split(":")
        controller = await box.controller(env={"PLUM_OUTGOING_ALLOW": f"{host}:{port}"})
        await box.agent("node-1", controller.url)
        transport = box.api().transport
        assert isinstance(transport, HttpTransport)
        data = {"token": "aHVudGVyMjItb2YtdGhlLXBsYW50"}
        await box.api().create(Secret(metadata=ObjectMeta(name="plant", namespace="default"), data=data))
        await make(box, Endpoint, "e", {"service": "analyze", "address": host, "port": int(port), "protocol": "http"})
        worker = b'{"workerId": "w", "url": "%s/worker", "tasks": ["resize"]}' % site.url.encode()
        registered = await transport.request("POST", "/v1/workers/register", {"content-type": "application/json"}, worker)
        assert registered.status == 204, registered.body
        process = ["sh", "-c", 'cat; echo "arg: $1" >&2', "sh", "${{ payload.auth }}"]
        tasks: dict[str, dict[str, Any]] = {
            "worker": {"executor": "embedded", "task": "resize"},
            "service": {"executor": "service", "service": {"name": "analyze", "path": "/service"}},
            "http": {"executor": "http", "http": {"url": f"{site.url}/http"}},
            "process": {"executor": "os_process", "process": {"command": process}},
            "builtin": {"executor": "embedded", "task": "builtin.delay", "defaultPayload": {"seconds": 0}},
        }
        for name, spec in tasks.items():
            await make(box, TaskDefinition, name, spec)
        nodes: list[dict[str, Any]] = [{"name": name, "taskRef": name, "payload": PAYLOAD} for name in tasks]
        script = {"command": ["sh", "-c", 'echo "{\\"said\\": \\"$TOKEN\\"}"'], "env": {"TOKEN": "${{ secrets.plant.token }}"}}
        nodes.append({"name": "script", "type": "script", "config": script})
        await make(box, Workflow, "flow", {"nodes": nodes})
        await make(box, WorkflowRun, "flow-1", {"workflowRef": "flow"})

        async def ended() -> bool:
            [run] = await box.api().list(WorkflowRun, "default")
            return run.status.phase in TERMINAL_RUN_PHASES

        await box.until(ended, 90, what="the run has ended")
        [run] = await box.api().list(WorkflowRun, "default")
        assert run.status.phase == "Succeeded", (run.status, box.logs())
        assert seen == dict.fromkeys(("/worker", "/service", "/http"), f"Bearer {VALUE}")
        stored = {one.metadata.labels.get("plum.dev/workflow-run", "") + one.metadata.name: one
                  for one in await box.api().list(TaskRun, "default")}  # fmt: skip
        by_task = {one.spec.task_ref or "script": one for one in stored.values()}
        assert set(by_task) == {*tasks, "script"}
        assert by_task["process"].status.output["auth"] == "Bearer ***"
        assert by_task["process"].status.stderr == "arg: Bearer ***\n"
        assert by_task["script"].status.output["said"] == "***"
        assert by_task["builtin"].status.output["auth"] == "Bearer ***"
        for name in ("worker", "service"):
            assert by_task[name].status.output["said"] == "you sent Bearer ***", name
        raw = b""
        for path in ("taskruns", "workflowruns", "workflowruns/flow-1/nodes", "revisions", "workflows"):
            raw += (await transport.request("GET", f"/apis/plum.dev/v1/namespaces/default/{path}", {}, b"")).body
        assert VALUE.encode() not in raw
        assert VALUE not in box.logs()
