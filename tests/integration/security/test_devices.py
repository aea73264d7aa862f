"""Devices over TLS: a node speaks for its own devices, people by their roles, and nobody for those of others."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from tests.integration.security.conftest import Site

PLUM = "/apis/plum.dev/v1"
RESOURCES = f"{PLUM}/namespaces/default/resources"
OPERATIONS = f"{PLUM}/namespaces/default/operations"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/plum-node-lease/leases"
TOLD = "/agent/v1/devices"
MERGE = {"Content_Type": "application/merge-patch+json"}


def report(name: str, **values: Any) -> dict[str, Any]:
    readings = {one: {"value": value} for one, value in values.items()}
    return {"namespace": "default", "name": name, "session": "s", "online": True, "values": readings}


def test_a_node_speaks_for_its_own_devices_only(site: Site) -> None:
    for name in ("host-1", "host-2"):
        site.make(f"{PLUM}/nodes", {"metadata": {"name": name}})
    node, other = site.node("host-1"), site.node("host-2")
    renewed = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
    lease = {"holderIdentity": "host-1", "leaseDurationSeconds": 600, "renewTime": renewed}
    assert node.call("POST", LEASES, {"metadata": {"name": "host-1"}, "spec": lease})[0] == 201
    assert node.call("PUT", "/devices/default/lidar?node=host-1", {"session": "s", "type": "Lidar"})[0] == 200
    assert node.call("POST", TOLD, {"node": "host-1", "items": [report("lidar", distance=3.5)]})[1]["results"] == [{"code": 200}]
    site.make(OPERATIONS, {"metadata": {"name": "turn-it"}, "spec": {"resourceRef": "lidar", "method": "turn"}})
    end = time.monotonic() + 30
    while not site.admin.get(f"{RESOURCES}/lidar")[1]["status"]["connection"].get("online"):
        assert time.monotonic() < end  # the lease of its node was not seen yet
        node.call("POST", TOLD, {"node": "host-1", "items": [report("lidar", distance=3.5)]})
        time.sleep(0.05)
    while site.admin.get(f"{OPERATIONS}/turn-it")[1]["status"].get("node") != "host-1":
        assert time.monotonic() < end
        time.sleep(0.05)
    taken = {"status": {"phase": "Delivered", "deliveries": 1}}

    allowed = {
        "its devices": node.get(f"{PLUM}/resources?fieldSelector=spec.nodeName%3Dhost-1")[0],
        "its operations": node.get(f"{PLUM}/operations?fieldSelector=status.node%3Dhost-1")[0],
        "one of them": node.get(f"{RESOURCES}/lidar")[0],
        "take an operation": node.call("PATCH", f"{OPERATIONS}/turn-it/status", taken, **MERGE)[0],
    }
    refused = {
        "as another node": other.call("POST", TOLD, {"node": "host-1", "items": [report("lidar", distance=9)]})[0],
        "take over what is there": other.call("PUT", "/devices/default/lidar?node=host-2", {"session": "x"})[0],
        "in the name of another": node.call("PUT", "/devices/default/lidar?node=host-2", {"session": "x"})[0],
        "all devices": other.get(f"{PLUM}/resources")[0],
        "a device of another": other.get(f"{RESOURCES}/lidar")[0],
        "operations of another": other.get(f"{PLUM}/operations?fieldSelector=status.node%3Dhost-1")[0],
        "an operation of another": other.call("PATCH", f"{OPERATIONS}/turn-it/status", taken, **MERGE)[0],
        "what is asked": node.call("PATCH", f"{OPERATIONS}/turn-it", {"spec": {"canceled": True}}, **MERGE)[0],
        "what it should be": node.call("PATCH", f"{RESOURCES}/lidar", {"spec": {"desired": {"distance": 1}}}, **MERGE)[0],
        "ask": node.call("POST", OPERATIONS, {"metadata": {"name": "x"}, "spec": {"resourceRef": "lidar", "method": "m"}})[0],
        "nobody announces": site.user("nobody").call("PUT", "/devices/default/lidar", {"session": "x"})[0],
        "nobody listens": site.user("nobody").get("/devices/default/lidar/commands?session=s")[0],
    }

    assert set(allowed.values()) == {200}, allowed
    assert set(refused.values()) == {403}, refused
    [result] = other.call("POST", TOLD, {"node": "host-2", "items": [report("lidar", distance=9)]})[1]["results"]
    assert (result["code"], result["reason"]) == (409, "OtherNode")
    shown = site.admin.get(f"{RESOURCES}/lidar")[1]
    assert shown["status"]["reported"]["distance"]["value"] == 3.5
    assert shown["spec"]["nodeName"] == "host-1"
