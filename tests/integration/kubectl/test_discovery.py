"""kubectl learns what the server has: kinds, versions, fields, and who it talks to as whom."""

from __future__ import annotations

import json
import re
import urllib.request

from tests.support.kubectl import Kubectl, does
from tests.support.server import RunningServer


@does("version", "api-versions", "cluster-info", "api-resources: --verbs, --namespaced, --api-group, -o wide|name")
def test_version_kinds_and_address(kubectl: Kubectl) -> None:
    resources = set(kubectl.run("api-resources", "-o", "name").split())
    cluster = set(kubectl.run("api-resources", "--namespaced=false", "--api-group=plum.dev", "-o", "name").split())
    created = kubectl.run("api-resources", "--verbs=create,list", "-o", "wide")

    assert "Server Version: v1.32.0+plum" in kubectl.run("version")
    assert {"deployments.plum.dev", "instances.plum.dev", "namespaces", "leases.coordination.k8s.io"} <= resources
    assert "nodes.plum.dev" in cluster and "deployments.plum.dev" not in cluster
    assert created.splitlines()[0].split()[-2:] == ["VERBS", "CATEGORIES"] and "selfsubjectreviews" not in created
    assert "plum.dev/v1" in kubectl.run("api-versions").split()
    assert "is running at" in kubectl.run("cluster-info")


@does("explain: fields, --recursive, --api-version, --output=plaintext-openapiv2")
def test_explain_in_both_versions_of_openapi(kubectl: Kubectl) -> None:
    recursive = kubectl.run("explain", "deployments.plum.dev", "--recursive")
    second = kubectl.run("explain", "deploy.spec", "--output=plaintext-openapiv2")

    assert "FIELD: maxSurge" in kubectl.run("explain", "deploy.spec.strategy.maxSurge", "--api-version=plum.dev/v1")
    assert "replicas\t<integer>" in recursive and "ownerReferences\t<[]OwnerReference>" in recursive
    assert "FIELD: port" in kubectl.run("explain", "deploy.spec.template.probes.readiness.http.port")
    assert "FIELD: holderIdentity" in kubectl.run("explain", "lease.spec.holderIdentity")
    assert 'field "nope" does not exist' in kubectl.refused("explain", "deploy.spec.nope")
    assert re.search(r"VERSION: +plum.dev/v1", second) and "replicas\t<integer>" in second


@does("apply of an unknown kind", refused='no matches for kind "Deploymentt" in version "plum.dev/v1"')
def test_an_unknown_kind_is_named(kubectl: Kubectl) -> None:
    file = kubectl.file("typo", {"apiVersion": "plum.dev/v1", "kind": "Deploymentt", "metadata": {"name": "x"}})

    assert 'no matches for kind "Deploymentt" in version "plum.dev/v1"' in kubectl.refused("apply", "-f", file)


@does("get --raw", "proxy")
def test_raw_paths_and_the_proxy(kubectl: Kubectl, server: RunningServer) -> None:
    assert kubectl.run("get", "--raw", "/livez") == "ok"
    assert json.loads(kubectl.run("get", "--raw", "/apis/plum.dev/v1"))["kind"] == "APIResourceList"
    assert "NotFound" in kubectl.refused("get", "--raw", "/apis/plum.dev/v1/nothing")

    proxy = kubectl.start("proxy", "--port=0")
    try:
        assert proxy.stdout is not None
        address = proxy.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"http://{address}/version", timeout=20) as answer:
            assert json.load(answer)["gitVersion"] == "v1.32.0+plum"
    finally:
        proxy.terminate()
        proxy.communicate()


@does("auth can-i, can-i --list, whoami", "--as, --as-group")
def test_who_am_i_and_what_may_i(kubectl: Kubectl) -> None:
    assert kubectl.run("auth", "can-i", "create", "deployments.plum.dev") == "yes\n"
    assert kubectl.run("auth", "can-i", "get", "/metrics") == "yes\n"
    assert kubectl.run("auth", "can-i", "create", "deploy", "--as=jane", code=1) == "no\n"
    assert "*.*" in kubectl.run("auth", "can-i", "--list")
    assert "system:masters" in kubectl.run("auth", "whoami")
    assert "jane" in kubectl.run("auth", "whoami", "--as=jane")
    forbidden = kubectl.refused("get", "deploy", "--as=jane")
    assert (
        'deployments.plum.dev is forbidden: User "jane" cannot list resource "deployments" in API group "plum.dev" '
        'in the namespace "default"' in forbidden
    )
    kubectl.run("get", "deploy", "--as=jane", "--as-group=system:masters")


@does("auth reconcile", "create role|rolebinding|clusterrole|clusterrolebinding", "set subject")
def test_roles_made_by_kubectl_hold(kubectl: Kubectl) -> None:
    kubectl.run("create", "role", "reader", "--verb=get,list", "--resource=deployments.plum.dev")
    kubectl.run("create", "rolebinding", "readers", "--role=reader", "--user=ann")
    kubectl.run("create", "clusterrole", "watcher", "--verb=watch", "--resource=nodes.plum.dev")
    kubectl.run("create", "clusterrole", "scraper", "--verb=get", "--non-resource-url=/metrics")
    kubectl.run("create", "clusterrolebinding", "watchers", "--clusterrole=watcher", "--group=ops")
    kubectl.run("set", "subject", "rolebinding", "readers", "--user=bea")

    assert kubectl.run("auth", "can-i", "list", "deploy", "--as=ann") == "yes\n"
    assert kubectl.run("auth", "can-i", "list", "deploy", "--as=bea") == "yes\n"
    assert kubectl.run("auth", "can-i", "watch", "nodes.plum.dev", "--as=eve", "--as-group=ops").startswith("yes\n")
    assert kubectl.rows("rolebinding", "readers", "-o", "wide")[1][1::2] == ["Role/reader", "ann, bea"]
    assert "deployments.plum.dev" in kubectl.run("describe", "role", "reader")

    wider = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "reader", "namespace": "default"},
        "rules": [{"apiGroups": ["plum.dev"], "resources": ["deployments"], "verbs": ["get", "list", "delete"]}],
    }  # fmt: skip
    assert "reconciled" in kubectl.run("auth", "reconcile", "-f", kubectl.file("wider", wider))
    assert kubectl.run("auth", "can-i", "delete", "deploy", "--as=ann") == "yes\n"
