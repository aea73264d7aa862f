"""What an agent may do: read and write what is its own node's, and nothing else.

    its Node           read, apply, write the status and the drain
    its Lease          in the namespace of node leases
    its Instances      those with spec.nodeName of the node: read, write the status, take the finalizer away
    its TaskRuns       those with status.node of the node: read, write the status
    its Resources      those with spec.nodeName of the node: read, speak for the device; read those that its instances reserve
    its Operations     those with status.node of the node: read, write the status
    its WorkflowRuns   those with status.node of the node: read, write the status, get what they need, merge what happened
    its Endpoints      list and watch those with spec.nodeName of the node
    what they name     Secrets, ConfigMaps, keys and Artifacts of their namespaces that their templates refer to
    Events             create and count up
    its certificate    get the next one with the current one

Roles could not say this: which objects belong to a node depends on the objects. Asked only when no role allows a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plum_schemas.kv import kv_name
from plum_schemas.node import NODE_LEASE_NAMESPACE
from plum_schemas.selectors import FieldRequirement, FieldSelector, SelectorError, parse_field_selector

from plum_controller.domain.access import Attributes
from plum_controller.domain.artifacts import ARTIFACTS, same_package
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import ApiStatusError
from plum_controller.store.base import Key
from plum_controller.store.cache import WatchCache

MAIN_CONTROL = FieldRequirement("spec.service", "=", "maincontrol")
"""The one service whose address agents tell workloads (`MAIN_CONTROL_BASE`)."""
TASK_RUNS = "taskruns.plum.dev"
WORKFLOW_RUNS = "workflowruns.plum.dev"
RESTRICTED_LABELS = "node-restriction.kubernetes.io/"
"""Labels that administrators use to keep workloads away from nodes they do not trust."""


class NodeAccess:
    """Looks into the cache for whose an object is."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache

    def allows(self, node: str, wanted: Attributes, fields: str = "") -> bool:
        """Whether the agent of `node` may do this. `fields` is the field selector of a list."""
        if wanted.path:
            return wanted.path in ("/agent/v1/connect", "/agent/v1/certificate", "/agent/v1/statuses", "/agent/v1/devices")
        match wanted.group, wanted.resource:
            case "plum.dev", "nodes":
                return self._node(node, wanted)
            case "coordination.k8s.io", "leases":
                own = wanted.name == node or wanted.verb == "create"
                return wanted.namespace == NODE_LEASE_NAMESPACE and own and wanted.verb in ("get", "create", "update", "patch")
            case "plum.dev", "instances":
                return self._instance(node, wanted, fields)
            case "plum.dev", "taskruns":
                return self._task(node, wanted, fields)
            case "plum.dev", "resources":
                return self._resource(node, wanted, fields)
            case "plum.dev", "operations":
                return self._operation(node, wanted, fields)
            case "plum.dev", "workflowruns":
                return self._run(node, wanted, fields)
            case "plum.dev", "endpoints":
                asked = _requirements(fields)
                return wanted.verb in ("list", "watch") and (_own_field(node) in asked or MAIN_CONTROL in asked)
            case "", "events":
                return wanted.verb in ("create", "update", "patch")
            case "plum.dev", "artifacts":
                return self._artifact(node, wanted, fields)
            case "plum.dev", "kvs":
                return wanted.verb == "get" and any(_names_key(spec, wanted.name) for spec in self._specs(node, wanted.namespace))
            case "", "secrets" | "configmaps":
                return wanted.verb == "get" and self._named_by_instances(node, wanted)
        return False

    @staticmethod
    def _node(node: str, wanted: Attributes) -> bool:
        if wanted.verb in ("get", "list", "watch", "patch", "update"):
            return wanted.name == node and wanted.subresource in ("", "status")
        return wanted.verb == "create" and not wanted.subresource

    def _instance(self, node: str, wanted: Attributes, fields: str) -> bool:
        if wanted.verb in ("list", "watch"):
            return _own_field(node) in _requirements(fields)
        if wanted.verb in ("get", "update", "patch") and wanted.subresource in ("", "status"):
            entry = self._cache.get(Key("instances.plum.dev", wanted.namespace, wanted.name))
            return entry is not None and entry.field("spec.nodeName") == node
        return False

    def _task(self, node: str, wanted: Attributes, fields: str) -> bool:
        if wanted.verb in ("list", "watch"):
            return _task_field(node) in _requirements(fields)
        subresources = ("", "status") if wanted.verb == "get" else ("status",)
        if wanted.verb in ("get", "update", "patch") and wanted.subresource in subresources:
            entry = self._cache.get(Key(TASK_RUNS, wanted.namespace, wanted.name))
            return entry is not None and entry.field("status.node") == node
        return False

    def _resource(self, node: str, wanted: Attributes, fields: str) -> bool:
        if wanted.verb in ("list", "watch"):
            return _own_field(node) in _requirements(fields)
        entry = self._cache.get(Key("resources.plum.dev", wanted.namespace, wanted.name))
        if wanted.subresource == "device":  # one that is there, on another node, is that node's
            taken = entry is not None and entry.field("spec.nodeName") not in ("", node)
            return not taken or entry is None or entry.field("status.connection.online") != "true"
        if wanted.verb != "get" or entry is None:
            return False
        return entry.field("spec.nodeName") == node or any(
            _reserves(spec, wanted.name) for spec in self._specs(node, wanted.namespace)
        )

    def _operation(self, node: str, wanted: Attributes, fields: str) -> bool:
        if wanted.verb in ("list", "watch"):
            return _task_field(node) in _requirements(fields)
        if wanted.verb not in ("get", "update", "patch") or wanted.subresource not in ("", "status"):
            return False
        entry = self._cache.get(Key("operations.plum.dev", wanted.namespace, wanted.name))
        is_own = entry is not None and entry.field("status.node") == node
        return is_own and (wanted.verb == "get" or wanted.subresource == "status")

    def _run(self, node: str, wanted: Attributes, fields: str) -> bool:
        if wanted.verb in ("list", "watch"):
            return _task_field(node) in _requirements(fields)
        allowed = {"get": ("", "status", "delegation"), "update": ("status",), "patch": ("status",), "create": ("merge",)}
        if wanted.name and wanted.subresource in allowed.get(wanted.verb, ()):
            entry = self._cache.get(Key(WORKFLOW_RUNS, wanted.namespace, wanted.name))
            return entry is not None and entry.field("status.node") == node
        return False

    def _artifact(self, node: str, wanted: Attributes, fields: str) -> bool:
        """One that an instance of the node runs: by its name, or looked for by what the template says."""
        if wanted.verb == "get" and not wanted.subresource:
            entry = self._cache.get(Key(ARTIFACTS, wanted.namespace, wanted.name))
            asked = {} if entry is None else decode(entry.value)["spec"]
        elif wanted.verb == "list":
            chosen = {one.path: one.value for one in _requirements(fields) if one.operator == "="}
            asked = {"name": chosen.get("spec.name"), "version": chosen.get("spec.version")}
        else:
            return False
        if not asked.get("name") or not asked.get("version"):
            return False
        return any(same_package(spec["template"], asked) for spec in self._specs(node, wanted.namespace))

    def _specs(self, node: str, namespace: str) -> Iterator[Json]:
        """Of the instances of a node in one namespace, and of the tasks that it has to do."""
        for entry in self._cache.list("instances.plum.dev", namespace, None, FieldSelector([_own_field(node)])):
            yield decode(entry.value)["spec"]
        for entry in self._cache.list(TASK_RUNS, namespace, None, FieldSelector([_task_field(node)])):
            status = decode(entry.value)["status"]
            if status.get("phase") in ("Pending", "Running"):
                yield {"template": {}, "task": status.get("task") or {}}

    def _named_by_instances(self, node: str, wanted: Attributes) -> bool:
        fields = FieldSelector([_own_field(node)])
        name = f'"{wanted.name}"'.encode()
        instances = self._cache.list("instances.plum.dev", wanted.namespace, None, fields)
        if any(name in entry.value and _names(decode(entry.value)["spec"], wanted) for entry in instances):
            return True
        tasks = self._cache.list(TASK_RUNS, wanted.namespace, None, FieldSelector([_task_field(node)]))
        return any(name in entry.value and _task_names(decode(entry.value), wanted) for entry in tasks)


def _reserves(spec: Json, name: str) -> bool:
    """Whether a template reserves the device."""
    reservations = (spec.get("template") or {}).get("reservations") or ()
    return any(one.get("resource") == name for one in reservations)


def _own_field(node: str) -> FieldRequirement:
    return FieldRequirement("spec.nodeName", "=", node)


def _task_field(node: str) -> FieldRequirement:
    return FieldRequirement("status.node", "=", node)


def _task_names(run: Json, wanted: Attributes) -> bool:
    """Whether a task that is not over refers to the Secret or ConfigMap, in what it executes or by a mark in its payload."""
    status = run.get("status") or {}
    if status.get("phase") not in ("Pending", "Running"):
        return False
    marks = {"secrets": (run.get("spec") or {}).get("secrets") or []}
    return _names(status.get("task") or {}, wanted) or _names(marks, wanted)


def _requirements(fields: str) -> tuple[FieldRequirement, ...]:
    try:
        return parse_field_selector(fields).requirements
    except SelectorError:
        return ()


def _names(value: Any, wanted: Attributes) -> bool:
    """Whether a reference to the Secret or ConfigMap is anywhere in a template."""
    if isinstance(value, dict):
        for field, inner in value.items():
            word = field.lower()
            if wanted.resource.removesuffix("s") in word and _is_reference(inner, wanted.name):
                return True
            if _names(inner, wanted):
                return True
    elif isinstance(value, list):
        return any(_names(item, wanted) for item in value)
    return False


def _names_key(value: Any, name: str) -> bool:
    """Whether a template refers to the key that is stored under this name."""
    if isinstance(value, list):
        return any(_names_key(item, name) for item in value)
    if not isinstance(value, dict):
        return False
    reference = value.get("kvKeyRef")
    if isinstance(reference, dict) and kv_name(str(reference.get("key"))) == name:
        return True
    return any(_names_key(inner, name) for inner in value.values())


def _is_reference(value: Any, name: str) -> bool:
    if isinstance(value, list):
        return any(_is_reference(item, name) for item in value)
    if isinstance(value, dict):
        return name in (value.get("name"), value.get("secretName"))
    return bool(value == name)


def admit(node: str, kind: str, new: Json, live: Mapping[str, Any] | None) -> None:
    """Refuse what the path of a request does not show: another node's name, another spec. Raises `ApiStatusError` 403."""
    name = new["metadata"].get("name", "")
    if kind in ("Node", "Lease") and name != node:
        raise _refused(node, f"may only write its own {kind}, not {name!r}")
    if kind == "Instance" and live is not None and new.get("spec") != live.get("spec"):
        raise _refused(node, "may not change what is wanted of an instance")
    if kind == "TaskRun" and live is not None:
        before, after = live.get("status") or {}, new.get("status") or {}
        if after.get("node") != node or after.get("phase") not in (before.get("phase"), "Running"):
            raise _refused(
                node, "may take an attempt of a task and report how it ended; what follows is the controller's to decide"
            )
    if kind == "WorkflowRun":
        before, after = (live or {}).get("status") or {}, new.get("status") or {}
        if live is None or after.get("node") != node:
            raise _refused(node, "may write the status of a run that was delegated to it, and hand it to nobody")
    if kind == "Node":
        before_labels = ((live or {}).get("metadata") or {}).get("labels") or {}
        labels = new["metadata"].get("labels") or {}
        for label in labels.keys() | before_labels.keys():
            if label.startswith(RESTRICTED_LABELS) and labels.get(label) != before_labels.get(label):
                raise _refused(node, f"may not set the label {label}, by which others decide what it gets")
    if kind == "Node" and live is not None:
        allowed = ("drain", "unschedulable")
        before, after = dict(live.get("spec") or {}), dict(new.get("spec") or {})
        for field in allowed:
            before.pop(field, None)
            after.pop(field, None)
        if before != after:
            raise _refused(node, "may change nothing of its Node's spec but the drain")


def _refused(node: str, what: str) -> ApiStatusError:
    return ApiStatusError(403, "Forbidden", f"forbidden: the agent of node {node!r} {what}", {})
