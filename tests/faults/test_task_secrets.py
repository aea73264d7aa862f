"""Secrets in payloads: whoever executes a task gets their values; objects, rows, outputs and logs of the controller do not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
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
SECRET = "${{ secrets.plant.token }}"
PAYLOAD = {"auth": f"Bearer {SECRET}"}


def auth(name: str) -> dict[str, str]:
    return {"auth": f"Bearer ${{{{ {name} }}}}"}


async def make(box: Sandbox, kind: Any, name: str, spec: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": "default"}
    manifest = {"apiVersion": "plum.dev/v1", "kind": kind.info.kind, "metadata": metadata, "spec": spec}
    await box.api().create(manifest, kind=kind.info)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_every_executor_gets_the_value_and_nothing_keeps_it(tmp_path: Path) -> None:
    seen: dict[str, str] = {}
    asked: Counter[str] = Counter()

    def answer(request: Asked) -> Reply:
        body = request.json()
        payload = body.get("payload", body)
        seen[request.path] = payload["auth"]
        asked[request.path] += 1
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
        # The same through the parameters of runs inside of runs, with loops, maps, steps, outputs, and failures that repeat it.
        inner = [{"name": name, "taskRef": name, "payload": {"auth": "Bearer ${{ params.token }}"}} for name in tasks]
        inner += [
            {"name": "echo", "taskRef": "builtin.echo", "payload": {"v": "${{ params.nested.token }}"}},
            {"name": "loop", "type": "loop", "count": 2,
             "body": [{"name": "in-loop", "taskRef": "http", "payload": auth("params.token")}]},
            {"name": "map", "type": "map", "items": "${{ params.many }}",
             "body": [{"name": "in-map", "taskRef": "service", "payload": auth("item.token")}]},
            {"name": "step", "type": "http",
             "config": {"url": f"{site.url}/step", "method": "POST", "body": auth("params.token")}},
            {"name": "bad", "taskRef": "builtin.fail", "continueOnFailure": True,
             "payload": {"message": "no ${{ params.token }}"}},
            {"name": "deeper", "type": "subworkflow", "workflowRef": "deepest", "params": {"token": "${{ params.token }}"}},
        ]  # fmt: skip
        names = ["token", "nested", "many"]
        types = {"token": "string", "nested": "object", "many": "array"}
        params = [{"name": name, "type": types[name]} for name in names]
        outputs = {"token": "${{ params.token }}", "echo": "${{ nodes.echo.output.v }}"}
        await make(box, Workflow, "inner", {"params": params, "nodes": inner, "outputs": outputs})
        last = {"name": "last", "taskRef": "http", "payload": auth("params.token")}
        await make(box, Workflow, "deepest", {"params": params[:1], "nodes": [last]})
        compares = {"name": "judge", "taskRef": "builtin.echo", "when": "params.token == 'x'"}
        await make(box, Workflow, "judging", {"params": params[:1], "nodes": [compares]})
        nodes.append({"name": "judging", "type": "subworkflow", "workflowRef": "judging", "params": {"token": SECRET},
                      "continueOnFailure": True})  # fmt: skip
        given = {"token": SECRET, "nested": {"token": SECRET}, "many": [{"token": SECRET}, {"token": SECRET}]}
        nodes.append({"name": "inside", "type": "subworkflow", "workflowRef": "inner", "params": given})
        await make(box, Workflow, "flow", {"nodes": nodes, "outputs": {"inside": "${{ nodes.inside.output }}"}})
        await make(box, WorkflowRun, "flow-1", {"workflowRef": "flow"})

        async def ended() -> bool:
            found = await box.api().get(WorkflowRun, "flow-1", "default")
            return found is not None and found.status.phase in TERMINAL_RUN_PHASES

        await box.until(ended, 90, what="the run has ended")
        runs = {one.metadata.name: one for one in await box.api().list(WorkflowRun, "default")}
        judging = runs.pop("flow-1-judging").status
        assert (judging.phase, judging.reason) == ("Failed", "SecretInCondition")
        assert "node judge: when computes with params.token" in judging.message
        assert {one.status.phase for one in runs.values()} == {"Succeeded"}, (runs, box.logs())
        assert set(runs) == {"flow-1", "flow-1-inside", "flow-1-inside-deeper"}
        assert seen == dict.fromkeys(("/worker", "/service", "/http", "/step"), f"Bearer {VALUE}")
        assert asked == {"/worker": 2, "/service": 4, "/http": 5, "/step": 1}
        made = await box.api().list(TaskRun, "default")
        for name in ("flow-1", "flow-1-inside"):
            by_task = {one.spec.task_ref or "script": one for one in made if one.metadata.labels["plum.dev/workflow-run"] == name}
            assert set(by_task) - {"script", "builtin.fail", "builtin.echo"} == set(tasks)
            assert by_task["process"].status.output["auth"] == "Bearer ***"
            assert by_task["process"].status.stderr == "arg: Bearer ***\n"
            assert by_task["builtin"].status.output["auth"] == "Bearer ***"
            for one in ("worker", "service"):
                assert by_task[one].status.output["said"] == "you sent Bearer ***", one
            if name == "flow-1":
                assert by_task["script"].status.output["said"] == "***"
        assert runs["flow-1"].status.outputs == {"inside": {"token": "***", "echo": "***"}}
        path = "/apis/plum.dev/v1/namespaces/default/workflowruns/flow-1-inside/control"
        answer = await transport.request("POST", path, {}, b'{"action": "rerun", "node": "deeper"}')
        assert answer.status in (200, 201), answer.body
        again = msgspec.json.decode(answer.body)["metadata"]["name"]

        async def ended_again() -> WorkflowRun | None:
            found = await box.api().get(WorkflowRun, again, "default")
            return found if found is not None and found.status.phase in TERMINAL_RUN_PHASES else None

        rerun = await box.until(ended_again, 60, what="the rerun has ended")
        assert isinstance(rerun, WorkflowRun) and rerun.status.phase == "Succeeded", rerun
        assert (asked["/http"], seen["/http"]) == (6, f"Bearer {VALUE}"), "marks of the earlier run stand for the same"
        runs |= {one.metadata.name: one for one in await box.api().list(WorkflowRun, "default")}
        made = await box.api().list(TaskRun, "default")
        raw = await everything(transport, [*runs], [one.metadata.name for one in made])
        raw += b"".join(path.read_bytes() for path in controller.data_dir.rglob("*") if path.is_file())
        assert b"you sent Bearer ***" in raw
        assert b"no ***" in raw
        assert VALUE.encode() not in raw
        assert VALUE not in (box.root / f"{controller.name}.log").read_text()


async def everything(transport: HttpTransport, runs: list[str], tasks: list[str]) -> bytes:
    """What the API says about what ran, to somebody who may read all but Secrets."""
    paths = ["taskruns", "workflowruns", "revisions", "workflows", "taskdefinitions", "workers"]
    paths += [f"workflowruns/{name}/{part}" for name in runs for part in ("nodes", "why")]
    paths += [f"taskruns/{name}/why" for name in tasks]
    answers = [f"/apis/plum.dev/v1/namespaces/default/{path}" for path in paths] + [
        "/api/v1/events",
        "/v1/workflow-runs",
        "/v1/tasks",
    ]
    said = b""
    for path in answers:
        answer = await transport.request("GET", path, {}, b"")
        assert answer.status == 200, (path, answer.body)
        said += answer.body
    return said
