"""Use of nodes and instances, measured while somebody asks: by kubectl, by libraries and by `plum top`."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.support.kubectl import Kubectl, deployment, does
from tests.support.view_site import ViewSite

pytestmark = pytest.mark.slow
BURN = "import os; memory = bytearray(os.urandom(1 << 20)) * 60\nwhile True: pass"
"""60 MiB that no other process shares, and all the processor time it gets."""
FAMILY = "sleep 1000 & while true; do i=0; while [ $i -lt 2000 ]; do i=$((i+1)); done; sleep 0.01; done"


@pytest.fixture(scope="module")
def busy(two_nodes: ViewSite) -> ViewSite:
    burning = deployment("burn", 1)
    burning["spec"]["template"]["command"] = [sys.executable, "-c", BURN]
    two_nodes.apply(burning, deployment("idle", 2))
    two_nodes.pods("burn", 1)
    two_nodes.pods("idle", 2)
    return two_nodes


def megabytes(text: str) -> int:
    return int(text.removesuffix("Mi"))


def rows(text: str) -> dict[str, list[str]]:
    return {cells[0]: cells[1:] for line in text.splitlines()[1:] if (cells := line.split())}


@does("top node, top pod")
def test_kubectl_shows_what_is_used(busy: ViewSite, kubectl: Kubectl) -> None:
    burn = busy.pods("burn", 1)[0].metadata.name

    pods = rows(kubectl.run("top", "pod"))
    nodes = rows(kubectl.run("top", "node"))

    assert int(pods[burn][0].removesuffix("m")) > 100
    assert 60 <= megabytes(pods[burn][1]) <= 90
    idle = [used for name, used in pods.items() if name.startswith("idle-")]
    assert len(idle) == 2
    assert all(int(cpu.removesuffix("m")) < 100 and megabytes(memory) < 10 for cpu, memory in idle)
    assert set(nodes) == {"node-1", "node-2"}
    assert all(int(used[0].removesuffix("m")) > 100 for used in nodes.values())  # both are this machine
    sorted_names = [line.split()[0] for line in kubectl.run("top", "pod", "--sort-by=memory", "--no-headers").splitlines()]
    assert sorted_names[0] == burn
    assert len(kubectl.run("top", "pod", "-l", "plum.dev/deployment=idle", "--no-headers").splitlines()) == 2
    assert burn in kubectl.run("top", "pod", burn)


def test_libraries_read_the_same(busy: ViewSite) -> None:
    burn = busy.pods("burn", 1)[0].metadata.name
    place = ("metrics.k8s.io", "v1beta1")

    pod: Any = busy.custom.get_namespaced_custom_object(*place, "default", "pods", burn)
    nodes: Any = busy.custom.list_cluster_custom_object(*place, "nodes")

    assert pod["kind"] == "PodMetrics"
    assert pod["containers"][0]["usage"]["memory"].endswith("Ki")
    assert pod["metadata"]["labels"]["plum.dev/deployment"] == "burn"
    assert [item["metadata"]["name"] for item in nodes["items"]] == ["node-1", "node-2"]


def test_who_asks_again_gets_an_answer_at_once(busy: ViewSite) -> None:
    busy.plum.ok("top", "nodes")
    time.sleep(1.0)

    began = time.monotonic()
    busy.plum.ok("top", "instances")

    assert time.monotonic() - began < 0.8


def test_plum_top_shows_nodes_beside_their_capacity_and_instances_beside_their_node(busy: ViewSite) -> None:
    burn = busy.pods("burn", 1)[0].metadata.name

    nodes = busy.plum.ok("top", "nodes").lines
    instances = busy.plum.ok("top", "instances", "--sort-by", "cpu", "--sum").lines

    assert nodes[0].split() == ["NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)"]
    assert [line.split()[0] for line in nodes[1:]] == ["node-1", "node-2"]
    assert all(line.split()[2].endswith("%") and line.split()[4].endswith("%") for line in nodes[1:])
    assert instances[0].split() == ["NAME", "CPU(cores)", "MEMORY(bytes)", "NODE"]
    assert instances[1].split()[0] == burn and instances[1].split()[3].startswith("node-")
    assert megabytes(instances[-1].split()[1]) >= megabytes(instances[1].split()[2])
    assert len(busy.plum.ok("top", "pod", burn, "--no-headers").lines) == 1


def test_all_processes_of_an_instance_count(busy: ViewSite) -> None:
    family = deployment("family", 1)
    family["spec"]["template"]["command"] = ["sh", "-c", FAMILY]
    busy.apply(family)
    name = busy.pods("family", 1)[0].metadata.name

    used = rows(busy.plum.ok("top", "instances").out)[name]

    assert int(used[0].removesuffix("m")) > 10  # `sleep 0.01` is a new process each time: its time is its parent's


def test_what_cannot_be_measured_is_said(busy: ViewSite) -> None:
    stuck = deployment("stuck", 1)
    stuck["spec"]["template"]["nodeSelector"] = {"none": "such"}
    busy.apply(stuck)
    busy.stop_agent("node-2")

    def shown() -> dict[str, list[str]]:
        return rows(busy.plum.ok("top", "nodes").out)

    nodes = busy.until(shown, lambda found: found["node-2"][0] == "<unknown>")
    one = busy.plum("top", "node", "node-2")
    instances = rows(busy.plum.ok("top", "instances").out)
    missing = busy.plum("top", "instance", "nobody")
    with pytest.raises(ApiException) as refused:
        busy.custom.get_cluster_custom_object("metrics.k8s.io", "v1beta1", "nodes", "node-2")

    assert nodes["node-1"][0].endswith("m")
    assert "<unknown>" in one.out and one.code == 6
    stuck_row = next(used for name, used in instances.items() if name.startswith("stuck-"))
    assert stuck_row == ["<unknown>", "<unknown>", "<none>"]
    assert missing.code == 3 and "there is no instance nobody" in missing.err
    assert refused.value.status == 503
    assert "the agent of node node-2 is not connected" in refused.value.body
