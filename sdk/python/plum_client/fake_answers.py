"""What the fake API answers to one request: reading, listing in pages, writing, scaling, discovery."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from plum_schemas.base import KindInfo, ObjectKey, ScalePaths
from plum_schemas.selectors import SelectorError

from plum_client import transactions
from plum_client.codec import JsonObject, encode
from plum_client.fake_objects import Objects, Outcome, RefusedError, decode_body
from plum_client.fake_transactions import transact
from plum_client.selection import EVERY_FIELD, Selection
from plum_client.transport import Request, Response

_PATCHES = {
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/json-patch+json": "json",
    "application/apply-patch+yaml": "apply",
}
SNAPSHOTS = 16
"""Lists that are read in pages at the same time."""


class Answers:
    """Requests on objects. Raises `RefusedError` for every answer of 400 or more."""

    def __init__(self, objects: Objects) -> None:
        self.snapshots: dict[int, list[JsonObject]] = {}
        """Lists of which not all pages were read, by revision."""
        self._objects = objects

    def answer(self, request: Request) -> Response:
        info = request.info
        key = ObjectKey(request.namespace if info.namespaced else "", request.name)
        dry_run = request.query.get("dryRun") == "All"
        if request.method == "GET":
            return self._read(request, key)
        body = decode_body(request.body) if request.body else {}
        if request.info is transactions.INFO:
            return transact(self._objects, body, request.query.get("fieldManager", ""), dry_run)
        if request.method == "POST":
            return _written(self._objects.create(info, request.namespace, body, dry_run))
        if request.method == "PUT":
            return _written(self._objects.replace(info, key, request.subresource, body, dry_run))
        if request.method == "DELETE" and not request.name:
            return self._delete_collection(request, body, dry_run)
        if request.method == "DELETE":
            return _deleted(self._objects.delete(info, key, body, dry_run))
        return self._patch(request, key, body, dry_run)

    def _read(self, request: Request, key: ObjectKey) -> Response:
        if not request.name:
            return self._list(request)
        value = self._objects.read(request.info, key)
        return Response(200, encode(_scale_of(request.info, value) if request.subresource == "scale" else value))

    def _patch(self, request: Request, key: ObjectKey, patch: JsonObject, dry_run: bool) -> Response:
        info = request.info
        kind = _PATCHES.get(request.content_type)
        if kind is None or (kind == "strategic" and not info.strategic_merge):
            raise RefusedError(
                415, "UnsupportedMediaType", f"{request.content_type} is not supported by {info.api_version} {info.kind}"
            )
        if kind == "apply":
            manager, force = request.query.get("fieldManager", ""), request.query.get("force") == "true"
            return _written(self._objects.apply(info, key, patch, manager, force, dry_run))
        if request.subresource == "scale":
            spec: JsonObject = patch.get("spec") or {}
            path = (info.scale or ScalePaths()).spec_replicas.strip(".").split(".")
            value: JsonObject = {path[-1]: spec.get("replicas")}
            for part in reversed(path[:-1]):
                value = {part: value}
            outcome = self._objects.patch(info, key, "", "merge", value, dry_run)
            return Response(200, encode(_scale_of(info, outcome.value)), outcome.revision)
        return _written(self._objects.patch(info, key, request.subresource, kind, patch, dry_run))

    def _list(self, request: Request) -> Response:
        token = request.query.get("continue", "")
        if token:
            revision, start = (int(part) for part in base64.b64decode(token).decode().split(":"))
            if revision not in self.snapshots:
                raise RefusedError(410, "Expired", "The provided continue parameter is too old.")
            matching = self.snapshots[revision]
        else:
            revision, start, matching = self._objects.revision, 0, self._matching(request)
        limit = int(request.query.get("limit") or 0) or len(matching)
        metadata: JsonObject = {"resourceVersion": str(revision)}
        if start + limit < len(matching):
            self.snapshots[revision] = matching
            if len(self.snapshots) > SNAPSHOTS:
                del self.snapshots[next(iter(self.snapshots))]
            metadata["continue"] = base64.b64encode(f"{revision}:{start + limit}".encode()).decode()
        return Response(200, _list_body(request.info, metadata, matching[start : start + limit]))

    def _delete_collection(self, request: Request, options: JsonObject, dry_run: bool) -> Response:
        items = []
        for value in self._matching(request):
            metadata = value["metadata"]
            key = ObjectKey(str(metadata.get("namespace") or ""), str(metadata["name"]))
            items.append(self._objects.delete(request.info, key, options, dry_run).value)
        return Response(200, _list_body(request.info, {"resourceVersion": str(self._objects.revision)}, items))

    def _matching(self, request: Request) -> list[JsonObject]:
        selection = selection_of(request)
        stored = self._objects.of(request.info)
        return [stored[key] for key in sorted(stored) if selection.matches_object(stored[key])]


def selection_of(request: Request) -> Selection:
    """The objects a list or watch means. Raises `RefusedError` 400 for selectors that make no sense for the kind."""
    info, query = request.info, request.query
    namespace = request.namespace if info.namespaced else ""
    selection = Selection(namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))
    try:
        if selection.label_selector is None and selection.field_selector is None:
            return selection
        if selection.field_selector is not None:
            selection.field_selector.check((*EVERY_FIELD, *(path.lstrip(".") for path in info.selectable_fields)))
    except SelectorError as error:
        raise RefusedError(400, "BadRequest", str(error)) from error
    return selection


def bookmark(info: KindInfo, revision: int) -> bytes:
    value = {"apiVersion": info.api_version, "kind": info.kind, "metadata": {"resourceVersion": str(revision)}}
    return encode({"type": "BOOKMARK", "object": value})


def discovery(path: str, kinds: Sequence[KindInfo]) -> Response:
    """`/api`, `/apis` and the resources of one group version."""
    if path == "/api":
        return Response(200, encode({"kind": "APIVersions", "versions": ["v1"]}))
    if path == "/apis":
        versions = dict.fromkeys((info.group, info.version) for info in kinds if info.group)
        groups = [{"name": group, "versions": [{"version": version}]} for group, version in versions]
        return Response(200, encode({"kind": "APIGroupList", "groups": groups}))
    parts = path.strip("/").split("/")
    wanted = ("" if parts[0] == "api" else parts[1], parts[-1])
    resources = [entry for info in kinds if (info.group, info.version) == wanted for entry in _resources(info)]
    return Response(200, encode({"kind": "APIResourceList", "resources": resources}))


def _resources(info: KindInfo) -> list[JsonObject]:
    entry = {"name": info.plural, "singularName": info.singular, "kind": info.kind, "namespaced": info.namespaced}
    entry |= {"shortNames": info.short_names, "categories": info.categories}
    subresources = [name for name, has in (("status", info.has_status), ("scale", info.scale)) if has]
    return [entry, *({"name": f"{info.plural}/{name}", "kind": info.kind} for name in subresources)]


def _written(outcome: Outcome) -> Response:
    """The object, also when removing the last finalizer made it go."""
    return Response(201 if outcome.created else 200, encode(outcome.value), outcome.revision)


def _deleted(outcome: Outcome) -> Response:
    if not outcome.gone:
        return _written(outcome)
    metadata = outcome.value["metadata"]
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return Response(200, encode(status | {"details": {"name": metadata["name"], "uid": metadata["uid"]}}), outcome.revision)


def _list_body(info: KindInfo, metadata: JsonObject, items: Sequence[JsonObject]) -> bytes:
    return encode({"apiVersion": info.api_version, "kind": info.list_kind, "metadata": metadata, "items": items})


def _scale_of(info: KindInfo, value: JsonObject) -> JsonObject:
    """The `Scale` of an object. Raises `RefusedError` 404 for kinds that cannot be scaled."""
    if info.scale is None:
        raise RefusedError(404, "NotFound", "the server could not find the requested resource")
    metadata = {
        name: value["metadata"].get(name) for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    }
    wanted, actual = (_number(value, path) for path in (info.scale.spec_replicas, info.scale.status_replicas))
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata}
    return scale | {"spec": {"replicas": wanted}, "status": {"replicas": actual}}


def _number(value: JsonObject, path: str) -> int:
    found: object = value
    for part in path.strip(".").split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found if isinstance(found, int) else 0
