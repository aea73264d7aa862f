"""The protocol of views: lists and watches of one moment, every form, discovery, and who may do what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, watch

from tests.support.kubernetes_clients import Cluster, cluster_of
from tests.support.server import RunningServer, started_server

PODS = "/api/v1/namespaces/default/pods"
INSTANCES = "/apis/plum.dev/v1/namespaces/default/instances"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Without controllers: instances and their states are what a test writes."""
    folder = tmp_path_factory.mktemp("views-api")
    env = {"PLUM_CONTROLLERS_ENABLED": "false", "PLUM_BOOKMARK_SECONDS": "0.3"}
    with started_server(folder, env=env) as server:
        yield cluster_of(server, folder / "client")


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> RunningServer:
    return cluster.server


@pytest.fixture
def core(cluster: Cluster) -> Iterator[client.CoreV1Api]:
    from kubernetes import config

    with config.new_client_from_config(str(cluster.kubeconfig)) as api:
        yield client.CoreV1Api(api)


async def create(server: RunningServer, name: str, node: str = "n-1", **labels: str) -> None:
    body = {"metadata": {"name": name, "labels": labels}, "spec": {"nodeName": node, "template": {"command": ["x"]}}}
    answer = await server.request("POST", INSTANCES, body)
    assert answer.status == 201, answer.body


async def report(server: RunningServer, name: str, **status: Any) -> None:
    answer = await server.request("PATCH", f"{INSTANCES}/{name}/status", {"status": status}, content_type=MERGE)
    assert answer.status == 200, answer.body


async def take(events: asyncio.Queue[Any], count: int) -> list[Any]:
    """The next events that are no bookmarks."""
    found: list[Any] = []
    while len(found) < count:
        event = await asyncio.wait_for(events.get(), 15)
        if event is None or event["type"] != "BOOKMARK":
            found.append(event)
    return found


async def test_a_watch_by_phase_tells_who_enters_and_who_leaves(server: RunningServer) -> None:
    path = f"{PODS}?labelSelector=phases&fieldSelector=status.phase%3DRunning"
    await create(server, "walks", phases="1")
    revision = (await server.get(path)).json()["metadata"]["resourceVersion"]

    async with server.watch(f"{path}&watch=1&resourceVersion={revision}") as events:
        for phase in ("Scheduled", "Starting", "Running", "Stopping", "Succeeded"):
            await report(server, "walks", phase=phase, exit={"code": 0} if phase == "Succeeded" else None)
        seen = await take(events, 4)

    assert [event["type"] for event in seen] == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
    assert {event["object"]["kind"] for event in seen} == {"Pod"}
    assert [event["object"]["status"]["phase"] for event in seen[:3]] == ["Running"] * 3
    others = (await server.get(f"{PODS}?labelSelector=phases&fieldSelector=status.phase!%3DRunning")).json()["items"]
    assert [pod["status"]["phase"] for pod in others] == ["Succeeded"]
    assert others[0]["status"]["containerStatuses"][0]["state"]["terminated"] == {"exitCode": 0, "reason": "Completed"}


async def test_a_watch_begins_with_what_is_there_and_resumes_where_it_ended(server: RunningServer) -> None:
    await create(server, "kept", begins="1")
    streaming = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    async with server.watch(f"{PODS}?labelSelector=begins&{streaming}") as events:
        first, mark = [await asyncio.wait_for(events.get(), 15) for _ in range(2)]
    assert first is not None and mark is not None
    assert (first["type"], first["object"]["metadata"]["name"]) == ("ADDED", "kept")
    assert (mark["type"], mark["object"]["kind"]) == ("BOOKMARK", "Pod")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    await create(server, "later", begins="1")
    await server.request("DELETE", f"{INSTANCES}/kept")
    revision = mark["object"]["metadata"]["resourceVersion"]
    async with server.watch(f"{PODS}?labelSelector=begins&watch=1&resourceVersion={revision}") as events:
        seen = await take(events, 2)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in seen] == [("ADDED", "later"), ("DELETED", "kept")]


async def test_a_forgotten_revision_is_told_in_the_stream(server: RunningServer) -> None:
    await create(server, "forgotten")
    old = (await server.get(f"{PODS}/forgotten")).json()["metadata"]["resourceVersion"]
    await report(server, "forgotten", phase="Scheduled")
    assert (await server.request("POST", "/docs/store/compact", {})).status == 200

    async with server.watch(f"{PODS}?watch=1&resourceVersion={old}") as events:
        error = await asyncio.wait_for(events.get(), 15)

    assert error is not None and (error["type"], error["object"]["code"]) == ("ERROR", 410)


async def test_pages_show_one_moment(server: RunningServer) -> None:
    for number in range(5):
        await create(server, f"page-{number}", pages="1")
    path = f"{PODS}?labelSelector=pages&limit=2"
    first = (await server.get(path)).json()
    await server.request("DELETE", f"{INSTANCES}/page-3")
    second = (await server.get(f"{path}&continue={first['metadata']['continue']}")).json()

    assert [item["metadata"]["name"] for item in (*first["items"], *second["items"])] == [f"page-{n}" for n in range(4)]
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]
    assert {item["kind"] for item in second["items"]} == {"Pod"}


async def test_every_form_of_a_list(server: RunningServer) -> None:
    await create(server, "formed", forms="1")

    table = (await server.get(f"{PODS}?labelSelector=forms", Accept=TABLE)).json()
    partial = (await server.get(f"{PODS}?labelSelector=forms", Accept=PARTIAL)).json()
    yaml = await server.get(f"{PODS}/formed", Accept="application/yaml")

    assert (table["kind"], table["rows"][0]["cells"][:3]) == ("Table", ["formed", "0/1", "ContainerCreating"])
    assert [partial["kind"], partial["items"][0]["kind"]] == ["PartialObjectMetadataList", "PartialObjectMetadata"]
    assert b"kind: Pod\n" in yaml.body
    refused = await server.get(f"{PODS}?fieldSelector=spec.hostNetwork%3Dtrue")
    assert (refused.status, refused.json()["message"]) == (400, "field label not supported: spec.hostNetwork")


async def test_discovery_in_both_forms(server: RunningServer) -> None:
    plain = {entry["name"]: entry for entry in (await server.get("/api/v1")).json()["resources"]}
    apps = {entry["name"] for entry in (await server.get("/apis/apps/v1")).json()["resources"]}
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    groups = (await server.get("/apis", Accept=accept)).json()["items"]

    assert plain["pods"]["shortNames"] == ["po"] and "create" not in plain["pods"]["verbs"]
    assert {"pods/log", "pods/eviction", "pods/exec", "pods/portforward", "nodes/status"} <= plain.keys()
    assert (plain["pods/eviction"]["kind"], plain["pods/eviction"]["group"]) == ("Eviction", "policy")
    assert apps == {"deployments", "deployments/scale", "deployments/status"}
    names = [group["metadata"]["name"] for group in groups]
    assert names.index("plum.dev") < names.index("apps"), "a bare `deployments` is Plum's"


async def test_an_event_about_a_pod_is_one_about_its_instance(server: RunningServer, core: client.CoreV1Api) -> None:
    await create(server, "heard")
    pod = core.read_namespaced_pod("heard", "default")
    about = client.V1ObjectReference(api_version="v1", kind="Pod", name="heard", namespace="default", uid=pod.metadata.uid)
    event = client.CoreV1Event(
        metadata=client.V1ObjectMeta(generate_name="heard."), involved_object=about, reason="Heard", message="x", type="Normal"
    )
    core.create_namespaced_event("default", event)

    for fields in ("kind=Pod,involvedObject.apiVersion=v1", "kind=Instance,involvedObject.apiVersion=plum.dev/v1"):
        selector = f"involvedObject.name=heard,involvedObject.{fields}"
        found = core.list_namespaced_event("default", field_selector=selector).items
        assert [(one.reason, one.involved_object.kind) for one in found] == [("Heard", "Instance")], fields


async def test_a_stale_or_racing_write_is_told_apart(server: RunningServer) -> None:
    await create(server, "raced")
    pod = (await server.get(f"{PODS}/raced")).json()
    await report(server, "raced", phase="Scheduled")

    stale = await server.request("PUT", f"{PODS}/raced", {**pod, "metadata": {**pod["metadata"], "labels": {"a": "b"}}})
    free = await server.request("PATCH", f"{PODS}/raced", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    wrong = await server.request("PATCH", f"{PODS}/raced", {"metadata": {"uid": "x"}}, content_type=MERGE)
    nothing = await server.request("PATCH", f"{PODS}/raced", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)

    assert (stale.status, stale.json()["reason"]) == (409, "Conflict")
    assert (free.status, free.json()["metadata"]["labels"], free.json()["kind"]) == (200, {"a": "b"}, "Pod")
    assert (wrong.status, "metadata.uid cannot be changed here" in wrong.json()["message"]) == (403, True)
    assert nothing.json()["metadata"]["resourceVersion"] == free.json()["metadata"]["resourceVersion"]
    missing = await server.request("PATCH", f"{PODS}/nobody", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    assert (missing.status, missing.json()["message"]) == (404, 'pods "nobody" not found')


@pytest.mark.client("kubernetes 37", "CoreV1Api.list_namespaced_pod, Watch over Pods")
async def test_the_library_lists_and_watches_pods(server: RunningServer, core: client.CoreV1Api) -> None:
    await create(server, "typed", typed="1")
    listed = core.list_namespaced_pod("default", label_selector="typed")
    assert isinstance(listed, client.V1PodList)
    stream = watch.Watch()
    seen = []
    for event in stream.stream(core.list_namespaced_pod, "default", label_selector="typed", timeout_seconds=20):
        seen.append((event["type"], type(event["object"]), event["object"].status.phase))
        if len(seen) == 1:
            await report(server, "typed", phase="Running", startedAt="2026-01-01T00:00:00Z")
        else:
            stream.stop()

    assert seen == [("ADDED", client.V1Pod, "Pending"), ("MODIFIED", client.V1Pod, "Running")]


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[RunningServer]:
    with started_server(tmp_path) as server:
        yield server


def binding(role: str) -> dict[str, Any]:
    group = "rbac.authorization.k8s.io"
    return {
        "metadata": {"name": role},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": role}],
    }


async def test_changes_that_name_no_revision_do_not_lose_to_each_other(server: RunningServer) -> None:
    body = {"metadata": {"name": "many"}, "spec": {"template": {"command": ["x"]}}}
    assert (await server.request("POST", INSTANCES, body)).status == 201

    async def label(number: int) -> int:
        patch = {"metadata": {"labels": {f"n{number}": "x"}}}
        return (await server.request("PATCH", f"{PODS}/many", patch, content_type=MERGE)).status

    assert await asyncio.gather(*(label(number) for number in range(6))) == [200] * 6
    stale = {"metadata": {"labels": {"late": "x"}, "resourceVersion": "1"}}
    assert (await server.request("PATCH", f"{PODS}/many", stale, content_type=MERGE)).status == 409
    labels = (await server.get(f"{INSTANCES}/many")).json()["metadata"]["labels"]
    assert {name for name in labels if name.startswith("n")} == {f"n{number}" for number in range(6)}


async def test_roles_name_the_core_kinds(secured: RunningServer) -> None:
    bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    for role in ("view", "edit"):
        assert (await secured.request("POST", bindings, binding(role))).status == 201
    body = {"metadata": {"name": "web"}, "spec": {"template": {"command": ["x"]}}}
    assert (await secured.request("POST", INSTANCES, body)).status == 201

    async def status(method: str, path: str, user: str, body: Any = None) -> int:
        headers = {"Impersonate-User": user}
        return (
            await secured.request(
                method, path, body, headers=headers, content_type=MERGE if method == "PATCH" else "application/json"
            )
        ).status

    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    assert [await status("GET", path, "view") for path in (PODS, f"{PODS}/web", "/api/v1/nodes")] == [200, 200, 403]
    assert await status("GET", f"{PODS}/web/log", "view") == 400, "allowed, and there is no output"
    assert await status("POST", f"{PODS}/web/eviction", "view", eviction) == 403
    assert await status("PATCH", f"{PODS}/web", "view", {"metadata": {"labels": {"a": "b"}}}) == 403
    assert await status("DELETE", f"{PODS}/web", "view") == 403
    assert await status("PATCH", f"{PODS}/web", "edit", {"metadata": {"labels": {"a": "b"}}}) == 200
    refused = await secured.request("GET", PODS, headers={"Impersonate-User": "nobody"})
    assert json.loads(refused.body)["message"] == (
        'pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "default"'
    )
    assert await status("POST", f"{PODS}/web/eviction", "edit", eviction) == 201
