"""One line of the audit log, and the chain that holds the lines together.

    line = sha256(hash of the line before + json) + " " + json

Whoever changes, takes out or swaps a line breaks every hash behind it. No record holds a body, a query, a token or a value: what
was written is in the object's history, and arguments of commands may be secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

START = "0" * 64
"""What the very first line is chained to."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Who did what."""

    seq: int
    """Counts records; none is missing in between."""
    time: str
    """UTC, to the millisecond."""
    user: str
    verb: str
    """create, update, patch, delete, ... of an object; login, logout; exec; the method of another path."""
    code: int
    """Of the answer; 101 for a stream that was opened."""
    groups: list[str] = []
    credential: str = ""
    """Name of the Token that proved the user."""
    impersonator: str = ""
    """Who it really was, when somebody acted as the user."""
    address: str = ""
    agent: str = ""
    """What the client calls itself."""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    """Of what is no object."""
    reason: str = ""
    """Why it was refused, in a word."""
    revision: int = 0
    """The store's after it."""
    unrecorded: int = 0
    """Refusals, or records that found no room, since the record before: they are counted and no more."""


class Line(NamedTuple):
    """A line as it was read."""

    hash: str
    record: Record
    text: bytes


_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(Record)


def chained(before: str, record: Record) -> tuple[str, bytes]:
    """The hash of a record behind another one, and its line."""
    text = _encode(record)
    digest = hash_of(before, text)
    return digest, digest.encode() + b" " + text + b"\n"


def hash_of(before: str, text: bytes) -> str:
    return hashlib.sha256(before.encode() + text).hexdigest()


def read_lines(data: bytes) -> Iterator[Line]:
    """The whole lines of a file that can be read; what a crash cut off is left out."""
    for raw in data.splitlines(keepends=True):
        digest, space, text = raw.partition(b" ")
        if not raw.endswith(b"\n") or not space or len(digest) != 64:
            continue
        try:
            yield Line(digest.decode(), _decoder.decode(text), text[:-1])
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
