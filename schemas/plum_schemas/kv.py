"""KV: one entry of the key-value store, a versioned object like any other.

    key `plant/Level A` --kv_name--> object name `plant-level-a-1f0c...`      key `task.progress` --kv_name--> the same text

A key may be any printable path; an object's name may not, so other keys get a readable name with a hash.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from plum_schemas.base import Column, KindInfo, Object, Struct
from plum_schemas.durations import parse_duration
from plum_schemas.markers import AnyJson
from plum_schemas.names import is_subdomain
from plum_schemas.scalars import Duration
from plum_schemas.validation import FieldError, forbidden, invalid, required

MAX_KEY_LENGTH = 1024
"""Characters."""
MAX_VALUE_BYTES = 1024 * 1024
"""Of text as UTF-8, of bytes after decoding base64, of everything else as JSON."""
_INT64 = 2**63


class KVSpec(Struct):
    """A typed value."""

    key: Annotated[str, Meta(max_length=MAX_KEY_LENGTH)] = ""
    """The key, any printable path; the name of the object if absent."""
    type: Literal["string", "int", "double", "bool", "bytes", "json"] = "json"
    """Type of the value."""
    value: AnyJson = None
    """The value; bytes are base64."""
    ttl: Duration | None = None
    """Time after the last write at which the entry is deleted; never if absent."""
    lease: str = ""
    """Name of a Lease in the namespace; the entry is deleted when it runs out or is gone."""
    expires_at: datetime | None = None
    """When the entry is deleted. Set by the server from `ttl`, anew with every write that changes the entry."""


class KV(Object):
    """One entry of the key-value store."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="KV",
        plural="kvs",
        has_status=False,
        columns=(
            Column("Type", ".spec.type"),
            Column("Value", ".spec.value"),
            Column("TTL", ".spec.ttl"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Key", ".spec.key", priority=1),
        ),
        selectable_fields=(".spec.key", ".spec.type", ".spec.lease", ".spec.expiresAt"),
    )

    spec: KVSpec = msgspec.field(default_factory=KVSpec)
    """The value."""

    @property
    def key_text(self) -> str:
        """The key as clients say it."""
        return self.spec.key or self.metadata.name

    def validate(self, old: KV | None) -> Iterator[FieldError]:
        spec = self.spec
        if spec.key:
            if not spec.key.isprintable():
                yield invalid("spec.key", spec.key, "must be printable")
            elif self.metadata.name != kv_name(spec.key):
                yield invalid("metadata.name", self.metadata.name, f"the entry of this key is called {kv_name(spec.key)}")
        if old is not None and old.key_text != self.key_text:
            yield forbidden("spec.key", "may not be changed; make another entry")
        yield from check_value(spec.type, spec.value, "spec.value")
        if spec.ttl is not None and parse_duration(spec.ttl) <= 0:
            yield invalid("spec.ttl", spec.ttl, "must be longer than 0")


@lru_cache(maxsize=4096)
def kv_name(key: str) -> str:
    """Name of the object that holds a key: the key itself where it can be a name."""
    if is_subdomain(key):
        return key
    readable = re.sub(r"[^a-z0-9.-]+", "-", key.lower())
    readable = re.sub(r"[.-]*\.[.-]*", ".", readable).strip(".-")[:180].strip(".-")
    digest = sha256(key.encode()).hexdigest()[:32]
    return f"{readable}-{digest}" if readable else digest


def type_of(value: Any) -> str:
    """The type that a value gets when nobody names one."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -_INT64 <= value < _INT64 else "json"
    return {str: "string", float: "double"}.get(type(value), "json")


def check_value(kind: str, value: Any, path: str) -> Iterator[FieldError]:
    """Whether a value is of the type of its entry, and not too large."""
    if value is None and kind != "json":
        yield required(path, f"a value of type {kind}")
        return
    match kind:
        case "string" | "bytes":
            fits = isinstance(value, str)
        case "int":
            fits = isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
        case "double":
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case "bool":
            fits = isinstance(value, bool)
        case _:
            fits = True
    if not fits:
        yield invalid(path, _short(value), f"must be of type {kind}")
        return
    try:
        size = _size_of(kind, value)
    except (binascii.Error, ValueError):
        yield invalid(path, _short(value), "must be base64")
        return
    if size > MAX_VALUE_BYTES:
        yield invalid(path, f"{size} bytes", f"must not be larger than {MAX_VALUE_BYTES} bytes")


def _size_of(kind: str, value: Any) -> int:
    if kind == "bytes":
        return len(base64.b64decode(value, validate=True))
    return len(value.encode()) if kind == "string" else len(msgspec.json.encode(value))


def _short(value: Any) -> Any:
    return f"{value[:40]}..." if isinstance(value, str) and len(value) > 40 else value
