"""Objects as the classic routes name them: 32 hexadecimal digits of the uid, any text as a name, any text in labels.

classic name, labels --metadata_of--> name of an object, labels that fit, annotations with the rest --name_of, labels_of--> back
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from plum_schemas.base import ObjectMeta
from plum_schemas.orchestrator import slug

from plum_controller.api.classic.wire import id_of
from plum_controller.domain.worker_names import label_problem
from plum_controller.resources.encode import Json
from plum_controller.store.base import Key
from plum_controller.store.cache import Entry, WatchCache

NAME = "plum.dev/classic-name"
"""Annotation: the name as it was given, where an object cannot be called so."""
LABELS = "plum.dev/classic-labels"
"""Annotation: all labels as they were given, where some cannot be labels of an object."""
_HEX = frozenset("0123456789abcdef")


def metadata_of(name: str, namespace: str, labels: Mapping[str, str] | None, fallback: str, *, unique: bool = False) -> Json:
    """Metadata of an object for a name and labels that may be any text. `unique`: others may have the same name."""
    own = slug(name)[:180] or fallback
    own = f"{own}-{secrets.token_hex(4)}" if unique else own
    metadata: Json = {"name": own, "namespace": namespace, "annotations": {}}
    if own != name:
        metadata["annotations"][NAME] = name
    given = {str(label): str(value) for label, value in (labels or {}).items()}
    metadata["labels"] = {label: value for label, value in given.items() if not label_problem(label, value)}
    if len(metadata["labels"]) != len(given):
        metadata["annotations"][LABELS] = msgspec.json.encode(given).decode()
    return metadata


def name_of(metadata: ObjectMeta) -> str:
    """The name that was given."""
    return metadata.annotations.get(NAME) or metadata.name


def labels_of(metadata: ObjectMeta) -> dict[str, str]:
    """The labels that were given."""
    given = metadata.annotations.get(LABELS)
    if given:
        try:
            return msgspec.json.decode(given, type=dict[str, str])
        except msgspec.DecodeError:
            pass  # somebody changed the annotation
    return dict(metadata.labels)


def find(cache: WatchCache, resource: str, namespace: str, wanted: str) -> Entry | None:
    """The object with this identifier, or of this name."""
    entry = cache.get(Key(resource, namespace, wanted))
    if entry is not None:
        return entry
    if len(wanted) != 32 or not _HEX.issuperset(wanted):
        return None
    uid = f"{wanted[:8]}-{wanted[8:12]}-{wanted[12:16]}-{wanted[16:20]}-{wanted[20:]}"
    needle = f'"uid":"{uid}"'.encode()
    for one in cache.list(resource, namespace, None, None):
        if needle in one.value and decode_metadata(one).uid == uid:
            return one
    return None


class _Head(msgspec.Struct):
    metadata: ObjectMeta


_decode_head = msgspec.json.Decoder(_Head).decode


def decode_metadata(entry: Entry) -> ObjectMeta:
    """The metadata of an object, without the rest."""
    return _decode_head(entry.value).metadata


def seconds(moment: Any) -> int:
    """Unix seconds of a time, 0 without one."""
    return int(moment.timestamp()) if moment is not None else 0


def pick(body: Json, *names: str, default: Any = None) -> Any:
    """A field by any of its names, in any of their spellings: `payloadJson`, `PayloadJSON`. The first that is there counts."""
    for name in names:
        if body.get(name) is not None:
            return body[name]
        for spelled, value in body.items():
            if value is not None and spelled.lower() == name.lower():
                return value
    return default


def identified(entries: Iterator[Entry]) -> dict[str, str]:
    """Identifiers by the names of objects."""
    return {entry.key.name: id_of(decode_metadata(entry).uid) for entry in entries}
