"""What views make of stored objects, field by field, and how their selectors are asked of what is stored."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from plum_controller.api.views import pods
from plum_controller.api.views.catalog import DEPLOYMENTS, NODES, PODS
from plum_controller.api.views.events import stored_selector
from plum_controller.api.views.kind import LAST_APPLIED
from plum_schemas.instance import Phase
from plum_schemas.selectors import parse_field_selector


def instance(**status: Any) -> dict[str, Any]:
    template = {"command": ["x"], "ports": [{"name": "http", "port": 0}], "artifact": {"name": "shop", "version": "1.2"}}
    return {"metadata": {"name": "a", "uid": "u"}, "spec": {"nodeName": "n", "template": template}, "status": status}


def state(**status: Any) -> Any:
    return PODS.view(instance(**status))["status"]["containerStatuses"][0]["state"]


def test_every_phase_of_an_instance_is_one_of_a_pod() -> None:
    assert {"", *get_args(Phase)} == pods.PHASES.keys()
    assert set(pods.PHASES.values()) == {"Pending", "Running", "Succeeded", "Failed", "Unknown"}


@pytest.mark.parametrize("operator", ["=", "!="])
@pytest.mark.parametrize("wanted", [*sorted(set(pods.PHASES.values())), "Nonsense"])
def test_a_selector_by_phase_finds_what_the_pods_show(operator: str, wanted: str) -> None:
    stored = PODS.stored_fields(parse_field_selector(f"status.phase{operator}{wanted},spec.nodeName=n"))

    for phase in pods.PHASES:
        shown = PODS.view(instance(phase=phase))["status"]["phase"]
        values = {"status.phase": phase, "spec.nodeName": "n"}
        assert stored.matches(values.__getitem__) == ((shown == wanted) == (operator == "=")), phase
        assert not stored.matches({**values, "spec.nodeName": "m"}.__getitem__)


def test_states_and_exits_in_the_words_of_kubernetes() -> None:
    assert state(phase="Scheduled") == {"waiting": {"reason": "ContainerCreating"}}
    assert state(phase="Starting", reason="BackOff", message="m") == {"waiting": {"reason": "CrashLoopBackOff", "message": "m"}}
    assert state(phase="Preparing", reason="ArtifactMissing") == {"waiting": {"reason": "ArtifactMissing"}}
    assert state(phase="Stopped") == {"waiting": {"reason": "Stopped"}}
    assert state(phase="Starting", pid=1, startedAt="t") == {"running": {"startedAt": "t"}}
    assert state(phase="Succeeded", exit={"code": 0})["terminated"] == {"exitCode": 0, "reason": "Completed"}
    assert state(phase="Failed", exit={"code": 3})["terminated"] == {"exitCode": 3, "reason": "Error"}
    assert state(phase="Failed", exit={"signal": "SIGKILL"})["terminated"] == {"exitCode": 137, "signal": 9, "reason": "Error"}
    assert state(phase="Failed", exit={"reason": "Unknown"})["terminated"] == {"exitCode": 137, "reason": "Unknown"}


def test_ports_and_images_are_those_that_run() -> None:
    view = PODS.view(instance(phase="Running", ports=[{"name": "http", "port": 40123}]))

    assert view["spec"]["containers"][0]["ports"] == [{"name": "http", "containerPort": 40123, "protocol": "TCP"}]
    assert view["spec"]["containers"][0]["image"] == "shop:1.2"


def test_metadata_is_that_of_the_object_without_what_means_another_kind() -> None:
    metadata = {"name": "web", "uid": "u", "managedFields": [{}], "annotations": {LAST_APPLIED: "{}", "a": "b"}}
    status = {"revision": 3, "conditions": [{"type": "Progressing", "status": "False", "reason": "RolledBack"}]}
    view = DEPLOYMENTS.view({"metadata": metadata, "spec": {"nodeReplicas": {"n": 1, "m": 2}, "template": {}}, "status": status})

    assert view["metadata"] == {"name": "web", "uid": "u", "annotations": {"a": "b", "deployment.kubernetes.io/revision": "3"}}
    assert view["spec"]["replicas"] == 3
    assert view["status"]["conditions"][0]["reason"] == "ProgressDeadlineExceeded"


def test_a_node_tells_what_the_machine_is() -> None:
    status = {"capacity": {"cpu": "2", "instances": "10"}, "arch": "aarch64", "os": "Debian"}
    view = NODES.view({"metadata": {"name": "n"}, "spec": {"unschedulable": True, "leaseSeconds": 15}, "status": status})

    assert view["spec"] == {"unschedulable": True}
    assert view["status"]["capacity"] == {"cpu": "2", "pods": "10"}
    assert (view["status"]["nodeInfo"]["architecture"], view["status"]["nodeInfo"]["operatingSystem"]) == ("arm64", "linux")


@pytest.mark.parametrize(
    ("asked", "stored"),
    [
        ("involvedObject.kind=Pod,involvedObject.name=a", "involvedObject.kind=Instance,involvedObject.name=a"),
        (
            "involvedObject.apiVersion=v1,involvedObject.kind=Node",
            "involvedObject.apiVersion=plum.dev/v1,involvedObject.kind=Node",
        ),
        ("involvedObject.apiVersion=v1,involvedObject.kind=Secret", "involvedObject.apiVersion=v1,involvedObject.kind=Secret"),
        ("involvedObject.kind", "involvedObject.kind"),
        ("reason=x", "reason=x"),
    ],
)
def test_events_of_a_view_are_those_of_its_object(asked: str, stored: str) -> None:
    assert stored_selector(asked) == stored
