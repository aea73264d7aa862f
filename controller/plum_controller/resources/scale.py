"""The `/scale` subresource: the number of copies as an `autoscaling/v1` Scale, whatever the kind calls it.

Scale{spec.replicas} <--get-- object --set the path--> the ordinary write of the object
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from plum_schemas.base import KindInfo, ObjectKey, ScalePaths

from plum_controller.resources import metadata as meta
from plum_controller.resources.context import Context
from plum_controller.resources.encode import Json, decode, encode
from plum_controller.resources.errors import bad_request, no_such_resource, not_found, unsupported_media_type
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.merging import check_revision, refusing_patches
from plum_controller.resources.options import Outcome, PatchType, WriteOptions
from plum_controller.resources.patches import json_patch, merge_patch
from plum_controller.resources.shaping import check_options
from plum_controller.resources.writing import Make, Writer
from plum_controller.store.base import Key
from plum_controller.store.cache import Entry

SCALE = KindInfo(kind="Scale", plural="scales", group="autoscaling", has_generation=False)
MAX_REPLICAS = 2**31 - 1


class ScaleEndpoint:
    """Reads and writes the Scale of any kind that declares one."""

    def __init__(self, context: Context, writer: Writer) -> None:
        self._context = context
        self._writer = writer

    def get(self, kind: ResourceKind, key: ObjectKey) -> bytes:
        entry = self._context.cache.get(Key(kind.info.resource, key.namespace, key.name))
        if entry is None:
            raise not_found(kind.info, key.name)
        return encode(scale_of(decode(entry.value), _paths(kind)))

    async def update(self, kind: ResourceKind, key: ObjectKey, data: Any, options: WriteOptions) -> Outcome:
        check_options(options, "Update")
        paths = _paths(kind)

        def make(entry: Entry, live: Json) -> Json:
            return _with_scale(kind, key, entry, live, paths, data)

        return await self._change(kind, key, make, options)

    async def patch(
        self, kind: ResourceKind, key: ObjectKey, patch_type: PatchType, patch: Any, options: WriteOptions
    ) -> Outcome:
        check_options(options, "Patch")
        paths = _paths(kind)
        if patch_type not in ("json", "merge", "strategic"):
            accepted = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"
            raise unsupported_media_type(
                f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            )
        original = encode(patch)

        def make(entry: Entry, live: Json) -> Json:
            change = json_patch if patch_type == "json" else merge_patch
            with refusing_patches():
                scale = change(scale_of(live, paths), decode(original))
            return _with_scale(kind, key, entry, live, paths, scale)

        return await self._change(kind, key, make, options)

    async def _change(self, kind: ResourceKind, key: ObjectKey, make: Make, options: WriteOptions) -> Outcome:
        # Writes the object itself; only the owner of the field is told apart by the name of the part.
        done = await self._writer.change(kind, key, make, replace(options, subresource="scale"), "patch")
        value = encode(scale_of(decode(done.value), _paths(kind)))
        return Outcome(value, done.revision, changed=done.changed, warnings=done.warnings, gone=done.gone, uid=done.uid)


def scale_of(data: Json, paths: ScalePaths) -> Json:
    """The Scale of an object."""
    metadata = data["metadata"]
    shown = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Json = {"replicas": _read(data, paths.status_replicas) or 0}
    selector = _read(data, paths.label_selector) if paths.label_selector else None
    if selector:
        status["selector"] = selector
    return {
        "kind": SCALE.kind,
        "apiVersion": SCALE.api_version,
        "metadata": {name: metadata[name] for name in shown if name in metadata},
        "spec": {"replicas": _read(data, paths.spec_replicas) or 0},
        "status": status,
    }


def _with_scale(kind: ResourceKind, key: ObjectKey, entry: Entry, live: Json, paths: ScalePaths, scale: Any) -> Json:
    """A copy of the live object with the number of copies that the Scale asks for. Raises `ApiStatusError` 400 or 409."""
    if not isinstance(scale, dict):
        raise bad_request("the object provided is unrecognized (must be of type Scale)")
    if scale.get("kind", SCALE.kind) != SCALE.kind or scale.get("apiVersion", SCALE.api_version) != SCALE.api_version:
        given = f"{scale.get('apiVersion')}, Kind={scale.get('kind')}"
        raise bad_request(f"expected input object type to be Scale, but {given}")
    given_metadata, _ = meta.read_metadata(SCALE, scale)
    meta.check_identity(key.name, key.namespace, given_metadata)
    check_revision(kind, key.name, given_metadata.get("resourceVersion"), entry.revision)
    # Go leaves out a zero, so absent means 0.
    spec = scale.get("spec") or {}
    replicas = (spec.get("replicas") or 0) if isinstance(spec, dict) else None
    if type(replicas) is not int or replicas > MAX_REPLICAS:
        raise bad_request('Scale in version "v1" cannot be handled as a Scale: spec.replicas must be a 32-bit integer')
    changed = decode(kind.present(entry.value))
    _write(changed, paths.spec_replicas, replicas)
    return changed


def _paths(kind: ResourceKind) -> ScalePaths:
    if kind.info.scale is None:
        raise no_such_resource()
    return kind.info.scale


def _read(data: Any, path: str) -> Any:
    for part in path.lstrip(".").split("."):
        data = data.get(part) if isinstance(data, dict) else None
    return data


def _write(data: Json, path: str, value: int) -> None:
    *above, last = path.lstrip(".").split(".")
    for part in above:
        data = data.setdefault(part, {})
    data[last] = value
