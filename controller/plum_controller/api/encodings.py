"""Compressed bodies: requests that come as gzip, answers that go as gzip where that pays.

    Content-Encoding: gzip  -> inflated, up to the limit of a body and not one byte further
    Accept-Encoding: gzip   -> deflated from 128 KiB on; with `Save-Data: on` from 1 KiB on

A body is never unpacked beyond the limit to find out how long it is: what goes on behind it is refused unread.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Mapping

from plum_controller.api.negotiation import accepts_gzip
from plum_controller.api.requests import Answer
from plum_controller.resources.errors import bad_request, too_large, unsupported_media_type

GZIP_FROM = 128 * 1024
"""Bytes from which an answer is compressed for clients that ask. Below it the work costs more than the bytes."""
GZIP_FROM_SAVING = 1024
"""The same for clients that say `Save-Data: on`: their link costs more than our work. A packet holds less than 1.5 KB anyway."""
_GZIP = 31
"""`wbits` of zlib for the gzip format with the largest window."""


def inflated(body: bytes, encoding: bytes | None, limit: int) -> bytes:
    """The body as it was before `Content-Encoding`. Raises `ApiStatusError` 400, 413 beyond `limit` bytes, 415."""
    word = (encoding or b"").strip().lower()
    if word in (b"", b"identity"):
        return body
    if word not in (b"gzip", b"x-gzip"):
        raise unsupported_media_type(f"content-encoding is {word.decode('latin-1')!r}; use gzip, or none")
    unpacker = zlib.decompressobj(_GZIP)
    try:
        whole = unpacker.decompress(body, limit + 1)
    except zlib.error as error:
        raise bad_request(f"the body is said to be gzip and is not: {error}") from error
    if len(whole) > limit:
        raise too_large(f"limit is {limit}, also of what a compressed body holds")
    if not unpacker.eof or unpacker.unused_data:
        what = "is cut off" if not unpacker.eof else "goes on behind its end"
        raise bad_request(f"the compressed body {what}")
    return whole


def wants_compressed(headers: Mapping[bytes, bytes], size: int) -> bool:
    """Whether an answer of so many bytes is to be compressed for this client."""
    if size < GZIP_FROM_SAVING or not accepts_gzip(headers.get(b"accept-encoding")):
        return False
    return size >= GZIP_FROM or headers.get(b"save-data") == b"on"


async def compressed(answer: Answer) -> Answer:
    """The same answer, compressed; a long one beside the event loop."""

    def compress(body: bytes) -> bytes:
        packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        return packer.compress(body) + packer.flush()

    long = len(answer.body) >= GZIP_FROM
    answer.body = await asyncio.to_thread(compress, answer.body) if long else compress(answer.body)
    answer.headers += ((b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding"))
    return answer
