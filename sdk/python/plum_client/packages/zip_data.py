"""The data of one entry of a zip, unpacked in pieces and never beyond what the directory states.

Entry -> packed bytes -> inflate, bounded -> pieces -> size and checksum compared at the end
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from plum_client.packages.errors import broken
from plum_client.packages.zip_directory import STORED, Entry, data_offset

PIECE = 64 * 1024
"""Packed bytes read, and unpacked bytes given out, at once."""


def read_pieces(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    """The data. Raises `PackageError` when it is not what the directory states; what came before is then worthless."""
    checksum = size = 0
    pieces = _stored(file, entry) if entry.method == STORED else _inflated(file, entry)
    for piece in pieces:
        size += len(piece)
        checksum = zlib.crc32(piece, checksum)
        yield piece
    if size != entry.size:
        raise broken(f"unpacks to {size} bytes, the zip says {entry.size}; it is damaged: pack it again", entry.name)
    if checksum != entry.crc:
        raise broken("its checksum does not match its data; it was damaged on the way: upload it again", entry.name)


def read_start(file: BinaryIO, entry: Entry, limit: int) -> bytes:
    """At most the first `limit` bytes. Their checksum is compared only when they are all there is."""
    parts, size = [], 0
    for piece in read_pieces(file, entry):
        parts.append(piece)
        size += len(piece)
        if size >= limit and size < entry.size:
            break
    return b"".join(parts)[:limit]


def _stored(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    position, left = data_offset(file, entry), entry.packed
    while left:
        file.seek(position)  # others read from the same file between two pieces
        piece = file.read(min(PIECE, left))
        if not piece:
            raise broken("its data is cut off; upload the whole zip", entry.name)
        position, left = position + len(piece), left - len(piece)
        yield piece


def _inflated(file: BinaryIO, entry: Entry) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(-15)
    allowed = entry.size
    try:
        for packed in _stored(file, entry):
            rest = packed
            while rest and not unpacker.eof:
                piece = unpacker.decompress(rest, min(PIECE, allowed + 1))
                rest = unpacker.unconsumed_tail
                allowed -= len(piece)
                if allowed < 0:
                    raise broken(f"unpacks to more than the {entry.size} bytes that the zip says; pack it again", entry.name)
                if piece:
                    yield piece
    except zlib.error as error:
        raise broken("its data cannot be unpacked; it was damaged on the way: upload it again", entry.name) from error
    if not unpacker.eof:
        raise broken("its data is cut off; upload the whole zip", entry.name)
    if unpacker.unused_data:
        raise broken("there are bytes behind its data; it is damaged: pack it again", entry.name)
