"""Entries as bytes: what the short way of a put reads of an entry, and what it writes.

    stored bytes --read_owned--> uid, generation, owner, Parts     Parts after, owner --Tails.make--> bytes to store

An entry fits when its metadata is the least there can be and one writer owns all of it; any other is `None`, for the way that
every write could take. Values stay JSON text: two of them are the same if their texts are, because one encoder writes all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType
from plum_schemas.base import ObjectKey
from plum_schemas.kv import KV, check_value

from plum_controller.resources.encode import Json, same
from plum_controller.resources.fields.tracking import track_update
from plum_controller.resources.fields.typed import FieldSchema

TYPES = frozenset({"string", "int", "double", "bool", "bytes", "json"})
_NULL = b"null"
MAX_OWNERS = 64
"""Of the last puts, remembered as text. Text about an object as a value can be long, and is remembered for no longer either."""

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


class About(NamedTuple):
    """What stays of an entry, and how often it was written."""

    uid: str
    generation: int
    created: str


class _Stored(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    api_version: str
    kind: str
    metadata: _Metadata
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


class Tails:
    """Makes what follows the revision in the stored bytes. The part about the owner is the same for a second of puts."""

    def __init__(self) -> None:
        self._owners: dict[tuple[str, str, bytes], bytes] = {}

    def make(self, key: ObjectKey, about: About, manager: str, time: str, parts: Parts, owned: bytes) -> bytes:
        owner = self._owners.get((manager, time, owned))
        if owner is None:
            if len(self._owners) >= MAX_OWNERS:
                self._owners.clear()
            one = _Owner(manager, "Update", KV.info.api_version, time, "FieldsV1", msgspec.Raw(owned))
            owner = self._owners[manager, time, owned] = encode([one])
        uid, generation, created = about
        # Names, uids and times hold nothing that JSON writes in another way.
        metadata = f'","name":"{key.name}","namespace":"{key.namespace}","uid":"{uid}","generation":{generation}'
        created_at = f',"creationTimestamp":"{created}","managedFields":'
        return b'%b%b%b},"spec":%b}' % (metadata.encode(), created_at.encode(), owner, encode(parts))


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
    if after.value is not UNSET and not _same_value(before.value, after.value):
        if before.value is UNSET or not (_is_object(before.value) and _is_object(after.value)):
            return False
        if not _less(decode(before.value), decode(after.value)):
            return False
    for name in ("key", "type", "ttl", "lease", "expires_at"):
        now = getattr(after, name)
        if now is not UNSET and now != getattr(before, name):
            return False
    return True


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
