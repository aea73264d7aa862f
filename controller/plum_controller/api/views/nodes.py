"""A Plum Node as a Node of the core group: capacity, conditions and what the machine is.

spec.unschedulable, spec.taints    the same in both, so that cordon and taint change the Plum Node
status.capacity.instances          -->  status.capacity.pods
"""

from __future__ import annotations

from collections.abc import Mapping

from plum_controller.resources.encode import Json

_ARCHITECTURES: Mapping[str, str] = {"x86_64": "amd64", "aarch64": "arm64"}


def show(node: Json) -> Json:
    """Spec and status of the core Node."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    shown = {name: spec[name] for name in ("taints", "unschedulable") if spec.get(name)}
    return {"spec": shown, "status": _status(status)}


def complete(patch: Json) -> None:
    """Whoever takes a node back into service ends its drain, as `plum node uncordon` does."""
    spec = patch.get("spec") or {}
    if "unschedulable" in spec and not spec["unschedulable"]:
        spec["drain"] = None


def _status(status: Json) -> Json:
    arch = status.get("arch") or ""
    found: Json = {
        "capacity": _amounts(status.get("capacity")),
        "allocatable": _amounts(status.get("allocatable")),
        "conditions": [_condition(one, status.get("lastSeen")) for one in status.get("conditions") or ()],
        "addresses": status.get("addresses"),
        "nodeInfo": {
            "machineID": "",
            "systemUUID": "",
            "bootID": status.get("bootId") or "",
            "kernelVersion": status.get("kernel") or "",
            "osImage": status.get("os") or "",
            "containerRuntimeVersion": ",".join(status.get("runtimes") or ()),
            "kubeletVersion": status.get("agentVersion") or "",
            "kubeProxyVersion": "",
            "operatingSystem": "linux" if status.get("os") else "",
            "architecture": _ARCHITECTURES.get(arch, arch),
        },
    }
    return {name: value for name, value in found.items() if value}


def _amounts(amounts: Json | None) -> Json:
    return {"pods" if name == "instances" else name: amount for name, amount in (amounts or {}).items()}


def _condition(condition: Json, last_seen: str | None) -> Json:
    shown = {key: condition[key] for key in ("type", "status", "reason", "message", "lastTransitionTime") if condition.get(key)}
    # Heartbeats are renewals of a lease and stand nowhere else; of an old one the change of the condition is what is known.
    heard = last_seen if condition.get("type") == "Ready" and condition.get("status") != "True" else None
    return {**shown, "lastHeartbeatTime": heard or condition.get("lastTransitionTime")}
