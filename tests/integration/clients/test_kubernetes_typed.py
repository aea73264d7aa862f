"""The typed part of the `kubernetes` library: every answer becomes an object of its class, lists and statuses too."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, utils

from tests.support.kubernetes_clients import Cluster, definition, until

LIBRARY = "kubernetes 37"


@pytest.fixture(scope="module")
def api(cluster: Cluster) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield found


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


def named(name: str, **metadata: Any) -> client.V1ObjectMeta:
    return client.V1ObjectMeta(name=name, **metadata)


@pytest.mark.client(LIBRARY, "CoreV1Api: ConfigMap create, read, list, patch, replace, delete")
def test_configmaps(core: client.CoreV1Api) -> None:
    made = core.create_namespaced_config_map(
        "default", client.V1ConfigMap(metadata=named("one", labels={"a": "b"}), data={"k": "v"})
    )
    assert isinstance(made, client.V1ConfigMap)
    assert made.metadata.creation_timestamp.tzinfo is not None
    assert core.read_namespaced_config_map("one", "default").to_dict() == made.to_dict()

    patched = core.patch_namespaced_config_map("one", "default", {"data": {"k": None, "n": "1"}})
    assert patched.data == {"n": "1"}

    patched.data = {"z": "9"}
    replaced = core.replace_namespaced_config_map("one", "default", patched)
    assert replaced.data == {"z": "9"}
    with pytest.raises(client.ApiException) as stale:
        core.replace_namespaced_config_map("one", "default", patched)
    assert (stale.value.status, json.loads(stale.value.body)["reason"]) == (409, "Conflict")

    listed = core.list_namespaced_config_map("default", label_selector="a=b")
    assert isinstance(listed, client.V1ConfigMapList)
    assert [item.metadata.name for item in listed.items] == ["one"]
    assert listed.metadata.resource_version

    deleted = core.delete_namespaced_config_map("one", "default", body=client.V1DeleteOptions(propagation_policy="Background"))
    assert (deleted["kind"], deleted["status"], deleted["details"]["name"]) == ("Status", "Success", "one")
    with pytest.raises(client.ApiException) as gone:
        core.read_namespaced_config_map("one", "default")
    assert (gone.value.status, json.loads(gone.value.body)["details"]["kind"]) == (404, "configmaps")


@pytest.mark.client(LIBRARY, "CoreV1Api: all patch content types")
def test_every_type_of_patch_of_a_core_kind(core: client.CoreV1Api) -> None:
    metadata = named("patched", finalizers=["example.com/a", "example.com/b"])
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=metadata, data={"k": "v"}))

    def patch(body: Any, type_: str, **options: Any) -> client.V1ConfigMap:
        return core.patch_namespaced_config_map("patched", "default", body, _content_type=type_, **options)

    operations = [{"op": "test", "path": "/data/k", "value": "v"}, {"op": "add", "path": "/data/j", "value": "1"}]
    assert patch(operations, "application/json-patch+json").data == {"k": "v", "j": "1"}
    assert patch({"data": {"j": None}}, "application/merge-patch+json").data == {"k": "v"}
    directive = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}}
    assert patch(directive, "application/strategic-merge-patch+json").metadata.finalizers == ["example.com/b"]
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "patched"}, "data": {"s": "a"}}
    owned = patch(applied, "application/apply-patch+yaml", field_manager="tests")
    assert owned.data == {"k": "v", "s": "a"}
    assert ("tests", "Apply") in {(entry.manager, entry.operation) for entry in owned.metadata.managed_fields}
    assert patch({"metadata": {"finalizers": None}}, "application/merge-patch+json").metadata.finalizers is None
    core.delete_namespaced_config_map("patched", "default")


@pytest.mark.client(LIBRARY, "CoreV1Api: lists in pages, deletecollection")
def test_pages_and_deleting_a_collection(core: client.CoreV1Api) -> None:
    for number in range(5):
        core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=named(f"page-{number}", labels={"page": "yes"})))

    seen, token = [], None
    while token != "":
        page = core.list_namespaced_config_map("default", label_selector="page", limit=2, _continue=token)
        seen += [item.metadata.name for item in page.items]
        token = page.metadata._continue or ""
    assert seen == [f"page-{number}" for number in range(5)]

    done = core.delete_collection_namespaced_config_map("default", label_selector="page")
    assert isinstance(done, client.V1Status)
    assert not core.list_config_map_for_all_namespaces(label_selector="page").items


@pytest.mark.client(LIBRARY, "CoreV1Api: Secret with data and stringData")
def test_secrets(core: client.CoreV1Api) -> None:
    body = client.V1Secret(
        metadata=named("keys"), string_data={"token": "abc"}, data={"raw": base64.b64encode(b"\x00\xff").decode()}
    )
    made = core.create_namespaced_secret("default", body)

    assert made.type == "Opaque"
    assert {name: base64.b64decode(value) for name, value in made.data.items()} == {"token": b"abc", "raw": b"\x00\xff"}
    assert made.string_data is None
    assert [item.metadata.name for item in core.list_namespaced_secret("default", field_selector="type=Opaque").items] == ["keys"]
    core.delete_namespaced_secret("keys", "default")


@pytest.mark.client(LIBRARY, "CoreV1Api: Namespace create, list, delete with its contents")
def test_namespaces(core: client.CoreV1Api) -> None:
    made = core.create_namespace(client.V1Namespace(metadata=named("typed")))
    assert made.status.phase == "Active"
    assert made.metadata.labels == {"kubernetes.io/metadata.name": "typed"}
    core.create_namespaced_config_map("typed", client.V1ConfigMap(metadata=named("inside")))

    core.delete_namespace("typed", propagation_policy="Foreground")

    def gone() -> bool:
        return "typed" not in [item.metadata.name for item in core.list_namespace().items]

    until(gone, what="the namespace is gone")
    assert not core.list_config_map_for_all_namespaces(field_selector="metadata.name=inside").items


@pytest.mark.client(LIBRARY, "CoreV1Api: Event create, field selectors, series by patch")
def test_events(core: client.CoreV1Api) -> None:
    now = datetime.now(UTC)
    about = client.V1ObjectReference(kind="ConfigMap", namespace="default", name="web", uid="0-1", api_version="v1")
    body = client.CoreV1Event(
        metadata=client.V1ObjectMeta(generate_name="web."),
        involved_object=about,
        reason="Tried",
        message="a test tried this",
        type="Normal",
        first_timestamp=now,
        last_timestamp=now,
        count=1,
        source=client.V1EventSource(component="tests"),
    )
    made = core.create_namespaced_event("default", body)
    assert made.metadata.name.startswith("web.")

    again = core.patch_namespaced_event(made.metadata.name, "default", {"count": 2})
    assert again.count == 2
    selector = "involvedObject.name=web,involvedObject.kind=ConfigMap,reason=Tried"
    (found,) = core.list_namespaced_event("default", field_selector=selector).items
    assert (found.count, found.first_timestamp.replace(microsecond=0)) == (2, now.replace(microsecond=0))


@pytest.mark.client(LIBRARY, "CoordinationV1Api: Lease with microseconds")
def test_leases(api: client.ApiClient) -> None:
    leases = client.CoordinationV1Api(api)
    now = datetime.now(UTC)
    spec = client.V1LeaseSpec(
        holder_identity="me", lease_duration_seconds=15, acquire_time=now, renew_time=now, lease_transitions=0
    )
    made = leases.create_namespaced_lease("default", client.V1Lease(metadata=named("held"), spec=spec))
    assert made.spec.renew_time == now

    made.spec.holder_identity = "you"
    assert leases.replace_namespaced_lease("held", "default", made).spec.holder_identity == "you"
    assert [item.metadata.name for item in leases.list_lease_for_all_namespaces(field_selector="metadata.name=held").items] == [
        "held"
    ]
    assert leases.delete_namespaced_lease("held", "default")["status"] == "Success"


@pytest.mark.client(LIBRARY, "RbacAuthorizationV1Api: roles and bindings")
def test_roles_and_bindings(api: client.ApiClient) -> None:
    rbac = client.RbacAuthorizationV1Api(api)
    rule = client.V1PolicyRule(api_groups=[""], resources=["configmaps"], verbs=["get", "list"])
    role = rbac.create_namespaced_role("default", client.V1Role(metadata=named("reader"), rules=[rule]))
    assert role.rules[0].verbs == ["get", "list"]
    subject = client.RbacV1Subject(kind="User", name="ann", api_group="rbac.authorization.k8s.io")
    reference = client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reader")
    binding = client.V1RoleBinding(metadata=named("ann-reads"), subjects=[subject], role_ref=reference)
    assert rbac.create_namespaced_role_binding("default", binding).subjects[0].name == "ann"
    cluster_role = rbac.create_cluster_role(client.V1ClusterRole(metadata=named("tests-all"), rules=[rule]))
    assert cluster_role.metadata.namespace is None
    assert "tests-all" in [item.metadata.name for item in rbac.list_cluster_role().items]
    rbac.delete_cluster_role("tests-all")
    rbac.delete_namespaced_role_binding("ann-reads", "default")
    rbac.delete_namespaced_role("reader", "default")


@pytest.mark.client(LIBRARY, "ApiextensionsV1Api: create a definition and wait for Established")
def test_definitions(api: client.ApiClient) -> None:
    definitions = client.ApiextensionsV1Api(api)
    made = definitions.create_custom_resource_definition(definition("typed", "Typed"))
    assert isinstance(made, client.V1CustomResourceDefinition)

    def established() -> bool:
        found = definitions.read_custom_resource_definition_status("typed.clients.example.com")
        return {"Established": "True", "NamesAccepted": "True"}.items() <= {
            c.type: c.status for c in found.status.conditions or []
        }.items()

    until(established, what="Established")
    listed = definitions.list_custom_resource_definition()
    assert "typed.clients.example.com" in [item.metadata.name for item in listed.items]
    definitions.delete_custom_resource_definition("typed.clients.example.com")
    until(lambda: not definitions.list_custom_resource_definition(field_selector="metadata.name=typed.clients.example.com").items)


@pytest.mark.client(LIBRARY, "AuthorizationV1Api, AuthenticationV1Api: reviews of oneself")
def test_reviews(api: client.ApiClient) -> None:
    asked = client.V1ResourceAttributes(verb="delete", resource="configmaps", namespace="default")
    body = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=asked))
    assert client.AuthorizationV1Api(api).create_self_subject_access_review(body).status.allowed

    rules = client.V1SelfSubjectRulesReview(spec=client.V1SelfSubjectRulesReviewSpec(namespace="default"))
    assert client.AuthorizationV1Api(api).create_self_subject_rules_review(rules).status.resource_rules

    review = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    assert "system:masters" in review.status.user_info.groups


@pytest.mark.client(LIBRARY, "VersionApi, ApisApi, CoreApi: version and discovery")
def test_version_and_discovery(api: client.ApiClient) -> None:
    assert client.VersionApi(api).get_code().git_version.startswith("v1.")
    assert client.CoreApi(api).get_api_versions().versions == ["v1"]
    assert "plum.dev" in [group.name for group in client.ApisApi(api).get_api_versions().groups]
    resources = client.CoreV1Api(api).get_api_resources().resources
    assert {"configmaps", "namespaces", "secrets", "events"} <= {found.name for found in resources}


@pytest.mark.client(LIBRARY, "utils.create_from_yaml")
def test_create_from_yaml(api: client.ApiClient, core: client.CoreV1Api, tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: from-yaml}\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n"
        "- {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: from-yaml}, data: {k: v}}\n"
        "- {apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: b, namespace: from-yaml}}\n"
    )

    utils.create_from_yaml(api, str(file))

    assert core.read_namespaced_config_map("a", "from-yaml").data == {"k": "v"}
    with pytest.raises(utils.FailToCreateError) as error:
        utils.create_from_yaml(api, str(file))
    assert "already exists" in str(error.value)


@pytest.mark.client(LIBRARY, "dry run, field validation, field manager")
def test_options_of_writes(core: client.CoreV1Api) -> None:
    body = client.V1ConfigMap(metadata=named("options"), data={"k": "v"})

    assert core.create_namespaced_config_map("default", body, dry_run="All").metadata.uid
    with pytest.raises(client.ApiException) as missing:
        core.read_namespaced_config_map("options", "default")
    assert missing.value.status == 404

    made = core.create_namespaced_config_map("default", body, field_manager="tests")
    assert [entry.manager for entry in made.metadata.managed_fields] == ["tests"]
    with pytest.raises(client.ApiException) as strict:
        core.patch_namespaced_config_map("options", "default", {"dta": {}}, field_validation="Strict")
    assert strict.value.status == 422
    assert 'unknown field "dta"' in json.loads(strict.value.body)["message"]
