"""What kubectl changes through views: nodes are cordoned, tainted, labelled and drained, pods deleted, rollouts restarted."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from kubernetes import client

from tests.support.kubectl import CLIENT, Kubectl, deployment, does
from tests.support.view_site import COUNTING, ViewSite

LIBRARY = "kubernetes 37"


def running(**spec: Any) -> dict[str, Any]:
    return {"template": {"command": COUNTING}, **spec}


def node(two_nodes: ViewSite, name: str = "node-1") -> dict[str, Any]:
    """The Node of Plum."""
    found: dict[str, Any] = two_nodes.custom.get_cluster_custom_object("plum.dev", "v1", "nodes", name)
    return found


def instance(two_nodes: ViewSite, name: str) -> dict[str, Any]:
    found: dict[str, Any] = two_nodes.custom.get_namespaced_custom_object("plum.dev", "v1", "default", "instances", name)
    return found


@does("cordon, uncordon, taint nodes, label node, annotate node, patch node")
def test_changes_of_a_node_are_changes_of_the_plum_node(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    assert kubectl.run("cordon", "node-2") == "node/node-2 cordoned\n"
    assert kubectl.rows("nodes", "node-2")[1][1] == "Ready,SchedulingDisabled"
    assert node(two_nodes, "node-2")["spec"]["unschedulable"] is True
    two_nodes.custom.patch_cluster_custom_object("plum.dev", "v1", "nodes", "node-2", {"spec": {"drain": {"deadlineSeconds": 0}}})
    assert kubectl.run("uncordon", "node-2") == "node/node-2 uncordoned\n"
    spec = node(two_nodes, "node-2")["spec"]
    assert not spec.get("unschedulable") and "drain" not in spec

    assert "tainted" in kubectl.run("taint", "nodes", "node-2", "dedicated=db:NoSchedule")
    assert node(two_nodes, "node-2")["spec"]["taints"] == [{"key": "dedicated", "value": "db", "effect": "NoSchedule"}]
    assert "untainted" in kubectl.run("taint", "nodes", "node-2", "dedicated-")
    assert not node(two_nodes, "node-2")["spec"].get("taints")

    kubectl.run("label", "node", "node-2", "zone=a", "node-role.kubernetes.io/edge=")
    kubectl.run("annotate", "node", "node-2", "note=x")
    kubectl.run("patch", "node", "node-2", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/rack","value":"7"}]')
    metadata = node(two_nodes, "node-2")["metadata"]
    assert (metadata["labels"]["zone"], metadata["labels"]["rack"], metadata["annotations"]["note"]) == ("a", "7", "x")
    assert kubectl.rows("nodes", "node-2")[1][2] == "edge"
    kubectl.run("label", "node", "node-2", "zone-", "rack-", "node-role.kubernetes.io/edge-")
    assert "zone" not in node(two_nodes, "node-2")["metadata"]["labels"]


@does("drain: deployments keep their instances, then uncordon", "drain --force, --dry-run=server")
def test_a_node_is_drained(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    two_nodes.apply(deployment("web", 2, spec=running(strategy={"maxUnavailable": 0})))
    two_nodes.pods("web", 2)
    template = {"command": COUNTING}
    body = {"metadata": {"name": "alone"}, "apiVersion": "plum.dev/v1", "kind": "Instance",
            "spec": {"nodeName": "node-1", "template": template}}  # fmt: skip
    two_nodes.custom.create_namespaced_custom_object("plum.dev", "v1", "default", "instances", body)

    refused = kubectl.refused("drain", "node-1", "--timeout=20s")
    kubectl.run("drain", "node-1", "--force", "--dry-run=server")
    assert instance(two_nodes, "alone")
    drained = kubectl.run("drain", "node-1", "--force", "--timeout=35s")

    assert "cannot delete" in refused and "declare no controller" in refused and "default/alone" in refused
    assert re.search(r"pod/web-\S+ evicted", drained) and "pod/alone evicted" in drained and "node/node-1 drained" in drained
    assert {pod.spec.node_name for pod in two_nodes.pods("web", 2)} == {"node-2"}
    assert kubectl.run("get", "pods", "--field-selector=spec.nodeName=node-1", "-o", "name") == ""
    kubectl.run("uncordon", "node-1")
    kubectl.run("delete", "deployment", "web")


@pytest.mark.client(LIBRARY, "CoreV1Api: patch_node, create_namespaced_pod_eviction until gone")
def test_the_library_evicts_with_the_guards_of_a_drain(two_nodes: ViewSite) -> None:
    strategy = {"maxUnavailable": 0, "maxSurge": 1}
    template = {"command": COUNTING, "nodeSelector": {"plum.dev/hostname": "node-2"}}
    two_nodes.apply(deployment("guarded", 1, spec={"template": template, "strategy": strategy}))
    name = two_nodes.pods("guarded", 1)[0].metadata.name
    two_nodes.core.patch_node("node-2", {"spec": {"unschedulable": True}})
    eviction = client.V1Eviction(metadata=client.V1ObjectMeta(name=name, namespace="default"))

    with pytest.raises(client.ApiException) as refused:
        two_nodes.core.create_namespaced_pod_eviction(name, "default", eviction)
    assert instance(two_nodes, name)["status"]["phase"] == "Running"
    two_nodes.core.patch_node("node-2", {"spec": {"unschedulable": None}})
    two_nodes.until(lambda: _evicted(two_nodes, name, eviction), bool)

    assert refused.value.status == 429
    assert "Cannot evict pod as it would violate the pod's disruption budget" in refused.value.body
    assert "spec.strategy.maxUnavailable" in refused.value.body
    two_nodes.custom.delete_namespaced_custom_object("plum.dev", "v1", "default", "deployments", "guarded")


def _evicted(two_nodes: ViewSite, name: str, eviction: Any) -> bool:
    try:
        two_nodes.core.create_namespaced_pod_eviction(name, "default", eviction)
    except client.ApiException as error:
        assert error.status in (404, 429), error.body
        return bool(error.status == 404)
    time.sleep(0.1)
    return False


@does("drain of a node that nodeReplicas names", refused="the instance belongs to its node; plum node drain leaves it there")
def test_instances_that_belong_to_their_node_are_not_evicted(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    manifest = deployment("pinned", spec=running(nodeReplicas={"node-1": 1}))
    del manifest["spec"]["replicas"]
    two_nodes.apply(manifest)
    name = two_nodes.pods("pinned", 1)[0].metadata.name

    refused = kubectl.refused("drain", "node-1", "--timeout=20s")
    kubectl.run("drain", "node-1", "--timeout=20s", "--pod-selector=plum.dev/deployment notin (pinned)")

    assert f'pods "{name}" is forbidden: spec.nodeReplicas of Deployment pinned wants it on node node-1' in refused
    assert "`plum node drain node-1` leaves it there" in refused
    assert instance(two_nodes, name)["status"]["phase"] == "Running"
    kubectl.run("uncordon", "node-1")
    kubectl.run("delete", "deployment", "pinned")


@does("rollout status, restart, pause, resume of deployments.apps/NAME", "scale deployments.apps/NAME")
def test_rollouts_through_the_apps_view(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    two_nodes.apply(deployment("api", 1, spec=running()))
    before = two_nodes.pods("api", 1)[0].metadata.name
    assert "restarted" in kubectl.run("rollout", "restart", "deployments.apps/api")
    followed = kubectl.run("rollout", "status", "deployments.apps/api", "--timeout=30s")
    assert 'deployment "api" successfully rolled out' in followed
    assert two_nodes.pods("api", 1)[0].metadata.name != before

    assert "paused" in kubectl.run("rollout", "pause", "deployments.apps/api")
    assert two_nodes.custom.get_namespaced_custom_object("plum.dev", "v1", "default", "deployments", "api")["spec"]["paused"]
    assert "resumed" in kubectl.run("rollout", "resume", "deployments.apps/api")
    assert "scaled" in kubectl.run("scale", "deployments.apps/api", "--replicas=2")
    assert len(two_nodes.pods("api", 2)) == 2
    assert two_nodes.apps.read_namespaced_deployment_scale("api", "default").spec.replicas == 2
    assert "deleted" in kubectl.run("delete", "deployments.apps/api")


@does("label, annotate and delete pod; delete pods -l")
def test_changes_of_a_pod_are_changes_of_its_instance(two_nodes: ViewSite, kubectl: Kubectl) -> None:
    two_nodes.apply(deployment("again", 2, spec={"template": {"command": COUNTING, "metadata": {"labels": {"app": "again"}}}}))
    before = two_nodes.pods("again", 2)
    first = before[0].metadata.name

    kubectl.run("annotate", "pod", first, "note=seen")
    assert instance(two_nodes, first)["metadata"]["annotations"]["note"] == "seen"
    assert kubectl.run("delete", "pod", first) == f'pod "{first}" deleted\n'
    kubectl.run("delete", "pods", "-l", "app=again", "--wait=false")

    old = {pod.metadata.uid for pod in before}
    two_nodes.until(lambda: {pod.metadata.uid for pod in two_nodes.pods("again", 2)}, lambda uids: not uids & old)
    kubectl.run("delete", "deployment", "again")


@pytest.mark.client(LIBRARY, "ownerReferences to a Pod: collected with it")
def test_what_a_pod_owns_goes_with_it(two_nodes: ViewSite) -> None:
    two_nodes.apply(deployment("owner", 1, spec=running()))
    pod = two_nodes.pods("owner", 1)[0]
    owner = client.V1OwnerReference(api_version="v1", kind="Pod", name=pod.metadata.name, uid=pod.metadata.uid)
    metadata = client.V1ObjectMeta(name="owned", owner_references=[owner])
    two_nodes.core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=metadata))
    metadata = client.V1ObjectMeta(
        name="orphan", owner_references=[client.V1OwnerReference(api_version="v1", kind="Pod", name="x", uid="y")]
    )
    two_nodes.core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=metadata))

    def left() -> list[str]:
        return [one.metadata.name for one in two_nodes.core.list_namespaced_config_map("default").items]

    two_nodes.until(left, lambda names: "orphan" not in names)
    assert "owned" in left()
    two_nodes.core.delete_namespaced_pod(pod.metadata.name, "default")
    two_nodes.until(left, lambda names: "owned" not in names)


REFUSED = [
    ("run x --image=y", "create is not supported", "Deployment of apiVersion plum.dev/v1"),
    ("create deployment x --image=y", "create is not supported", "`plum apply -f`"),
    ("rollout history deployments.apps/api", "Plum has no replicasets.apps", "`plum rollout history deployment/NAME`"),
    ("rollout undo deployments.apps/api", "Plum has no replicasets.apps", "`plum rollout undo deployment/NAME`"),
    ("set image deployments.apps/api main=x", "spec.template.spec.containers cannot be changed", "edit deployments.plum.dev"),
    ("autoscale deployments.apps/api --max=3", "Plum has no horizontalpodautoscalers", "`kubectl scale`"),
    ("expose deployments.apps/api --port=80", "create is not supported", "Service of apiVersion plum.dev/v1"),
    ("debug POD --image=x --profile=general", "of ephemeralcontainers is not supported", "`plum exec -it NAME -- sh`"),
    ('patch node node-1 -p {"spec":{"podCIDR":"10.0.0.0/8"}}', "spec.podCIDR cannot be changed", "edit nodes.plum.dev"),
    ('patch pod POD -p {"spec":{"nodeName":"node-9"}}', "spec.nodeName cannot be changed", "plum apply"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "reason", "way"),
    [
        pytest.param(
            command, reason, way,
            marks=pytest.mark.client(CLIENT, re.sub(r" (x|-p|main=x|--\S+=?\S*).*", "", command), refused=f"{reason}: {way}"),
        )
        for command, reason, way in REFUSED
    ],
)  # fmt: skip
def test_a_refusal_names_the_way(two_nodes: ViewSite, kubectl: Kubectl, command: str, reason: str, way: str) -> None:
    two_nodes.apply(deployment("api", 1, spec=running()))
    pod = two_nodes.until(
        lambda: two_nodes.core.list_namespaced_pod("default", label_selector="plum.dev/deployment=api").items, bool
    )[0].metadata.name
    refused = kubectl.refused(*(pod if word == "POD" else word for word in command.split()))

    assert reason in refused and way in refused, refused
