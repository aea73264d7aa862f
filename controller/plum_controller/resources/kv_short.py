"""Entries as bytes: what the short way of a put reads of an entry, and what it writes.

    stored bytes --Owned.read--> uid, generation, owner, Parts     Parts before, Parts after, owner --tail--> bytes to store

An entry fits when its metadata is the least there can be and one writer owns all of it; any other is `None`, for the way that
every write could take. Values stay JSON text: two of them are the same if their texts are, because one encoder writes all.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from plum_schemas.kv import KV, check_value

from plum_controller.resources.encode import Json, same
from plum_controller.resources.fields.tracking import track_update
from plum_controller.resources.fields.typed import FieldSchema

TYPES = frozenset({"string", "int", "double", "bool", "bytes", "json"})
_NULL = b"null"

encode = msgspec.json.Encoder().encode
decode = msgspec.json.decode


class Parts(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The spec of an entry, its value as text. What is absent is not written."""

    key: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    value: msgspec.Raw | UnsetType = UNSET
    ttl: str | UnsetType = UNSET
    lease: str | UnsetType = UNSET
    expires_at: str | UnsetType = UNSET


class _Owner(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    manager: str
    operation: str
    api_version: str
    time: str
    fields_type: str
    fields_v1: msgspec.Raw = msgspec.field(name="fieldsV1")


class _Metadata(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    name: str
    namespace: str
    uid: str
    generation: int
    creation_timestamp: str
    managed_fields: list[_Owner]
    resource_version: str | UnsetType = UNSET


class _Stored(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: str
    kind: str
    metadata: _Metadata
    spec: Parts


class _Spec(msgspec.Struct):
    spec: Parts


_decode_stored = msgspec.json.Decoder(_Stored).decode


class Ownership:
    """What a writer owns who wrote all of a spec, as text. Made once for each set of fields; there are a handful."""

    def __init__(self, fields: FieldSchema) -> None:
        self._fields = fields
        self._known: dict[tuple[bool, ...], bytes] = {}

    def of(self, parts: Parts) -> bytes:
        if _is_object(parts.value):  # only its fields have owners of their own
            return self._made(parts)
        present = (
            parts.key is not UNSET, parts.type is not UNSET, parts.value is not UNSET, parts.ttl is not UNSET,
            parts.lease is not UNSET, parts.expires_at is not UNSET,
        )  # fmt: skip
        known = self._known.get(present)
        if known is None:
            known = self._known[present] = self._made(parts)
        return known

    def _made(self, parts: Parts) -> bytes:
        whole: Json = {"metadata": {}, "spec": decode(encode(parts))}
        track_update(None, whole, "", KV.info.api_version, "", "", self._fields)
        return encode(whole["metadata"]["managedFields"][0]["fieldsV1"])


def read_owned(value: bytes, manager: str, ownership: Ownership) -> tuple[_Metadata, Parts] | None:
    """An entry whose metadata is the least there can be, if this writer owns all of it."""
    try:
        stored = _decode_stored(value)
    except msgspec.ValidationError:
        return None
    metadata, parts = stored.metadata, stored.spec
    owners = metadata.managed_fields
    if len(owners) != 1 or owners[0].manager != manager or owners[0].operation != "Update":
        return None
    if parts.value is not UNSET and bytes(parts.value) == _NULL:
        return None
    owned, expected = bytes(owners[0].fields_v1), ownership.of(parts)
    if owned != expected and decode(owned) != decode(expected):
        return None
    return metadata, parts


def tail(
    name: str, namespace: str, uid: str, generation: int, created: str, manager: str, time: str, parts: Parts, owned: bytes
) -> bytes:
    """What follows the revision in the stored bytes."""
    owner = _Owner(manager, "Update", KV.info.api_version, time, "FieldsV1", msgspec.Raw(owned))
    metadata = encode(_Metadata(name, namespace, uid, generation, created, [owner]))
    return b'",' + metadata[1:] + b"," + encode(_Spec(parts))[1:]


def is_same(before: Parts, after: Parts) -> bool:
    """Whether nothing changes, the time at which the entry ends included."""
    return (
        before.type == after.type
        and _same_value(before.value, after.value)
        and before.key == after.key
        and before.ttl == after.ttl
        and before.lease == after.lease
        and before.expires_at == after.expires_at
    )


def is_less(before: Parts, after: Parts) -> bool:
    """Whether nothing was added and nothing changed."""
    for name in ("key", "type", "ttl", "lease", "expires_at"):
        now = getattr(after, name)
        if now is not UNSET and now != getattr(before, name):
            return False
    if after.value is UNSET or _same_value(before.value, after.value):
        return True
    return before.value is not UNSET and _less(decode(before.value), decode(after.value))


def fits(parts: Parts, value: Any) -> bool:
    """Whether a spec can be stored, as far as this can be told quickly; `value` is the decoded one."""
    if parts.type not in TYPES or parts.ttl is not UNSET or parts.lease is not UNSET:
        return False
    return next(check_value(parts.type, value, ""), None) is None


def _same_value(before: msgspec.Raw | UnsetType, after: msgspec.Raw | UnsetType) -> bool:
    if before is UNSET or after is UNSET:
        return before is after
    left, right = bytes(before), bytes(after)
    if left == right:
        return True
    # Of two objects the fields may stand in another order.
    return left[:1] == right[:1] and left[:1] in b"{[" and same(decode(left), decode(right))


def _is_object(value: msgspec.Raw | UnsetType) -> bool:
    return value is not UNSET and bytes(value)[:1] == b"{"


def _less(before: Any, after: Any) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        return all(name in before and _less(before[name], value) for name, value in after.items())
    return same(before, after)
