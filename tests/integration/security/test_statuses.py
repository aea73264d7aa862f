"""Many statuses in one request: each is judged by itself, with the rights of the node that tells them."""

from __future__ import annotations

from typing import Any

from tests.integration.security.conftest import Site

PATH = "/agent/v1/statuses"
INSTANCES = "/apis/plum.dev/v1/namespaces/default/instances"


def item(name: str, address: str, **metadata: str) -> dict[str, Any]:
    return {"namespace": "default", "name": name, "patch": {"metadata": metadata, "status": {"address": address}}}


def test_a_node_tells_many_statuses_and_only_its_own(site: Site) -> None:
    node = site.node("teller")
    for name in ("teller", "another"):
        site.make("/apis/plum.dev/v1/nodes", {"metadata": {"name": name}})
    for name, where in (("told-1", "teller"), ("told-2", "teller"), ("told-3", "another")):
        site.make(INSTANCES, {"metadata": {"name": name}, "spec": {"nodeName": where, "template": {"command": ["x"]}}})
    items = [
        item("told-1", "10.0.0.1"),
        item("told-3", "10.0.0.1"),
        item("missing", "10.0.0.1"),
        item("told-2", "10.0.0.1", resourceVersion="1"),
        {"namespace": "default", "name": "told-2", "patch": {"status": {"phase": "Nonsense"}}},
        item("told-2", "10.0.0.2"),
    ]

    status, answer = node.call("POST", PATH, {"items": items})

    assert status == 200, answer
    codes = [result["code"] for result in answer["results"]]
    assert codes == [200, 403, 403, 409, 422, 200], answer
    assert answer["results"][0]["revision"] > 0
    told = [site.admin.get(f"{INSTANCES}/{name}")[1]["status"].get("address") for name in ("told-1", "told-2")]
    assert told == ["10.0.0.1", "10.0.0.2"]
    assert "10.0.0.1" not in str(site.admin.get(f"{INSTANCES}/told-3")[1].get("status"))


def test_what_makes_no_sense_is_refused_as_a_whole(site: Site) -> None:
    node = site.node("teller")

    assert node.call("POST", PATH, {"items": [{"namespace": "default"}]})[0] == 400
    assert node.call("POST", PATH, {"items": [item("x", "10.0.0.1")] * 201})[0] == 413
    assert node.call("PUT", PATH, {"items": []})[0] == 405
    assert site.user("nobody").call("POST", PATH, {"items": []})[0] == 403
