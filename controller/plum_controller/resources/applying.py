"""Server-side apply: the request around the algorithm in `fields.apply`.

config --check--> short forms --first | next--> object that notes who owns what
"""

from __future__ import annotations

from typing import Any

from plum_schemas.base import ObjectKey

from plum_controller.resources import metadata as meta
from plum_controller.resources.context import Context
from plum_controller.resources.encode import Json, decode, encode
from plum_controller.resources.errors import (
    REQUIRED,
    Cause,
    apply_conflict,
    bad_request,
    conflict,
    internal,
    invalid_option,
)
from plum_controller.resources.fields.apply import ApplyConflict, ApplyError, ApplyResult, apply
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.shaping import check_name, open_body, shape, untyped


class Applier:
    """Turns configurations into objects. Holds no state."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def check(self, kind: ResourceKind, config: Any, options: WriteOptions) -> None:
        """Refuse what no live object could make right. Raises `ApiStatusError`."""
        if not options.field_manager:
            cause = Cause(REQUIRED, "Required value: is required for apply patch", "fieldManager")
            raise invalid_option("PatchOptions", [cause])
        if not isinstance(config, dict):
            raise bad_request("error decoding YAML: the configuration is not an object")
        if not config.get("apiVersion") or not config.get("kind"):
            raise bad_request(f"invalid object type: {_group_version(config)}, Kind={config.get('kind') or ''}")
        open_body(kind, config)
        metadata = config.get("metadata")
        if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        # Before anything is compared: a short form and its long form are the same configuration.
        if kind.normalize is not None:
            kind.normalize(config)

    def first(self, kind: ResourceKind, key: ObjectKey, config: Json, options: WriteOptions) -> tuple[Json, list[str]]:
        """The object that applying to nothing creates."""
        context, warnings = self._context, list[str]()
        given, unknown = self._read(kind, key, config)
        if given.get("uid"):
            text = f"uid mismatch: the provided object specified uid {given['uid']}, and no existing object was found"
            raise conflict(kind.info, key.name, text)
        check_name(kind, key.name)
        new = self._apply(kind, key, None, config, unknown, options).object
        managed = new["metadata"].get("managedFields")
        given, _ = meta.read_metadata(kind.info, new)
        new["metadata"] = meta.for_create(given, kind.info, key.name, key.namespace, context.new_uid(), context.now())
        if managed:
            new["metadata"]["managedFields"] = managed
        if kind.info.has_status:
            new.pop("status", None)
        shape(kind, new, (), options, warnings, config)
        return new, warnings

    def next(self, kind: ResourceKind, key: ObjectKey, live: Json, config: Json, options: WriteOptions) -> Json:
        """The object that applying to `live` leads to."""
        _, unknown = self._read(kind, key, config)
        return self._apply(kind, key, live, config, unknown, options).object

    def _read(self, kind: ResourceKind, key: ObjectKey, config: Json) -> tuple[Json, list[str]]:
        given, unknown = meta.read_metadata(kind.info, config)
        meta.check_identity(key.name, key.namespace, given)
        return given, unknown

    def _apply(
        self, kind: ResourceKind, key: ObjectKey, live: Json | None, config: Json, unknown: list[str], options: WriteOptions
    ) -> ApplyResult:
        if options.duplicates:
            raise untyped(kind, key.namespace, key.name, options.duplicates)
        if unknown:
            raise untyped(kind, key.namespace, key.name, [f".{path}: field not declared in schema" for path in unknown])
        config = decode(encode(config))
        metadata = config.setdefault("metadata", {}) or {}
        config["metadata"] = {**metadata, "name": key.name}
        if key.namespace:
            config["metadata"]["namespace"] = key.namespace
        try:
            return apply(
                live,
                config,
                options.field_manager,
                kind.info.api_version,
                options.subresource,
                self._context.now(),
                options.force,
                kind.fields,
            )
        except ApplyConflict as error:
            raise apply_conflict(str(error), error.causes) from error
        except ApplyError as error:
            raise untyped(kind, key.namespace, key.name, [str(error)]) from error
        except RecursionError as error:
            raise internal("the configuration is nested too deeply") from error


def _group_version(config: Json) -> str:
    """`/` for nothing, as Go prints an empty group and version."""
    return str(config.get("apiVersion") or "/")
