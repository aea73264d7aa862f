"""The environment of a workload: what the template declares, what Plum tells every workload, and nothing of the agent's.

template.env + valueFrom (ConfigMap, Secret, fields of the instance) -> resolve -> values, kept in the ledger
values + PLUM_... + PORT... + PATH, HOME, LANG                       -> environment_of -> all a run gets
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path

from plum_client.client import ApiClient
from plum_schemas.core import ConfigMap, Secret
from plum_schemas.instance import Instance
from plum_schemas.template import EnvVar, KeyRef

from plum_agent.errors import RefusedError

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEPLOYMENT_LABEL = "plum.dev/deployment"
REVISION_LABEL = "plum.dev/revision"
_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z_][A-Za-z0-9_.-]*)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]\Z")


async def resolve(api: ApiClient, instance: Instance) -> dict[str, str]:
    """The values of every `valueFrom` that names a key of an object. Raises `RefusedError` for what is missing; API errors."""
    values: dict[str, str] = {}
    namespace = instance.metadata.namespace
    for variable in instance.spec.template.env:
        source = variable.value_from
        if source is None:
            continue
        value: str | None = None
        if source.secret_key_ref is not None:
            value = await _read(api, Secret, variable, source.secret_key_ref, namespace)
        elif source.config_map_key_ref is not None:
            value = await _read(api, ConfigMap, variable, source.config_map_key_ref, namespace)
        if value is not None:
            values[variable.name] = value
    return values


async def _read(
    api: ApiClient, kind: type[Secret] | type[ConfigMap], variable: EnvVar, ref: KeyRef, namespace: str
) -> str | None:
    found = await api.get(kind, ref.name, namespace)
    word = kind.info.kind
    if found is None:
        if ref.optional:
            return None
        raise RefusedError(
            f"{word}Missing", f"env {variable.name} needs {word} {namespace}/{ref.name}, which does not exist; create it"
        )
    if isinstance(found, ConfigMap) and ref.key in found.data:
        return found.data[ref.key]
    encoded = found.binary_data if isinstance(found, ConfigMap) else found.data
    if ref.key in encoded:
        return base64.b64decode(encoded[ref.key]).decode("utf-8", "surrogateescape")
    if ref.optional:
        return None
    raise RefusedError(f"{word}KeyMissing", f"env {variable.name} needs key {ref.key!r} of {word} {namespace}/{ref.name}; add it")


def needs_api(instance: Instance) -> bool:
    """Does any variable come from another object?"""
    sources = (variable.value_from for variable in instance.spec.template.env)
    return any(source is not None and (source.secret_key_ref or source.config_map_key_ref) for source in sources)


def environment_of(
    instance: Instance, resolved: Mapping[str, str], node: str, ports: Mapping[str, int], home: Path | str, address: str = ""
) -> dict[str, str]:
    """Everything a run gets. Declared variables win over Plum's defaults, not over its names for instance and node."""
    template = instance.spec.template
    labels = instance.metadata.labels
    application = template.artifact.name if template.artifact is not None else ""
    version = template.artifact.version if template.artifact is not None else next((s.version for s in template.services), "")
    environment = {
        "PATH": DEFAULT_PATH,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PLUM_APP_NAME": application or labels.get(DEPLOYMENT_LABEL) or instance.metadata.name,
        "PLUM_APP_VERSION": version or labels.get(REVISION_LABEL, ""),
    }
    named = {"PLUM_INSTANCE_ID": instance.metadata.name, "WORKER_NODE_ID": node}
    environment |= named
    for position, port in enumerate(template.ports):
        number = str(ports.get(port.name, port.port))
        if position == 0:
            environment["PORT"] = number
        environment[f"PORT_{re.sub('[^A-Z0-9]', '_', port.name.upper())}"] = number
    for variable in template.env:
        source = variable.value_from
        if source is None:
            environment[variable.name] = expand(variable.value, environment)
        elif source.field_ref is not None:
            environment[variable.name] = field_of(instance, source.field_ref.field_path, address)
        elif variable.name in resolved:
            environment[variable.name] = resolved[variable.name]
    return environment | named


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
