"""An Instance as a Pod with one container: where it runs, how it is, how its runs ended.

    Instance.status.phase, reason, exit  -->  Pod.status.phase, conditions, containerStatuses

What has no like in a Pod (artifact, probes of our kind, scheduling refusals beyond the first sentence) is left to
`kubectl describe instance`. Only the phase is found by a field selector, so it must follow from the stored phase alone.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from plum_controller.resources.encode import Json

CONTAINER = "main"
"""Name of the one container of every Pod."""

PHASES: Mapping[str, str] = {
    "": "Pending",
    "Pending": "Pending",
    "Scheduled": "Pending",
    "Preparing": "Pending",
    "Stopped": "Pending",
    "Starting": "Running",
    "Running": "Running",
    "Stopping": "Running",
    "Succeeded": "Succeeded",
    "Failed": "Failed",
    "Unknown": "Unknown",
}
"""Phase of the Instance -> phase of the Pod. A stopped one could run again, which in a Pod only Pending says."""

_CONDITIONS = (("Scheduled", "PodScheduled"), ("Prepared", "Initialized"), ("Ready", "ContainersReady"), ("Ready", "Ready"))
_UNOBSERVED_EXIT = 137
"""What Kubernetes reports for a container whose exit nobody saw."""


def show(instance: Json) -> Json:
    """Spec and status of the Pod."""
    spec = instance.get("spec") or {}
    status = instance.get("status") or {}
    template = spec.get("template") or {}
    bound = {port.get("name"): port.get("port") for port in status.get("ports") or ()}
    return {"spec": _spec(spec, template, bound), "status": _status(spec, template, status)}


def image_of(template: Json) -> str:
    """The image, or for a process its artifact."""
    artifact = template.get("artifact") or {}
    named = ":".join(filter(None, (artifact.get("name"), artifact.get("version")))) or artifact.get("url", "")
    return str(template.get("image") or named)


def container(template: Json, bound: Mapping[str, int]) -> Json:
    """The container of a template. `bound`: ports as they are on the node, by name."""
    resources = template.get("resources") or {}
    found: Json = {
        "name": CONTAINER,
        "image": image_of(template),
        "command": template.get("command"),
        "workingDir": template.get("workingDir"),
        "env": template.get("env"),
        "ports": [_port(port, bound) for port in template.get("ports") or ()],
        "resources": {name: resources[name] for name in ("requests", "limits") if resources.get(name)},
        "volumeMounts": None,
        "imagePullPolicy": template.get("imagePullPolicy") if template.get("image") else None,
    }
    return {name: value for name, value in found.items() if value or name == "resources"}


def pod_spec(template: Json, bound: Mapping[str, int]) -> Json:
    """What a template says of its Pods."""
    found: Json = {
        "containers": [container(template, bound)],
        "restartPolicy": template.get("restartPolicy") or "Always",
        "terminationGracePeriodSeconds": template.get("terminationGracePeriodSeconds"),
        "nodeSelector": template.get("nodeSelector"),
        "tolerations": template.get("tolerations"),
        "priority": template.get("priority"),
        "hostNetwork": template.get("network", "host") == "host",
        "schedulerName": "plum-scheduler",
    }
    return {name: value for name, value in found.items() if value or name == "terminationGracePeriodSeconds"}


def _port(port: Json, bound: Mapping[str, int]) -> Json:
    name, protocol = port.get("name"), "UDP" if port.get("protocol") == "udp" else "TCP"
    found = {"name": name, "containerPort": port.get("port") or bound.get(name or "", 0), "protocol": protocol}
    return {**found, "hostPort": port["hostPort"]} if port.get("hostPort") else found


def _spec(spec: Json, template: Json, bound: Mapping[str, int]) -> Json:
    found = pod_spec(template, bound)
    return {**found, "nodeName": spec["nodeName"]} if spec.get("nodeName") else found


def _status(spec: Json, template: Json, status: Json) -> Json:
    phase = status.get("phase") or "Pending"
    address = status.get("address")
    conditions = [shown for own, name in _CONDITIONS if (shown := _condition(status, own, name)) is not None]
    found: Json = {
        "phase": PHASES.get(phase, "Unknown"),
        "conditions": conditions,
        "message": status.get("message"),
        "reason": status.get("reason") if phase in ("Failed", "Unknown") else None,
        "hostIP": address,
        "podIP": address,
        "podIPs": [{"ip": address}] if address else None,
        "startTime": status.get("startedAt"),
        "containerStatuses": [_container_status(template, status, phase)] if spec.get("nodeName") else None,
    }
    return {name: value for name, value in found.items() if value}


def _condition(status: Json, own: str, name: str) -> Json | None:
    found = next((one for one in status.get("conditions") or () if one.get("type") == own), None)
    if found is None:
        # Before the scheduler or the agent has spoken, as of a new Pod.
        return {"type": name, "status": "False"} if own in ("Scheduled", "Ready") else None
    shown = {key: found[key] for key in ("status", "reason", "message", "lastTransitionTime") if found.get(key)}
    return {"type": name, **shown}


def _container_status(template: Json, status: Json, phase: str) -> Json:
    found: Json = {
        "name": CONTAINER,
        "image": image_of(template),
        "imageID": status.get("imageId") or status.get("artifactSha256") or "",
        "ready": bool(status.get("ready")),
        "started": phase == "Running",
        "restartCount": status.get("restarts") or 0,
        "state": _state(status, phase),
        "lastState": {},
    }
    if status.get("containerId"):
        found["containerID"] = f"container://{status['containerId']}"
    elif status.get("pid"):
        found["containerID"] = f"process://{status['pid']}"
    if status.get("lastExit") and phase not in ("Succeeded", "Failed"):
        found["lastState"] = {"terminated": _terminated(status["lastExit"])}
    return found


def _state(status: Json, phase: str) -> Json:
    reason, message = status.get("reason") or "", status.get("message") or ""
    if phase in ("Succeeded", "Failed"):
        ended = status.get("exit") or {"reason": reason, "message": message, "finishedAt": status.get("finishedAt")}
        return {"terminated": _terminated(ended, completed=phase == "Succeeded")}
    if status.get("pid") or status.get("containerId") or phase in ("Running", "Stopping"):
        return {"running": {"startedAt": status["startedAt"]} if status.get("startedAt") else {}}
    if phase in ("Stopped", "Unknown"):
        reason = reason or phase
    waiting = "CrashLoopBackOff" if reason == "BackOff" else reason or "ContainerCreating"
    return {"waiting": {"reason": waiting, "message": message} if message else {"reason": waiting}}


def _terminated(ended: Json, *, completed: bool = False) -> Json:
    number = _signal_number(ended.get("signal") or "")
    code: Any = ended.get("code")
    if code is None:
        code = 128 + number if number else 0 if completed else _UNOBSERVED_EXIT
    found = {
        "reason": ended.get("reason") or ("Completed" if completed else "Error"),
        "message": ended.get("message"),
        "signal": number,
        "startedAt": ended.get("startedAt"),
        "finishedAt": ended.get("finishedAt"),
    }
    return {"exitCode": code, **{name: value for name, value in found.items() if value}}


def _signal_number(name: str) -> int:
    return int(signal.Signals[name]) if name in signal.Signals.__members__ else 0
