"""Objects to bytes and back, for typed classes and for plain dictionaries.

    Deployment (a class of plum_schemas) -> Codec[Deployment]
    KindInfo (a kind known by name only) -> Codec[dict[str, Any]]

`head_of` reads only the name and revision of an object, several times faster than decoding it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar, cast, overload

import msgspec
from plum_schemas.base import KindInfo, Object, ObjectKey

JsonObject = dict[str, Any]
"""An object without a class of its own, as JSON has it."""

T = TypeVar("T", bound=Object)
"""A typed kind."""
AnyT = TypeVar("AnyT", bound=Object | JsonObject)
"""A typed object or a plain dictionary."""


class Codec(Generic[AnyT]):
    """How objects of one kind are read and written."""

    __slots__ = ("decode", "info", "kind")

    def __init__(self, kind: type[Any] | KindInfo) -> None:
        self.kind = kind
        self.info: KindInfo = kind if isinstance(kind, KindInfo) else kind.info
        target: Any = JsonObject if isinstance(kind, KindInfo) else kind
        self.decode: Callable[[bytes], AnyT] = msgspec.json.Decoder(target).decode


_codecs: dict[int, Codec[Any]] = {}


@overload
def codec_of(kind: type[T]) -> Codec[T]: ...
@overload
def codec_of(kind: KindInfo) -> Codec[JsonObject]: ...
@overload
def codec_of(kind: type[Any] | KindInfo) -> Codec[Any]: ...
def codec_of(kind: type[Any] | KindInfo) -> Codec[Any]:
    """The codec of a kind. Decoders are made once per kind: making one costs more than using it a hundred times."""
    found = _codecs.get(id(kind))
    if found is None or found.kind is not kind:
        found = _codecs[id(kind)] = Codec(kind)
    return found


encode: Callable[[Any], bytes] = msgspec.json.encode


class Head(NamedTuple):
    """What names a stored object."""

    key: ObjectKey
    revision: int
    uid: str
    """Empty in the events of a watch: nobody there asks for it, and finding it means decoding."""


class RawEvent(NamedTuple):
    """One event of a watch as bytes, bookmarks included."""

    type: str
    """`ADDED`, `MODIFIED`, `DELETED` or `BOOKMARK`."""
    head: Head
    value: bytes


class _Metadata(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class _Headed(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


_decode_head = msgspec.json.Decoder(_Headed).decode


def head_of(value: bytes | msgspec.Raw) -> Head:
    """Key and revision of an encoded object."""
    metadata = _decode_head(value).metadata
    return Head(ObjectKey(metadata.namespace, metadata.name), revision_of(metadata.resource_version), metadata.uid)


def revision_of(resource_version: str) -> int:
    """A resource version as a number; 0 where there is none or where it is not a number."""
    return int(resource_version) if resource_version.isdecimal() else 0


def metadata_of(obj: Object | JsonObject) -> tuple[ObjectKey, str]:
    """Key and resource version of an object."""
    if isinstance(obj, Object):
        return obj.key, obj.metadata.resource_version
    metadata = cast("JsonObject", obj.get("metadata") or {})
    key = ObjectKey(str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))
    return key, str(metadata.get("resourceVersion") or "")
