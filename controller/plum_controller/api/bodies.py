"""Bodies of requests as JSON values: JSON, YAML, and Kubernetes' protobuf for Kubernetes' own kinds.

What cannot be read is refused with Kubernetes' words. Keys that are there twice are reported, because
`fieldValidation=Strict` refuses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plum_schemas.base import KindInfo

from plum_controller.api import protobuf
from plum_controller.api.negotiation import Form, body_form, media_type
from plum_controller.api.requests import ApiRequest
from plum_controller.resources.errors import ApiStatusError, Cause, bad_request, invalid_option, unsupported_media_type
from plum_controller.resources.options import DeleteOptions, PatchType
from plum_controller.resources.schema.strict import decode_json

_OBJECT_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_PATCHES: dict[str, PatchType] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_CORE_PATCHES = ", ".join(_PATCHES)
_OWN_PATCHES = ", ".join(type_ for type_ in _PATCHES if "strategic" not in type_)


def read_object(request: ApiRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The object in a body, and its duplicate keys. Raises `ApiStatusError` 400, 415."""
    form = body_form(request.content_type)
    if form is None:
        raise _unknown_format(_OBJECT_TYPES)
    duplicates: list[str] = []
    if form is Form.PROTOBUF:
        try:
            value: Any = protobuf.decode(request.body)
        except protobuf.ProtobufError as error:
            raise bad_request(f"error decoding the protobuf body: {error}") from error
    elif form is Form.YAML:
        value = _yaml(request.body)
    else:
        value, duplicates = _json(request.body, "couldn't get version/kind; json parse error: ")
    if not isinstance(value, dict):
        raise bad_request(f"couldn't get version/kind; json parse error: the body is {_name(value)}, not an object")
    return value, tuple(duplicates)


def read_patch(request: ApiRequest, info: KindInfo) -> tuple[PatchType, Any, tuple[str, ...]]:
    """The patch in a body: its type, the decoded patch, and its duplicate keys. Raises `ApiStatusError` 400, 415."""
    type_ = _PATCHES.get(media_type(request.content_type))
    if type_ is None or (type_ == "strategic" and not info.strategic_merge):
        raise _unknown_format(_CORE_PATCHES if info.strategic_merge else _OWN_PATCHES)
    if type_ == "apply" and not request.body.lstrip().startswith(b"{"):
        patch: Any = _yaml(request.body)
        duplicates: list[str] = []
    else:
        patch, duplicates = _json(request.body, "error decoding patch: ")
    if type_ == "json" and not isinstance(patch, list):
        raise bad_request(f"error decoding patch: the patch is {_name(patch)}; a JSON patch is an array of operations")
    if type_ != "json" and not isinstance(patch, dict):
        raise bad_request(f"error decoding patch: the patch is {_name(patch)}; an object is expected")
    return type_, patch, tuple(duplicates)


def read_delete_options(request: ApiRequest) -> DeleteOptions:
    """How to delete: the body, and where it says nothing the query. Raises `ApiStatusError` 400, 415, 422."""
    body: dict[str, Any] = {}
    if request.body.strip():
        body, _ = read_object(request)
    return delete_options(body, request.query, request.user)


def delete_options(body: Mapping[str, Any], query: Mapping[str, str], user: str) -> DeleteOptions:
    """The same from a decoded body. Raises `ApiStatusError` 400, 422."""
    propagation = body.get("propagationPolicy") or query.get("propagationPolicy") or None
    if propagation is None:
        orphan = body.get("orphanDependents")
        if orphan is None and query.get("orphanDependents"):
            orphan = query["orphanDependents"] in ("true", "1")
        if orphan is not None:
            propagation = "Orphan" if orphan else "Background"
    if propagation is not None and propagation not in ("Background", "Foreground", "Orphan"):
        shown = propagation if isinstance(propagation, str) else _name(propagation)
        message = f'Unsupported value: "{shown}": supported values: "Foreground", "Background", "Orphan"'
        raise invalid_option("DeleteOptions", [Cause("FieldValueNotSupported", message, "propagationPolicy")])
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds") or None)
    if grace is not None:
        grace = _grace(grace)
    preconditions = body.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise bad_request("preconditions must be an object")
    dry_run = body.get("dryRun") or ([query["dryRun"]] if query.get("dryRun") else [])
    return DeleteOptions(
        propagation=propagation,
        uid=_optional_text(preconditions, "uid"),
        revision=_optional_text(preconditions, "resourceVersion"),
        grace_seconds=grace,
        dry_run=is_dry_run(dry_run, "DeleteOptions"),
        user=user,
    )


def is_dry_run(values: Any, options: str) -> bool:
    """`dryRun` as it was given, several times perhaps: only `All` is known. Raises `ApiStatusError` 422."""
    if not values:
        return False
    if values in ("All", ["All"]):
        return True
    message = f'Unsupported value: {_shown(values)}: supported values: "All"'
    raise invalid_option(options, [Cause("FieldValueNotSupported", message, "dryRun")])


def _grace(value: Any) -> int:
    if isinstance(value, str) and value.lstrip("-").isascii() and value.lstrip("-").isdigit() and len(value) < 19:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad_request(f"gracePeriodSeconds is {_shown(value)}; use a whole number of seconds")
    return value


def _optional_text(values: dict[str, Any], name: str) -> str | None:
    value = values.get(name)
    if value is None or isinstance(value, str):
        return value or None
    raise bad_request(f"preconditions.{name} is {_name(value)}; use a string")


def _json(body: bytes, prefix: str) -> tuple[Any, list[str]]:
    try:
        return decode_json(body, report_duplicates=True)
    except RecursionError as error:
        raise bad_request(f"{prefix}the body is nested too deeply") from error
    except ValueError as error:
        raise bad_request(f"{prefix}{error}") from error


def _yaml(body: bytes) -> Any:
    from plum_controller.api.yamls import load

    return load(body)


def _unknown_format(accepted: str) -> ApiStatusError:
    return unsupported_media_type(f"the body of the request was in an unknown format - accepted media types include: {accepted}")


def _name(value: Any) -> str:
    if value is None:
        return "null"
    return {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}.get(type(value), "a number")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)[:200]
