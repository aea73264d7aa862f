"""Finding services is listing Endpoints, registering is creating them: the gate asks the same of both ways."""

from __future__ import annotations

from tests.integration.security.conftest import Site
from tests.integration.security.test_gate import bind

REGISTRATION = {"instanceId": "sim-1", "ip": "10.0.0.1", "endpoints": [{"serviceName": "sonar", "port": 80}]}
FIND = "/v1/discovery?service=sonar&namespace=default"


def test_strangers_neither_find_nor_register(site: Site) -> None:
    for method, path in (
        ("GET", FIND),
        ("GET", f"{FIND}&all=true"),
        ("GET", "/v1/services/list"),
        ("POST", "/v1/services/register"),
    ):
        assert site.nobody.call(method, path, REGISTRATION if method == "POST" else None)[0] == 401


def test_who_may_list_endpoints_may_find_and_who_may_create_them_may_register(site: Site) -> None:
    reader, writer = site.user("finder"), site.user("registrar")
    bind(site, "finder", "view", "default")
    bind(site, "registrar", "edit", "default")

    assert reader.call("POST", "/v1/services/register?replace=true", REGISTRATION)[0] == 403
    assert writer.call("POST", "/v1/services/register?replace=true", REGISTRATION)[0] == 204
    assert reader.get(f"{FIND}&all=true")[1][0]["ip"] == "10.0.0.1"
    assert reader.call("POST", "/v1/services/heartbeat", {"instanceId": "sim-1"})[0] == 403
    assert reader.get("/v1/discovery?service=sonar&namespace=kube-system")[0] == 403
    assert reader.call("DELETE", "/v1/services?instanceId=sim-1", None)[0] == 403
    assert writer.call("DELETE", "/v1/services?instanceId=sim-1", None)[0] == 204


def test_an_agent_sees_the_endpoints_of_its_node_and_no_others(site: Site) -> None:
    agent = site.node("boat1")
    path = "/apis/plum.dev/v1/namespaces/default/endpoints"

    assert agent.get(f"{path}?fieldSelector=spec.nodeName=boat1,spec.instanceName=x")[0] == 200
    assert agent.get(f"{path}?fieldSelector=spec.nodeName=boat2")[0] == 403
    assert agent.get(path)[0] == 403
    assert agent.call("POST", "/v1/services/register", REGISTRATION)[0] == 403


def test_applications_are_seen_by_who_may_see_artifacts_and_made_by_who_may_create_them(site: Site) -> None:
    reader, writer, agent = site.user("shopper"), site.user("packer"), site.node("boat3")
    bind(site, "shopper", "view", "default")
    bind(site, "packer", "edit", "default")
    image = {"name": "web", "version": "1", "imageRepository": "web", "imageTag": "1"}

    for path in ("/v1/apps", "/artifacts/", "/artifacts/a_1_00000000.zip", "/v1/apps/docker-images"):
        assert site.nobody.get(path)[0] == 401, path
        assert agent.get(path)[0] == 403, path
        assert reader.get(f"{path}?namespace=kube-system")[0] == 403, path
    assert reader.get("/v1/apps")[0] == 200
    for method, path in (("POST", "/v1/apps/create-image"), ("POST", "/v1/apps/upload"), ("DELETE", "/v1/apps/1")):
        assert reader.call(method, path, image)[0] == 403, path
    status, made = writer.call("POST", "/v1/apps/create-image", image)
    assert status == 200
    assert writer.call("DELETE", f"/v1/apps/{made['artifactId']}", None)[0] == 204


def test_classic_deployments_ask_for_the_rights_of_deployments(site: Site) -> None:
    reader, writer, agent = site.user("looker"), site.user("runner"), site.node("boat4")
    bind(site, "looker", "view", "default")
    bind(site, "runner", "edit", "default")

    assert site.nobody.get("/v1/deployments")[0] == 401
    assert agent.get("/v1/deployments")[0] == 403
    assert reader.get("/v1/deployments")[0] == 200
    assert reader.get("/v1/deployments?namespace=kube-system")[0] == 403
    for method, path in (("POST", ""), ("POST", "/x?action=start"), ("PATCH", "/x"), ("DELETE", "/x")):
        assert reader.call(method, f"/v1/deployments{path}", {})[0] == 403, (method, path)
    assert writer.call("POST", "/v1/deployments", {})[0] == 400
    assert writer.call("POST", "/v1/deployments/x?action=start", {})[0] == 404
    assert writer.call("DELETE", "/v1/deployments/x", None)[0] == 204
