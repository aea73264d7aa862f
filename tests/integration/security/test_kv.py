"""Rights on entries are rights on `kvs` in a namespace, whatever the way to them; a transaction needs those of its parts."""

from __future__ import annotations

from typing import Any

from tests.integration.security.conftest import Caller, Site

RBAC = "/apis/rbac.authorization.k8s.io/v1"
TRANSACTIONS = "/apis/plum.dev/v1/transactions"


def grant(
    site: Site, user: str, namespace: str, *verbs: str, resource: str = "kvs", group: str = "plum.dev", **rule: Any
) -> None:
    """Give a user verbs in one namespace."""
    path, name = f"{RBAC}/namespaces/{namespace}", f"{user}-{resource}"
    site.make(
        f"{path}/roles",
        {"metadata": {"name": name}, "rules": [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs), **rule}]},
    )
    subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
    reference = {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io", "name": name}
    site.make(f"{path}/rolebindings", {"metadata": {"name": name}, "subjects": [subject], "roleRef": reference})


def kv(caller: Caller, method: str, path: str, body: Any = None) -> int:
    return caller.call(method, f"/kv/{path}", body)[0]


def put(namespace: str, key: str) -> dict[str, Any]:
    return {"put": {"namespace": namespace, "key": key, "value": 1}}


def test_strangers_and_users_without_rights_see_nothing(site: Site) -> None:
    for path in ("rights/a", "rights", "rights?watch=true"):
        assert kv(site.nobody, "GET", path) == 401
        assert kv(site.user("nobody-special"), "GET", path) == 403
    for path in ("/kv", "/v1/kv", "/v1/kv/rights"):
        assert site.nobody.call("GET", path)[0] == 401
        assert site.user("nobody-special").call("GET", path)[0] == 403
    assert site.nobody.call("POST", TRANSACTIONS, {"then": [put("rights", "a")]})[0] == 401


def test_each_verb_needs_its_own_right(site: Site) -> None:
    assert kv(site.admin, "PUT", "verbs/a", 1) == 201
    reader, changer = site.user("reader"), site.user("changer")
    grant(site, "reader", "verbs", "get", "list", "watch")
    grant(site, "changer", "verbs", "update")

    assert [kv(reader, "GET", path) for path in ("verbs/a", "verbs", "verbs?prefix=a")] == [200, 200, 200]
    assert [kv(reader, "PUT", "verbs/a", 2), kv(reader, "DELETE", "verbs/a"), kv(reader, "POST", "verbs/a?add=1")] == [403] * 3
    assert kv(reader, "POST", "verbs?batch", {"put": [{"key": "a", "value": 1}]}) == 403
    assert kv(reader, "DELETE", "verbs?prefix=a") == 403
    assert kv(changer, "PUT", "verbs/a", 2) == 200
    assert kv(changer, "PUT", "verbs/new", 2) == 403
    assert kv(changer, "POST", "verbs/lock?lock=acquire&holder=x") == 403
    assert kv(changer, "GET", "verbs/a") == 403
    assert kv(changer, "PUT", "elsewhere/a", 2) == 403
    assert changer.call("PUT", "/v1/kv/verbs/a", {"value": "3"})[0] == 200
    assert changer.call("PUT", "/v1/kv/verbs/new", {"value": "3"})[0] == 403


def test_rights_may_be_on_one_key(site: Site) -> None:
    for key in ("mine", "theirs"):
        kv(site.admin, "PUT", f"single/{key}", 1)
    user = site.user("single")
    grant(site, "single", "single", "get", "update", resourceNames=["mine"])

    assert kv(user, "PUT", "single/mine", 2) == 200 and kv(user, "GET", "single/mine") == 200
    assert kv(user, "PUT", "single/theirs", 2) == 403 and kv(user, "GET", "single/theirs") == 403


def test_a_transaction_needs_the_rights_of_all_its_parts(site: Site) -> None:
    kv(site.admin, "PUT", "parts/a", 1)
    user = site.user("parts")
    grant(site, "parts", "parts", "get", "create", "update")
    secret = {"apiVersion": "v1", "kind": "Secret", "namespace": "parts", "name": "s"}
    allowed = {"compare": [{"namespace": "parts", "key": "a", "exists": True}], "then": [put("parts", "b")]}

    assert user.call("POST", TRANSACTIONS, allowed)[0] == 200
    for forbidden in (
        {**allowed, "compare": [{**secret, "exists": False}]},
        {**allowed, "else": [{"get": secret}]},
        {**allowed, "then": [put("parts", "b"), put("other", "b")]},
        {**allowed, "then": [{"delete": {"namespace": "parts", "key": "a"}}]},
        {"then": [{"create": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}}}]},
    ):
        status, answer = user.call("POST", TRANSACTIONS, forbidden)
        assert (status, answer["reason"]) == (403, "Forbidden"), forbidden
        assert user.call("POST", "/kv/parts?txn", forbidden)[0] == 403


def test_a_transaction_gives_away_no_more_than_a_single_write(site: Site) -> None:
    """Who may write roles and has no rights may not give any; who is an agent may write only what is its node's."""
    user = site.user("climber")
    grant(site, "climber", "default", "create", resource="roles", group="rbac.authorization.k8s.io")
    role = {
        "metadata": {"name": "all", "namespace": "default"},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }
    body = {"then": [{"create": {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", **role}}]}

    status, answer = user.call("POST", TRANSACTIONS, body)

    assert status == 403 and "not currently held" in answer["message"]
    node = site.node("n1")
    assert node.call("POST", TRANSACTIONS, {"then": [put("default", "x")]})[0] == 403
    token = {"create": {"apiVersion": "plum.dev/v1", "kind": "Token", "metadata": {"name": "t"}, "spec": {"user": "x"}}}
    assert site.admin.call("POST", TRANSACTIONS, {"then": [token]})[0] == 400
