"""A main-control application feeds the stages of a run, hears of their begin, and gets their results."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.support.http_site import Asked, Reply, http_site
from tests.support.server import started_server

BASE = "/apis/plum.dev/v1/namespaces/default"


async def test_stages_are_fed_skipped_and_reported(tmp_path: Path) -> None:
    asked: list[tuple[str, str, Any]] = []
    refused = 0

    def answer(request: Asked) -> Reply:
        nonlocal refused
        path = request.path.removeprefix("/api/task/T%2F1/stage/")
        if path == "scan/result" and refused < 2:
            refused += 1
            return Reply(status=503)
        asked.append((request.method, path, request.json() if request.body else None))
        if path == "photo/input":
            return Reply(status=409)
        return Reply({"zone": 7} if path == "scan/input" else {})

    with started_server(tmp_path / "server", env={"PLUM_OUTGOING_ALLOW": "*"}) as server:
        async with http_site(answer) as site:
            for name in ("scan", "photo", "broken"):
                task = "builtin.fail" if name == "broken" else "builtin.delay"
                body = {"kind": "TaskDefinition", "metadata": {"name": name}, "spec": {"executor": "embedded", "task": task}}
                body["apiVersion"] = "plum.dev/v1"
                assert (await server.request("POST", f"{BASE}/taskdefinitions", body)).status == 201
            definitions = {one["Name"]: one["DefID"] for one in (await server.get("/v1/task-defs")).json()}
            nodes = {name: {"type": "task", "taskDefId": definitions[name]} for name in ("scan", "photo", "broken")}
            dag = {"name": "mission", "nodes": nodes, "edges": []}
            wanted = (await server.request("POST", "/v1/dag/workflows", dag)).json()["workflowId"]
            payload = {"taskId": "T/1", "stageControlBase": site.url, "seconds": 0}
            started = await server.request("POST", f"/v1/dag/workflows/{wanted}/run", {"taskPayload": payload})
            run = started.json()["runId"]

            async with asyncio.timeout(40):
                while (found := (await server.get(f"/v1/dag/runs/{run}")).json())["state"] in ("Pending", "Running"):
                    await asyncio.sleep(0.05)
                while len([one for one in asked if one[1].endswith("/result")]) < 2:
                    await asyncio.sleep(0.05)

    assert found["nodes"] == {"scan": "Succeeded", "photo": "Skipped", "broken": "Failed"}
    by_stage = {name: [(method, path, body) for method, path, body in asked if path.startswith(name)] for name in nodes}
    assert [(method, path) for method, path, _ in by_stage["scan"]] == [
        ("GET", "scan/input"),
        ("POST", "scan/begin"),
        ("POST", "scan/result"),
    ]
    assert by_stage["scan"][1][2] == {}
    assert by_stage["scan"][2][2] == {**payload, "zone": 7, "status": "success", "message": ""}
    assert [path for _, path, _ in by_stage["photo"]] == ["photo/input"]
    assert by_stage["broken"][-1][2]["status"] == "error"
    assert "as it was asked to" in by_stage["broken"][-1][2]["message"]
