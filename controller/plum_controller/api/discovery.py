"""What this server serves, told to clients: `/api`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`.

    Registry --generation--> documents, built once per generation, each with its ETag

Two forms: plain, one document per level, and aggregated, everything in two. Group order is the order in which a bare
word (`deployments`) is looked up: core first, then our own, then the rest.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from plum_schemas.base import KindInfo

from plum_controller.api.negotiation import DISCOVERY_TYPES, Form, discovery_form
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.views.catalog import VIEWS
from plum_controller.api.views.kind import Part
from plum_controller.api.yamls import as_yaml
from plum_controller.resources.registry import Registry

_encode = msgspec.json.Encoder().encode

OBJECT_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
PART_VERBS = ("get", "patch", "update")

SERVICES = KindInfo(kind="Service", plural="services", group="", categories=(), has_status=False)
"""Core services: always an empty list. `kubectl cluster-info` looks for them, and would else stumble over ours, to which
the short name `svc` stays."""

REVIEWS = tuple(
    KindInfo(kind=kind, plural=f"{kind.lower()}s", group=group, namespaced=kind.startswith("Local"), categories=())
    for group, kinds in (
        (
            "authorization.k8s.io",
            ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview", "LocalSubjectAccessReview"),
        ),
        ("authentication.k8s.io", ("SelfSubjectReview", "TokenReview")),
    )
    for kind in kinds
)
"""Kinds that are answered and never stored."""
MEASURED = (
    KindInfo("NodeMetrics", "nodes", "metrics.k8s.io", "v1beta1", categories=(), namespaced=False, has_status=False),
    KindInfo("PodMetrics", "pods", "metrics.k8s.io", "v1beta1", categories=(), has_status=False),
)
"""Kinds that are measured when somebody asks, and never stored."""
REVIEW_GROUPS = frozenset(info.group for info in REVIEWS)


@dataclass(frozen=True, slots=True)
class Resource:
    """One line of discovery: a kind and what can be done with it."""

    info: KindInfo
    verbs: tuple[str, ...] = OBJECT_VERBS
    parts: tuple[Part, ...] = ()

    @property
    def stored(self) -> bool:
        return self.verbs is OBJECT_VERBS


@dataclass(frozen=True, slots=True)
class Document:
    """One discovery answer."""

    body: bytes
    etag: bytes


def resources_of(infos: Iterable[KindInfo]) -> dict[str, dict[str, list[Resource]]]:
    """Everything served: group -> version -> resources, in order of preference."""
    groups: dict[str, dict[str, list[Resource]]] = {"": {}, "plum.dev": {}}
    for info in infos:
        if info.group not in REVIEW_GROUPS:
            groups.setdefault(info.group, {}).setdefault(info.version, []).append(Resource(info, parts=_parts(info)))
    for info in REVIEWS:
        groups.setdefault(info.group, {}).setdefault(info.version, []).append(Resource(info, ("create",)))
    groups[""].setdefault("v1", []).append(Resource(SERVICES, ("get", "list", "watch")))
    for view in VIEWS:
        groups.setdefault(view.info.group, {}).setdefault(view.info.version, []).append(
            Resource(view.info, view.verbs, view.parts)
        )
    for info in MEASURED:
        groups.setdefault(info.group, {}).setdefault(info.version, []).append(Resource(info, ("get", "list")))
    for versions in groups.values():
        for resources in versions.values():
            resources.sort(key=lambda resource: resource.info.plural)
    return {group: _ordered(versions) for group, versions in groups.items() if versions}


def _ordered(versions: dict[str, list[Resource]]) -> dict[str, list[Resource]]:
    return {version: versions[version] for version in sorted(versions, key=version_rank)}


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Kubernetes' order of versions, best first: v2, v1, v1beta2, v1beta1, v1alpha1, others by name."""
    rest = version.removeprefix("v")
    for rank, mark in enumerate(("", "beta", "alpha")):
        major, _, minor = rest.partition(mark) if mark else (rest, "", "0")
        if major.isdigit() and minor.isdigit() and (mark == "" or mark in rest):
            return (rank, -int(major), -int(minor), version)
    return (9, 0, 0, version)


def _parts(info: KindInfo) -> tuple[Part, ...]:
    """Subresources of a stored kind."""
    parts = []
    if info.has_status:
        parts.append(Part("status", info, PART_VERBS))
    if info.scale is not None:
        parts.append(Part("scale", KindInfo(kind="Scale", plural="scales", group="autoscaling", version="v1"), PART_VERBS))
    if info.resource == "instances.plum.dev":
        parts += [
            Part("exec", info, ("create", "get")),
            Part("log", info, ("get",)),
            Part("portforward", info, ("create", "get")),
        ]
    if info.kind == "Namespace" and not info.group:
        parts.append(Part("finalize", info, ("update",)))
    return tuple(parts)


class Discovery:
    """Answers discovery. Documents are rebuilt when the registry's generation moved, else they are bytes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._documents: dict[tuple[str, ...], Document] = {}

    def answer(self, request: ApiRequest) -> Answer | None:
        """The document at a path of up to three parts; None when nothing is there."""
        self._refresh()
        path = tuple(request.path)
        form = discovery_form(request.accept)
        aggregated = DISCOVERY_TYPES.get(form) if len(path) == 1 else None
        document = self._documents.get((*path, form.value) if aggregated else path)
        if document is None:
            return None
        headers = ((b"etag", document.etag), (b"vary", b"Accept"), (b"cache-control", b"public"))
        if request.headers.get(b"if-none-match") == document.etag:
            return Answer(b"", status=304, headers=headers)
        if form is Form.YAML:
            return as_yaml(Answer(document.body, headers=headers))
        return Answer(document.body, content_type=aggregated or b"application/json", headers=headers)

    def _refresh(self) -> None:
        if self._generation == self._registry.generation:
            return
        self._generation = self._registry.generation
        groups = resources_of(kind.info for kind in self._registry.all())
        documents: dict[tuple[str, ...], Any] = {("api",): _core_versions(groups[""]), ("apis",): _group_list(groups)}
        named = {group: versions for group, versions in groups.items() if group}
        for form, version in ((Form.DISCOVERY_V2, "v2"), (Form.DISCOVERY_V2BETA1, "v2beta1")):
            documents["api", form.value] = _aggregated({"": groups[""]}, version)
            documents["apis", form.value] = _aggregated(named, version)
        for group, versions in groups.items():
            if group:
                documents["apis", group] = {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)}
            for version, resources in versions.items():
                path = ("apis", group, version) if group else ("api", version)
                documents[path] = _resource_list(group, version, resources)
        self._documents = {path: _document(document) for path, document in documents.items()}


def _document(value: Any) -> Document:
    body = _encode(value)
    return Document(body, b'"' + hashlib.sha256(body).hexdigest().upper().encode() + b'"')


def _core_versions(versions: Iterable[str]) -> dict[str, Any]:
    return {
        "kind": "APIVersions",
        "versions": list(versions),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
    }


def _group(group: str, versions: Iterable[str]) -> dict[str, Any]:
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _group_list(groups: dict[str, dict[str, list[Resource]]]) -> dict[str, Any]:
    listed = [_group(group, versions) for group, versions in groups.items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}


def _resource_list(group: str, version: str, resources: list[Resource]) -> dict[str, Any]:
    listed: list[dict[str, Any]] = []
    for resource in resources:
        info = resource.info
        entry: dict[str, Any] = {
            "name": info.plural,
            "singularName": info.singular,
            "namespaced": info.namespaced,
            "kind": info.kind,
            "verbs": list(resource.verbs),
        }
        if info.short_names:
            entry["shortNames"] = list(info.short_names)
        if info.categories:
            entry["categories"] = list(info.categories)
        if resource.stored:
            entry["storageVersionHash"] = _storage_hash(info)
        listed.append(entry)
        for part in resource.parts:
            entry = {"name": f"{info.plural}/{part.name}", "singularName": "", "namespaced": info.namespaced}
            if part.kind is not info:
                entry.update({"group": part.kind.group, "version": part.kind.version})
            listed.append({**entry, "kind": part.kind.kind, "verbs": list(part.verbs)})
    group_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": listed}


def _storage_hash(info: KindInfo) -> str:
    """Eight bytes in base64 that change when objects are stored in another group, version or kind."""
    return base64.b64encode(hashlib.sha256(f"{info.api_version}/{info.kind}".encode()).digest()[:8]).decode()


def _aggregated(groups: dict[str, dict[str, list[Resource]]], api_version: str) -> dict[str, Any]:
    items = []
    for group, versions in groups.items():
        listed = [
            {"version": version, "freshness": "Current", "resources": [_aggregated_resource(resource) for resource in resources]}
            for version, resources in versions.items()
        ]
        items.append({"metadata": {"name": group} if group else {}, "versions": listed})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{api_version}", "metadata": {}, "items": items}


def _kind_of(info: KindInfo) -> dict[str, str]:
    return {"group": info.group, "version": info.version, "kind": info.kind}


def _aggregated_resource(resource: Resource) -> dict[str, Any]:
    info = resource.info
    entry: dict[str, Any] = {
        "resource": info.plural,
        "responseKind": _kind_of(info),
        "scope": "Namespaced" if info.namespaced else "Cluster",
        "singularResource": info.singular,
        "verbs": list(resource.verbs),
    }
    if info.short_names:
        entry["shortNames"] = list(info.short_names)
    if info.categories:
        entry["categories"] = list(info.categories)
    parts = [
        {"subresource": part.name, "responseKind": _kind_of(part.kind), "verbs": list(part.verbs)} for part in resource.parts
    ]
    if parts:
        entry["subresources"] = parts
    return entry
