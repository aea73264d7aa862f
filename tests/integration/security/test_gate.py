"""Every request over TLS passes the gate: strangers see next to nothing, users what their roles say."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from plum_client.errors import ApiError

from tests.integration.security.conftest import Site

PLUM = "/apis/plum.dev/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
DEPLOYMENTS = f"{PLUM}/namespaces/default/deployments"
OPEN = ["/", "/ui/deployments", "/healthz", "/livez", "/readyz", "/version", "/version/"]
CLOSED = [
    "/api", "/apis", "/api/v1", "/apis/plum.dev/v1", "/openapi/v3", "/openapi/v3/apis/plum.dev/v1", "/metrics", "/backup",
    "/docs", "/docs/openapi.json", "/api/v1/namespaces", "/api/v1/secrets", "/api/v1/watch/secrets", DEPLOYMENTS,
    f"{DEPLOYMENTS}/web",
    f"{DEPLOYMENTS}/web/status", f"{DEPLOYMENTS}/web/history", f"{PLUM}/namespaces/default/instances/x/log", f"{PLUM}/tokens",
    f"{RBAC}/clusterroles", "/nothing/here", "/agent/v1/connect?node=n",
]  # fmt: skip


def deployment(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"replicas": 0, "template": {"command": ["true"]}}}


def bind(site: Site, user: str, role: str, namespace: str = "") -> None:
    """Give a user a ClusterRole, in one namespace or everywhere."""
    path = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    site.make(path, {"metadata": {"name": f"{user}-{role}"}, "subjects": [subject], "roleRef": reference})


@pytest.mark.parametrize("path", OPEN)
def test_strangers_see_that_the_server_lives(site: Site, path: str) -> None:
    assert site.nobody.get(path)[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_strangers_get_401_everywhere_else(site: Site, method: str) -> None:
    for path in [*CLOSED, "/plan"]:
        status, answer = site.nobody.call(method, path, {} if method != "GET" else None)
        assert (status, answer["reason"]) == (401, "Unauthorized"), (method, path, answer)


def test_strangers_may_write_nothing_anywhere(site: Site) -> None:
    for path in OPEN:
        assert site.nobody.call("POST", path, {})[0] == 401


async def test_the_gate_stands_before_websockets_too(site: Site) -> None:
    transport = site.nobody.server.transport()
    refused = []
    for path in (f"{DEPLOYMENTS}?watch=true", "/agent/v1/connect?node=n"):
        try:
            await transport.open_websocket(path)
        except ApiError as error:
            refused.append(error.status.get("code"))
    await transport.close()

    assert refused == [401, 401]


def test_users_without_roles_get_403_in_the_words_of_kubernetes(site: Site) -> None:
    jane = site.user("jane")

    assert jane.get("/apis")[0] == 200
    listed = jane.get(DEPLOYMENTS)
    named = jane.get(f"{DEPLOYMENTS}/web/scale")
    everywhere = jane.get(f"{PLUM}/deployments")
    core = jane.call("DELETE", "/api/v1/namespaces/default/secrets")
    path = jane.get("/metrics")

    assert (listed[0], listed[1]["message"]) == (
        403,
        'deployments.plum.dev is forbidden: User "jane" cannot list resource "deployments" in API group "plum.dev" '
        'in the namespace "default"',
    )
    assert named[1]["message"] == (
        'deployments.plum.dev "web" is forbidden: User "jane" cannot get resource "deployments/scale" in API group "plum.dev" '
        'in the namespace "default"'
    )
    assert everywhere[1]["message"].endswith("at the cluster scope")
    assert core[1]["message"].startswith('secrets is forbidden: User "jane" cannot deletecollection resource "secrets"')
    assert path[1]["message"] == 'forbidden: User "jane" cannot get path "/metrics"'


def test_roles_allow_what_they_say_at_once_and_no_more(site: Site) -> None:
    site.make("/api/v1/namespaces", {"metadata": {"name": "other"}})
    site.make(DEPLOYMENTS, deployment("seen"))
    ann = site.user("ann")
    assert ann.get(f"{DEPLOYMENTS}/seen")[0] == 403

    bind(site, "ann", "view", "default")

    assert ann.get(f"{DEPLOYMENTS}/seen")[0] == 200
    assert ann.get(f"{PLUM}/namespaces/other/deployments")[0] == 403
    assert ann.call("POST", DEPLOYMENTS, deployment("no"))[0] == 403
    assert ann.get("/api/v1/namespaces/default/secrets")[0] == 403
    assert ann.get(f"{PLUM}/tokens")[0] == 403

    site.admin.call("DELETE", f"{RBAC}/namespaces/default/rolebindings/ann-view")
    assert ann.get(f"{DEPLOYMENTS}/seen")[0] == 403


def test_edit_writes_and_cannot_touch_roles(site: Site) -> None:
    ed = site.user("ed")
    bind(site, "ed", "edit", "default")

    assert ed.call("POST", DEPLOYMENTS, deployment("made-by-ed"))[0] == 201
    assert ed.call("DELETE", f"{DEPLOYMENTS}/made-by-ed")[0] == 200
    assert ed.get(f"{RBAC}/namespaces/default/roles")[0] == 403


def test_a_role_can_name_single_objects_and_lists_of_them(site: Site) -> None:
    site.make(DEPLOYMENTS, deployment("one"))
    rule = {"verbs": ["get", "list", "watch"], "apiGroups": ["plum.dev"], "resources": ["deployments"], "resourceNames": ["one"]}
    site.make(f"{RBAC}/clusterroles", {"metadata": {"name": "only-one"}, "rules": [rule]})
    bind(site, "una", "only-one", "default")
    una = site.user("una")

    assert una.get(f"{DEPLOYMENTS}/one")[0] == 200
    assert una.get(f"{DEPLOYMENTS}?fieldSelector=metadata.name%3Done")[0] == 200
    assert una.get(f"{DEPLOYMENTS}/seen")[0] == 403
    assert una.get(DEPLOYMENTS)[0] == 403


def test_roles_are_gathered_by_label(site: Site) -> None:
    rule = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}
    label = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    site.make(f"{RBAC}/clusterroles", {"metadata": {"name": "see-things", "labels": label}, "rules": [rule]})
    bind(site, "gus", "view", "default")
    gus = site.user("gus")

    assert gus.get("/apis/example.com/v1/namespaces/default/things/x")[0] == 404
    assert gus.get("/apis/example.com/v1/namespaces/default/stuff/x")[0] == 403


def test_nobody_gives_away_more_than_they_have(site: Site) -> None:
    ada = site.user("ada")
    bind(site, "ada", "admin", "default")
    roles, bindings = f"{RBAC}/namespaces/default/roles", f"{RBAC}/namespaces/default/rolebindings"
    fine = {"verbs": ["get"], "apiGroups": ["plum.dev"], "resources": ["deployments"]}
    more = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    to_bob = [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]

    def reference(name: str) -> dict[str, str]:
        return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}

    assert ada.call("POST", roles, {"metadata": {"name": "fine"}, "rules": [fine]})[0] == 201
    status, refused = ada.call("POST", roles, {"metadata": {"name": "more"}, "rules": [more]})
    assert status == 403 and "attempting to grant RBAC permissions not currently held" in refused["message"]
    patched = ada.call("PATCH", f"{roles}/fine", {"rules": [more]}, Content_Type="application/merge-patch+json")
    assert patched[0] == 403
    view = {"metadata": {"name": "v"}, "subjects": to_bob, "roleRef": reference("view")}
    everything = {"metadata": {"name": "c"}, "subjects": to_bob, "roleRef": reference("cluster-admin")}
    assert ada.call("POST", bindings, view)[0] == 201
    assert ada.call("POST", bindings, everything)[0] == 403
    assert ada.call("POST", f"{RBAC}/clusterrolebindings", everything)[0] == 403
    gathering = {"metadata": {"name": "g"}, "rules": [], "aggregationRule": {"clusterRoleSelectors": [{}]}}
    assert ada.call("POST", f"{RBAC}/clusterroles", gathering)[0] == 403


def test_nobody_makes_tokens_of_others(site: Site) -> None:
    rule = {"verbs": ["create"], "apiGroups": ["plum.dev"], "resources": ["tokens"]}
    site.make(f"{RBAC}/clusterroles", {"metadata": {"name": "make-tokens"}, "rules": [rule]})
    bind(site, "tim", "make-tokens")
    tim = site.user("tim")

    def token(user: str, *groups: str) -> tuple[int, Any]:
        return tim.call("POST", f"{PLUM}/tokens", {"spec": {"user": user, "groups": list(groups)}})

    assert token("tim")[0] == 201
    assert token("tim", "system:masters")[0] == 403
    assert token("root")[0] == 403
    assert "impersonate" in token("system:serviceaccount:default:x")[1]["message"]


def test_impersonation_is_a_right_and_is_judged_as_the_other(site: Site) -> None:
    bind(site, "victor", "view", "default")
    rule = {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["victor"]}
    site.make(f"{RBAC}/clusterroles", {"metadata": {"name": "be-victor"}, "rules": [rule]})
    bind(site, "ivy", "be-victor")
    ivy = site.user("ivy")

    assert ivy.get(DEPLOYMENTS)[0] == 403
    assert ivy.get(DEPLOYMENTS, Impersonate_User="victor")[0] == 200
    assert ivy.get(DEPLOYMENTS, Impersonate_User="root")[0] == 403
    assert ivy.get(DEPLOYMENTS, Impersonate_User="victor", Impersonate_Group="system:masters")[0] == 403
    assert site.admin.get(DEPLOYMENTS, Impersonate_User="nobody-special")[0] == 403
    status, review = site.admin.call(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, Impersonate_User="victor", Impersonate_Group="ops"
    )
    assert status == 201
    assert review["status"]["userInfo"] == {"username": "victor", "groups": ["ops", "system:authenticated"]}


def test_reviews_answer_from_the_roles(site: Site) -> None:
    reviews = "/apis/authorization.k8s.io/v1"
    bind(site, "rex", "view", "default")
    rex = site.user("rex")

    def may(caller: Any, verb: str, namespace: str = "default", kind: str = "selfsubjectaccessreviews", **spec: Any) -> Any:
        wanted = {"verb": verb, "group": "plum.dev", "resource": "deployments", "namespace": namespace}
        status, answer = caller.call("POST", f"{reviews}/{kind}", {"spec": {"resourceAttributes": wanted, **spec}})
        assert status == 201, answer
        return answer["status"]["allowed"]

    assert (may(rex, "get"), may(rex, "delete"), may(rex, "get", "other")) == (True, False, False)
    assert may(site.admin, "get", kind="subjectaccessreviews", user="rex") is True
    assert may(site.admin, "delete", kind="subjectaccessreviews", user="rex") is False
    assert may(site.admin, "delete", kind="namespaces/default/localsubjectaccessreviews", user="rex") is False
    assert rex.call("POST", f"{reviews}/subjectaccessreviews", {"spec": {}})[0] == 403
    rules = rex.call("POST", f"{reviews}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})[1]["status"]
    assert any("deployments" in rule["resources"] and "get" in rule["verbs"] for rule in rules["resourceRules"])


async def test_the_loopback_listener_stays_open_for_the_local_user(site: Site) -> None:
    server = site.running

    assert (await server.get("/api/v1/secrets")).status == 200
    assert (await server.get("/api/v1/secrets", Authorization="Bearer none")).status == 200
    assert (await server.get("/api/v1/secrets", impersonate_user="jane")).status == 403
    assert (await server.get("/api/v1/secrets", Authorization="Bearer plum_wrong")).status == 401
    jane = site.user("jane-on-loopback").server.token
    assert (await server.get("/api/v1/secrets", Authorization=f"Bearer {jane}")).status == 403


def test_default_roles_come_back_and_additions_stay(site: Site) -> None:
    view = site.admin.get(f"{RBAC}/clusterroles/system:aggregate-to-view")[1]

    assert view["metadata"]["labels"]["kubernetes.io/bootstrapping"] == "rbac-defaults"
    assert json.dumps(view["rules"]).count("secrets") == 0


async def test_many_decisions_are_remembered_and_forgotten_with_the_roles(site: Site) -> None:
    zoe = site.user("zoe")
    for _ in range(3):
        assert await asyncio.to_thread(zoe.get, DEPLOYMENTS) == (403, refusal_of_zoe())
        bind(site, "zoe", "view", "default")
        assert (await asyncio.to_thread(zoe.get, DEPLOYMENTS))[0] == 200
        site.admin.call("DELETE", f"{RBAC}/namespaces/default/rolebindings/zoe-view")


def refusal_of_zoe() -> Any:
    text = (
        'deployments.plum.dev is forbidden: User "zoe" cannot list resource "deployments" in API group "plum.dev" '
        'in the namespace "default"'
    )
    details = {"group": "plum.dev", "kind": "deployments"}
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return {**head, "message": text, "reason": "Forbidden", "details": details, "code": 403}
