"""The files of the web UI, as the build left them in `plum_controller/ui_dist`.

    GET /  /ui/...            -> index.html, asked for again every time       (ETag)
    GET /assets/NAME-HASH.js  -> the file, kept by browsers for ever          (.br or .gz when the client reads it)
    anything else             -> not ours: the API answers

Pages live below `/ui/` alone, so no page has the address of something in the API. Only names that the build made are
served: what a client sends is looked up and never becomes a path. The files say nothing about anybody and need no rights.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from plum_controller.api.negotiation import accepts_gzip
from plum_controller.api.requests import Answer

FOLDER = Path(__file__).parents[2] / "ui_dist"
INDEX = "index.html"
PAGES = "ui"
"""First part of the path of every page."""
HASHED = "assets/"
"""Files below it carry a hash of their content in their name."""

HTML = b"text/html; charset=utf-8"
_TYPES = {
    ".css": b"text/css; charset=utf-8",
    ".html": HTML,
    ".ico": b"image/x-icon",
    ".js": b"text/javascript; charset=utf-8",
    ".json": b"application/json",
    ".map": b"application/json",
    ".png": b"image/png",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
    ".wasm": b"application/wasm",
    ".webmanifest": b"application/manifest+json",
}

POLICY = (
    b"default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    b"font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Scripts come from our files and from nowhere else, neither inline nor made from text. Styles may be inline: the editor and
the terminal write style elements themselves, and a style runs nothing. Nothing is loaded from another site."""
SAFETY: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_PAGE_SAFETY = (
    (b"content-security-policy", POLICY),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"x-frame-options", b"DENY"),
    *SAFETY,
)
_FOR_EVER = (b"cache-control", b"public, max-age=31536000, immutable")
_ASK_AGAIN = (b"cache-control", b"no-cache")

NOT_BUILT = Path(__file__).parents[1] / "pages" / "not_built.html"


class _File(NamedTuple):
    path: Path
    content_type: bytes
    etag: bytes
    encodings: frozenset[str]
    """Those that the build left beside it: `br`, `gz`."""


class UiFiles:
    """The build, read again when it changed."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._files: dict[str, _File] = {}
        self._built = 0
        """When the build ended that `_files` is of, by the file system's clock."""

    def find(self, path: Sequence[str]) -> str | None:
        """The name of the file that answers a GET of this path; None when the path is the API's."""
        if path[0] in ("", PAGES):
            return INDEX
        if len(path) > 2:
            return None
        self._refresh()
        name = "/".join(path)
        if name in self._files and name != INDEX:
            return name
        return name if path[0] == HASHED.rstrip("/") and len(path) == 2 else None

    async def answer(self, name: str, headers: Mapping[bytes, bytes]) -> Answer:
        """The file, or why it cannot be had."""
        self._refresh()
        file = self._files.get(name)
        if file is None and name == INDEX:
            return Answer(NOT_BUILT.read_bytes(), content_type=HTML, headers=(_ASK_AGAIN, *_PAGE_SAFETY))
        if file is None:  # of a build before: the page that asks for it is loaded again
            return Answer(b"there is no such file; the UI was built anew\n", 404, b"text/plain; charset=utf-8", headers=SAFETY)
        safety = _PAGE_SAFETY if file.content_type == HTML else SAFETY
        keeping = _FOR_EVER if name.startswith(HASHED) else _ASK_AGAIN
        common = (keeping, (b"etag", file.etag), (b"vary", b"Accept-Encoding"), *safety)
        if _matches(headers.get(b"if-none-match", b""), file.etag):
            return Answer(b"", 304, file.content_type, headers=common)
        encoding, suffix = _encoding(headers.get(b"accept-encoding"), file.encodings)
        try:
            body = await asyncio.to_thread(Path(f"{file.path}{suffix}").read_bytes)
        except OSError:
            self._built = 0  # a build is under way
            return Answer(b"the UI is being built; load the page again\n", 503, b"text/plain; charset=utf-8", headers=SAFETY)
        if encoding:
            common += ((b"content-encoding", encoding),)
        return Answer(body, content_type=file.content_type, headers=common)

    def _refresh(self) -> None:
        try:
            built = (self._folder / INDEX).stat().st_mtime_ns
        except OSError:
            self._files, self._built = {}, 0
            return
        if built != self._built:
            self._files, self._built = dict(_files_of(self._folder)), built


def _files_of(folder: Path) -> list[tuple[str, _File]]:
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    found = []
    for name, path in paths.items():
        content_type = _TYPES.get(path.suffix)
        if content_type is None or name.startswith("."):
            continue
        # The name of a hashed file says what is in it; the others are few and small.
        text = name.encode() if name.startswith(HASHED) else path.read_bytes()
        etag = b'"%s"' % hashlib.sha256(text).hexdigest()[:20].encode()
        encodings = frozenset(suffix for suffix in ("br", "gz") if f"{name}.{suffix}" in paths)
        found.append((name, _File(path, content_type, etag, encodings)))
    return found


def _encoding(accepted: bytes | None, there: frozenset[str]) -> tuple[bytes, str]:
    if accepted and "br" in there and b"br" in [part.partition(b";")[0].strip() for part in accepted.split(b",")]:
        return b"br", ".br"
    if "gz" in there and accepts_gzip(accepted):
        return b"gzip", ".gz"
    return b"", ""


def _matches(asked: bytes, etag: bytes) -> bool:
    return any(part.strip().removeprefix(b"W/") in (etag, b"*") for part in asked.split(b",")) if asked else False
