"""What clients learn about the server: discovery in both forms, OpenAPI, version, health, metrics, pages."""

from __future__ import annotations

from typing import Any

from tests.support.server import RunningServer

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def definition(plural: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"plural": plural, "singular": kind.lower(), "kind": kind}
    return {
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


async def test_plain_discovery_has_every_level(server: RunningServer) -> None:
    versions = (await server.get("/api")).json()
    groups = (await server.get("/apis/")).json()
    group = (await server.get("/apis/plum.dev")).json()
    resources = (await server.get("/apis/plum.dev/v1")).json()

    assert (versions["kind"], versions["versions"]) == ("APIVersions", ["v1"])
    assert groups["groups"][0]["name"] == "plum.dev"
    assert group["preferredVersion"] == {"groupVersion": "plum.dev/v1", "version": "v1"}
    by_name = {resource["name"]: resource for resource in resources["resources"]}
    assert by_name["deployments"]["shortNames"] == ["deploy"]
    assert "deletecollection" in by_name["deployments"]["verbs"]
    assert by_name["deployments/status"]["kind"] == "Deployment"
    scale = by_name["deployments/scale"]
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")
    assert by_name["nodes"]["namespaced"] is False


async def test_aggregated_discovery_has_everything_in_two_documents(server: RunningServer) -> None:
    core = await server.get("/api", accept=AGGREGATED)
    others = await server.get("/apis", accept=AGGREGATED)

    assert others.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    assert "name" not in core.json()["items"][0]["metadata"]
    older = await server.get("/apis", accept=AGGREGATED.replace("v=v2;", "v=v2beta1;"))
    assert older.headers["content-type"] == "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    assert older.json() == {**others.json(), "apiVersion": "apidiscovery.k8s.io/v2beta1"}
    plum = others.json()["items"][0]
    deployments = next(item for item in plum["versions"][0]["resources"] if item["resource"] == "deployments")
    assert deployments["responseKind"] == {"group": "plum.dev", "version": "v1", "kind": "Deployment"}
    assert [part["subresource"] for part in deployments["subresources"]] == ["status", "scale"]
    reviews = next(item for item in others.json()["items"] if item["metadata"]["name"] == "authorization.k8s.io")
    assert all(resource["verbs"] == ["create"] for resource in reviews["versions"][0]["resources"])


async def test_unchanged_discovery_is_not_sent_again_and_a_new_kind_changes_it(server: RunningServer) -> None:
    first = await server.get("/apis", accept=AGGREGATED)
    again = await server.get("/apis", accept=AGGREGATED, if_none_match=first.headers["etag"])

    made = await server.request("POST", DEFINITIONS, definition("gadgets", "Gadget"))
    changed = await server.get("/apis", accept=AGGREGATED, if_none_match=first.headers["etag"])

    assert (again.status, again.body) == (304, b"")
    assert made.status == 201
    assert changed.status == 200
    assert "example.com" in [item["metadata"]["name"] for item in changed.json()["items"]]
    assert (await server.get("/apis/example.com/v1/gadgets")).json()["kind"] == "GadgetList"


async def test_openapi_documents_are_found_by_hash_and_change_with_the_kinds(server: RunningServer) -> None:
    index = (await server.get("/openapi/v3")).json()["paths"]
    path = index["apis/plum.dev/v1"]["serverRelativeURL"]

    document = await server.get(path)
    unchanged = await server.get(path, if_none_match=document.headers["etag"])
    wrong = await server.get("/openapi/v3/apis/plum.dev/v1?hash=00")
    await server.request("POST", DEFINITIONS, definition("widgets", "Widget"))
    later = (await server.get("/openapi/v3")).json()["paths"]

    assert document.headers["cache-control"] == "public, immutable"
    assert document.headers["expires"]
    assert unchanged.status == 304
    assert (wrong.status, wrong.headers["location"]) == (301, path)
    assert later["apis/plum.dev/v1"] == index["apis/plum.dev/v1"]
    assert later["apis/example.com/v1"] != index.get("apis/example.com/v1")


async def test_openapi_has_what_kubectl_reads(server: RunningServer) -> None:
    document = (await server.get("/openapi/v3/apis/plum.dev/v1")).json()

    schema = document["components"]["schemas"]["dev.plum.v1.Deployment"]
    patch = document["paths"]["/apis/plum.dev/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    gvk = {"group": "plum.dev", "version": "v1", "kind": "Deployment"}
    assert schema["x-kubernetes-group-version-kind"] == [gvk]
    assert schema["properties"]["metadata"]["allOf"] == [
        {"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
    ]
    in_place = {parameter["name"] for parameter in patch["parameters"] if "name" in parameter}
    assert in_place == {"dryRun", "fieldValidation"}, "kubectl looks for these, and follows no reference"
    assert {"$ref": "#/components/parameters/force"} in patch["parameters"]
    assert (patch["x-kubernetes-action"], patch["x-kubernetes-group-version-kind"]) == ("patch", gvk)
    _assert_references_resolve(document)


def _assert_references_resolve(document: dict[str, Any]) -> None:
    components = document["components"]
    waiting: list[Any] = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            reference = value.get("$ref")
            if isinstance(reference, str):
                section, name = reference.removeprefix("#/components/").split("/")
                assert name in components[section], reference
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


async def test_openapi_v2_is_json_or_protobuf_and_changes_with_the_kinds(server: RunningServer) -> None:
    plain = await server.get("/openapi/v2")
    document = plain.json()
    kind = document["definitions"]["dev.plum.v1.Deployment"]
    patch = document["paths"]["/apis/plum.dev/v1/namespaces/{namespace}/deployments/{name}"]["patch"]

    assert document["swagger"] == "2.0"
    assert kind["x-kubernetes-group-version-kind"] == [{"group": "plum.dev", "kind": "Deployment", "version": "v1"}]
    assert kind["properties"]["metadata"]["$ref"] == "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}
    assert (await server.get("/openapi/v2", If_None_Match=plain.headers["etag"])).status == 304

    binary = await server.get("/openapi/v2", Accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    assert binary.headers["content-type"].endswith("+protobuf")
    assert binary.body.startswith(b"\x0a\x032.0")
    await server.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition("v2kinds", "V2Kind"))
    assert "com.example.v1.V2Kind" in (await server.get("/openapi/v2")).json()["definitions"]


async def test_version_and_health_are_what_probes_expect(server: RunningServer) -> None:
    version = (await server.get("/version/")).json()

    assert (version["gitVersion"], version["major"], version["minor"]) == ("v1.32.0+plum", "1", "32")
    for path in ("/healthz", "/livez", "/readyz"):
        answer = await server.get(path)
        assert (answer.status, answer.body) == (200, b"ok")
    assert b"[+]ping ok" in (await server.get("/readyz?verbose")).body


async def test_metrics_count_requests_and_name_the_process(server: RunningServer) -> None:
    await server.get("/version")

    lines = (await server.get("/metrics")).body.decode().splitlines()

    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert values['plum_http_requests_total{method="GET",code="200"}'] >= 1
    assert values["process_resident_memory_bytes"] > 10 << 20
    assert values['plum_objects{resource="namespaces"}'] >= 4
    bucket = values['plum_http_request_duration_seconds_bucket{method="GET",le="+Inf"}']
    assert bucket == values['plum_http_request_duration_seconds_count{method="GET"}']


async def test_reviews_say_what_the_local_user_may(server: RunningServer) -> None:
    prefix = "/apis/authorization.k8s.io/v1"
    attributes = {"resourceAttributes": {"verb": "delete", "resource": "deployments", "group": "plum.dev"}}

    access = await server.request("POST", f"{prefix}/selfsubjectaccessreviews", {"spec": attributes})
    rules = await server.request("POST", f"{prefix}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    who = await server.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    empty = await server.request("POST", f"{prefix}/selfsubjectaccessreviews", {"spec": {}})
    listed = await server.get(f"{prefix}/selfsubjectaccessreviews")

    assert (access.status, access.json()["status"]["allowed"]) == (201, True)
    assert "loopback" in access.json()["status"]["reason"]
    assert rules.json()["status"]["resourceRules"][0]["verbs"] == ["*"]
    assert who.json()["status"]["userInfo"]["username"] == "system:admin"
    assert (empty.status, listed.status) == (400, 405)


async def test_impersonation_is_refused_because_there_is_only_one_user(server: RunningServer) -> None:
    answer = await server.get("/api/v1/namespaces", impersonate_user="jane")

    assert (answer.status, answer.json()["reason"]) == (403, "Forbidden")


async def test_the_pages_load_nothing_from_elsewhere(server: RunningServer) -> None:
    page = await server.get("/")
    docs = await server.get("/docs")
    for answer in (page, docs):
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert b"http://" not in answer.body.replace(b"http://www.w3.org", b"") and b"https://" not in answer.body

    assert (await server.get("/docs/docs.css")).status == 200


async def test_docs_describe_themselves_and_tell_about_the_store(server: RunningServer) -> None:
    await server.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "counted"}})

    paths = (await server.get("/docs/openapi.json")).json()["paths"]
    build = (await server.get("/docs/build")).json()
    store = (await server.get("/docs/store")).json()
    doctor = (await server.get("/docs/doctor")).json()

    assert {"/docs/build", "/docs/store", "/docs/doctor", "/docs/store/compact"} <= set(paths)
    assert build["kubernetes"] == "v1.32.0+plum"
    assert store["objects"]["configmaps"] >= 1 and store["revision"] > 0
    assert {check["name"] for check in doctor["checks"]} == {"store", "disk", "open files", "memory", "agents"}


async def test_a_backup_is_a_store_that_opens(server: RunningServer) -> None:
    await server.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "saved"}, "data": {"a": "1"}})

    answer = await server.get("/backup")

    from plum_controller.store.base import Key
    from plum_controller.store.sqlite import SqliteStore

    assert answer.headers["content-type"] == "application/octet-stream"
    path = server.data_dir / "restored.db"
    path.write_bytes(answer.body)
    store = SqliteStore(path)
    await store.open()
    try:
        found = await store.read_at(store.revision, "configmaps", "default", "saved")
        assert [entry.key for entry in found] == [Key("configmaps", "default", "saved")]
    finally:
        await store.close()
