"""Images in a folder of this node, for sites without a registry: files as `docker save` writes them.

    *.tar, *.tar.gz, *.tgz -> their names, read once per file -> find(image) -> file

Files may be added, replaced and removed at any time; one that cannot be read is passed over and reported once.
"""

from __future__ import annotations

import logging
import re
import tarfile
from pathlib import Path
from typing import Any

import msgspec

from plum_agent.errors import RefusedError

logger = logging.getLogger(__name__)

SUFFIXES = (".tar", ".tar.gz", ".tgz")
MAX_MANIFEST = 4_194_304
"""Bytes of `manifest.json`; a real one has some hundred."""


class ImageFiles:
    """One folder. Its methods block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[tuple[str, int, int], tuple[str, ...]] = {}

    def find(self, image: str) -> Path | None:
        """A file that holds the image, the newest of several."""
        wanted = normal_name(image)
        found: list[tuple[float, Path]] = []
        present = {}
        for path in self._files():
            status = path.stat()
            key = (path.name, status.st_size, status.st_mtime_ns)
            present[key] = self._known.get(key) or self._names(path)
            if wanted in present[key]:
                found.append((status.st_mtime, path))
        self._known = present
        return max(found)[1] if found else None

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.name.endswith(SUFFIXES) and path.is_file())

    def _names(self, path: Path) -> tuple[str, ...]:
        try:
            with tarfile.open(path) as tar:
                for entry in tar:
                    if entry.name.removeprefix("./") == "manifest.json" and entry.isfile() and entry.size <= MAX_MANIFEST:
                        file = tar.extractfile(entry)
                        return _names_in(file.read() if file is not None else b"")
            why = "it has no manifest.json; write it with `docker save`"
        except (OSError, tarfile.TarError, EOFError, msgspec.MsgspecError) as error:
            why = str(error)
        logger.warning("image file cannot be used", extra={"path": str(path), "error": why})
        return ("",)


def _names_in(manifest: bytes) -> tuple[str, ...]:
    names: list[str] = []
    for entry in msgspec.json.decode(manifest, type=list[dict[str, Any]]):
        names += [normal_name(name) for name in entry.get("RepoTags") or ()]
    return tuple(names) or ("",)


_NAME = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]+)?/)?"  # registry
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@[a-z0-9]+:[0-9a-f]{32,128})?\Z"
)


def check_name(image: str) -> None:
    """Raises `RefusedError` for what is no name of an image: it becomes part of paths."""
    if len(image) > 512 or not _NAME.match(image):
        message = f"{image[:200]!r} is no name of an image; use [REGISTRY/]NAME[:TAG], in lower case"
        raise RefusedError("ImageInvalid", message)


def normal_name(image: str) -> str:
    """One spelling of an image's name: without `docker.io/` and `library/`, with its tag."""
    name = image.removeprefix("docker.io/").removeprefix("index.docker.io/").removeprefix("library/")
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"
