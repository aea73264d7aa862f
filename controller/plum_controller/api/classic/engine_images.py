"""Images of the container engine on the controller's machine, for people who choose one in a form.

GET /images/json over the engine's socket -> [{repository, tag, imageId, created, size}]; an engine that does not answer has none
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import msgspec

SECONDS = 3.0
MAX_BYTES = 16 * 2**20
_UNITS = ("B", "kB", "MB", "GB", "TB")


class ImageDto(msgspec.Struct, rename="camel"):
    """An image under one of its names."""

    repository: str
    tag: str
    image_id: str
    created: str
    size: str


async def list_images(engine: str) -> list[ImageDto]:
    """Newest first; none when there is no engine, or no answer in time."""
    path = engine.removeprefix("unix://")
    if not path.startswith("/"):
        return []
    with contextlib.suppress(OSError, TimeoutError, ValueError, asyncio.IncompleteReadError, msgspec.MsgspecError):
        async with asyncio.timeout(SECONDS):
            found = msgspec.json.decode(await _ask(path))
        return [one for image in found for one in _names(image)]
    return []


async def _ask(path: str) -> bytes:
    """The body of the answer. HTTP 1.0: it ends with the connection, and is in no pieces."""
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        writer.write(b"GET /images/json HTTP/1.0\r\nHost: engine\r\n\r\n")
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise ValueError("the engine refused")
        pieces, size = [], 0
        while piece := await reader.read(65536):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BYTES:
                raise ValueError("the engine says too much")
        return b"".join(pieces)
    finally:
        writer.close()


def _names(image: dict[str, Any]) -> list[ImageDto]:
    created = datetime.fromtimestamp(image.get("Created") or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    digest = str(image.get("Id", "")).removeprefix("sha256:")[:12]
    found = []
    for name in image.get("RepoTags") or ():
        repository, _, tag = name.rpartition(":")
        if repository != "<none>":
            found.append(ImageDto(repository, tag, digest, created, _human(image.get("Size") or 0)))
    return found


def _human(size: float) -> str:
    """As the engine's own command writes sizes: three digits and a unit of thousands."""
    unit = 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.3g}{_UNITS[unit]}"
