"""`POST /plan`: what manifests would do, tried out on a copy, while the real objects stay as they are."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import RunningServer, running_server, started_server

NAMESPACED = "/apis/plum.dev/v1/namespaces/default"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A controller whose own controllers do not run, so that only the plan moves anything."""
    with started_server(tmp_path_factory.mktemp("plan"), env={"PLUM_CONTROLLERS_ENABLED": "false"}) as running:
        yield running


def deployment(name: str, replicas: int = 2, command: str = "sleep", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "template": {"command": [command, "60"]}, **spec},
    }


async def make_node(server: RunningServer, name: str) -> None:
    node = (await server.request("POST", "/apis/plum.dev/v1/nodes", {"metadata": {"name": name}})).json()
    capacity = {"cpu": "8", "memory": "16Gi", "instances": 100}
    ready = {"type": "Ready", "status": "True", "reason": "Reported"}
    node["status"] = {"conditions": [ready], "capacity": capacity, "allocatable": capacity, "runtimes": ["process"]}
    answer = await server.request("PUT", f"/apis/plum.dev/v1/nodes/{name}/status", node)
    assert answer.status == 200, answer.body


async def plan(server: RunningServer, *manifests: dict[str, Any]) -> dict[str, Any]:
    answer = await server.request("POST", "/plan", {"manifests": list(manifests)})
    assert answer.status == 200, answer.body
    result: dict[str, Any] = answer.json()
    return result


def actions(result: dict[str, Any], kind: str) -> list[tuple[str, str]]:
    return [(change["action"], change["name"]) for change in result["changes"] if change["kind"] == kind]


async def test_a_plan_says_what_would_be_created_and_where_and_touches_nothing(server: RunningServer) -> None:
    await make_node(server, "node-1")
    before = (await server.get("/docs/store")).json()["revision"]

    result = await plan(server, deployment("fresh"))

    assert actions(result, "Deployment") == [("create", "fresh")]
    instances = [change for change in result["changes"] if change["kind"] == "Instance"]
    assert [change["action"] for change in instances] == ["create", "create"]
    assert {change["detail"] for change in instances} == {"on node-1"}
    assert (await server.get("/docs/store")).json()["revision"] == before
    assert (await server.get(f"{NAMESPACED}/deployments/fresh")).status == 404


async def test_the_hash_stands_for_manifests_and_outcome(server: RunningServer) -> None:
    await make_node(server, "node-2")
    first = await plan(server, deployment("hashed"))

    assert (await plan(server, deployment("hashed")))["hash"] == first["hash"]
    assert (await plan(server, deployment("hashed", 3)))["hash"] != first["hash"]


async def test_a_manifest_that_would_be_refused_is_refused(server: RunningServer) -> None:
    invalid = await server.request("POST", "/plan", {"manifests": [deployment("bad", -1)]})
    unknown = await server.request(
        "POST", "/plan", {"manifests": [{"apiVersion": "a/v1", "kind": "B", "metadata": {"name": "c"}}]}
    )
    nonsense = await server.request("POST", "/plan", {"manifests": 3})
    method = await server.get("/plan")

    assert (invalid.status, invalid.json()["reason"]) == (422, "Invalid")
    assert [unknown.status, nonsense.status, method.status] == [404, 400, 405]


@contextmanager
def fake_agent(server: RunningServer, folder: Path, node: str) -> Iterator[None]:
    """An agent whose instances only pretend to run."""
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "plum_agent",
                "--node",
                node,
                "--controller",
                server.url,
                "--data-dir",
                str(folder),
                "--driver",
                "fake",
            ],
            stderr=log,
            stdout=log,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


async def ready_instances(server: RunningServer, count: int) -> set[str]:
    """Names of the instances, once exactly so many are ready."""
    async with asyncio.timeout(40):
        while True:
            items = (await server.get(f"{NAMESPACED}/instances")).json()["items"]
            ready = [item["metadata"]["name"] for item in items if item.get("status", {}).get("ready")]
            if len(ready) == len(items) == count:
                return set(ready)
            await asyncio.sleep(0.05)


async def test_what_is_planned_is_what_an_apply_then_does(tmp_path: Path) -> None:
    async with running_server(tmp_path / "controller") as server:
        with fake_agent(server, tmp_path, "node-1"):
            await server.request("POST", f"{NAMESPACED}/deployments", deployment("web", 2))
            old = await ready_instances(server, 2)

            unchanged = await plan(server, deployment("web", 2))
            result = await plan(server, deployment("web", 3, "true"))
            await server.request(
                "PATCH",
                f"{NAMESPACED}/deployments/web",
                {"spec": deployment("web", 3, "true")["spec"]},
                content_type="application/merge-patch+json",
            )
            async with asyncio.timeout(40):
                while (new := await ready_instances(server, 3)) & old:
                    await asyncio.sleep(0.05)

    assert actions(unchanged, "Deployment") == [("unchanged", "web")]
    assert actions(unchanged, "Instance") == []
    assert actions(result, "Deployment") == [("change", "web")]
    instances = [change for change in result["changes"] if change["kind"] == "Instance"]
    assert {change["name"] for change in instances if change["action"] == "restart"} == old
    come = {change["detail"].split(" ")[0] for change in instances if change["action"] == "restart"}
    come |= {change["name"] for change in instances if change["action"] == "create"}
    assert come == new
