"""Pods, Nodes and Deployments as kubectl shows them: made of instances, nodes and deployments, and read like a cluster's."""

from __future__ import annotations

import json
import re
import select
import time
from typing import Any

import pytest

from tests.support.kubectl import Kubectl, deployment, does
from tests.support.kubectl_program import RELEASES
from tests.support.view_site import COUNTING, NODES, ViewSite

CRASH = {"template": {"command": ["sh", "-c", "echo boom; exit 3"]}}


@pytest.fixture(scope="module", autouse=True)
def workloads(two_nodes: ViewSite) -> None:
    template = {
        "command": COUNTING, "metadata": {"labels": {"app": "web"}}, "env": [{"name": "A", "value": "b"}],
        "ports": [{"name": "http", "port": 0}], "resources": {"requests": {"cpu": "100m", "memory": "10Mi"}},
    }  # fmt: skip
    two_nodes.apply(deployment("web", 2, spec={"template": template}), deployment("crash", 1, spec=CRASH))
    two_nodes.pods("web", 2)


def crashed(kubectl: Kubectl) -> list[list[str]]:
    """The table of the instance that fails, once it waits before its next start."""
    deadline = time.monotonic() + 30
    while True:
        rows = kubectl.rows("pods", "-l", "plum.dev/deployment=crash", "-o", "wide")
        if len(rows) == 2 and rows[1][2] == "CrashLoopBackOff" and re.fullmatch(r"[1-9]\d* \(\d+s ago\)", rows[1][3]):
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.1)


@does("get pods, get nodes: -o wide, -l, --field-selector, --sort-by, --chunk-size, -o custom-columns")
def test_tables_read_like_those_of_a_cluster(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    head, *web = kubectl.rows("pods", "-l", "app=web", "-o", "wide", "--sort-by=.metadata.name")
    nodes = kubectl.rows("nodes", "-o", "wide")

    assert head == ["NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES"]
    assert [row[1:4] for row in web] == [["1/1", "Running", "0"]] * 2
    assert sorted(row[6] for row in web) == list(NODES)
    assert crashed(kubectl)[1][1] == "0/1"
    assert nodes[0][:7] == ["NAME", "STATUS", "ROLES", "AGE", "VERSION", "INTERNAL-IP", "EXTERNAL-IP"]
    assert [row[:3] for row in nodes[1:]] == [[name, "Ready", "<none>"] for name in NODES]
    running = kubectl.run(
        "get", "pods", "--field-selector=status.phase=Running,spec.nodeName=node-1", "-o", "name", "--chunk-size=1"
    )
    assert {f"pod/{row[0]}" for row in web if row[6] == "node-1"} <= set(running.split())
    assert kubectl.run("get", "pods", "--field-selector=status.phase=Succeeded", "-o", "name") == ""
    ips = kubectl.run("get", "pods", "-l", "app=web", "-o", "custom-columns=IP:.status.podIP", "--no-headers").split()
    assert ips == ["127.0.0.1"] * 2
    assert kubectl.rows("deployments.apps", "web")[1][:4] == ["web", "2/2", "2", "2"]


@does("get deploy, get node: the bare word deploy is Plum's, node and pod are views")
def test_which_word_means_which_kind(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    assert kubectl.run("get", "deploy", "web", "-o", "name") == "deployment.plum.dev/web\n"
    assert kubectl.run("get", "no", "node-1", "-o", "name") == "node.plum.dev/node-1\n"
    assert kubectl.run("get", "node,po", "-o", "name").startswith("node/node-1\nnode/node-2\npod/")
    assert two_nodes.plum("get", "nodes", "-o", "json").json()["items"][0]["apiVersion"] == "plum.dev/v1"
    assert "pod" not in kubectl.run("get", "all", "-o", "name")


@does("describe pod, describe node, events --for pod/NAME, events --for node/NAME")
def test_descriptions_and_events(kubectl: Kubectl) -> None:
    name = crashed(kubectl)[1][0]
    pod = kubectl.run("describe", "pod", name)
    web = kubectl.run("describe", "pod", "-l", "app=web")
    node = kubectl.run("describe", "node", "node-1")

    assert re.search(r"Reason: +CrashLoopBackOff", pod) and re.search(r"Exit Code: +3", pod)
    assert re.search(r"Warning +BackOff .* plum-agent +waiting before the next start", pod)
    assert (
        re.search(r"Controlled By: +Deployment/web", web)
        and re.search(r"cpu: +100m", web)
        and re.search(r"Port: +\d{4,5}/TCP", web)
    )
    assert re.search(r"Container ID: +process://\d+", web)
    assert re.search(r"Ready +True +.* LeaseRenewed", node) and re.search(r"pods: +1k", node)
    assert re.search(r"default +web-\S+ +100m \(\d+%\)", node)
    assert re.search(r"Normal +NodeReady .* node-controller", node)
    assert "BackOff" in kubectl.run("events", "--for", f"pod/{name}")
    assert "NodeReady" in kubectl.run("events", "--for", "node/node-1")


@does("explain pod, explain node, explain deployments.apps")
def test_fields_are_explained(kubectl: Kubectl) -> None:
    assert "view of an Instance" in kubectl.run("explain", "pod")
    assert "Exit code" in kubectl.run("explain", "pod.status.containerStatuses.state.terminated")
    assert "unschedulable" in kubectl.run("explain", "node.spec", "--recursive")
    assert "maxSurge" in kubectl.run("explain", "deployments.apps.spec.strategy.rollingUpdate")


@does("wait --for=condition=Ready pod, --for=delete pod, get pods -w")
def test_waiting_and_watching(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    two_nodes.apply(deployment("short", 1, spec={"template": {"command": COUNTING, "metadata": {"labels": {"app": "short"}}}}))
    name = two_nodes.pods("short", 1)[0].metadata.name
    assert "condition met" in kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=20s")
    watching = kubectl.start("get", "pods", "-l", "app=short", "-w", "--no-headers")
    assert watching.stdout is not None
    first = watching.stdout.readline()
    try:
        kubectl.run("delete", "deployment", "short", "--wait=false")
        kubectl.run("wait", "--for=delete", f"pod/{name}", "--timeout=20s")
        readable, _, _ = select.select([watching.stdout], [], [], 20)
        second = watching.stdout.readline() if readable else ""
    finally:
        watching.terminate()
        watching.communicate()

    assert (first.split()[0], first.split()[2]) == (name, "Running")
    assert (second.split()[0], second.split()[2]) == (name, "Terminating")


def _read_commands(kubectl: Kubectl) -> None:
    name = kubectl.run("get", "pods", "-l", "app=web", "-o", "name").split()[0]
    assert kubectl.rows("pods", "-o", "wide")[0][:3] == ["NAME", "READY", "STATUS"]
    assert "Controlled By" in kubectl.run("describe", name)
    assert "Allocated resources" in kubectl.run("describe", "node", "node-1")
    assert kubectl.run("logs", name, "--tail=1").startswith("line ")
    assert "view of an Instance" in kubectl.run("explain", "pod")
    assert "successfully rolled out" in kubectl.run("rollout", "status", "deployments.apps/web", "--timeout=20s")
    assert "cordoned" in kubectl.run("cordon", "node-2")
    assert "uncordoned" in kubectl.run("uncordon", "node-2")
    assert "labeled" in kubectl.run("label", name, "seen=yes", "--overwrite")


@pytest.mark.slow
@pytest.mark.parametrize(
    "release",
    [
        pytest.param(
            release, marks=pytest.mark.client(f"kubectl {release}", "views: get, describe, logs, explain, rollout status, cordon")
        )
        for release in RELEASES
    ],
)
def test_views_with_every_release(two_nodes: ViewSite, release: str) -> None:
    _read_commands(two_nodes.kubectl_of(release))


def conditions(pod: dict[str, Any]) -> dict[str, str]:
    return {one["type"]: one["status"] for one in pod["status"]["conditions"]}


@does("get pod -o json: typed fields of a Pod")
def test_the_fields_of_a_pod(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    pod = json.loads(kubectl.run("get", "pods", "-l", "app=web", "-o", "json"))["items"][0]
    instance = json.loads(kubectl.run("get", "instance", pod["metadata"]["name"], "-o", "json"))

    assert pod["metadata"]["uid"] == instance["metadata"]["uid"]
    assert pod["metadata"]["resourceVersion"] == instance["metadata"]["resourceVersion"]
    assert conditions(pod) == {"PodScheduled": "True", "Initialized": "True", "ContainersReady": "True", "Ready": "True"}
    assert pod["spec"]["containers"][0]["env"] == [{"name": "A", "value": "b"}]
    assert pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] == instance["status"]["startedAt"]
    typed = two_nodes.core.read_namespaced_pod(pod["metadata"]["name"], "default")
    assert (typed.spec.node_name, typed.status.phase) == (instance["spec"]["nodeName"], "Running")
