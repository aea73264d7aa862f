"""Workflows made of steps, against a real controller: data between steps, secrets, failures, hooks."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.http_site import Asked, Reply, http_site
from tests.support.mail_server import mail_server
from tests.support.server import RunningServer

BASE = "/apis/plum.dev/v1/namespaces/default"


async def start(server: RunningServer, name: str, **spec: Any) -> None:
    body = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": name}, "spec": spec}
    answer = await server.request("POST", f"{BASE}/workflows", body)
    assert answer.status == 201, answer.body
    run = {"apiVersion": "plum.dev/v1", "kind": "WorkflowRun", "metadata": {"name": name}, "spec": {"workflowRef": name}}
    answer = await server.request("POST", f"{BASE}/workflowruns", run)
    assert answer.status == 201, answer.body


async def ended(server: RunningServer, name: str) -> dict[str, Any]:
    async with asyncio.timeout(45):
        while True:
            status = (await server.get(f"{BASE}/workflowruns/{name}")).json().get("status") or {}
            if status.get("phase") in ("Succeeded", "Failed", "Canceled", "Timeout"):
                return dict(status)
            await asyncio.sleep(0.05)


async def test_steps_pass_data_on_and_hooks_tell_of_them(server: RunningServer) -> None:
    told: list[dict[str, Any]] = []
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        if request.path == "/hook":
            seen_with = {"auth": request.headers.get("authorization"), "delivery": request.headers["x-plum-delivery"]}
            told.append({**request.json(), **seen_with})
            return Reply(status=503 if len(told) == 1 else 204)
        asked.append(request)
        return Reply({"level": 97, "echo": request.headers.get("x-token")})

    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plant"}, "stringData": {"token": "t0k3n"}}
    await server.request("POST", "/api/v1/namespaces/default/secrets", secret)
    async with mail_server() as mail, http_site(answer) as site:
        nodes = [
            {"name": "ask", "type": "http", "config": {
                "url": f"{site.url}/tank", "headers": {"X-Token": "${{ secrets.plant.token }}"},
            }},
            {"name": "keep", "type": "database", "dependsOn": ["ask"], "config": {
                "url": "sqlite:///levels.db",
                "statements": [
                    "create table levels (v integer)", "insert into levels values (:v)", "select max(v) as top from levels",
                ],
                "params": {"v": "${{ nodes.ask.output.body.level }}"},
            }},
            {"name": "high", "type": "condition", "dependsOn": ["keep"], "condition": "nodes.keep.output.rows[0].top > 90"},
            {"name": "tell", "type": "email", "dependsOn": [{"node": "high", "on": "true"}], "config": {
                "server": f"127.0.0.1:{mail.port}", "security": "none", "to": "ann@example.com",
                "subject": "Level ${{ nodes.keep.output.rows[0].top }}", "text": "Look at it.",
            }},
            {"name": "calm", "taskRef": "builtin.echo", "dependsOn": [{"node": "high", "on": "false"}]},
        ]  # fmt: skip
        events = ["RunStarted", "NodeStarted", "NodeFinished", "RunFinished"]
        headers = {"Authorization": "Bearer ${{ secrets.plant.token }}"}
        hook = {"name": "site", "on": events, "url": f"{site.url}/hook", "headers": headers}

        await start(server, "levels", nodes=nodes, hooks=[hook])
        status = await ended(server, "levels")
        async with asyncio.timeout(30):
            while told[-1:] == [] or told[-1]["event"] != "RunFinished":
                await asyncio.sleep(0.05)

    assert status["phase"] == "Succeeded", status
    (sent,) = mail.mails
    assert str(sent.message["Subject"]) == "Level 97"
    assert asked[0].headers["x-token"] == "t0k3n"
    rows = (await server.get(f"{BASE}/workflowruns/levels/nodes")).body
    assert b"t0k3n" not in rows, "what a step gives back holds no secret"
    assert told[0]["delivery"] == told[1]["delivery"], "refused once, and told again"
    seen = [(event["event"], event.get("node", {}).get("name", "")) for event in told[1:]]
    assert [one for one in seen if one[1] not in ("high", "calm")] == [
        ("RunStarted", ""), ("NodeStarted", "ask"), ("NodeFinished", "ask"), ("NodeStarted", "keep"), ("NodeFinished", "keep"),
        ("NodeStarted", "tell"), ("NodeFinished", "tell"), ("RunFinished", ""),
    ]  # fmt: skip
    assert ("NodeStarted", "calm") not in seen
    assert {event["auth"] for event in told} == {"Bearer t0k3n"}
    assert told[-1]["run"]["phase"] == "Succeeded"
    assert len({event["id"] for event in told}) == len(told) - 1


async def test_a_step_is_tried_again_as_its_node_says_and_then_fails_the_run(server: RunningServer) -> None:
    count = 0

    def answer(request: Asked) -> Reply:
        nonlocal count
        count += 1
        return Reply(b"not yet", 503 if count < 3 or request.path == "/never" else 200)

    retry = {"limit": 2, "initial": "10ms", "on": ["HttpStatus"]}
    async with http_site(answer) as site:
        await start(server, "again", nodes=[{"name": "ask", "type": "http", "config": {"url": site.url}, "retry": retry}])
        assert (await ended(server, "again"))["phase"] == "Succeeded"
        assert count == 3
        keys = {request.headers["idempotency-key"] for request in site.asked}
        assert len(keys) == 1, "each attempt carries the same key"

        count = 0
        await start(
            server, "never", nodes=[{"name": "ask", "type": "http", "config": {"url": f"{site.url}/never"}, "retry": retry}]
        )
        status = await ended(server, "never")
    assert (status["phase"], count) == ("Failed", 3)
    assert "503" in status["message"]


async def test_a_step_ends_with_its_run(server: RunningServer) -> None:
    async with http_site(lambda asked: Reply(b"late", delay=20.0)) as site:
        await start(server, "slow", nodes=[{"name": "ask", "type": "http", "config": {"url": site.url}}])
        async with asyncio.timeout(20):
            while not site.asked:
                await asyncio.sleep(0.05)
        patch = {"spec": {"state": "Canceled"}}
        await server.request("PATCH", f"{BASE}/workflowruns/slow", patch, content_type="application/merge-patch+json")
        status = await ended(server, "slow")

    assert status["phase"] == "Canceled"


async def test_an_agent_step_hands_a_task_over(server: RunningServer) -> None:
    ask = {"name": "ask", "type": "agent", "config": {"task": "builtin.echo", "input": {"a": 2}}, "payload": {"b": 3}}
    lost = {"name": "lost", "type": "agent", "config": {"task": "builtin.fail", "input": {"message": "no"}}, "dependsOn": ["ask"]}
    await start(server, "handed", nodes=[ask, lost])
    status = await ended(server, "handed")
    runs = (await server.get(f"{BASE}/taskruns?labelSelector=plum.dev/workflow-run%3Dhanded")).json()["items"]

    found = {run["spec"]["taskRef"]: run["status"] for run in runs}
    assert found["builtin.echo"]["output"] == {"a": 2, "b": 3}
    assert found["builtin.fail"]["phase"] == "Failed"
    assert (status["phase"], "no" in status["message"]) == ("Failed", True)
