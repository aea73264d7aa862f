"""A file as the answer to a GET: whole or in part, with an entity tag, in pieces that the connection asks for.

file + Range, If-Range, If-None-Match -> 200 | 206 | 304 | 416
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

PIECE_BYTES = 256 * 1024
_RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})\Z")

Send = Callable[[dict[str, Any]], Awaitable[None]]


def wanted_range(header: bytes, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last. None: all of it, as for a header that says nothing. Empty: not satisfiable."""
    match = _RANGE.match(header.strip())
    if match is None or match.groups() == (b"", b""):
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        return size - length, size
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    return (start, end) if start < size else (size, size)


async def send_file(path: Path, tag: str, method: str, headers: Mapping[bytes, bytes], send: Send) -> int:
    """Answer with a file whose tag changes with its content: caches may keep it, and ask. Answers with the status."""
    etag = f'"{tag}"'.encode()
    size = (await asyncio.to_thread(path.stat)).st_size
    head = [(b"etag", etag), (b"accept-ranges", b"bytes"), (b"cache-control", b"private, no-cache")]
    if _matches(headers.get(b"if-none-match", b""), etag):
        await send({"type": "http.response.start", "status": 304, "headers": head})
        await send({"type": "http.response.body", "body": b""})
        return 304
    asked = wanted_range(headers.get(b"range", b""), size)
    if headers.get(b"if-range", etag).strip() != etag:
        asked = None
    start, end = asked or (0, size)
    status = 200 if asked is None else 206 if end > start else 416
    if status == 206:
        head.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
    elif status == 416:
        head.append((b"content-range", b"bytes */%d" % size))
    head += [
        (b"content-type", b"application/zip"),
        (b"x-content-type-options", b"nosniff"),
        (b"content-disposition", b'attachment; filename="%b.zip"' % tag[:12].encode()),
        (b"content-length", b"%d" % (end - start)),
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    if method != "HEAD":
        await _send_pieces(path, start, end, send)
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    return status


async def _send_pieces(path: Path, start: int, end: int, send: Send) -> None:
    with await asyncio.to_thread(path.open, "rb") as file:
        file.seek(start)
        while start < end:
            piece = await asyncio.to_thread(file.read, min(PIECE_BYTES, end - start))
            if not piece:
                return
            start += len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})


def _matches(header: bytes, etag: bytes) -> bool:
    tags = [tag.strip().removeprefix(b"W/") for tag in header.split(b",")]
    return etag in tags or b"*" in tags
