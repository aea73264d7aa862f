"""`/v1/deployments` as programs of the system before use them, over the same objects as everything else."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from plum_client.client import ApiClient
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.deployment import Deployment, DeploymentSpec
from plum_schemas.instance import Instance
from plum_schemas.node import Node
from plum_schemas.template import Template

from tests.support.packages import BASE, good_zip
from tests.support.server import HttpAnswer, RunningServer

_NUMBERS = itertools.count(1)


class Classic:
    """The routes in one namespace, with a package and two nodes."""

    def __init__(self, server: RunningServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace
        self.zip_url = self.image_url = ""
        self.nodes: list[str] = []

    async def call(self, method: str, path: str, body: Any = None) -> HttpAnswer:
        return await self.server.request(method, f"{path}{'&' if '?' in path else '?'}namespace={self.namespace}", body)

    def request(self, **more: Any) -> dict[str, Any]:
        one, two = self.nodes
        entries = [
            {"artifactUrl": self.zip_url, "startCmd": "", "replicas": {one: 1, two: 1}},
            {"artifactUrl": self.image_url, "startCmd": "./start.sh --quiet", "replicas": {two: 1}},
        ]
        return {"name": "minehunt-demo", "labels": {"site": "pier3"}, "entries": entries, **more}


@pytest.fixture
async def classic(server: RunningServer, api: ApiClient, namespace: str) -> Classic:
    made = Classic(server, namespace)
    await server.request("POST", f"/v1/artifacts/{namespace}", good_zip(BASE), content_type="application/zip")
    image = {
        "name": "viewer", "version": "2", "imageRepository": "shore/viewer", "imageTag": "2",
        "portMappings": [{"host": 0, "container": 80}],
    }  # fmt: skip
    made.image_url = (await made.call("POST", "/v1/apps/create-image", image)).json()["url"]
    apps = (await made.call("GET", "/v1/apps")).json()
    made.zip_url = next(one["url"] for one in apps if one["type"] == "zip")
    for _ in range(2):
        made.nodes.append(f"boat-{next(_NUMBERS)}")
        await api.create(Node(metadata=ObjectMeta(name=made.nodes[-1])))
    return made


async def test_a_request_makes_stopped_deployments_that_belong_together(classic: Classic, api: ApiClient) -> None:
    answer = await classic.call("POST", "/v1/deployments", classic.request())

    assert answer.status == 200, answer.body
    made = answer.json()
    parts = sorted(await api.list(Deployment, classic.namespace), key=lambda one: one.metadata.name)
    assert [(p.metadata.name, p.spec.state, sum((p.spec.node_replicas or {}).values())) for p in parts] == [
        ("minehunt-demo", "Stopped", 2), ("minehunt-demo-2", "Stopped", 1),
    ]  # fmt: skip
    zipped, image = (part.spec.template for part in parts)
    assert zipped.artifact is not None
    assert (zipped.artifact.name, zipped.artifact.version, zipped.runtime, zipped.command) == ("demo-app", "1.0.0", "process", [])
    assert (image.runtime, image.network, image.command) == ("container", "private", ["sh", "-c", "./start.sh --quiet"])
    instances = {one.metadata.name: one for one in await api.list(Instance, classic.namespace)}
    assert sorted(made["instances"]) == sorted(instances)
    assert len(instances) == 3
    assert {one.spec.state for one in instances.values()} == {"Stopped"}

    listed = (await classic.call("GET", "/v1/deployments")).json()
    assert [(one["deploymentId"], one["name"], one["labels"], one["status"]) for one in listed] == [
        (made["deploymentId"], "minehunt-demo", {"site": "pier3"}, "Stopped")
    ]
    shown = (await classic.call("GET", f"/v1/deployments/{made['deploymentId']}")).json()
    assert shown["deployment"] == {
        "DeploymentID": made["deploymentId"], "Name": "minehunt-demo", "Labels": {"site": "pier3"}, "Status": "Stopped",
    }  # fmt: skip
    assert sorted((one["appName"], one["artifactUrl"], one["nodeId"], one["startCmd"]) for one in shown["assignments"]) == [
        ("demo-app", classic.zip_url, classic.nodes[0], ""), ("demo-app", classic.zip_url, classic.nodes[1], ""),
        ("viewer", classic.image_url, classic.nodes[1], "./start.sh --quiet"),
    ]  # fmt: skip


async def test_start_stop_and_labels_change_it_and_recreate_nothing(classic: Classic, api: ApiClient) -> None:
    made = (await classic.call("POST", "/v1/deployments", classic.request())).json()
    path = f"/v1/deployments/{made['deploymentId']}"
    before = {one.metadata.uid for one in await api.list(Instance, classic.namespace)}

    started = await classic.call("POST", f"{path}?action=start")
    assert (started.status, started.json()["status"]) == (200, "Running")
    assert {part.spec.state for part in await api.list(Deployment, classic.namespace)} == {"Running"}
    changed = await classic.call("PATCH", path, {"labels": {"site": "pier4"}})
    assert (changed.status, changed.json()) == (200, {"deploymentId": made["deploymentId"]})
    assert (await classic.call("GET", path)).json()["deployment"]["Labels"] == {"site": "pier4"}
    assert (await classic.call("PATCH", path, {"name": "minehunt-demo"})).status == 204
    assert (await classic.call("POST", f"{path}?action=stop")).json()["status"] == "Stopped"
    await asyncio.sleep(0.5)

    assert {one.metadata.uid for one in await api.list(Instance, classic.namespace)} == before
    assert (await classic.call("DELETE", path)).status == 204
    assert not list(await api.list(Deployment, classic.namespace))
    assert (await classic.call("DELETE", path)).status == 204


async def test_what_others_made_is_seen_under_its_uid(classic: Classic, api: ApiClient) -> None:
    spec = DeploymentSpec(replicas=0, template=Template(command=["sleep", "1"]))
    made = await api.create(Deployment(metadata=ObjectMeta(name="web", namespace=classic.namespace), spec=spec))
    wanted = made.metadata.uid.replace("-", "")

    assert [one["deploymentId"] for one in (await classic.call("GET", "/v1/deployments")).json()] == [wanted]
    assert (await classic.call("POST", f"/v1/deployments/{wanted}?action=stop")).status == 200
    stopped = await api.get(Deployment, ObjectKey(classic.namespace, "web"))
    assert stopped is not None
    assert stopped.spec.state == "Stopped"


async def test_the_older_flat_form_and_a_name_that_is_taken(classic: Classic, api: ApiClient) -> None:
    flat = {"name": "Sonar Sim", "artifactUrl": classic.zip_url, "replicas": {classic.nodes[0]: 1}}

    first = (await classic.call("POST", "/v1/deployments", flat)).json()["deploymentId"]
    second = (await classic.call("POST", "/v1/deployments", flat)).json()["deploymentId"]

    names = sorted(one.metadata.name for one in await api.list(Deployment, classic.namespace))
    assert names == ["sonar-sim", f"sonar-sim-{second[:8]}"]
    assert {one["name"] for one in (await classic.call("GET", "/v1/deployments")).json()} == {"Sonar Sim"}
    assert first != second


async def test_refusals_are_one_line_and_change_nothing(classic: Classic, api: ApiClient) -> None:
    def line(answer: HttpAnswer) -> tuple[int, str]:
        text = answer.body.decode()
        assert text.count("\n") == 1
        return answer.status, text.strip()

    wrong = [*classic.request()["entries"][:1], {"artifactUrl": "/artifacts/none.zip", "replicas": {"a": 1}}]
    negative = [{**classic.request()["entries"][0], "replicas": {classic.nodes[0]: -1}}]
    for body, words in (
        ({}, "name required"),
        ({"name": "a"}, "missing fields"),
        ({"name": "a", "entries": [{"artifactUrl": classic.zip_url}]}, "missing fields"),
        ({"name": "a", "entries": wrong}, "'/artifacts/none.zip' names no artifact"),
        ({"name": "a", "artifactUrl": "image://0", "replicas": {"a": 1}}, "names no artifact"),
        ({"name": "a", "artifactUrl": "http://elsewhere/a.zip", "replicas": {"a": 1}}, "names no artifact"),
        ({"name": "a", "entries": negative}, "spec.nodeReplicas"),
        ({"name": "a", "entries": classic.request()["entries"], "labels": {"not a label": "x"}}, "metadata.labels"),
        ({"name": 3}, "bad json"),
    ):
        status, text = line(await classic.call("POST", "/v1/deployments", body))
        assert (status, words in text) == (400, True), text
    assert not list(await api.list(Deployment, classic.namespace))
    made = (await classic.call("POST", "/v1/deployments", classic.request())).json()["deploymentId"]
    assert line(await classic.call("PATCH", f"/v1/deployments/{made}", {"name": "other"})) == (
        400,
        "deployment name is immutable",
    )
    assert line(await classic.call("POST", f"/v1/deployments/{made}?action=jump"))[0] == 400
    for method in ("GET", "PATCH", "POST"):
        assert line(await classic.call(method, "/v1/deployments/none?action=start", {})) == (404, "not found")
    assert line(await classic.call("PUT", f"/v1/deployments/{made}", {}))[0] == 405
