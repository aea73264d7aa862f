"""The core commands with every release of kubectl that the machine has, and once over plain HTTP on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support.kubectl import Kubectl, deployment, require
from tests.support.kubectl_program import RELEASES
from tests.support.kubernetes_clients import kubeconfig
from tests.support.server import RunningServer

CORE = "create, get, apply, apply --server-side, diff, patch, scale, label, wait, describe, explain, events, delete"


def _core_commands(kubectl: Kubectl, name: str) -> None:
    file = kubectl.file("core", deployment(name, 1))
    more = kubectl.file("more", deployment(name, 2))
    assert "created" in kubectl.run("apply", "-f", file)
    assert kubectl.rows("deploy", name)[0][:2] == ["NAME", "READY"]
    assert "+  replicas: 2" in kubectl.refused("diff", "-f", more)
    assert "configured" in kubectl.run("apply", "-f", more)
    assert "serverside-applied" in kubectl.run("apply", "--server-side", "--force-conflicts", "-f", more)
    assert "patched" in kubectl.run("patch", "deploy", name, "--type=merge", "-p", '{"spec":{"replicas":0}}')
    assert "scaled" in kubectl.run("scale", "deploy", name, "--replicas=1")
    assert "labeled" in kubectl.run("label", "deploy", name, "site=pier")
    assert "condition met" in kubectl.run("wait", f"deploy/{name}", "--for=jsonpath={.spec.replicas}=1", "--timeout=20s")
    assert "Replicas:" in kubectl.run("describe", "deploy", name)
    assert "replicas" in kubectl.run("explain", "deploy.spec")
    assert "configmap/c-" in kubectl.run("create", "configmap", f"c-{name}", "--from-literal=a=1")
    assert kubectl.run("auth", "can-i", "create", "deploy") == "yes\n"
    kubectl.run("events", "--for", f"deploy/{name}")
    assert "deleted" in kubectl.run("delete", "deploy", name)


@pytest.mark.slow
@pytest.mark.parametrize(
    "release", [pytest.param(release, marks=pytest.mark.client(f"kubectl {release}", f"core: {CORE}")) for release in RELEASES]
)
def test_core_commands_of_every_release(server: RunningServer, tmp_path: Path, release: str) -> None:
    _core_commands(Kubectl(require(release), server.kubeconfig, tmp_path), f"r{release.replace('.', '-')}")


@pytest.mark.client("kubectl 1.32", "core commands over plain HTTP on loopback, without credentials")
def test_core_commands_on_loopback(server: RunningServer, tmp_path: Path) -> None:
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig(server.url)))

    _core_commands(Kubectl(require(), tmp_path / "config", tmp_path), "loopback")
