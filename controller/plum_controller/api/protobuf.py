"""Reads the Kubernetes protobuf bodies that newer clients send for Kubernetes' own kinds. Reading only: answers are JSON.

    b"k8s\\0" + Unknown{1: {1: apiVersion, 2: kind}, 2: raw}  ->  {"apiVersion": ..., "kind": ..., "metadata": ...}

Each message is a table from field number to JSON name and type; unknown numbers are skipped, as protobuf asks. Zero and
empty scalars are dropped, because the Go encoder writes them even when nobody set them.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

MAGIC = b"k8s\x00"


class ProtobufError(ValueError):
    """The body is no readable message of a known kind."""


Message = dict[int, tuple[str, Any]]
"""Field number -> (JSON name, type). A type is a word below, a message, a function that makes the value from the bytes, a
list of one of them (repeated), or a map to one of them. `zero-` words are of pointers in Go: sent only when they are set."""


class MapOf(NamedTuple):
    """The type of a map from text to values of a type."""

    type: Any


_ALWAYS = ("zero-int", "zero-bool", "double")
"""Words whose zeros mean something."""

_OWNER: Message = {
    1: ("kind", "string"),
    3: ("name", "string"),
    4: ("uid", "string"),
    5: ("apiVersion", "string"),
    6: ("controller", "bool"),
    7: ("blockOwnerDeletion", "bool"),
}
METADATA: Message = {
    1: ("name", "string"),
    2: ("generateName", "string"),
    3: ("namespace", "string"),
    5: ("uid", "string"),
    6: ("resourceVersion", "string"),
    7: ("generation", "int"),
    8: ("creationTimestamp", "time"),
    11: ("labels", "map"),
    12: ("annotations", "map"),
    13: ("ownerReferences", [_OWNER]),
    14: ("finalizers", ["string"]),
}
_REFERENCE: Message = {
    1: ("kind", "string"),
    2: ("namespace", "string"),
    3: ("name", "string"),
    4: ("uid", "string"),
    5: ("apiVersion", "string"),
    6: ("resourceVersion", "string"),
    7: ("fieldPath", "string"),
}
_EVENT: Message = {
    1: ("metadata", METADATA),
    2: ("involvedObject", _REFERENCE),
    3: ("reason", "string"),
    4: ("message", "string"),
    5: ("source", {1: ("component", "string"), 2: ("host", "string")}),
    6: ("firstTimestamp", "time"),
    7: ("lastTimestamp", "time"),
    8: ("count", "int"),
    9: ("type", "string"),
    10: ("eventTime", "microtime"),
    11: ("series", {1: ("count", "int"), 2: ("lastObservedTime", "microtime")}),
    12: ("action", "string"),
    13: ("related", _REFERENCE),
    14: ("reportingComponent", "string"),
    15: ("reportingInstance", "string"),
}
_LEASE_SPEC: Message = {
    1: ("holderIdentity", "string"),
    2: ("leaseDurationSeconds", "int"),
    3: ("acquireTime", "microtime"),
    4: ("renewTime", "microtime"),
    5: ("leaseTransitions", "int"),
}
_RESOURCE_ATTRIBUTES: Message = {
    1: ("namespace", "string"),
    2: ("verb", "string"),
    3: ("group", "string"),
    4: ("version", "string"),
    5: ("resource", "string"),
    6: ("subresource", "string"),
    7: ("name", "string"),
}
_PATH_ATTRIBUTES: Message = {1: ("path", "string"), 2: ("verb", "string")}
_RULES: Message = {
    1: ("metadata", METADATA),
    2: (
        "rules",
        [
            {
                1: ("verbs", ["string"]),
                2: ("apiGroups", ["string"]),
                3: ("resources", ["string"]),
                4: ("resourceNames", ["string"]),
                5: ("nonResourceURLs", ["string"]),
            }
        ],
    ),
}
_LABEL_SELECTOR: Message = {
    1: ("matchLabels", "map"),
    2: ("matchExpressions", [{1: ("key", "string"), 2: ("operator", "string"), 3: ("values", ["string"])}]),
}
_BINDING: Message = {
    1: ("metadata", METADATA),
    2: ("subjects", [{1: ("kind", "string"), 2: ("apiGroup", "string"), 3: ("name", "string"), 4: ("namespace", "string")}]),
    3: ("roleRef", {1: ("apiGroup", "string"), 2: ("kind", "string"), 3: ("name", "string")}),
}
_DELETE_OPTIONS: Message = {
    1: ("gracePeriodSeconds", "zero-int"),
    2: ("preconditions", {1: ("uid", "string"), 2: ("resourceVersion", "string")}),
    3: ("orphanDependents", "bool"),
    4: ("propagationPolicy", "string"),
    5: ("dryRun", ["string"]),
}
MESSAGES: dict[str, Message] = {
    "Namespace": {1: ("metadata", METADATA), 2: ("spec", {1: ("finalizers", ["string"])})},
    "Secret": {
        1: ("metadata", METADATA),
        2: ("data", "bytesmap"),
        3: ("type", "string"),
        4: ("stringData", "map"),
        5: ("immutable", "bool"),
    },
    "ConfigMap": {1: ("metadata", METADATA), 2: ("data", "map"), 3: ("binaryData", "bytesmap"), 4: ("immutable", "bool")},
    "Event": _EVENT,
    "Lease": {1: ("metadata", METADATA), 2: ("spec", _LEASE_SPEC)},
    "Role": _RULES,
    "ClusterRole": {**_RULES, 3: ("aggregationRule", {1: ("clusterRoleSelectors", [_LABEL_SELECTOR])})},
    "RoleBinding": _BINDING,
    "ClusterRoleBinding": _BINDING,
    "SelfSubjectAccessReview": {
        1: ("metadata", METADATA),
        2: ("spec", {1: ("resourceAttributes", _RESOURCE_ATTRIBUTES), 2: ("nonResourceAttributes", _PATH_ATTRIBUTES)}),
    },
    "SubjectAccessReview": {
        1: ("metadata", METADATA),
        2: (
            "spec",
            {
                1: ("resourceAttributes", _RESOURCE_ATTRIBUTES),
                2: ("nonResourceAttributes", _PATH_ATTRIBUTES),
                3: ("user", "string"),
                4: ("groups", ["string"]),
                6: ("uid", "string"),
            },
        ),
    },
    "SelfSubjectRulesReview": {1: ("metadata", METADATA), 2: ("spec", {1: ("namespace", "string")})},
    "ServiceAccount": {
        1: ("metadata", METADATA),
        2: ("secrets", [_REFERENCE]),
        3: ("imagePullSecrets", [{1: ("name", "string")}]),
        4: ("automountServiceAccountToken", "bool"),
    },
    "TokenRequest": {
        1: ("metadata", METADATA),
        2: ("spec", {1: ("audiences", ["string"]), 4: ("expirationSeconds", "int")}),
    },
    "TokenReview": {1: ("metadata", METADATA), 2: ("spec", {1: ("token", "string"), 2: ("audiences", ["string"])})},
    "SelfSubjectReview": {1: ("metadata", METADATA)},
    "DeleteOptions": _DELETE_OPTIONS,
    "Eviction": {1: ("metadata", METADATA), 2: ("deleteOptions", _DELETE_OPTIONS)},
}


def decode(body: bytes) -> dict[str, Any]:
    """The object in a body. Raises `ProtobufError` for a damaged body or a kind that is not in the table."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body does not start with the Kubernetes protobuf mark")
    kind = api_version = ""
    raw = b""
    for number, _, value in _fields(body[len(MAGIC) :]):
        if number == 1 and isinstance(value, bytes):
            for inner, _, text in _fields(value):
                if inner == 1:
                    api_version = _text(text)
                elif inner == 2:
                    kind = _text(text)
        elif number == 2 and isinstance(value, bytes):
            raw = value
    message = _definition() if kind == "CustomResourceDefinition" else MESSAGES.get(kind)
    if message is None:
        raise ProtobufError(f"protobuf bodies of kind {kind!r} are not supported; send JSON")
    try:
        return {"apiVersion": api_version, "kind": kind, **read_message(raw, message)}
    except RecursionError as error:
        raise ProtobufError("the body is nested too deeply") from error


def _definition() -> Message:
    from plum_controller.api.protobuf_definitions import DEFINITION

    return DEFINITION


def read_message(data: bytes, message: Message) -> dict[str, Any]:
    """A message as JSON, by its table. Raises `ProtobufError`."""
    result: dict[str, Any] = {}
    for number, _, value in _fields(data):
        if number not in message:
            continue
        name, type_ = message[number]
        if isinstance(type_, list):
            result.setdefault(name, []).append(_value(value, type_[0]))
        elif type_ in ("map", "bytesmap"):
            key, item = _entry(value, "base64" if type_ == "bytesmap" else "string")
            result.setdefault(name, {})[key] = item
        elif isinstance(type_, MapOf):
            key, item = _entry(value, type_.type)
            result.setdefault(name, {})[key] = item
        else:
            converted = _value(value, type_)
            if converted or type_ in _ALWAYS or callable(type_):
                result[name] = converted
    return result


def _value(value: int | bytes, type_: Any) -> Any:
    if isinstance(type_, dict):
        return read_message(_bytes(value), type_)
    if type_ == "string":
        return _text(value)
    if callable(type_):
        return type_(_bytes(value))
    if type_ in ("bytes", "base64"):
        return _bytes(value) if type_ == "bytes" else base64.b64encode(_bytes(value)).decode()
    if type_ in ("time", "microtime"):
        return _time(_bytes(value), micro=type_ == "microtime")
    if not isinstance(value, int):
        raise ProtobufError("a number was expected")
    if type_ in ("bool", "zero-bool"):
        return bool(value)
    if type_ == "double":
        (number,) = struct.unpack("<d", struct.pack("<Q", value))
        return int(number) if number.is_integer() else number
    return value - (1 << 64) if value >= 1 << 63 else value


def _entry(value: int | bytes, type_: Any) -> tuple[str, Any]:
    """One entry of a map. Fields that are missing are empty."""
    key, item = "", b""
    for number, _, part in _fields(_bytes(value)):
        if number == 1:
            key = _text(part)
        elif number == 2:
            item = _bytes(part)
    return key, _value(item, type_)


def _time(data: bytes, *, micro: bool) -> str | None:
    seconds = nanos = 0
    for number, _, value in _fields(data):
        if not isinstance(value, int):
            raise ProtobufError("a number was expected")
        if number == 1:
            seconds = value - (1 << 64) if value >= 1 << 63 else value
        elif number == 2:
            nanos = value
    if not seconds and not nanos:
        return None
    try:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds, microseconds=nanos // 1000)
    except OverflowError as error:
        raise ProtobufError("a time is out of range") from error
    return moment.isoformat(timespec="microseconds" if micro else "seconds").replace("+00:00", "Z")


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ProtobufError("bytes were expected")
    return value


def _text(value: int | bytes) -> str:
    try:
        return _bytes(value).decode()
    except UnicodeDecodeError as error:
        raise ProtobufError("a text is not UTF-8") from error


def _fields(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Field number, wire type and raw value of each field of a message."""
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, wire, value
        elif wire == 2:
            size, position = _varint(data, position)
            if size > end - position:
                raise ProtobufError("the body is cut off")
            yield number, wire, data[position : position + size]
            position += size
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            if size > end - position:
                raise ProtobufError("the body is cut off")
            yield number, wire, int(struct.unpack_from("<Q" if wire == 1 else "<I", data, position)[0])
            position += size
        else:
            raise ProtobufError(f"wire type {wire} is not supported")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, position
        shift += 7
    raise ProtobufError("the body is cut off")
