"""Requests of Go clients, replayed byte for byte: informers, typed clients with protobuf bodies, the event recorder.

No Go program runs here. The forms are those that client-go 1.32 to 1.36 was seen to send; what the answers must look like
for it is checked on the wire.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support import protobuf_bodies as pb
from tests.support.kubernetes_clients import WIDGETS, Cluster, definition
from tests.support.server import HttpAnswer, RunningServer

LIBRARY = "client-go 1.36 (replayed)"

TYPED = "application/vnd.kubernetes.protobuf,application/json"
METADATA = (
    "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1,"
    "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1,application/json"
)
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> RunningServer:
    return cluster.server


async def protobuf(
    server: RunningServer, method: str, path: str, api_version: str, kind: str, raw: bytes, **query: str
) -> HttpAnswer:
    path = f"{path}?{urlencode(query)}" if query else path
    body = pb.body(api_version, kind, raw)
    return await server.request(method, path, body, headers={"Accept": TYPED}, content_type=pb.TYPE)


async def streamed_list(server: RunningServer, path: str, accept: str, **query: str) -> tuple[list[Any], Any, asyncio.Queue[Any]]:
    """Initial events, the mark at their end, and the queue of a watch that has been closed."""
    wanted = {
        "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan",
        "sendInitialEvents": "true",
        "timeout": "7m39s",
        "timeoutSeconds": "459",
        "watch": "true",
        **query,
    }
    async with server.watch(f"{path}?{urlencode(wanted)}", accept) as events, asyncio.timeout(15):
        found = []
        while (event := await events.get()) is not None and event["type"] != "BOOKMARK":
            found.append(event)
        return found, event, events


async def create(server: RunningServer, name: str, **labels: str) -> Any:
    answer = await server.request("POST", CONFIGMAPS, {"metadata": {"name": name, "labels": labels}})
    assert answer.status == 201, answer.body
    return answer.json()


@pytest.mark.client(LIBRARY, "informer: streaming list of typed objects, then watch")
async def test_an_informer_lists_by_streaming(server: RunningServer) -> None:
    made = [await create(server, f"informer-{number}", informer="yes") for number in range(3)]

    found, mark, _ = await streamed_list(server, CONFIGMAPS, TYPED, labelSelector="informer=yes", resourceVersion="")

    assert [event["object"] for event in found] == made
    assert {event["type"] for event in found} == {"ADDED"}
    assert (mark["object"]["kind"], mark["object"]["apiVersion"]) == ("ConfigMap", "v1")
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(made[-1]["metadata"]["resourceVersion"])
    assert "name" not in mark["object"]["metadata"]


@pytest.mark.client(LIBRARY, "metadata informer: streaming list, list and watch of PartialObjectMetadata")
async def test_a_metadata_informer(server: RunningServer) -> None:
    made = await create(server, "partial", partial="yes")

    found, mark, _ = await streamed_list(server, CONFIGMAPS, METADATA.format(list=""), labelSelector="partial")
    listed = (await server.get(f"{CONFIGMAPS}?labelSelector=partial", Accept=METADATA.format(list="List"))).json()

    (event,) = found
    assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert event["object"]["metadata"] == made["metadata"]
    assert set(event["object"]) == {"kind", "apiVersion", "metadata"}
    assert mark["object"]["kind"] == "PartialObjectMetadata"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert (listed["kind"], listed["items"][0]["kind"]) == ("PartialObjectMetadataList", "PartialObjectMetadata")


@pytest.mark.client(LIBRARY, "streaming list of tables")
async def test_a_streamed_table(server: RunningServer) -> None:
    await create(server, "tabled", tabled="yes")

    found, mark, _ = await streamed_list(server, CONFIGMAPS, TABLE, labelSelector="tabled")

    assert found[0]["object"]["kind"] == "Table"
    assert found[0]["object"]["rows"][0]["cells"][0] == "tabled"
    assert (mark["object"]["kind"], mark["object"]["rows"]) == ("Table", [])
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


@pytest.mark.client(LIBRARY, "informer without streaming: list with limit at resourceVersion=0, watch, relist on 410")
async def test_the_fallback_of_an_informer(server: RunningServer) -> None:
    made = await create(server, "fallback", fallback="yes")

    listed = (await server.get(f"{CONFIGMAPS}?limit=500&resourceVersion=0&labelSelector=fallback", Accept=TYPED)).json()
    since = listed["metadata"]["resourceVersion"]
    query = f"allowWatchBookmarks=true&resourceVersion={since}&timeout=5m17s&timeoutSeconds=317&watch=true&labelSelector=fallback"
    async with server.watch(f"{CONFIGMAPS}?{query}", TYPED) as events, asyncio.timeout(15):
        await server.request("DELETE", f"{CONFIGMAPS}/fallback")
        while (event := await events.get())["type"] == "BOOKMARK":
            pass

    assert listed["items"] == [made]
    assert (event["type"], event["object"]["metadata"]["uid"]) == ("DELETED", made["metadata"]["uid"])


@pytest.mark.client(LIBRARY, "streaming list from a revision that has not happened: 504, then again without one")
async def test_a_streaming_list_from_the_future_is_refused_in_words_that_the_informer_knows(server: RunningServer) -> None:
    query = (
        "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=999999999"
    )

    answer = await server.get(f"{CONFIGMAPS}?{query}", Accept=TYPED)

    status = answer.json()
    assert (answer.status, status["reason"]) == (504, "Timeout")
    assert status["details"]["causes"] == [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    assert status["details"]["retryAfterSeconds"] == 1


@pytest.mark.client(LIBRARY, "leader election: Lease by protobuf POST and PUT")
async def test_a_lease_by_protobuf(server: RunningServer) -> None:
    path, now = "/apis/coordination.k8s.io/v1/namespaces/default/leases", datetime.now(UTC)

    def lease(holder: str, transitions: int, revision: str = "") -> bytes:
        times = (3, pb.time(now)), (4, pb.time(now))
        spec = pb.message((1, holder), (2, 15), *times, (5, transitions))
        return pb.message((1, pb.meta("elected", "default", (6, revision))), (2, spec))

    made = await protobuf(server, "POST", path, "coordination.k8s.io/v1", "Lease", lease("a", 0))
    assert made.status == 201, made.body
    revision = made.json()["metadata"]["resourceVersion"]
    assert made.json()["spec"]["renewTime"] == now.isoformat(timespec="microseconds").replace("+00:00", "Z")
    taken = await protobuf(server, "PUT", f"{path}/elected", "coordination.k8s.io/v1", "Lease", lease("b", 1, revision))
    assert (taken.status, taken.json()["spec"]["holderIdentity"], taken.json()["spec"]["leaseTransitions"]) == (200, "b", 1)
    late = await protobuf(server, "PUT", f"{path}/elected", "coordination.k8s.io/v1", "Lease", lease("c", 2, revision))
    assert (late.status, late.json()["reason"]) == (409, "Conflict")


@pytest.mark.client(LIBRARY, "event recorder: Event by protobuf POST, count by strategic PATCH")
async def test_the_event_recorder(server: RunningServer) -> None:
    path, now = "/api/v1/namespaces/default/events", datetime.now(UTC)
    about = pb.message((1, "ConfigMap"), (2, "default"), (3, "web"), (4, "u-1"), (5, "v1"), (6, "7"), (7, "data"))
    event = pb.message(
        (1, pb.meta("web.17a", "default")),
        (2, about),
        (3, "Scaled"),
        (4, "scaled up"),
        (5, pb.message((1, "operator"), (2, "node-1"))),
        *((number, pb.time(now)) for number in (6, 7)),
        (8, 1),
        (9, "Normal"),
        (10, b""),
        (14, "operator"),
        (15, ""),
    )
    made = await protobuf(server, "POST", path, "v1", "Event", event)
    assert made.status == 201, made.body
    assert made.json()["involvedObject"] | {"uid": "u-1", "fieldPath": "data"} == made.json()["involvedObject"]

    patch = json.dumps({"count": 2, "lastTimestamp": "2026-01-01T00:00:00Z", "metadata": {"resourceVersion": None}}).encode()
    answer = await server.request(
        "PATCH", f"{path}/web.17a", patch, headers={"Accept": TYPED}, content_type="application/strategic-merge-patch+json"
    )
    assert (answer.status, answer.json()["count"], answer.json()["message"]) == (200, 2, "scaled up")


@pytest.mark.client(LIBRARY, "Secret, ConfigMap and Namespace by protobuf; DELETE with protobuf DeleteOptions")
async def test_core_kinds_by_protobuf(server: RunningServer) -> None:
    secrets = "/api/v1/namespaces/default/secrets"
    owner = pb.message((1, "Namespace"), (3, "default"), (4, "u"), (5, "v1"), (6, True))
    meta = pb.meta("tls", "default", (11, {"owner": "helm"}), (12, {"note": "ä"}), (14, "example.com/hold"), (13, owner))
    made = await protobuf(server, "POST", secrets, "v1", "Secret", pb.message((1, meta), (2, {"k": b"\x00\xfe"}), (3, "Opaque")))
    assert made.status == 201, made.body
    value = made.json()
    assert value["data"] == {"k": base64.b64encode(b"\x00\xfe").decode()}
    assert (value["metadata"]["labels"], value["metadata"]["annotations"]) == ({"owner": "helm"}, {"note": "ä"})
    assert value["metadata"]["finalizers"] == ["example.com/hold"]
    assert value["metadata"]["ownerReferences"][0]["controller"] is True
    assert "immutable" not in value and "generation" not in value["metadata"]

    wrong = pb.message((2, pb.message((1, "another"))))
    refused = await protobuf(server, "DELETE", f"{secrets}/tls", "v1", "DeleteOptions", wrong)
    assert (refused.status, refused.json()["reason"]) == (409, "Conflict")
    uid = pb.message((1, 0), (2, pb.message((1, value["metadata"]["uid"]))), (4, "Foreground"))
    held = await protobuf(server, "DELETE", f"{secrets}/tls", "v1", "DeleteOptions", uid)
    assert (held.status, held.json()["kind"]) == (200, "Secret")
    assert "foregroundDeletion" in held.json()["metadata"]["finalizers"]

    maps = pb.message((1, pb.meta("by-go", "default")), (2, {"a": "b"}), (3, {"raw": b"\xff"}))
    assert (await protobuf(server, "POST", CONFIGMAPS, "v1", "ConfigMap", maps)).json()["binaryData"] == {"raw": "/w=="}
    collection = pb.message((4, "Background"))
    gone = await protobuf(server, "DELETE", CONFIGMAPS, "v1", "DeleteOptions", collection, fieldSelector="metadata.name=by-go")
    assert gone.status == 200, gone.body
    namespace = pb.message((1, pb.meta("from-go")), (2, pb.message()), (3, pb.message((1, ""))))
    answer = await protobuf(server, "POST", "/api/v1/namespaces", "v1", "Namespace", namespace)
    assert (answer.status, answer.json()["status"]["phase"]) == (201, "Active")


@pytest.mark.client(LIBRARY, "roles and bindings by protobuf")
async def test_rbac_by_protobuf(server: RunningServer) -> None:
    group = "rbac.authorization.k8s.io/v1"
    base = f"/apis/{group}/namespaces/default"
    rule = pb.message((1, "get"), (1, "list"), (2, ""), (3, "configmaps"), (4, "one"))
    urls = pb.message((1, "get"), (5, "/metrics"))
    role = await protobuf(
        server, "POST", f"{base}/roles", group, "Role", pb.message((1, pb.meta("reader", "default")), (2, rule))
    )
    assert role.status == 201, role.body
    assert role.json()["rules"] == [
        {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["one"]}
    ]
    everywhere = pb.message((1, pb.meta("go-reader")), (2, rule), (2, urls))
    made = await protobuf(server, "POST", f"/apis/{group}/clusterroles", group, "ClusterRole", everywhere)
    assert made.json()["rules"][1] == {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}
    subject = pb.message((1, "User"), (2, "rbac.authorization.k8s.io"), (3, "ann"), (4, ""))
    for plural, kind, target in (
        ("rolebindings", "RoleBinding", "Role"),
        ("clusterrolebindings", "ClusterRoleBinding", "ClusterRole"),
    ):
        name = "reader" if target == "Role" else "go-reader"
        reference = pb.message((1, "rbac.authorization.k8s.io"), (2, target), (3, name))
        raw = pb.message((1, pb.meta("ann-reads", "default" if target == "Role" else "")), (2, subject), (3, reference))
        path = f"{base}/{plural}" if target == "Role" else f"/apis/{group}/{plural}"
        bound = await protobuf(server, "POST", path, group, kind, raw)
        assert bound.status == 201, bound.body
        assert bound.json()["subjects"] == [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "ann"}]
        assert bound.json()["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": target, "name": name}


@pytest.mark.client(LIBRARY, "reviews by protobuf")
async def test_reviews_by_protobuf(server: RunningServer) -> None:
    group = "authorization.k8s.io/v1"
    attributes = pb.message((1, "default"), (2, "create"), (3, ""), (4, ""), (5, "configmaps"), (6, ""), (7, ""))
    raw = pb.message((1, pb.meta()), (2, pb.message((1, attributes))), (3, pb.message((1, False), (2, ""), (3, ""), (4, False))))
    answer = await protobuf(server, "POST", f"/apis/{group}/selfsubjectaccessreviews", group, "SelfSubjectAccessReview", raw)
    assert (answer.status, answer.json()["status"]["allowed"]) == (201, True)
    who = "authentication.k8s.io/v1"
    raw = pb.message((1, pb.meta()), (2, b""))
    answer = await protobuf(server, "POST", f"/apis/{who}/selfsubjectreviews", who, "SelfSubjectReview", raw)
    assert "system:masters" in answer.json()["status"]["userInfo"]["groups"]


@pytest.mark.client(LIBRARY, "dynamic client: own kinds as JSON, scale client without Content-Type")
async def test_the_dynamic_and_the_scale_client(server: RunningServer) -> None:
    await server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition())
    async with asyncio.timeout(15):
        while (await server.get(WIDGETS)).status != 200:
            await asyncio.sleep(0.05)
    body = {"apiVersion": "clients.example.com/v1", "kind": "Widget", "metadata": {"name": "go"}, "spec": {}}
    made = await server.request("POST", WIDGETS, body, headers={"Accept": "application/json"})
    assert made.status == 201, made.body

    scale = (await server.get(f"{WIDGETS}/go/scale")).json()
    scale["spec"]["replicas"] = 4
    data = json.dumps(scale).encode()
    head = f"PUT {WIDGETS}/go/scale HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
    scaled = await server.raw(head.encode() + data)
    assert (scaled.status, scaled.json()["kind"], scaled.json()["spec"]) == (200, "Scale", {"replicas": 4})

    unknown = await protobuf(server, "POST", WIDGETS, "clients.example.com/v1", "Widget", pb.message((1, pb.meta("pb"))))
    assert (unknown.status, "send JSON" in unknown.json()["message"]) == (400, True)


def json_value(value: Any) -> bytes:
    return pb.message((1, json.dumps(value).encode()))


def double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


@pytest.mark.client(LIBRARY, "apiextensions: CustomResourceDefinition by protobuf")
async def test_a_definition_by_protobuf(server: RunningServer) -> None:
    text = pb.message((5, "string"), (13, 5), (14, 0), (20, json_value("a")), (20, json_value("b")), (8, json_value("a")))
    count = pb.message((5, "integer")) + double(9, 10) + double(11, 0) + pb.message((4, ""), (12, False))
    item = pb.message((5, "object"), (23, "name"), (29, {"name": pb.message((5, "string"))}))
    rule = pb.message((1, "self.all(x, x.name != 'no')"), (2, "no"))
    items = pb.message((5, "array"), (24, pb.message((1, item))), (41, "name"), (42, "map"), (44, rule))
    labels = pb.message((5, "object"), (30, pb.message((1, True), (2, pb.message((5, "string"))))))
    either = pb.message((27, pb.message((5, "integer"))), (27, pb.message((5, "string"))), (40, True))
    free = pb.message((5, "object"), (38, True))
    spec = pb.message(
        (5, "object"), (29, {"text": text, "n": count, "items": items, "labels": labels, "port": either, "free": free})
    )
    schema = pb.message((5, "object"), (29, {"spec": spec, "status": free}))
    scale = pb.message((1, ".spec.n"), (2, ".status.n"))
    column = pb.message((1, "N"), (2, "integer"), (3, ""), (4, ""), (5, 0), (6, ".spec.n"))
    version = pb.message(
        *((1, "v1"), (2, True), (3, True), (4, pb.message((1, schema))), (5, pb.message((1, b""), (2, scale)))),
        *((6, column), (7, False), (9, pb.message((1, ".spec.text")))),
    )
    names = pb.message((1, "gadgets"), (2, "gadget"), (3, "gd"), (4, "Gadget"), (5, ""))
    whole = pb.message((1, "go.example.com"), (3, names), (4, "Namespaced"), (7, version), (10, False))
    raw = pb.message((1, pb.meta("gadgets.go.example.com")), (2, whole), (3, pb.message((2, pb.message((1, ""))))))
    group = "apiextensions.k8s.io/v1"

    made = await protobuf(server, "POST", f"/apis/{group}/customresourcedefinitions", group, "CustomResourceDefinition", raw)

    assert made.status == 201, made.body
    (served,) = made.json()["spec"]["versions"]
    found = served["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert found == {
        "text": {"type": "string", "maxLength": 5, "minLength": 0, "enum": ["a", "b"], "default": "a"},
        "n": {"type": "integer", "maximum": 10, "minimum": 0},
        "items": {
            "type": "array",
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
            "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-list-type": "map",
            "x-kubernetes-validations": [{"rule": "self.all(x, x.name != 'no')", "message": "no"}],
        },
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "port": {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    assert served["subresources"] == {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}}
    assert served["selectableFields"] == [{"jsonPath": ".spec.text"}]
    gadgets = "/apis/go.example.com/v1/namespaces/default/gadgets"
    async with asyncio.timeout(15):
        while (await server.get(gadgets)).status != 200:
            await asyncio.sleep(0.05)
    gadget = {"apiVersion": "go.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"n": 3}}
    assert (await server.request("POST", gadgets, gadget)).json()["spec"] == {"n": 3, "text": "a"}


async def test_a_definition_nested_without_end_is_refused(server: RunningServer) -> None:
    schema = b""
    for _ in range(20_000):
        schema = pb.message((28, schema))
    version = pb.message((1, "v1"), (4, pb.message((1, schema))))
    raw = pb.message((1, pb.meta("x.y")), (2, pb.message((7, version))))
    group = "apiextensions.k8s.io/v1"

    answer = await protobuf(server, "POST", f"/apis/{group}/customresourcedefinitions", group, "CustomResourceDefinition", raw)

    assert (answer.status, "nested too deeply" in answer.json()["message"]) == (400, True)
