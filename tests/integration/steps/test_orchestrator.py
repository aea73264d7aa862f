"""The orchestrator surface over HTTP, as its users drive it, and what it leaves behind as objects."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Plum
from tests.support.http_site import Asked, Reply, http_site
from tests.support.server import HttpAnswer, RunningServer

OBJECTS = "/apis/plum.dev/v1/namespaces/default"


class Client:
    """JSON in and out."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server

    async def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.raw(method, path, body)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json() if answer.body else None

    async def raw(self, method: str, path: str, body: Any = None) -> HttpAnswer:
        return await self.server.request(method, f"/api/v1/{path}", body)

    async def until(self, path: str, *states: str) -> Any:
        async with asyncio.timeout(45):
            while True:
                found = await self.ask("GET", path)
                if found["status"] in states:
                    return found
                await asyncio.sleep(0.05)


@pytest.fixture
def client(server: RunningServer) -> Client:
    return Client(server)


def definition(url: str) -> dict[str, Any]:
    return {
        "version": "1.0",
        "variables": {"source": url},
        "steps": [
            {"id": "pull", "name": "pull it", "type": "http", "config": {
                "url": "{{variables.source}}/{{input.zone}}", "timeout": "5s",
            }},
            {"id": "high", "type": "condition", "depends_on": ["pull"], "config": {
                "expression": "{{steps.pull.output.body.level}} > 50", "then": ["tell"],
            }},
            {"id": "tell", "type": "webhook", "depends_on": ["high"], "config": {"url": "{{variables.source}}/told"},
             "input_mapping": {"level": "{{steps.pull.output.body.level}}"}},
        ],
    }  # fmt: skip


async def test_a_workflow_from_its_creation_to_its_end(client: Client, server: RunningServer) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply({"level": 90 if asked.path == "/north" else 10})

    async with http_site(answer) as site:
        made = await client.ask("POST", "workflows", {
            "name": "Level Check!", "description": "looks", "definition": definition(site.url), "tags": ["plant", "north"],
            "owner_id": "ann",
        }, 201)  # fmt: skip
        assert (made["id"], made["name"], made["status"], made["owner_id"]) == ("level-check", "Level Check!", "draft", "ann")
        assert made["definition"]["steps"][0]["config"]["url"] == "{{variables.source}}/{{input.zone}}"
        assert [step["depends_on"] for step in made["definition"]["steps"]] == [[], ["pull"], ["high"]]
        refused = await client.ask("POST", "workflows/level-check/execute", {"input": {"zone": "north"}}, 409)
        assert refused == {"error": "workflow level-check is draft; activate it first", "code": 409}

        assert (await client.ask("POST", "workflows/level-check/activate"))["status"] == "active"
        run = await client.ask("POST", "workflows/level-check/execute", {"input": {"zone": "north"}, "priority": 5}, 201)
        done = await client.until(f"executions/{run['id']}", "completed", "failed")
        calm = await client.ask("POST", "workflows/level-check/execute", {"input": {"zone": "south"}}, 201)
        await client.until(f"executions/{calm['id']}", "completed", "failed")

    assert done["status"] == "completed", done
    assert (done["workflow_id"], done["input"], done["priority"]) == ("level-check", {"zone": "north"}, 5)
    steps = {step["step_id"]: step["status"] for step in done["step_executions"]}
    assert steps == {"pull": "completed", "high": "completed", "tell": "completed"}
    assert [asked.path for asked in site.asked] == ["/north", "/told", "/south"]
    assert site.asked[1].json()["data"] == {"level": 90}

    step = await client.ask("GET", f"step-executions/{run['id']}~pull")
    assert (step["status"], step["execution_id"], step["attempt"]) == ("completed", run["id"], 1)
    output = await client.ask("GET", f"step-executions/{run['id']}~pull/output")
    assert output["output"]["body"] == {"level": 90}
    logs = await client.ask("GET", f"executions/{run['id']}/logs")
    told = [(entry["step_id"], entry["message"]) for entry in logs["logs"]]
    assert told[:2] == [("pull", "started, attempt 1"), ("pull", "completed")]
    only = await client.ask("GET", f"executions/{run['id']}/logs?step_id=tell")
    assert {entry["step_id"] for entry in only["logs"]} == {"tell"}

    runs = await client.ask("GET", "executions?workflow_id=level-check&status=completed&limit=1")
    assert (runs["total"], runs["limit"], len(runs["items"])) == (2, 1, 1)
    assert (await client.ask("GET", "executions?workflow_id=other"))["items"] == []

    async with asyncio.timeout(20):
        while (await client.ask("GET", "workflows/level-check/status"))["successful_executions"] < 2:
            await asyncio.sleep(0.05)
    text = (await server.get("/metrics")).body.decode()
    assert 'orchestrator_executions_total{workflow_id="level-check",status="completed"} 2' in text
    assert "orchestrator_active_executions " in text
    assert 'orchestrator_execution_duration_seconds{workflow_id="level-check",quantile="0.5"}' in text
    shown = (await server.get(f"{OBJECTS}/workflowruns/{run['id']}")).json()
    assert shown["spec"]["workflowRef"] == "level-check", "the same objects, for kubectl too"


LEVELS = """
version: "1.0"
description: as people have it in files
variables: {source: "URL"}
steps:
  - {id: pull, type: http, config: {method: GET, url: "{{variables.source}}/{{input.zone}}", timeout: 30s}}
  - {id: both, type: parallel, depends_on: [pull], config: {steps: [
      {id: a, type: webhook, config: {url: "{{variables.source}}/a"}},
      {id: b, type: webhook, config: {url: "{{variables.source}}/b"}}]}}
  - {id: end, type: webhook, depends_on: [both], config: {url: "{{variables.source}}/end"}}
triggers:
  - {type: manual, name: by hand, config: {input: {zone: east}}}
"""


async def test_a_definition_in_a_file_is_applied_as_it_is(client: Client, server: RunningServer, tmp_path: Path) -> None:
    async with http_site(lambda asked: Reply({"level": 1})) as site:
        plum = Plum(server.url, tmp_path)
        file = plum.write("water.yaml", LEVELS.replace("URL", site.url))
        applied = await asyncio.to_thread(plum, "apply", "-f", file)
        assert applied.code == 0, applied.err
        again = await asyncio.to_thread(plum, "apply", "-f", file)
        fired = await asyncio.to_thread(plum, "trigger", "water-by-hand", "--wait")
        broken = plum.write("wrong.yaml", LEVELS.replace("depends_on: [pull]", "depends_on: [pul]"))
        wrong = await asyncio.to_thread(plum, "apply", "-f", broken)

    assert again.out.count("unchanged") == 2, again.out
    assert (fired.code, "Succeeded" in fired.out) == (0, True), fired.out + fired.err
    paths = [asked.path for asked in site.asked]
    assert (paths[0], sorted(paths[1:3]), paths[3:]) == ("/east", ["/a", "/b"], ["/end"])
    assert (wrong.code, "wrong.yaml:7" in wrong.err, "there is no node of this name" in wrong.err) == (4, True, True), wrong.err
    shown = await client.ask("GET", "workflows/water")
    assert (shown["status"], shown["description"]) == ("active", "as people have it in files")


async def test_lists_filters_and_changes(client: Client) -> None:
    for number in range(3):
        body = {"name": f"many {number}", "definition": {"version": "1.0", "steps": []}, "tags": ["many", f"n{number}"]}
        await client.ask("POST", "workflows", {**body, "owner_id": "bob"}, 201)
    twice = await client.ask("POST", "workflows", {"name": "many 0", "definition": {"steps": []}}, 201)
    assert twice["id"].startswith("many-0-"), "the same name again is another workflow"

    assert (await client.ask("GET", "workflows?owner_id=bob&limit=2"))["total"] == 3
    assert [one["id"] for one in (await client.ask("GET", "workflows?tags=many,n1"))["items"]] == ["many-1"]
    assert (await client.ask("GET", "workflows?owner_id=bob&offset=2"))["items"][0]["owner_id"] == "bob"
    assert (await client.ask("GET", "workflows?owner_id=bob&status=active"))["items"] == []
    assert (await client.ask("GET", "workflows?limit=100000"))["limit"] == 500

    steps = [{"id": "a", "type": "http", "config": {"url": "http://x"}}]
    body = {"name": "Another", "description": "new", "definition": {"version": "1.0", "steps": steps}}
    changed = await client.ask("PUT", "workflows/many-1", body)
    assert (changed["name"], changed["description"], changed["tags"]) == ("Another", "new", ["many", "n1"])
    assert changed["definition"]["steps"][0]["id"] == "a"
    assert (await client.ask("POST", "workflows/many-1/activate"))["status"] == "active"
    assert (await client.ask("POST", "workflows/many-1/pause"))["status"] == "paused"
    assert (await client.ask("POST", "workflows/many-1/resume"))["status"] == "active"
    assert "cannot pause" in (await client.ask("POST", f"workflows/{twice['id']}/pause", None, 409))["error"]
    await client.ask("DELETE", "workflows/many-1", None, 204)
    await client.ask("GET", "workflows/many-1", None, 404)
    await client.ask("DELETE", "workflows/many-1", None, 404)


async def test_triggers_of_a_workflow(client: Client, server: RunningServer) -> None:
    step = {"id": "a", "type": "http", "config": {"url": "http://x/{{input.from}}"}}
    await client.ask("POST", "workflows", {"name": "fired", "definition": {"version": "1.0", "steps": [step]}}, 201)
    made = await client.ask("POST", "workflows/fired/triggers", {
        "type": "schedule", "name": "Nightly",
        "config": {"cron": "0 2 * * *", "timezone": "Asia/Shanghai", "input": {"from": "cron"}},
    }, 201)  # fmt: skip
    hook = await client.ask("POST", "workflows/fired/triggers", {
        "type": "webhook", "name": "hook", "config": {"path": "/webhook/pull", "method": "POST"}, "is_enabled": False,
    }, 201)  # fmt: skip

    assert (made["id"], made["type"], made["workflow_id"], made["is_enabled"]) == ("fired-nightly", "schedule", "fired", True)
    assert made["config"]["cron"] == "0 2 * * *"
    assert hook["is_enabled"] is False
    listed = await client.ask("GET", "workflows/fired/triggers")
    assert {one["id"] for one in listed["items"]} == {"fired-nightly", "fired-hook"}
    await client.ask("PUT", "triggers/fired-hook", {"is_enabled": True})
    await client.ask("POST", "workflows/fired/activate")
    sent = await server.request("POST", "/webhook/pull", {"from": "hook"})
    assert (sent.status, len(sent.json()["runs"])) == (202, 1), "under the address that its users know"
    changed = await client.ask("PUT", "triggers/fired-nightly", {"config": {"cron": "@hourly"}, "is_enabled": False})
    assert (changed["config"]["cron"], changed["is_enabled"], changed["name"]) == ("@hourly", False, "Nightly")
    assert (await server.get(f"{OBJECTS}/triggers/fired-nightly")).json()["spec"]["cron"]["schedule"] == "@hourly"
    await client.ask("DELETE", "triggers/fired-hook", None, 204)
    never = {"type": "schedule", "name": "x", "config": {"cron": "0 0 31 2 *"}}
    wrong = await client.ask("POST", "workflows/fired/triggers", never, 400)
    assert wrong["details"][0]["field"] == "spec.cron.schedule"
    await client.ask("DELETE", "workflows/fired", None, 204)
    assert (await server.get(f"{OBJECTS}/triggers/fired-nightly")).status == 404


async def test_executions_are_steered(client: Client) -> None:
    count = 0

    def answer(asked: Asked) -> Reply:
        nonlocal count
        count += 1
        if asked.path == "/flaky" and count == 1:
            return Reply(b"", 500)
        return Reply(b"x", delay=20.0 if asked.path == "/slow" else 0.0)

    async with http_site(answer) as site:
        for name in ("flaky", "slow"):
            step = {"id": "a", "type": "http", "config": {"url": f"{site.url}/{name}"}}
            await client.ask("POST", "workflows", {"name": name, "definition": {"version": "1.0", "steps": [step]}}, 201)
            await client.ask("POST", f"workflows/{name}/activate")
        flaky = await client.ask("POST", "workflows/flaky/execute", {}, 201)
        failed = await client.until(f"executions/{flaky['id']}", "completed", "failed")
        assert (failed["status"], "500" in failed["error"]) == ("failed", True)
        again = await client.ask("POST", f"executions/{flaky['id']}/retry")
        assert (await client.until(f"executions/{again['id']}", "completed", "failed"))["status"] == "completed"

        slow = await client.ask("POST", "workflows/slow/execute", {}, 201)
        await client.until(f"executions/{slow['id']}", "running")
        await client.ask("POST", f"executions/{slow['id']}/pause")
        await client.until(f"executions/{slow['id']}", "paused")
        await client.ask("POST", f"executions/{slow['id']}/resume")
        await client.until(f"executions/{slow['id']}", "running")
        await client.ask("POST", f"executions/{slow['id']}/cancel")
        await client.until(f"executions/{slow['id']}", "cancelled")
        assert "code" in await client.ask("POST", f"executions/{slow['id']}/pause", None, 409)


async def test_the_system_tells_how_it_is(client: Client, server: RunningServer) -> None:
    health = (await server.get("/health")).json()
    assert (health["status"], health["checks"]["scheduler"]) == ("healthy", "ok")
    assert set(health["stats"]) == {"active_executions", "queued_executions", "total_workflows", "active_workflows"}
    assert (await client.ask("GET", "scheduler/status"))["status"] == "running"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "workflows", {"definition": {"steps": []}}, 400),
        ("POST", "workflows", {"name": "x", "definition": {"version": "3", "steps": []}}, 400),
        ("POST", "workflows", {"name": "x", "definition": {"steps": [{"id": "a", "type": "fly"}]}}, 400),
        ("POST", "workflows", {"name": "!!!", "definition": {"steps": []}}, 400),
        ("POST", "workflows", [], 400),
        ("POST", "workflows", b"{", 400),
        ("GET", "workflows?limit=x", None, 400),
        ("GET", "workflows/none", None, 404),
        ("POST", "workflows/none/execute", {}, 404),
        ("POST", "workflows/none/fly", {}, 404),
        ("PATCH", "workflows/none", {}, 405),
        ("GET", "executions/none", None, 404),
        ("GET", "step-executions/none", None, 404),
        ("GET", "step-executions/none~a", None, 404),
        ("GET", "scheduler/other", None, 404),
        ("PUT", "triggers/none", {}, 404),
    ],
)
async def test_refusals_have_one_shape(client: Client, method: str, path: str, body: Any, status: int) -> None:
    answer = await client.raw(method, path, body)

    assert answer.status == status, answer.body
    assert answer.json()["code"] == status
    assert answer.json()["error"]


async def test_rights_are_those_of_our_kinds(server: RunningServer) -> None:
    stranger = {"Impersonate-User": "eve"}

    assert (await server.request("GET", "/api/v1/workflows", headers=stranger)).status == 403
    assert (await server.request("POST", "/api/v1/workflows", {"name": "x"}, headers=stranger)).status == 403
    assert (await server.request("GET", "/health", headers=stranger)).status == 200
