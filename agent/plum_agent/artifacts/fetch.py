"""Fetching the bytes of a zip: from the controller or from any address, on from where the last try ended.

    part file --Range: bytes=N- --> 206 appended | 200 from the beginning | 416 complete
    -> sha256 of the whole -> equal: done | different: thrown away

An attempt that breaks off leaves the part; the next one, of this agent or a later one, goes on from its end.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit

from plum_client.errors import ApiUnavailableError, error_of
from plum_client.http_transport import HttpTransport
from plum_client.transport import Stream

from plum_agent.errors import RefusedError

STALL_SECONDS = 30.0
"""Longest wait for the next piece; then the attempt ends, and the next one goes on."""
MAX_REDIRECTS = 5
MAX_URL_BYTES = 8 * 2**30
"""Of a zip from an address, whose length nobody has checked before."""
_PIECE = 1024 * 1024

Progress = Callable[[int, int], None]
"""Bytes here, bytes in all (0: not known)."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the bytes of one zip are."""

    sha256: str
    path: str = ""
    """Below the controller's address."""
    url: str = ""
    """Any other address."""
    size: int = 0
    """0: not known."""

    @property
    def key(self) -> str:
        """What is kept under: who names a checksum gets only what came from the address it names as well."""
        return f"{self.sha256}-{hashlib.sha256(self.url.encode()).hexdigest()[:8]}" if self.url else self.sha256

    def __str__(self) -> str:
        return self.url or "the controller"


class Fetcher:
    """Downloads. Used from one event loop."""

    def __init__(self, transport: HttpTransport | None, make_transport: Callable[[str], HttpTransport] | None = None) -> None:
        """`transport` leads to the controller. `make_transport` makes one to another server."""
        self._transport = transport
        self._make_transport = make_transport or _plain_transport

    async def fetch(self, origin: Origin, part: Path, make_room: Callable[[int], None], progress: Progress) -> None:
        """Have the whole, verified zip in `part`. Raises `RefusedError`, `ApiError`, `OSError`; what came so far is kept."""
        have = size_of(part)
        if origin.size and have > origin.size:
            have = _discard(part)
        if not origin.size or have < origin.size:
            await self._fetch_rest(origin, part, have, make_room, progress)
        found = await asyncio.to_thread(_sha256, part)
        if found != origin.sha256:
            _discard(part)
            message = (
                f"what came from {origin} has the checksum {found[:12]}..., not {origin.sha256[:12]}...; it is fetched again"
            )
            raise RefusedError("ArtifactCorrupt", message)

    async def _fetch_rest(
        self, origin: Origin, part: Path, have: int, make_room: Callable[[int], None], progress: Progress
    ) -> None:
        headers = {"Range": f"bytes={have}-"} if have else {}
        if have and not origin.url:
            headers["If-Range"] = f'"{origin.sha256}"'  # elsewhere entity tags mean something else; the checksum decides
        async with self._open(origin, {"Accept": "application/zip, */*", **headers}) as stream:
            if stream.status == 416:
                return  # it is all here; the checksum decides
            if stream.status >= 400:
                body = b"".join([piece async for piece in stream.chunks])
                raise error_of(stream.status, body, f"GET {origin}")
            if stream.status != 206:
                have = 0
            length = stream.headers.get(b"content-length", b"")
            total = origin.size or (have + int(length) if length.isdigit() else 0)
            make_room(max(0, (total or have) - have))
            with part.open("r+b" if have else "wb") as file:
                file.seek(have)
                await _copy(stream.chunks, file, have, total, progress)

    @asynccontextmanager
    async def _open(self, origin: Origin, headers: Mapping[str, str]) -> AsyncIterator[Stream]:
        if not origin.url:
            if self._transport is None:
                raise RefusedError("ArtifactNotSupported", "this agent fetches no artifacts")
            async with self._transport.stream_path("GET", origin.path, headers) as stream:
                yield stream
            return
        url = origin.url
        for _ in range(MAX_REDIRECTS):
            base, path = await asyncio.to_thread(checked_address, url)
            transport = self._make_transport(base)
            try:
                async with transport.stream_path("GET", path, headers) as stream:
                    location = stream.headers.get(b"location")
                    if stream.status not in (301, 302, 303, 307, 308) or location is None:
                        yield stream
                        return
                    url = urljoin(url, location.decode("latin-1"))
            finally:
                await transport.close()
        raise RefusedError("ArtifactUnavailable", f"{origin.url} leads to one address after another; give the last one")


async def _copy(chunks: AsyncIterator[bytes], file: BinaryIO, have: int, total: int, progress: Progress) -> None:
    while True:
        try:
            async with asyncio.timeout(STALL_SECONDS):
                piece = await anext(chunks, b"")
        except TimeoutError as error:
            raise ApiUnavailableError(f"nothing came for {STALL_SECONDS:.0f} seconds") from error
        if not piece:
            break
        have += len(piece)
        if have > (total or MAX_URL_BYTES):
            raise RefusedError(
                "ArtifactCorrupt", f"more than {total or MAX_URL_BYTES} bytes came; the address leads to something else"
            )
        file.write(piece)
        progress(have, total)
    if total and have < total:
        raise ApiUnavailableError(f"the download broke off after {have} of {total} bytes")


def checked_address(url: str) -> tuple[str, str]:
    """Server and path of an address that may be asked. Blocks. Raises `RefusedError` for what no template may reach."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RefusedError("ArtifactInvalid", f"artifact.url is {url!r}; use an address that begins with https:// or http://")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as error:
        raise RefusedError("ArtifactUnavailable", f"{parts.hostname} is not known to this node: {error}") from error
    for *_, address in found:
        number = ipaddress.ip_address(str(address[0]).partition("%")[0])
        if number.is_link_local or number.is_multicast or number.is_unspecified:
            message = (
                f"{parts.hostname} leads to {number}, where machines keep data about themselves; artifacts are not fetched there"
            )
            raise RefusedError("ArtifactInvalid", message)
    path = quote(parts.path or "/", safe="/%~:@!$&'()*+,;=")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", f"{path}?{parts.query}" if parts.query else path


def size_of(part: Path) -> int:
    """Bytes that are here."""
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> int:
    part.unlink(missing_ok=True)
    return 0


def _plain_transport(url: str) -> HttpTransport:
    return HttpTransport(url, user_agent="plum-agent", max_connections=1)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
