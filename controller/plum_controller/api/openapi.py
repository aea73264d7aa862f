"""OpenAPI v3 of the object routes: a root that lists one document per group and version, each found by its hash.

    Registry --generation--> {path: hash, bytes}      built with the first question, not at the start

kubectl reads these for `explain`, and to learn that the server validates (`fieldValidation`); it caches a document for
as long as its hash stays. Wrong hashes are redirected, so an old cache heals itself.
"""

from __future__ import annotations

import hashlib
import time
from email.utils import formatdate
from typing import Any

import msgspec
from plum_schemas.base import KindInfo

from plum_controller.api.openapi_meta import META, SCALE, SHARED, described, ref
from plum_controller.api.openapi_sharing import share
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.views.catalog import VIEWS
from plum_controller.api.views.kind import ViewKind
from plum_controller.resources.registry import Registry, ResourceKind

_encode = msgspec.json.Encoder().encode

_YEAR = 365 * 24 * 3600

_JSON_PATCH = "application/json-patch+json"
_PATCH_TYPES = (_JSON_PATCH, "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"
_TYPES = ("application/json", "application/yaml")


def _query(name: str, description: str, type_: str = "string", *values: str) -> dict[str, Any]:
    """A parameter; `values` are those it may have."""
    schema: dict[str, Any] = {"type": type_, "uniqueItems": True}
    if values:
        schema["enum"] = list(values)
    return {"name": name, "in": "query", "description": description, "schema": schema}


_DRY_RUN = _query("dryRun", "All: do everything but store.", "string", "All")
_FIELD_MANAGER = _query("fieldManager", "Who owns the fields this request sets.")
_FIELD_VALIDATION = _query(
    "fieldValidation",
    "What to do about unknown and duplicate fields: Ignore drops them, Warn drops and names them, Strict refuses.",
    "string",
    "Ignore",
    "Warn",
    "Strict",
)
_FORCE = _query("force", "Apply only: take fields from other managers.", "boolean")
_SELECT = [
    _query("continue", "Token of the next page."),
    _query("fieldSelector", "Only objects with these field values."),
    _query("labelSelector", "Only objects with these labels."),
    _query("limit", "Most objects on a page.", "integer"),
    _query("resourceVersion", "Store position to read or to go on from."),
    _query("resourceVersionMatch", "How to take resourceVersion.", "string", "Exact", "NotOlderThan"),
]
_LIST = [
    *_SELECT,
    _query("allowWatchBookmarks", "Send bookmarks on a watch.", "boolean"),
    _query("sendInitialEvents", "Begin a watch with what is there.", "boolean"),
    _query("timeoutSeconds", "End after this time.", "integer"),
    _query("watch", "Stream changes instead of a list: one JSON object per line, with type and object.", "boolean"),
]
_DELETE = [
    _DRY_RUN,
    _query("gracePeriodSeconds", "Seconds the object may take to end.", "integer"),
    _query("orphanDependents", "Use propagationPolicy.", "boolean"),
    _query("propagationPolicy", "What happens to dependents.", "string", "Background", "Foreground", "Orphan"),
]
_REFUSED = {
    "description": "Refused, or not possible now: the reason is for programs, the message for people.",
    "content": {"application/json": {"schema": ref(META + "Status")}},
}
_VERBS = {"post": "create", "put": "update"}
"""Actions that are called otherwise as verbs."""
_PATH_NAME = {"name": "name", "in": "path", "description": "Name of the object.", "required": True, "schema": {"type": "string"}}
_PATH_NAMESPACE = {
    "name": "namespace",
    "in": "path",
    "description": "Namespace of the object.",
    "required": True,
    "schema": {"type": "string"},
}


def schema_name(info: KindInfo) -> str:
    """`dev.plum.v1.Deployment`; Kubernetes' own kinds keep their Go path: `io.k8s.api.core.v1.Namespace`."""
    if not info.group:
        return f"io.k8s.api.core.{info.version}.{info.kind}"
    if info.group.endswith(".k8s.io") and info.group != "apiextensions.k8s.io":
        return f"io.k8s.api.{info.group.removesuffix('.k8s.io').split('.')[0]}.{info.version}.{info.kind}"
    return f"{'.'.join(reversed(info.group.split('.')))}.{info.version}.{info.kind}"


class OpenApi:
    """Answers `/openapi/v3` and below."""

    def __init__(self, registry: Registry, version: str) -> None:
        self._registry = registry
        self._version = version
        self._generation = -1
        self._documents: dict[str, tuple[bytes, str]] = {}

    def answer(self, request: ApiRequest) -> Answer | None:
        """The root, or the document of a group version; None when there is none."""
        path = request.path[1:]
        if not path or path[0] != "v3":
            return None
        self._refresh()
        if len(path) == 1:
            return self._root(request)
        name = "/".join(path[1:])
        found = self._documents.get(name)
        if found is None:
            return None
        body, digest = found
        asked = request.query.get("hash")
        if asked is not None and asked != digest:
            return Answer(b"", status=301, headers=((b"location", f"/openapi/v3/{name}?hash={digest}".encode()),))
        headers: tuple[tuple[bytes, bytes], ...] = ((b"etag", f'"{digest}"'.encode()), (b"vary", b"Accept"))
        if asked is not None:
            expires = formatdate(time.time() + _YEAR, usegmt=True).encode()
            headers += ((b"cache-control", b"public, immutable"), (b"expires", expires))
        else:
            headers += ((b"cache-control", b"no-cache, private"),)
        if request.headers.get(b"if-none-match") == f'"{digest}"'.encode():
            return Answer(b"", status=304, headers=headers)
        return Answer(body, headers=headers)

    def documents(self) -> list[bytes]:
        """All documents, of every group version."""
        self._refresh()
        return [body for body, _ in self._documents.values()]

    def _root(self, request: ApiRequest) -> Answer:
        paths = {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
            for name, (_, digest) in sorted(self._documents.items())
        }
        body = _encode({"paths": paths})
        etag = b'"' + hashlib.sha256(body).hexdigest().upper().encode() + b'"'
        headers = ((b"etag", etag), (b"vary", b"Accept"))
        if request.headers.get(b"if-none-match") == etag:
            return Answer(b"", status=304, headers=headers)
        return Answer(body, headers=headers)

    def _refresh(self) -> None:
        if self._generation == self._registry.generation:
            return
        self._generation = self._registry.generation
        grouped: dict[str, list[ResourceKind]] = {}
        for kind in (*self._registry.all(), *VIEWS):
            info = kind.info
            name = f"apis/{info.group}/{info.version}" if info.group else f"api/{info.version}"
            grouped.setdefault(name, []).append(kind)
        self._documents = {}
        for name, kinds in grouped.items():
            body = _encode(group_document(kinds, self._version))
            self._documents[name] = (body, hashlib.sha256(body).hexdigest().upper())


class _Parts:
    """What many operations of a document have in common, written once and referred to.

    kubectl reads a whole document again for every object that it applies: its size is time.
    """

    def __init__(self) -> None:
        self.sections: dict[str, dict[str, Any]] = {"parameters": {}, "requestBodies": {}, "responses": {}}

    def refer(self, section: str, name: str, value: dict[str, Any]) -> dict[str, Any]:
        """A reference to `value`, under this name or, when another value has it, the next free one."""
        known = self.sections[section]
        free = name
        while known.setdefault(free, value) != value:
            free += "2"
        return {"$ref": f"#/components/{section}/{free}"}


def group_document(kinds: list[ResourceKind], version: str) -> dict[str, Any]:
    """The document of one group version."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    parts = _Parts()
    for kind in sorted(kinds, key=lambda kind: kind.info.plural):
        schemas.update(_schemas(kind))
        described_paths = _paths(kind.info, parts)
        paths.update(_offered(described_paths, kind.verbs) if isinstance(kind, ViewKind) else described_paths)
    schemas = {**share(schemas, schema_name(kinds[0].info).rpartition(".")[0]), **SHARED}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Plum", "version": version},
        "paths": paths,
        "components": {"schemas": dict(sorted(schemas.items())), **parts.sections},
    }


def _schemas(kind: ResourceKind) -> dict[str, Any]:
    info = kind.info
    name = schema_name(info)
    schema = {key: value for key, value in kind.openapi.items() if key != "x-kubernetes-validations"}
    properties = dict(schema.get("properties", {}))
    properties["apiVersion"] = {"type": "string", "description": "Group and version of the schema this object is written in."}
    properties["kind"] = {"type": "string", "description": "The type of this object."}
    properties["metadata"] = described(META + "ObjectMeta", "Name, labels and what else every object carries.", {})
    schema.update({"type": "object", "properties": properties, "x-kubernetes-group-version-kind": [_kind(info)]})
    listed = {
        "type": "object",
        "description": f"{info.list_kind} is a list of {info.kind}.",
        "required": ["items"],
        "properties": {
            "apiVersion": properties["apiVersion"],
            "items": {"type": "array", "description": "The objects.", "items": {"allOf": [ref(name)], "default": {}}},
            "kind": properties["kind"],
            "metadata": described(META + "ListMeta", "What every list carries.", {}),
        },
        "x-kubernetes-group-version-kind": [{**_kind(info), "kind": info.list_kind}],
    }
    return {name: schema, f"{name}List": listed}


def _kind(info: KindInfo) -> dict[str, str]:
    return {"group": info.group, "kind": info.kind, "version": info.version}


def _paths(info: KindInfo, shared_parts: _Parts) -> dict[str, Any]:
    """The operations of a kind, in all namespaces and in one."""
    prefix = f"/apis/{info.group}/{info.version}" if info.group else f"/api/{info.version}"
    base = f"{prefix}/namespaces/{{namespace}}/{info.plural}" if info.namespaced else f"{prefix}/{info.plural}"
    named = shared_parts.refer("parameters", "name", _PATH_NAME)
    placed = shared_parts.refer("parameters", "namespace", _PATH_NAMESPACE)
    shared = [placed] if info.namespaced else []
    operations = _Operations(info, shared_parts)
    write = [_DRY_RUN, _FIELD_MANAGER, _FIELD_VALIDATION]
    patch = [_DRY_RUN, _FIELD_MANAGER, _FIELD_VALIDATION, _FORCE]
    listing = operations.make("list", "list", _LIST, answer=f"{operations.name}List")
    paths: dict[str, Any] = {
        base: {
            "get": listing,
            "post": operations.make("create", "post", write, body=True),
            "delete": operations.make(
                "deleteCollection", "deletecollection", [*_DELETE, *_SELECT], answer=f"{operations.name}List", options=True
            ),
            "parameters": shared,
        }
    }
    if info.namespaced:
        paths[f"{prefix}/{info.plural}"] = {
            "get": operations.make("listForAllNamespaces", "list", _LIST, answer=f"{operations.name}List"),
        }
    parts = [("", operations.name)]
    if info.has_status:
        parts.append(("/status", operations.name))
    if info.scale is not None:
        parts.append(("/scale", SCALE))
    for suffix, answer in parts:
        part = suffix.strip("/").capitalize()
        entry = {
            "get": operations.make(f"read{part}", "get", [_query("resourceVersion", "Not older than this.")], answer=answer),
            "put": operations.make(f"replace{part}", "put", write, body=True, answer=answer),
            "patch": operations.make(f"patch{part}", "patch", patch, patch=True, answer=answer),
            "parameters": [named, *shared],
        }
        if not suffix:
            entry["delete"] = operations.make("delete", "delete", _DELETE, answer=META + "Status", options=True)
        paths[f"{base}/{{name}}{suffix}"] = entry
    return paths


def _offered(paths: dict[str, Any], verbs: tuple[str, ...]) -> dict[str, Any]:
    """The paths of a kind that has not every verb."""
    offered = {}
    for path, item in paths.items():
        operations = {
            name: operation
            for name, operation in item.items()
            if name == "parameters" or _VERBS.get(operation["x-kubernetes-action"], operation["x-kubernetes-action"]) in verbs
        }
        if operations.keys() - {"parameters"}:
            offered[path] = operations
    return offered


class _Operations:
    """Makes the operations of one kind."""

    def __init__(self, info: KindInfo, parts: _Parts) -> None:
        self._info = info
        self._parts = parts
        self.name = schema_name(info)

    def make(
        self,
        verb: str,
        action: str,
        parameters: list[dict[str, Any]],
        *,
        answer: str = "",
        body: bool = False,
        patch: bool = False,
        options: bool = False,
    ) -> dict[str, Any]:
        info = self._info
        answer = answer or self.name
        # In a patch kubectl looks for two parameters, and follows no reference.
        in_place = (_DRY_RUN, _FIELD_VALIDATION) if patch else ()
        parameters = [p if p in in_place else self._parts.refer("parameters", p["name"], p) for p in parameters]
        group = "".join(part.capitalize() for part in (info.group or "core").split("."))
        operation: dict[str, Any] = {
            "tags": [f"{info.group or 'core'}_{info.version}"],
            "description": f"{verb} {info.kind}",
            "operationId": f"{verb}{group}{info.version.capitalize()}{info.kind}",
            "parameters": parameters,
            "responses": self._responses(action, answer),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _kind(info),
        }
        if body:
            content = {type_: {"schema": ref(answer)} for type_ in _TYPES}
            operation["requestBody"] = self._body(answer, {"content": content, "required": True})
        elif patch:
            types = (*_PATCH_TYPES, _STRATEGIC) if info.strategic_merge else _PATCH_TYPES
            content = {type_: {"schema": ref(META + ("JSONPatch" if type_ == _JSON_PATCH else "Patch"))} for type_ in types}
            operation["requestBody"] = self._body("Patch", {"content": content, "required": True})
        elif options:
            content = {type_: {"schema": ref(META + "DeleteOptions")} for type_ in _TYPES}
            operation["requestBody"] = self._body("DeleteOptions", {"content": content})
        return operation

    def _body(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._parts.refer("requestBodies", name, body)

    def _responses(self, action: str, answer: str) -> dict[str, Any]:
        """Every status an operation can have. What is refused, for whatever reason, is a Status.

        Not `4XX`: Go's parser of these documents knows numbers and `default`, and gives up at anything else.
        """
        shown = ref(answer)
        name = answer
        if action == "delete":
            # An object that its finalizers hold is answered as it is now.
            shown = {"anyOf": [shown, ref(self.name)]}
            name = f"{self.name}.Deleted"
        content = {type_: {"schema": shown} for type_ in _TYPES}
        done = self._parts.refer("responses", name, {"description": "Done, with this result.", "content": content})
        refused = self._parts.refer("responses", "Refused", _REFUSED)
        responses: dict[str, Any] = {}
        if action != "post":
            responses["200"] = done
        if action in ("post", "put", "patch"):
            responses["201"] = done
        responses["default"] = refused
        return responses
