"""Objects as bytes, and back. An object is encoded once, when it is written; those bytes serve every reader.

    {"apiVersion":"plum.dev/v1","kind":"Deployment","metadata":{"resourceVersion":"   42   ","name":"web",...},"spec":{...}}
    |------------------------------- head ---------------------------------------| rev  |----------- tail -----------|

The revision is known only at the commit, so it stands at a fixed place near the front: the head depends on the kind alone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from plum_controller.store.base import Revision

Json = dict[str, Any]

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode

MARK = b'"resourceVersion":"'


def head_of(api_version: str, kind: str) -> bytes:
    """What every object of a kind begins with, up to its revision."""
    return b'{"apiVersion":%s,"kind":%s,"metadata":{%s' % (_encode(api_version), _encode(kind), MARK)


def tail_of(data: Json) -> bytes:
    """What follows the revision. Takes `apiVersion`, `kind` and `metadata` out of `data`, which is useless afterwards."""
    data.pop("apiVersion", None)
    data.pop("kind", None)
    metadata = data.pop("metadata")
    metadata.pop("resourceVersion", None)
    inner = _encode(metadata)
    outer = _encode(data)
    front = b'",' + inner[1:] if len(inner) > 2 else b'"}'
    return front + b"," + outer[1:] if len(outer) > 2 else front + b"}"


def with_revision(head: bytes, revision: Revision, tail: bytes) -> bytes:
    return b"%s%d%s" % (head, revision, tail)


def without_revision(head: bytes, tail: bytes) -> bytes:
    """The object without a `resourceVersion`: what a dry run of a create answers."""
    return head[: -len(MARK)] + tail[1:].removeprefix(b",")


def split(value: bytes, revision: Revision) -> tuple[bytes, bytes]:
    """Head and tail of a stored object."""
    start = value.index(MARK) + len(MARK)
    return value[:start], value[start + len(str(revision)) :]


def with_head(head: bytes, value: bytes) -> bytes:
    """A stored object under another head: the same object in another version of its kind."""
    if value.startswith(head):
        return value
    return head + value[value.index(MARK) + len(MARK) :]


def decode(value: bytes) -> Json:
    """A stored object as JSON values, fresh for every caller."""
    data: Json = _decode(value)
    return data


def encode(value: Any) -> bytes:
    return _encode(value)


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same document, whatever the order of keys.

    Python says `1 == True` and `1 == 1.0`; in JSON those differ, so what Python calls equal is compared as text too.
    """
    return bool(left == right) and _encode_sorted(left) == _encode_sorted(right)
