"""An offline bundle: a tar file (plain, gzip, bzip2 or xz) with its checksum, for places without a network."""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from pathlib import Path

from plum_controller.manifests.tree import MAX_BYTES, Tree
from plum_controller.sources.base import Revision, SourceError


class BundleSource:
    """One file. Its checksum is the name of its revision."""

    def __init__(self, path: Path, sha256: str = "") -> None:
        self._path = path
        self._sha256 = sha256
        self._last: Revision | None = None

    def fetch(self) -> Revision:
        """Read and check the file. Raises `SourceError`."""
        try:
            content = self._path.read_bytes()
            wanted = self._sha256 or self._beside()
        except OSError as error:
            raise SourceError(f"{self._path} cannot be read: {error.strerror or error}; nothing is changed or deleted") from error
        digest = hashlib.sha256(content).hexdigest()
        if wanted and digest != wanted:
            raise SourceError(f"{self._path} has the checksum {digest}, and {wanted} was expected: it was cut or changed")
        if self._last is None or self._last.name != digest[:40]:
            self._last = Revision(digest[:40], read_tar(content, str(self._path)))
        return self._last

    def revision(self, name: str) -> Revision | None:
        """A bundle has no past."""
        return None

    def _beside(self) -> str:
        beside = self._path.with_name(self._path.name + ".sha256")
        if not beside.exists():
            return ""
        return beside.read_text().split()[0].lower() if beside.read_text().split() else ""


def read_tar(content: bytes, name: str) -> Tree:
    """The files of a tar file. Raises `SourceError` for one that is broken, or leads out of itself."""
    files: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                path = posixpath.normpath(member.name)
                if path.startswith(("/", "..")):
                    raise SourceError(f"{name}: {member.name} leads out of the bundle")
                if member.issym() or member.islnk():
                    raise SourceError(f"{name}: {member.name} is a link; a bundle holds files and folders only")
                if not member.isfile() or any(part.startswith(".") for part in path.split("/")):
                    continue
                total += member.size
                if total > MAX_BYTES:
                    raise SourceError(f"{name} holds more than {MAX_BYTES // 2**20} MB")
                reader = archive.extractfile(member)
                files[path] = reader.read() if reader is not None else b""
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise SourceError(f"{name} is no usable tar file: {error}") from error
    return Tree(files)
