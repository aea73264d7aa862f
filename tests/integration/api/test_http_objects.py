"""The object routes over real HTTP: forms, headers, subresources, and the words of refusals."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from tests.support.server import RunningServer

DEPLOYMENTS = "/apis/plum.dev/v1/namespaces/default/deployments"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE = "application/merge-patch+json"


def deployment(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"test": name}},
        "spec": {"replicas": 1, "template": {"command": ["sleep", "60"]}, **spec},
    }


async def create(server: RunningServer, name: str, **spec: Any) -> dict[str, Any]:
    answer = await server.request("POST", DEPLOYMENTS, deployment(name, **spec))
    assert answer.status == 201, answer.body
    return answer.json()


async def test_create_read_update_patch_and_delete_an_object(server: RunningServer) -> None:
    made = await create(server, "crud")
    read = await server.get(f"{DEPLOYMENTS}/crud")
    assert (read.status, read.json()) == (200, made)

    made["spec"]["replicas"] = 2
    updated = await server.request("PUT", f"{DEPLOYMENTS}/crud", made)
    assert (updated.status, updated.json()["metadata"]["generation"]) == (200, 2)
    stale = await server.request("PUT", f"{DEPLOYMENTS}/crud", {**made, "spec": {**made["spec"], "replicas": 5}})
    assert (stale.status, stale.json()["reason"]) == (409, "Conflict")

    patched = await server.request("PATCH", f"{DEPLOYMENTS}/crud", {"spec": {"replicas": 3}}, content_type=MERGE)
    assert patched.json()["spec"]["replicas"] == 3

    deleted = await server.request("DELETE", f"{DEPLOYMENTS}/crud")
    assert deleted.json()["status"] == "Success"
    assert deleted.json()["details"]["uid"] == made["metadata"]["uid"]
    assert (await server.get(f"{DEPLOYMENTS}/crud")).json()["message"] == 'deployments.plum.dev "crud" not found'


async def test_every_write_names_its_revision(server: RunningServer) -> None:
    answer = await server.request("POST", DEPLOYMENTS, deployment("revision-header"))

    assert answer.headers["x-plum-revision"] == answer.json()["metadata"]["resourceVersion"]


async def test_an_unchanged_object_is_not_written_again(server: RunningServer) -> None:
    made = await create(server, "unchanged")

    again = await server.request("PATCH", f"{DEPLOYMENTS}/unchanged", {"spec": {"replicas": 1}}, content_type=MERGE)

    assert again.json() == made


async def test_yaml_goes_in_and_out(server: RunningServer) -> None:
    text = yaml.safe_dump(deployment("from-yaml")).encode()

    made = await server.request("POST", DEPLOYMENTS, text, content_type="application/yaml")
    read = await server.get(f"{DEPLOYMENTS}/from-yaml", accept="application/yaml")

    assert made.status == 201
    assert read.headers["content-type"] == "application/yaml"
    assert yaml.safe_load(read.body) == made.json()


async def test_yaml_with_aliases_or_a_key_twice_is_refused(server: RunningServer) -> None:
    for text in (b"a: &x [1]\nb: *x\n", b"kind: A\nkind: B\n", b"{a: ", b"? [1, 2]\n: 3\n"):
        answer = await server.request("POST", DEPLOYMENTS, text, content_type="application/yaml")
        assert (answer.status, answer.json()["reason"]) == (400, "BadRequest"), text


async def test_a_table_has_the_columns_of_the_kind_and_one_row_per_object(server: RunningServer) -> None:
    await create(server, "table-a", replicas=2)

    answer = (await server.get(f"{DEPLOYMENTS}?labelSelector=test%3Dtable-a", accept=TABLE)).json()

    columns = [column["name"] for column in answer["columnDefinitions"]]
    row = answer["rows"][0]
    assert answer["kind"] == "Table"
    assert columns[0] == "Name" and "Age" in columns
    assert row["cells"][0] == "table-a"
    assert row["cells"][columns.index("Ready")] == "0/2"
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert int(answer["metadata"]["resourceVersion"]) > 0


async def test_a_long_table_has_all_rows(server: RunningServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    for start in range(0, 600, 60):
        bodies = [{"metadata": {"name": f"row-{number:03}", "labels": {"long": "yes"}}} for number in range(start, start + 60)]
        await asyncio.gather(*(server.request("POST", path, body) for body in bodies))

    answer = await server.get(f"{path}?labelSelector=long%3Dyes&includeObject=None", accept=TABLE)

    assert [row["cells"][0] for row in answer.json()["rows"]] == [f"row-{number:03}" for number in range(600)]


async def test_include_object_decides_what_a_row_carries(server: RunningServer) -> None:
    made = await create(server, "include")
    path = f"{DEPLOYMENTS}/include?includeObject="

    whole = (await server.get(f"{path}Object", accept=TABLE)).json()["rows"][0]
    nothing = (await server.get(f"{path}None", accept=TABLE)).json()["rows"][0]

    assert whole["object"] == made
    assert "object" not in nothing


async def test_partial_metadata_leaves_spec_and_status_out(server: RunningServer) -> None:
    made = await create(server, "partial")

    one = await server.get(f"{DEPLOYMENTS}/partial", accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io")
    many = await server.get(DEPLOYMENTS, accept="application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")

    assert one.json() == {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"]}
    assert many.json()["kind"] == "PartialObjectMetadataList"
    assert one.json() in many.json()["items"]


async def test_protobuf_is_skipped_when_json_is_acceptable_and_refused_when_it_is_not(server: RunningServer) -> None:
    both = await server.get(DEPLOYMENTS, accept="application/vnd.kubernetes.protobuf,application/json")
    only = await server.get(DEPLOYMENTS, accept="application/vnd.kubernetes.protobuf")

    assert both.status == 200
    assert (only.status, only.json()["reason"]) == (406, "NotAcceptable")


async def test_protobuf_bodies_of_core_kinds_are_read(server: RunningServer) -> None:
    raw = b"\n" + bytes([2 + len("from-proto")]) + b"\n" + bytes([len("from-proto")]) + b"from-proto"
    body = b"k8s\x00" + b"\n\x0f\n\x02v1\x12\tNamespace" + b"\x12" + bytes([len(raw)]) + raw

    answer = await server.request("POST", "/api/v1/namespaces", body, content_type="application/vnd.kubernetes.protobuf")

    assert (answer.status, answer.json()["metadata"]["name"]) == (201, "from-proto")


async def test_media_types_that_cannot_be_read_are_415_and_say_which_can(server: RunningServer) -> None:
    await create(server, "media")

    posted = await server.request("POST", DEPLOYMENTS, b"x", content_type="text/plain")
    strategic = await server.request(
        "PATCH", f"{DEPLOYMENTS}/media", {"spec": {}}, content_type="application/strategic-merge-patch+json"
    )
    plain = await server.request("PATCH", f"{DEPLOYMENTS}/media", {"spec": {}})

    assert [answer.status for answer in (posted, strategic, plain)] == [415, 415, 415]
    assert "application/merge-patch+json, application/apply-patch+yaml" in strategic.json()["message"]
    assert "strategic" not in strategic.json()["message"]


async def test_strategic_merge_works_for_core_kinds(server: RunningServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    body = {"metadata": {"name": "strategic", "finalizers": ["example.com/a", "example.com/b"]}, "data": {"a": "1"}}
    await server.request("POST", path, body)

    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}, "data": {"b": "2"}}
    answer = await server.request("PATCH", f"{path}/strategic", patch, content_type="application/strategic-merge-patch+json")

    assert answer.json()["metadata"]["finalizers"] == ["example.com/b"]
    assert answer.json()["data"] == {"a": "1", "b": "2"}


async def test_a_failed_json_patch_test_is_422(server: RunningServer) -> None:
    await create(server, "json-patch")

    patch = [{"op": "test", "path": "/spec/replicas", "value": 9}, {"op": "replace", "path": "/spec/replicas", "value": 3}]
    answer = await server.request("PATCH", f"{DEPLOYMENTS}/json-patch", patch, content_type="application/json-patch+json")

    assert (answer.status, answer.json()["reason"]) == (422, "Invalid")
    assert (await server.get(f"{DEPLOYMENTS}/json-patch")).json()["spec"]["replicas"] == 1


async def test_server_side_apply_creates_then_conflicts_then_is_forced(server: RunningServer) -> None:
    path, type_ = f"{DEPLOYMENTS}/applied", "application/apply-patch+yaml"

    made = await server.request("PATCH", f"{path}?fieldManager=alice", deployment("applied"), content_type=type_)
    conflict = await server.request("PATCH", f"{path}?fieldManager=bob", deployment("applied", replicas=4), content_type=type_)
    forced = await server.request(
        "PATCH",
        f"{path}?fieldManager=bob&force=true",
        yaml.safe_dump(deployment("applied", replicas=4)).encode(),
        content_type=type_,
    )

    assert made.status == 201
    assert (conflict.status, conflict.json()["details"]["causes"][0]["field"]) == (409, ".spec.replicas")
    assert (forced.status, forced.json()["spec"]["replicas"]) == (200, 4)


async def test_apply_needs_a_manager_and_force_is_only_for_apply(server: RunningServer) -> None:
    await create(server, "options")
    path = f"{DEPLOYMENTS}/options"

    nameless = await server.request("PATCH", path, deployment("options"), content_type="application/apply-patch+yaml")
    forced = await server.request("PATCH", f"{path}?force=true", {"spec": {"replicas": 2}}, content_type=MERGE)
    dry = await server.request("PATCH", f"{path}?dryRun=Some", {"spec": {"replicas": 2}}, content_type=MERGE)

    assert [cause["field"] for cause in nameless.json()["details"]["causes"]] == ["fieldManager"]
    assert "may not be specified for non-apply patch" in forced.json()["message"]
    assert (dry.status, dry.json()["details"]["causes"][0]["field"]) == (422, "dryRun")


async def test_dry_run_answers_as_if_and_stores_nothing(server: RunningServer) -> None:
    made = await server.request("POST", f"{DEPLOYMENTS}?dryRun=All", deployment("dry"))

    assert made.status == 201 and made.json()["metadata"]["uid"]
    assert (await server.get(f"{DEPLOYMENTS}/dry")).status == 404


async def test_unknown_fields_are_warned_of_refused_or_ignored(server: RunningServer) -> None:
    body = deployment("fields", replicaz=3)

    warned = await server.request("POST", f"{DEPLOYMENTS}?dryRun=All", body)
    refused = await server.request("POST", f"{DEPLOYMENTS}?dryRun=All&fieldValidation=Strict", body)
    ignored = await server.request("POST", f"{DEPLOYMENTS}?dryRun=All&fieldValidation=Ignore", body)
    doubled = json.dumps(deployment("fields")).replace('"kind"', '"kind":"Deployment","kind"', 1).encode()
    twice = await server.request("POST", f"{DEPLOYMENTS}?dryRun=All&fieldValidation=Strict", doubled)

    assert warned.warnings == ['299 - "unknown field \\"spec.replicaz\\""']
    assert (refused.status, 'unknown field "spec.replicaz"' in refused.json()["message"]) == (400, True)
    assert (ignored.status, ignored.warnings) == (201, [])
    assert 'duplicate field "kind"' in twice.json()["message"]


async def test_invalid_objects_are_422_and_name_the_field(server: RunningServer) -> None:
    answer = await server.request("POST", DEPLOYMENTS, deployment("invalid", replicas=-1))

    status = answer.json()
    assert (answer.status, status["reason"], status["details"]["kind"]) == (422, "Invalid", "Deployment")
    assert status["details"]["causes"][0]["field"] == "spec.replicas"


async def test_malformed_bodies_are_400_in_kubernetes_words(server: RunningServer) -> None:
    broken = await server.request("POST", DEPLOYMENTS, b"{")
    array = await server.request("POST", DEPLOYMENTS, b"[]")
    deep = await server.request("POST", DEPLOYMENTS, b'{"a":' * 60_000 + b"1" + b"}" * 60_000)
    patch = await server.request("PATCH", f"{DEPLOYMENTS}/x", b"{", content_type=MERGE)

    assert broken.json()["message"].startswith("couldn't get version/kind; json parse error: ")
    assert [answer.status for answer in (broken, array, deep, patch)] == [400, 400, 400, 400]
    assert patch.json()["message"].startswith("error decoding patch: ")


async def test_status_and_scale_have_endpoints_of_their_own(server: RunningServer) -> None:
    made = await create(server, "parts", replicas=2)
    path = f"{DEPLOYMENTS}/parts"

    made["status"] = {"replicas": 2}
    made["spec"]["replicas"] = 9
    status = await server.request("PUT", f"{path}/status", made)
    scale = await server.request("PATCH", f"{path}/scale", {"spec": {"replicas": 5}}, content_type=MERGE)
    table = (await server.get(f"{path}/scale", accept=TABLE)).json()

    assert (status.json()["spec"]["replicas"], status.json()["status"]["replicas"]) == (2, 2)
    assert (scale.json()["kind"], scale.json()["spec"]["replicas"]) == ("Scale", 5)
    assert (await server.get(path)).json()["spec"]["replicas"] == 5
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert (await server.get(f"{path}/nothing")).status == 404


async def test_lists_are_paged_from_one_snapshot(server: RunningServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    for number in range(5):
        await server.request("POST", path, {"metadata": {"name": f"page-{number}", "labels": {"paged": "yes"}}})

    first = (await server.get(f"{path}?labelSelector=paged&limit=2")).json()
    await server.request("POST", path, {"metadata": {"name": "page-2b", "labels": {"paged": "yes"}}})
    names, token = [item["metadata"]["name"] for item in first["items"]], first["metadata"]["continue"]
    while token:
        page = (await server.get(f"{path}?labelSelector=paged&limit=2&continue={token}")).json()
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        names += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")

    assert names == [f"page-{number}" for number in range(5)]


async def test_delete_collection_takes_selectors_and_answers_with_a_list(server: RunningServer) -> None:
    for name in ("sweep-a", "sweep-b"):
        await create(server, name)

    answer = await server.request("DELETE", f"{DEPLOYMENTS}?labelSelector=test%20in%20(sweep-a,sweep-b)")

    assert [item["metadata"]["name"] for item in answer.json()["items"]] == ["sweep-a", "sweep-b"]
    assert (await server.get(f"{DEPLOYMENTS}/sweep-a")).status == 404


async def test_delete_honours_preconditions_finalizers_and_options_in_the_query(server: RunningServer) -> None:
    body = deployment("guarded")
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await server.request("POST", DEPLOYMENTS, body)
    path = f"{DEPLOYMENTS}/guarded"

    wrong = await server.request("DELETE", path, {"preconditions": {"uid": "no"}})
    policy = await server.request("DELETE", f"{path}?propagationPolicy=Sideways")
    held = await server.request("DELETE", f"{path}?propagationPolicy=Background")
    freed = await server.request("PATCH", path, {"metadata": {"finalizers": None}}, content_type=MERGE)

    assert (wrong.status, policy.status) == (409, 422)
    assert held.json()["metadata"]["deletionTimestamp"]
    assert freed.status == 200
    assert (await server.get(path)).status == 404


async def test_the_past_can_be_read_by_revision_and_by_time(server: RunningServer) -> None:
    made = await create(server, "travel")
    path = f"{DEPLOYMENTS}/travel"
    await asyncio.sleep(0.02)
    between = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    await asyncio.sleep(0.02)
    await server.request("PATCH", path, {"spec": {"replicas": 7}}, content_type=MERGE)

    by_revision = await server.get(f"{path}?at={made['metadata']['resourceVersion']}")
    by_time = await server.get(f"{path}?at={between}")
    nonsense = await server.get(f"{path}?at=yesterday")

    assert by_revision.json() == by_time.json() == made
    assert nonsense.status == 400


async def test_history_lists_versions_newest_first_also_of_an_object_that_is_gone(server: RunningServer) -> None:
    await create(server, "history")
    path = f"{DEPLOYMENTS}/history"
    await server.request("PATCH", f"{path}?fieldManager=carol", {"spec": {"replicas": 4}}, content_type=MERGE)
    await server.request("DELETE", path)

    history = (await server.get(f"{path}/history")).json()

    assert history["kind"] == "ObjectHistory"
    assert [item["operation"] for item in history["items"]] == ["delete", "update", "create"]
    assert history["items"][1]["manager"] == "carol"
    assert history["items"][1]["object"]["spec"]["replicas"] == 4
    assert abs(datetime.fromisoformat(history["items"][0]["time"]).timestamp() - time.time()) < 60


async def test_a_namespace_is_emptied_by_finalize_only(server: RunningServer) -> None:
    await server.request("POST", "/api/v1/namespaces", {"metadata": {"name": "ending"}})
    deleted = (await server.request("DELETE", "/api/v1/namespaces/ending")).json()

    refused = await server.request("POST", "/api/v1/namespaces/ending/configmaps", {"metadata": {"name": "late"}})
    deleted["spec"]["finalizers"] = []
    finalized = await server.request("PUT", "/api/v1/namespaces/ending/finalize", deleted)

    assert deleted["status"]["phase"] == "Terminating"
    assert refused.status == 403
    assert finalized.status == 200
    assert (await server.get("/api/v1/namespaces/ending")).status == 404


async def test_wrong_paths_and_methods_are_refused_with_a_status(server: RunningServer) -> None:
    for method, path, status in (
        ("GET", "/apis/plum.dev/v1/nothing", 404),
        ("GET", "/apis/plum.dev/v9/deployments", 404),
        ("GET", "/apis/plum.dev/v1/deployments/web", 404),
        ("GET", "/apis/plum.dev/v1/namespaces/default/nodes", 404),
        ("GET", f"{DEPLOYMENTS}/a/b/c", 404),
        ("GET", "/nothing", 404),
        ("POST", "/apis/plum.dev/v1/deployments", 405),
        ("POST", f"{DEPLOYMENTS}/web", 405),
        ("PUT", DEPLOYMENTS, 405),
        ("OPTIONS", DEPLOYMENTS, 405),
        ("POST", "/version", 405),
        ("POST", "/api/v1/namespaces/default/services", 405),
    ):
        answer = await server.request(method, path, deployment("x"))
        assert (method, path, answer.status) == (method, path, status)
        assert answer.json()["kind"] == "Status"


async def test_core_services_are_an_empty_list(server: RunningServer) -> None:
    answer = await server.get("/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue")

    assert (answer.json()["kind"], answer.json()["items"]) == ("ServiceList", [])


async def test_head_has_the_headers_of_get_and_no_body(server: RunningServer) -> None:
    await create(server, "head")
    whole = await server.get(f"{DEPLOYMENTS}/head")

    head = await server.request("HEAD", f"{DEPLOYMENTS}/head")

    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(whole.body))


async def test_big_answers_are_compressed_for_those_who_ask(server: RunningServer) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    await server.request("POST", path, {"metadata": {"name": "big"}, "data": {"text": "plum " * 60_000}})

    packed = await server.get(f"{path}/big", accept_encoding="gzip")
    plain = await server.get(f"{path}/big")
    refused = await server.get(f"{path}/big", accept_encoding="gzip;q=0")

    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body == refused.body
    assert len(packed.body) < len(plain.body) / 10


async def test_pipelined_requests_on_one_connection_are_answered_in_order(server: RunningServer) -> None:
    await create(server, "pipeline")
    get = f"GET {DEPLOYMENTS}/pipeline HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    body = json.dumps({"spec": {"replicas": 8}}).encode()
    patch = (
        f"PATCH {DEPLOYMENTS}/pipeline HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: {MERGE}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    last = get.replace(b"Host", b"Connection: close\r\nHost")

    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(get + patch + last)
    data = await reader.read(-1)
    writer.close()

    answers = [json.loads(part[part.index(b"{") :].split(b"HTTP/1.1 ")[0]) for part in data.split(b"\r\n\r\n")[1:]]
    assert [answer["spec"]["replicas"] for answer in answers] == [1, 8, 8]


async def test_expect_100_continue_is_answered_before_the_body(server: RunningServer) -> None:
    body = json.dumps(deployment("expect")).encode()
    head = f"POST {DEPLOYMENTS} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nConnection: close\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"

    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(head.encode())
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await reader.read(-1)).startswith(b"HTTP/1.1 201 Created\r\n")
    writer.close()


async def test_server_errors_are_not_what_nonsense_gets(server: RunningServer) -> None:
    for query in (
        "limit=x",
        "limit=-1",
        "resourceVersion=x",
        "continue=x",
        "labelSelector=%3D",
        "fieldSelector=x",
        "fieldSelector=spec.replicas%3D1",
        "resourceVersionMatch=y",
        "timeoutSeconds=x&watch=1",
        "watch=perhaps",
        "sendInitialEvents=true&watch=1",
    ):
        answer = await server.get(f"{DEPLOYMENTS}?{query}")
        assert answer.status in (400, 422), (query, answer.body)
        assert answer.json()["message"]


async def test_a_list_leaves_out_what_its_reader_does_not_need(server: RunningServer) -> None:
    await create(server, "shorter")
    whole = (await server.get(f"{DEPLOYMENTS}/shorter")).json()

    answer = await server.get(f"{DEPLOYMENTS}?omit=/metadata/managedFields,/spec/template,/metadata/annotations/a~1b,/spec/none")
    items = [item for item in answer.json()["items"] if item["metadata"]["name"] == "shorter"]

    del whole["metadata"]["managedFields"], whole["spec"]["template"]
    assert items == [whole]
    assert list(items[0]["metadata"]) == list(whole["metadata"])
    assert answer.json()["kind"] == "DeploymentList"


@pytest.mark.parametrize(
    ("omit", "says"),
    [
        ("metadata/managedFields", "use JSON pointers"),
        ("/spec/", "use JSON pointers"),
        ("/spec,/metadata/uid", '"/metadata/uid": cannot be left out'),
        (",".join(f"/spec/{number}" for number in range(17)), "names 17 parts; use 16 at most"),
    ],
)
async def test_what_cannot_be_left_out_is_refused_by_name(server: RunningServer, omit: str, says: str) -> None:
    for more in ("", "&watch=true"):
        answer = await server.get(f"{DEPLOYMENTS}?omit={omit}{more}")

        assert answer.status == 422
        assert says in answer.json()["message"]
    assert "goes with whole objects" in (await server.get(f"{DEPLOYMENTS}?omit=/spec", accept=TABLE)).json()["message"]
