"""Packages to and from a controller, over links that break.

    push: sha256 -> upload (a new one, or the one that was begun) -> pieces -> finish -> the Artifact
    pull: GET with Range from the end of what is there -> sha256 -> done

A piece grows while it takes little time and shrinks when one fails, so a thin link sends small ones and a fat one large ones.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from plum_client.backoff import Backoff
from plum_client.errors import ApiUnavailableError, NotFoundError, error_of
from plum_client.http_transport import HttpTransport

FIRST_PIECE = 512 * 1024
LARGEST_PIECE = 16 * 2**20
SMALLEST_PIECE = 16 * 1024
QUICK_SECONDS = 1.0
"""A piece that took less is followed by one twice as large."""
ATTEMPTS = 8
"""Failures in a row, without a byte of progress between them, after which a transfer is given up."""
NO_ROOM = 507
"""Asking again makes no room over there."""
_PIECE = 1024 * 1024
_PAUSES = Backoff(initial=0.2, maximum=5.0)

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


def sha256_of(file: BinaryIO) -> str:
    """The checksum of a whole file."""
    digest = hashlib.sha256()
    file.seek(0)
    while piece := file.read(_PIECE):
        digest.update(piece)
    return digest.hexdigest()


class Transfers:
    """Pushes and pulls of one namespace. `memory`: a folder that remembers which uploads were begun, for the next program."""

    def __init__(self, transport: HttpTransport, namespace: str, memory: Path | None = None) -> None:
        self._transport = transport
        self._base = f"/v1/artifacts/{quote(namespace, safe='')}"
        self._memory = memory
        self._random = Random()  # noqa: S311 -- spreads retries

    # ---- push

    async def push(
        self, file: BinaryIO, *, name: str = "", version: str = "", progress: Progress | None = None, manager: str = ""
    ) -> tuple[dict[str, Any], bool, tuple[str, ...]]:
        """The Artifact, whether it is new, and warnings. Raises `ApiError`."""
        sha256, size = sha256_of(file), file.tell()
        note = self._note(sha256)
        for _ in range(2):
            upload = await self._begun(note) or await self._begin(size, note)
            try:
                await self._send(file, upload, size, progress or _silent)
                query = {"sha256": sha256, "name": name, "version": version, "fieldManager": manager}
                path = f"{self._base}/uploads/{upload}/finish?{urlencode({key: text for key, text in query.items() if text})}"
                response = await self._again(lambda path=path: self._transport.request("POST", path))  # type: ignore[misc]
            except NotFoundError:
                _forget(note)  # thrown away over there, or finished by an answer that was lost: the second round finds out
                continue
            except BaseException as error:
                if not isinstance(error, (ApiUnavailableError, asyncio.CancelledError, KeyboardInterrupt)):
                    _forget(note)
                raise
            _forget(note)
            return json.loads(response.body), response.status == 201, response.warnings
        raise ApiUnavailableError("the upload was thrown away twice by the server; try again later")

    async def _begin(self, size: int, note: Path | None) -> str:
        response = await self._again(lambda: self._transport.request("POST", f"{self._base}/uploads?size={size}"))
        upload: str = json.loads(response.body)["id"]
        _remember(note, upload)
        return upload

    async def _begun(self, note: Path | None) -> str:
        """The upload that an earlier program began and did not finish; empty when there is none."""
        upload = _remembered(note)
        if not upload:
            return ""
        try:
            await self._offset(upload)
        except NotFoundError:
            _forget(note)
            return ""
        return upload

    async def _offset(self, upload: str) -> int:
        response = await self._again(lambda: self._transport.request("GET", f"{self._base}/uploads/{upload}"))
        offset: int = json.loads(response.body)["offset"]
        return offset

    async def _send(self, file: BinaryIO, upload: str, size: int, progress: Progress) -> None:
        loop = asyncio.get_running_loop()
        offset, piece, failures = await self._offset(upload), FIRST_PIECE, 0
        while offset < size:
            progress(offset, size)
            file.seek(offset)
            data = file.read(min(piece, size - offset))
            started = loop.time()
            try:
                response = await self._transport.request("PATCH", f"{self._base}/uploads/{upload}?offset={offset}", body=data)
                if response.status >= 400 and response.status not in (408, 409):
                    raise error_of(response.status, response.body, "upload")
            except ApiUnavailableError as error:
                failures, piece = failures + 1, max(SMALLEST_PIECE, piece // 4)
                if failures >= ATTEMPTS or error.status.get("code") == NO_ROOM:
                    raise
                await asyncio.sleep(_PAUSES.delay(failures, self._random))
            else:
                if response.status in (408, 409):
                    failures, piece = failures + 1, max(SMALLEST_PIECE, piece // 4)
                    if failures >= ATTEMPTS:
                        raise error_of(response.status, response.body, "upload")
                    await asyncio.sleep(_PAUSES.delay(failures, self._random))
                elif loop.time() - started < QUICK_SECONDS:
                    piece = min(LARGEST_PIECE, piece * 2)
            before, offset = offset, await self._offset(upload)
            failures = failures if offset == before else 0
        progress(size, size)

    async def _again(self, ask: Callable[[], Any]) -> Any:
        """Ask until there is an answer, for a while. Raises the error of a refusal."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                response = await ask()
                if response.status >= 400:
                    raise error_of(response.status, response.body, "artifacts")
                return response
            except ApiUnavailableError as error:
                if attempt == ATTEMPTS or error.status.get("code") == NO_ROOM:
                    raise
                await asyncio.sleep(_PAUSES.delay(attempt, self._random))
        raise AssertionError

    def _note(self, sha256: str) -> Path | None:
        if self._memory is None:
            return None
        where = hashlib.sha256(f"{self._transport.url}{self._base}".encode()).hexdigest()[:12]
        return self._memory / f"{where}-{sha256[:32]}"

    # ---- pull

    async def pull(self, artifact: Mapping[str, Any], target: Path, progress: Progress | None = None) -> None:
        """The zip of an Artifact, in `target`. A part is gone on with. Raises `ApiError`, `OSError`, `ValueError`."""
        size, sha256 = int(artifact["spec"]["size"]), str(artifact["spec"]["sha256"])
        path = f"{self._base}/{quote(artifact['metadata']['name'], safe='')}/content"
        part = target.with_name(f"{target.name}.part")
        failures = 0
        while (have := _size(part)) < size:
            try:
                await self._receive(path, part, have, sha256, size, progress or _silent)
            except ApiUnavailableError:
                failures = failures + 1 if _size(part) == have else 1
                if failures >= ATTEMPTS:
                    raise
                await asyncio.sleep(_PAUSES.delay(failures, self._random))
        if await asyncio.to_thread(_checksum, part) != sha256:
            await asyncio.to_thread(part.unlink)
            raise ValueError(f"what arrived is not what was stored: its sha256 is not {sha256}; try again")
        await asyncio.to_thread(part.replace, target)

    async def _receive(self, path: str, part: Path, have: int, sha256: str, size: int, progress: Progress) -> None:
        headers = {"Accept": "application/zip", **({"Range": f"bytes={have}-", "If-Range": f'"{sha256}"'} if have else {})}
        async with self._transport.stream_path("GET", path, headers) as stream:
            if stream.status >= 400:
                raise error_of(stream.status, b"".join([piece async for piece in stream.chunks]), f"GET {path}")
            with part.open("ab" if stream.status == 206 else "wb") as file:
                done = have if stream.status == 206 else 0
                async for piece in stream.chunks:
                    file.write(piece)
                    done += len(piece)
                    progress(done, size)


def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""


def _remember(note: Path | None, upload: str) -> None:
    """A folder that cannot be written only costs the going on."""
    if note is not None:
        with suppress(OSError):
            note.parent.mkdir(parents=True, exist_ok=True)
            note.write_text(upload, encoding="ascii")


def _remembered(note: Path | None) -> str:
    if note is None or not note.is_file():
        return ""
    return note.read_text(encoding="ascii").strip()


def _forget(note: Path | None) -> None:
    if note is not None:
        note.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return sha256_of(file)
