"""Writes Kubernetes protobuf bodies as Go clients do, for requests that are replayed. Shares nothing with the server's reader.

message((1, "name"), (11, {"k": "v"})) -> bytes of a message
body("v1", "ConfigMap", message(...))  -> what client-go sends
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

Value = int | bool | str | bytes | Mapping[str, str | bytes]

TYPE = "application/vnd.kubernetes.protobuf"


def message(*fields: tuple[int, Value]) -> bytes:
    """Fields in the order given. A mapping is written as a map, entry by entry."""
    out = b""
    for number, value in fields:
        if isinstance(value, Mapping):
            for name, item in value.items():
                out += _field(number, message((1, name), (2, item)))
        else:
            out += _field(number, value)
    return out


def body(api_version: str, kind: str, raw: bytes) -> bytes:
    """The envelope: Go writes the two empty fields behind it too."""
    return b"k8s\x00" + message((1, message((1, api_version), (2, kind))), (2, raw), (3, ""), (4, ""))


def meta(name: str = "", namespace: str = "", *more: tuple[int, Value]) -> bytes:
    """ObjectMeta with the scalars that Go always writes, set or not."""
    written: list[tuple[int, Value]] = [(1, name), (2, ""), (3, namespace), (4, ""), (5, ""), (6, ""), (7, 0), (8, b"")]
    return message(*[field for field in written if field[0] not in dict(more)], *more)


def time(moment: datetime) -> bytes:
    """Seconds and nanoseconds."""
    return message((1, int(moment.timestamp())), (2, moment.microsecond * 1000))


def _field(number: int, value: int | bool | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & 0xFFFFFFFFFFFFFFFF)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])
