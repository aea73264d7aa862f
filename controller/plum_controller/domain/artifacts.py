"""Artifacts as objects: their names, their specs, and who uses one. Pure.

Package + checksum -> manifest of the Artifact      templates + Artifact -> uses -> who stands in the way of its deletion
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import sha256 as digest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plum_client.packages.check import Package

ARTIFACTS = "artifacts.plum.dev"
MAX_READABLE = 200
_NOT_ALLOWED = re.compile(r"[^a-z0-9.-]+")


def object_name(name: str, version: str) -> str:
    """Name of the Artifact of an application and version: readable, and its own for every pair."""
    plain = f"{name}-{version}"
    readable = _NOT_ALLOWED.sub("-", plain.lower())
    readable = re.sub(r"[.-]*\.[.-]*", ".", readable).strip(".-")[:MAX_READABLE].strip(".-")
    if readable == plain and "-" not in version:
        return readable
    suffix = digest(f"{name}\0{version}".encode()).hexdigest()[:8]
    return f"{readable}-{suffix}" if readable else f"artifact-{suffix}"


def manifest_of(package: Package, sha256: str, size: int, namespace: str) -> dict[str, Any]:
    """The Artifact of a package that was checked."""
    services = [
        {"name": service.name, "port": service.port, **({"protocol": service.protocol} if service.protocol else {})}
        for service in package.services
    ]
    return {
        "apiVersion": "plum.dev/v1",
        "kind": "Artifact",
        "metadata": {"name": object_name(package.name, package.version), "namespace": namespace},
        "spec": {
            "name": package.name,
            "version": package.version,
            "type": "zip",
            "sha256": sha256,
            "size": size,
            "entry": package.entry,
            "services": services,
            "metadata": dict(package.metadata),
        },
    }


def uses(template: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a template runs this artifact."""
    wanted = (template.get("artifact") or {}).get("sha256", "")
    return same_package(template, spec) and (not wanted or wanted == spec.get("sha256", ""))


def same_package(template: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    """Whether a template names this application and version."""
    source = template.get("artifact") or {}
    return (source.get("name"), source.get("version")) == (spec.get("name"), spec.get("version"))
