"""Who gets a package: those whose role says so, and of the nodes only the one that runs it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from plum_client import kubeconfig
from plum_schemas.kv import kv_name

from tests.integration.security.conftest import Caller, Site
from tests.integration.security.test_nodes import until
from tests.support.packages import BASE, good_zip
from tests.support.server import started_server

OBJECTS = "/apis/plum.dev/v1/namespaces/default"
CONTENT = "/v1/artifacts/default/demo-app-1.0.0/content"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with started_server(tmp_path_factory.mktemp("server"), secure=True) as running:
        made = Site(running, Caller(kubeconfig.load(running.kubeconfig)))
        assert upload(made.admin, good_zip()) == 201
        assert upload(made.admin, good_zip({**BASE, "meta.ini": b"name=demo-app\nversion=2\n"})) == 201
        for name, version, key in (("one", "1.0.0", "a"), ("two", "2", "b")):
            made.make("/apis/plum.dev/v1/nodes", {"metadata": {"name": f"node-{name}"}})
            template = {
                "artifact": {"name": "demo-app", "version": version},
                "env": [{"name": "X", "valueFrom": {"kvKeyRef": {"key": f"plant/{key}"}}}],
                "files": [{"path": "f", "secretRef": {"name": f"secret-{key}"}}],
            }
            spec = {"nodeName": f"node-{name}", "template": template}
            made.make(f"{OBJECTS}/instances", {"metadata": {"name": name}, "spec": spec})
            made.make("/api/v1/namespaces/default/secrets", {"metadata": {"name": f"secret-{key}"}, "stringData": {"k": "v"}})
        yield made


def upload(caller: Caller, data: bytes) -> int:
    server = caller.server
    headers = {"Content-Type": "application/zip"}
    if server.token:
        headers["Authorization"] = f"Bearer {server.token}"
    try:
        with urlopen(
            Request(f"{server.url}/v1/artifacts/default", data, headers, method="POST"), context=server.ssl_context(), timeout=20
        ) as answer:
            return int(answer.status)
    except OSError as error:
        code: int = getattr(error, "code", 0)
        close: Any = getattr(error, "close", None)
        if close is not None:
            close()
        return code


def test_strangers_and_readers_cannot_upload_and_editors_can(site: Site) -> None:
    binding = {
        "metadata": {"name": "artifact-people"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "reader"}],
    }
    site.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    editor = {**binding, "metadata": {"name": "artifact-editors"}, "roleRef": {**binding["roleRef"], "name": "edit"}}  # type: ignore[dict-item]
    editor["subjects"] = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "writer"}]
    site.make("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", editor)
    reader, writer = site.user("reader"), site.user("writer")
    third = good_zip({**BASE, "meta.ini": b"name=demo-app\nversion=3\n"})

    assert (upload(site.nobody, third), upload(reader, third), upload(writer, third)) == (401, 403, 201)
    assert (site.nobody.get(CONTENT)[0], site.user("other").get(CONTENT)[0]) == (401, 403)
    assert Caller(reader.server).call("HEAD", CONTENT)[0] == 200
    assert writer.call("DELETE", f"{OBJECTS}/artifacts/demo-app-3")[0] == 200


def test_a_node_gets_only_the_packages_that_its_instances_run(site: Site) -> None:
    node = site.node("node-one")
    query = f"{OBJECTS}/artifacts?fieldSelector=spec.name%3Ddemo-app%2Cspec.version%3D"

    assert node.call("HEAD", CONTENT)[0] == 200
    assert node.get(f"{OBJECTS}/artifacts/demo-app-1.0.0")[0] == 200
    assert node.get(f"{query}1.0.0")[0] == 200
    refusals = {
        "bytes of another": node.get("/v1/artifacts/default/demo-app-2/content")[0],
        "another": node.get(f"{OBJECTS}/artifacts/demo-app-2")[0],
        "list of another": node.get(f"{query}2")[0],
        "all": node.get(f"{OBJECTS}/artifacts")[0],
        "upload": upload(node, good_zip()),
        "delete": node.call("DELETE", f"{OBJECTS}/artifacts/demo-app-1.0.0")[0],
        "status": node.call("PATCH", f"{OBJECTS}/artifacts/demo-app-1.0.0/status", {})[0],
    }
    assert refusals == dict.fromkeys(refusals, 403)


def test_a_node_gets_only_the_keys_and_secrets_that_its_instances_name(site: Site) -> None:
    node = site.node("node-one")
    for key in ("a", "b"):
        name = kv_name(f"plant/{key}")
        site.make(f"{OBJECTS}/kvs", {"metadata": {"name": name}, "spec": {"key": f"plant/{key}", "type": "int", "value": 1}})

    assert node.get(f"{OBJECTS}/kvs/{kv_name('plant/a')}")[0] == 200
    assert node.get(f"{OBJECTS}/kvs/{kv_name('plant/b')}")[0] == 403
    assert node.get(f"{OBJECTS}/kvs")[0] == 403
    assert node.get("/api/v1/namespaces/default/secrets/secret-a")[0] == 200
    assert node.get("/api/v1/namespaces/default/secrets/secret-b")[0] == 403


def test_an_agent_over_tls_with_nothing_but_its_token_runs_a_package(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "agent.log"
    command = [
        sys.executable, "-m", "plum_agent", "--node", "edge", "--controller", site.running.secure_url,
        "--ca-file", str(site.running.data_dir / "pki/ca.crt"), "--data-dir", str(tmp_path / "agent"), "--on-stop", "stop",
    ]  # fmt: skip
    env = {"PLUM_TOKEN": site.node("edge").server.token, "PATH": "/usr/bin:/bin"}
    with log.open("wb") as errors:
        agent = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        template = {
            "artifact": {"name": "demo-app", "version": "1.0.0"},
            "env": [{"name": "X", "valueFrom": {"kvKeyRef": {"key": "plant/edge"}}}],
            "files": [{"path": "f", "secretRef": {"name": "secret-edge"}}],
        }
        site.make("/api/v1/namespaces/default/secrets", {"metadata": {"name": "secret-edge"}, "stringData": {"k": "v"}})
        site.make(
            f"{OBJECTS}/kvs",
            {"metadata": {"name": kv_name("plant/edge")}, "spec": {"key": "plant/edge", "type": "int", "value": 1}},
        )
        spec = {"replicas": 1, "template": {**template, "nodeSelector": {"plum.dev/hostname": "edge"}}}
        site.make(f"{OBJECTS}/deployments", {"metadata": {"name": "edge"}, "spec": spec})

        def phases() -> list[str]:
            items = site.admin.get(f"{OBJECTS}/instances?labelSelector=plum.dev%2Fdeployment%3Dedge")[1]["items"]
            return [item.get("status", {}).get("phase", "") for item in items]

        assert until(lambda: phases() == ["Running"]), f"{phases()}\n{log.read_text()[-3000:]}"
        assert next((tmp_path / "agent/edge").glob("default_edge-*/app/f/k")).read_text() == "v"
        assert "orbidden" not in log.read_text()
        site.admin.call("DELETE", f"{OBJECTS}/deployments/edge")
        assert until(lambda: phases() == [])
    finally:
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(30) == 0
