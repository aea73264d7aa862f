"""The environment of a workload: what the template declares, what Plum tells every workload, and nothing of the agent's.

template.env, envFrom (ConfigMap, Secret, KV, fields of the instance) -> resolve -> values, kept in the ledger
values + PLUM_..., CONTROLLER_... + PORT... + PATH, HOME, LANG        -> environment_of -> all a run gets
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plum_client.client import ApiClient
from plum_schemas.instance import Instance
from plum_schemas.template import Template

from plum_agent.artifacts.package import PreparedPackage
from plum_agent.devices import Devices
from plum_agent.errors import RefusedError
from plum_agent.references import References

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEVICES_INSIDE = "/.plum/devices"
"""Where a container sees the folder with the socket."""
DEVICE_SOCKET = "agent.sock"
DEPLOYMENT_LABEL = "plum.dev/deployment"
REVISION_LABEL = "plum.dev/revision"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


@dataclass(frozen=True, slots=True)
class Place:
    """What every instance of this node is told about where it runs."""

    node: str
    address: str = ""
    """Address others reach this node at."""
    controller: str = ""
    """Base address of the controller."""
    controller_grpc: str = ""
    """`host:port` of the controller for workers, if it is known."""
    devices: Devices = field(default_factory=Devices)
    """Those of this node."""
    device_address: Callable[[str], str] = lambda namespace: ""
    """Where programs of a namespace speak for devices; empty where they cannot."""
    device_folder: Callable[[str], Path | None] = lambda namespace: None
    """The folder with the socket at which containers with a network of their own do. Raises `OSError`."""


@dataclass(frozen=True, slots=True)
class Application:
    """What an instance is an instance of."""

    name: str
    version: str

    @classmethod
    def of(cls, instance: Instance, package: PreparedPackage | None) -> Application:
        """From the package; without one from what the template and the labels say."""
        if package is not None:
            return cls(package.name, package.version)
        template, labels = instance.spec.template, instance.metadata.labels
        source = template.artifact
        version = source.version if source is not None else next((one.version for one in template.services), "")
        name = (source.name if source is not None else "") or labels.get(DEPLOYMENT_LABEL) or instance.metadata.name
        return cls(name, version or labels.get(REVISION_LABEL, ""))


async def resolve(api: ApiClient, instance: Instance) -> dict[str, str]:
    """The values of every variable that comes from another object. Raises `RefusedError` for what is missing; API errors."""
    values: dict[str, str] = {}
    template = instance.spec.template
    references = References(api, instance.metadata.namespace)
    for source in template.env_from:
        found = await references.all(source.secret_ref, source.config_map_ref, "envFrom")
        for key, data in found.items():
            if _NAME.match(f"{source.prefix}{key}"):  # others cannot be variables, as in Kubernetes
                values[f"{source.prefix}{key}"] = _text(data)
    for variable in template.env:
        if variable.value_from is None:
            values.pop(variable.name, None)
        elif variable.value_from.field_ref is None:
            value = await references.value(variable.value_from, f"env {variable.name}")
            if value is not None:
                values[variable.name] = _text(value)
    return values


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def needs_api(instance: Instance) -> bool:
    """Does any variable come from another object?"""
    template = instance.spec.template
    sources = (variable.value_from for variable in template.env)
    return bool(template.env_from) or any(source is not None and source.field_ref is None for source in sources)


def environment_of(
    instance: Instance,
    resolved: Mapping[str, str],
    place: Place,
    ports: Mapping[str, int],
    home: Path | str,
    application: Application | None = None,
) -> dict[str, str]:
    """Everything a run gets. Declared variables win over Plum's defaults, not over its names for instance and node."""
    template = instance.spec.template
    what = application or Application.of(instance, None)
    environment = {
        "PATH": DEFAULT_PATH,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PLUM_APP_NAME": what.name,
        "PLUM_APP_VERSION": what.version,
        "PLUM_NAMESPACE": instance.metadata.namespace,
    }
    addresses = {"PLUM_DEVICES": _device_address(instance, place)}
    addresses |= {"CONTROLLER_BASE": place.controller, "CONTROLLER_GRPC_ADDR": place.controller_grpc}
    environment |= {name: value for name, value in addresses.items() if value}
    named = {"PLUM_INSTANCE_ID": instance.metadata.name, "WORKER_NODE_ID": place.node}
    environment |= named
    for position, port in enumerate(template.ports):
        number = str(ports.get(port.name, port.port))
        if position == 0:
            environment["PORT"] = number
        environment[f"PORT_{re.sub('[^A-Z0-9]', '_', port.name.upper())}"] = number
    environment |= place.devices.environment(template.resources.devices)
    declared = {variable.name for variable in template.env}
    environment |= {name: value for name, value in resolved.items() if name not in declared}
    for variable in template.env:
        source = variable.value_from
        if source is None:
            environment[variable.name] = expand(variable.value, environment)
        elif source.field_ref is not None:
            environment[variable.name] = field_of(instance, source.field_ref.field_path, place.address)
        elif variable.name in resolved:
            environment[variable.name] = resolved[variable.name]
    return environment | named


def is_apart(template: Template) -> bool:
    """Whether the loopback address of its node is not its own."""
    return template.runtime == "container" and template.network != "host"


def _device_address(instance: Instance, place: Place) -> str:
    namespace = instance.metadata.namespace
    if not is_apart(instance.spec.template):
        return place.device_address(namespace)
    return f"unix:{DEVICES_INSIDE}/{DEVICE_SOCKET}" if place.device_folder(namespace) is not None else ""


def expand(value: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` becomes the value defined before; an unknown one stays as it is; `$$` is one dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return environment.get(match[2], match[0])

    return _REFERENCE.sub(replace, value) if "$" in value else value


def field_of(instance: Instance, path: str, address: str) -> str:
    """The value of a `fieldRef`. Raises `RefusedError` for a field that cannot be named there."""
    metadata = instance.metadata
    fields = {
        "metadata.name": metadata.name,
        "metadata.namespace": metadata.namespace,
        "metadata.uid": metadata.uid,
        "spec.nodeName": instance.spec.node_name,
        "status.address": address,
    }
    if path in fields:
        return fields[path]
    subscript = _SUBSCRIPT.match(path)
    if subscript is not None:
        source = metadata.labels if subscript[1] == "labels" else metadata.annotations
        return source.get(subscript[2], "")
    known = ", ".join([*fields, "metadata.labels['KEY']", "metadata.annotations['KEY']"])
    raise RefusedError("InvalidFieldRef", f"fieldPath {path!r} is not known; use {known}")
