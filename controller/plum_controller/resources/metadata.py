"""The metadata of an object: its shape, what the server owns in it, and its rules.

    body --read_metadata--> clean metadata --for_create | for_update--> with the server's fields --check--> causes

Every write of every kind passes here, so the good case is one conversion in C and a few look-ups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from plum_schemas.base import KindInfo
from plum_schemas.names import MAX_ANNOTATIONS_BYTES, check_label_key, check_label_value, is_label_key, is_label_value
from plum_schemas.validation import quote

from plum_controller.resources.encode import Json
from plum_controller.resources.errors import (
    DUPLICATE,
    FORBIDDEN,
    INVALID,
    REQUIRED,
    TOO_LONG,
    Cause,
    bad_request,
    invalid,
    precondition_failed,
)

SERVER_OWNED = ("uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
EMPTY_IS_ABSENT = ("labels", "annotations", "finalizers", "ownerReferences")
GC_FINALIZERS = ("foregroundDeletion", "orphan")


class _Owner(msgspec.Struct):
    apiVersion: str | None = None  # noqa: N815 - the names are those of the JSON
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None
    blockOwnerDeletion: bool | None = None  # noqa: N815


class _Metadata(msgspec.Struct):
    """The shape of metadata, as Kubernetes' ObjectMeta decodes it."""

    name: str | None = None
    generateName: str | None = None  # noqa: N815
    namespace: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815
    selfLink: str | None = None  # noqa: N815
    generation: int | None = None
    creationTimestamp: str | None = None  # noqa: N815
    deletionTimestamp: str | None = None  # noqa: N815
    deletionGracePeriodSeconds: int | None = None  # noqa: N815
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    ownerReferences: list[_Owner] | None = None  # noqa: N815
    managedFields: list[dict[str, Any]] | None = None  # noqa: N815


KNOWN = frozenset(_Metadata.__struct_fields__)
_GO_TYPES = {"labels": "string", "annotations": "string", "finalizers": "string", "ownerReferences": "v1.OwnerReference"}


def read_metadata(info: KindInfo, data: Json) -> tuple[Json, list[str]]:
    """The metadata of a body, without nulls, empty collections and unknown fields, and the names of the unknown ones.

    Raises `ApiStatusError` 400 when a field has the wrong type.
    """
    metadata = data.get("metadata")
    if metadata is None:
        metadata = {}
    try:
        msgspec.convert(metadata, _Metadata)
    except msgspec.ValidationError as error:
        metadata = _repair(info, metadata, error)
    unknown: list[str] = []
    clean = {name: value for name, value in metadata.items() if value is not None}
    if not clean.keys() <= KNOWN:
        unknown = [f"metadata.{name}" for name in clean if name not in KNOWN]
        clean = {name: value for name, value in clean.items() if name in KNOWN}
    for name in EMPTY_IS_ABSENT:
        if name in clean and not clean[name]:
            del clean[name]
    clean.pop("selfLink", None)
    return clean, unknown


def _repair(info: KindInfo, metadata: Any, error: msgspec.ValidationError) -> Json:
    """Drop nulls inside maps, which Kubernetes' clients send to remove a key. Raises `ApiStatusError` 400 for the rest."""
    if isinstance(metadata, dict):
        repaired = dict(metadata)
        for name in ("labels", "annotations"):
            if isinstance(repaired.get(name), dict):
                repaired[name] = {key: value for key, value in repaired[name].items() if value is not None}
        try:
            msgspec.convert(repaired, _Metadata)
        except msgspec.ValidationError as second:
            error = second
        else:
            return repaired
    raise bad_request(
        f'{info.kind} in version "{info.version}" cannot be handled as a {info.kind}: json: {_go_text(metadata, error)}'
    ) from error


def _go_text(metadata: Any, error: msgspec.ValidationError) -> str:
    """What Go's decoder says about the first field of a wrong type."""
    if not isinstance(metadata, dict):
        return f"cannot unmarshal {_go_name(metadata)} into Go struct field .metadata of type v1.ObjectMeta"
    for name, value in metadata.items():
        if name not in KNOWN or value is None:
            continue
        try:
            msgspec.convert({name: value}, _Metadata)
        except msgspec.ValidationError:
            field, wanted = f"ObjectMeta.{name}", _GO_TYPES.get(name, "int64" if name.endswith(("Seconds", "tion")) else "string")
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else (value,)
            if name in _GO_TYPES and not isinstance(value, list if name in ("finalizers", "ownerReferences") else dict):
                container = "[]" if name in ("finalizers", "ownerReferences") else "map[string]"
                return f"cannot unmarshal {_go_name(value)} into Go struct field {field} of type {container}{wanted}"
            wrong = next((item for item in values if not isinstance(item, str)), value)
            return f"cannot unmarshal {_go_name(wrong)} into Go struct field {field} of type {wanted}"
    return str(error)


def _go_name(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    names: dict[type[Any], str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "null")


def for_create(given: Json, info: KindInfo, name: str, namespace: str, uid: str, now: str) -> Json:
    """The metadata of a new object, in the order people read it: what the writer may set, and what the server sets."""
    metadata: Json = {"name": name}
    if "generateName" in given:
        metadata["generateName"] = given["generateName"]
    if namespace:
        metadata["namespace"] = namespace
    metadata["uid"] = uid
    if info.has_generation:
        metadata["generation"] = 1
    metadata["creationTimestamp"] = now
    for field in EMPTY_IS_ABSENT:
        if field in given:
            metadata[field] = given[field]
    return metadata


def revision_in(body: Json) -> str:
    """The revision that a body names, whatever else is in it; empty if none, or the `0` that means none."""
    metadata = body.get("metadata")
    revision = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return revision if isinstance(revision, str) and revision != "0" else ""


def check_identity(key_name: str, namespace: str, given: Json) -> None:
    """The body must speak of the object at the URL. Raises `ApiStatusError` 400."""
    name = given.get("name")
    if name and name != key_name:
        raise bad_request(f"the name of the object ({name}) does not match the name on the URL ({key_name})")
    check_namespace(namespace, given)


def check_namespace(namespace: str, given: Json) -> None:
    if given.get("namespace", namespace) not in ("", namespace):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")


def for_update(info: KindInfo, live: Json, given: Json, *, patched: bool) -> Json:
    """The metadata after an update: the writer's part of `given`, the server's part of `live`.

    Raises `ApiStatusError`: 409 for another uid in a PUT, 422 for a changed uid in a patch or a changed deletionTimestamp.
    """
    name = live["name"]
    uid = given.get("uid")
    if uid and uid != live["uid"]:
        if patched:
            raise invalid(info, name, [_immutable("metadata.uid", uid)])
        raise precondition_failed(
            info, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['uid']}"
        )
    deletion = given.get("deletionTimestamp")
    if deletion is not None and deletion != live.get("deletionTimestamp"):
        raise invalid(info, name, [_immutable("metadata.deletionTimestamp", deletion)])
    metadata: Json = {}
    for field, value in live.items():
        if field in EMPTY_IS_ABSENT or field == "managedFields":
            continue
        metadata[field] = value
    for field in EMPTY_IS_ABSENT:
        if field in given:
            metadata[field] = given[field]
    return metadata


def _immutable(field: str, value: str) -> Cause:
    return Cause(INVALID, f"Invalid value: {quote(value)}: field is immutable", field)


def check(info: KindInfo, metadata: Json, live: Json | None) -> Iterator[Cause]:
    """Why the metadata is refused. What did not change is not asked again."""
    for name in ("labels", "annotations"):
        values = metadata.get(name)
        if values and (live is None or live.get(name) != values):
            yield from _check_labels(values) if name == "labels" else _check_annotations(values)
    owners = metadata.get("ownerReferences")
    if owners and (live is None or live.get("ownerReferences") != owners):
        yield from _check_owners(owners)
    finalizers = metadata.get("finalizers")
    if finalizers:
        yield from _check_finalizers(finalizers, live)


def _check_labels(labels: dict[str, str]) -> Iterator[Cause]:
    for key, value in labels.items():
        if not is_label_key(key):
            yield _refused("metadata.labels", key, check_label_key)
        if not is_label_value(value):
            yield _refused("metadata.labels", value, check_label_value)


def _check_annotations(annotations: dict[str, str]) -> Iterator[Cause]:
    size = 0
    for key, value in annotations.items():
        if not is_label_key(key.lower()):
            yield _refused("metadata.annotations", key, check_label_key)
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATIONS_BYTES:
        yield Cause(TOO_LONG, f"Too long: may not be more than {MAX_ANNOTATIONS_BYTES} bytes", "metadata.annotations")


def _refused(field: str, text: str, check_text: Callable[[str], None]) -> Cause:
    """The cause for a text that `check_text` is known to refuse."""
    try:
        check_text(text)
    except ValueError as error:
        return Cause(INVALID, f"Invalid value: {quote(text)}: {error}", field)
    raise AssertionError(f"{text!r} is refused for no reason")


def _check_owners(owners: list[Json]) -> Iterator[Cause]:
    controllers = []
    for index, owner in enumerate(owners):
        for field, text in (("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")):
            if not owner.get(field):
                path = f"metadata.ownerReferences[{index}].{field}"
                yield Cause(INVALID, f'Invalid value: "": {text} must not be empty', path)
        if owner.get("controller"):
            controllers.append(owner.get("name", ""))
    if len(controllers) > 1:
        hint = f"Only one reference can have Controller set to true. Found {', '.join(map(quote, controllers))}"
        yield Cause(INVALID, f"Invalid value: {quote(controllers[1])}: {hint}", "metadata.ownerReferences")


def _check_finalizers(finalizers: list[str], live: Json | None) -> Iterator[Cause]:
    before = (live or {}).get("finalizers", ())
    added = [name for name in finalizers if name not in before]
    for name in added:
        if not is_label_key(name):
            yield _refused("metadata.finalizers", name, check_label_key)
    if len(set(finalizers)) < len(finalizers):
        twice = next(name for index, name in enumerate(finalizers) if name in finalizers[:index])
        yield Cause(DUPLICATE, f"Duplicate value: {quote(twice)}", "metadata.finalizers")
    if all(name in finalizers for name in GC_FINALIZERS):
        hint = f"finalizer {GC_FINALIZERS[1]} and {GC_FINALIZERS[0]} cannot be both set"
        yield Cause(INVALID, f"Invalid value: {quote(' '.join(finalizers))}: {hint}", "metadata.finalizers")
    if added and live is not None and "deletionTimestamp" in live:
        listed = "[]string{" + ", ".join(map(quote, added)) + "}"
        hint = f"no new finalizers can be added if the object is being deleted, found new finalizers {listed}"
        yield Cause(FORBIDDEN, f"Forbidden: {hint}", "metadata.finalizers")


def finalizer_warnings(metadata: Json, live: Json | None) -> list[str]:
    """Finalizers without a domain are accepted, with a word of advice."""
    finalizers = metadata.get("finalizers")
    if not finalizers:
        return []
    before = (live or {}).get("finalizers", ())
    return [
        f'metadata.finalizers: "{name}": prefer a domain-qualified finalizer name including a path (/) to avoid accidental '
        "conflicts with other finalizer writers"
        for name in finalizers
        if "/" not in name and name not in before and name not in GC_FINALIZERS
    ]


NAME_MISSING = Cause(REQUIRED, "Required value: name or generateName is required", "metadata.name")
