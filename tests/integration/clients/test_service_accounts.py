"""Clients with the rights of a service account and no more: a bearer token over HTTPS, roles as operators ask for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kr8s
import lightkube
import pytest
from kubernetes import client, config, utils
from lightkube.resources.core_v1 import ConfigMap

from tests.support.kopf_operator import EXAMPLES, Operator, example_definition
from tests.support.kubernetes_clients import Cluster, kr8s_api, until

RULES = [
    {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": ["list", "watch"]},
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]},
    {"apiGroups": [EXAMPLES], "resources": ["clusterkopfpeerings"], "verbs": ["list", "watch", "patch", "get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    {"apiGroups": [EXAMPLES], "resources": ["jobs"], "verbs": ["list", "watch", "patch"]},
]
"""What kopf's documentation lists for an operator: its framework's own needs, and its kind."""

SUBJECT = {"kind": "ServiceAccount", "name": "operator", "namespace": "default"}


@pytest.fixture(scope="module")
def admin(cluster: Cluster) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(cluster.kubeconfig)) as found:
        yield found


@pytest.fixture(scope="module")
def account(cluster: Cluster, admin: client.ApiClient, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The server as the service account reaches it."""
    core = client.CoreV1Api(admin)
    core.create_namespaced_service_account("default", client.V1ServiceAccount(metadata=client.V1ObjectMeta(name="operator")))
    group = "rbac.authorization.k8s.io"
    utils.create_from_dict(
        admin, {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "operator"}, "rules": RULES}
    )
    utils.create_from_dict(
        admin,
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "operator"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "operator"},
            "subjects": [SUBJECT],
        },
    )
    client.ApiextensionsV1Api(admin).create_custom_resource_definition(example_definition("jobs", "Job"))
    request: Any = {"spec": {"expirationSeconds": 3600, "audiences": []}}
    issued = core.create_namespaced_service_account_token("operator", "default", request)
    path = tmp_path_factory.mktemp("account") / "kubeconfig"
    known = json.loads(cluster.kubeconfig.read_text())
    known["users"] = [{"name": "operator", "user": {"token": issued.status.token}}]
    known["contexts"] = [{"name": "plum", "context": {"cluster": "plum", "user": "operator", "namespace": "default"}}]
    path.write_text(json.dumps({**known, "current-context": "plum"}))
    return Cluster(cluster.server, path)


@pytest.mark.client("kopf 1.45", "with a service account that has just the rights of its documentation")
def test_an_operator_needs_no_more_than_its_documentation_says(account: Cluster, admin: client.ApiClient, tmp_path: Path) -> None:
    objects = client.CustomObjectsApi(admin)
    where = (EXAMPLES, "v1", "default", "jobs")
    operator = Operator(account, "everything.py", tmp_path).start("--standalone", "-A")
    try:
        body = {"apiVersion": f"{EXAMPLES}/v1", "kind": "Job", "metadata": {"name": "allowed"}, "spec": {"site": "a"}}
        until(lambda: _created(objects, where, body))
        until(lambda: objects.get_namespaced_custom_object(*where, "allowed").get("status", {}).get("retried"))
        objects.delete_namespaced_custom_object(*where, "allowed")
        until(lambda: not objects.list_namespaced_custom_object(*where)["items"], what="deletion ends")
        events = client.CoreV1Api(admin).list_namespaced_event("default", field_selector="involvedObject.name=allowed")
        assert events.items
        operator.stop()
    finally:
        operator.kill()


def _created(objects: client.CustomObjectsApi, where: Any, body: Any) -> bool:
    """False until the kind is served."""
    try:
        objects.create_namespaced_custom_object(*where, body)
    except client.ApiException as error:
        assert error.status == 404
        return False
    return True


@pytest.mark.client("kubernetes 37", "bearer token: what is not allowed is 403 with a sentence, reviews say so before")
def test_the_typed_library(account: Cluster) -> None:
    with config.new_client_from_config(str(account.kubeconfig)) as api:
        core = client.CoreV1Api(api)
        assert core.list_namespace().items
        with pytest.raises(client.ApiException) as refused:
            core.list_namespaced_secret("default")
        asked = client.V1ResourceAttributes(verb="list", resource="secrets", namespace="default")
        review = client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=asked))
        answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
        who = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview()).status.user_info

    status = json.loads(refused.value.body)
    assert (status["code"], status["reason"]) == (403, "Forbidden")
    assert 'User "system:serviceaccount:default:operator" cannot list resource "secrets"' in status["message"]
    assert not answer.status.allowed
    assert who.username == "system:serviceaccount:default:operator"
    assert {"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"} <= set(who.groups)


@pytest.mark.client("kr8s 0.20", "bearer token: get, 403")
def test_kr8s(account: Cluster) -> None:
    with kr8s_api(account) as api:
        assert "default" in [found.name for found in api.get("namespaces")]
        with pytest.raises(kr8s.ServerError) as refused:
            list(api.get("secrets", namespace="default"))
    assert refused.value.response.status_code == 403


@pytest.mark.client("lightkube 1.0", "bearer token: 403 as ApiError")
def test_lightkube(account: Cluster) -> None:
    with lightkube.Client(config=lightkube.KubeConfig.from_file(str(account.kubeconfig))) as api:
        with pytest.raises(lightkube.ApiError) as refused:
            api.get(ConfigMap, "anything")
    assert (refused.value.status.code, refused.value.status.reason) == (403, "Forbidden")


@pytest.mark.client("kubernetes 37", "a wrong token is 401")
def test_a_wrong_token(account: Cluster, tmp_path: Path) -> None:
    known = json.loads(account.kubeconfig.read_text())
    known["users"][0]["user"]["token"] = "wrong"
    path = tmp_path / "wrong"
    path.write_text(json.dumps(known))

    with config.new_client_from_config(str(path)) as api, pytest.raises(client.ApiException) as refused:
        client.CoreV1Api(api).list_namespace()
    assert (refused.value.status, json.loads(refused.value.body)["reason"]) == (401, "Unauthorized")
