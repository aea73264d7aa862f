"""The files of one revision of a source, wherever they came from."""

from __future__ import annotations

import bisect
import hashlib
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

MAX_BYTES = 64 * 1024 * 1024
"""All files of one revision together. A folder of manifests is far below; a wrong folder is told instead of loaded."""


class TreeError(ValueError):
    """A path that leads nowhere, or out of the source. The message says which."""


@dataclass(frozen=True)
class Tree:
    """Paths with `/` below the root of the source, and contents."""

    files: Mapping[str, bytes]
    hashes: Mapping[str, str] = field(default_factory=dict)
    """Of contents, where whoever read the files knows them already."""

    used: set[str] = field(default_factory=set, compare=False)
    """Files that were asked for: what a revision consists of, where a source holds more than its manifests."""

    def hash_of(self, path: str) -> str:
        """A hash of one file's content."""
        self.used.add(path)
        return self.hashes.get(path) or hash_bytes(self.files[path])

    def read(self, path: str) -> bytes:
        """A file. Raises `TreeError`."""
        if path not in self.files:
            raise TreeError(f"{path} does not exist")
        self.used.add(path)
        return self.files[path]

    @cached_property
    def revision(self) -> str:
        """A hash over all paths and contents: equal trees have equal revisions."""
        digest = hashlib.sha256()
        for path in self._paths:
            digest.update(f"{path}\0{self.hash_of(path)}\n".encode())
        return digest.hexdigest()[:40]

    @cached_property
    def _paths(self) -> list[str]:
        return sorted(self.files)

    @cached_property
    def _folders(self) -> frozenset[str]:
        found = {""}
        for path in self.files:
            while "/" in path:
                path = path.rpartition("/")[0]
                if path in found:
                    break
                found.add(path)
        return frozenset(found)

    def is_folder(self, path: str) -> bool:
        return path in self._folders

    def below(self, folder: str) -> Iterator[str]:
        """All files below a folder, in order."""
        paths = self._paths
        prefix = f"{folder}/" if folder else ""
        for position in range(bisect.bisect_left(paths, prefix), len(paths)):
            if not paths[position].startswith(prefix):
                return
            yield paths[position]

    def read_text(self, path: str) -> str:
        """A file as text. Raises `TreeError`."""
        try:
            return self.read(path).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TreeError(f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#x}") from error


def hash_bytes(value: bytes) -> str:
    """What contents are told apart by."""
    return hashlib.blake2b(value, digest_size=20).hexdigest()


def join(folder: str, path: str) -> str:
    """A path as written in a file of `folder`, from the root. Raises `TreeError` for one that leads out of the source."""
    if path.startswith("/"):
        raise TreeError(f"{path} is absolute; paths are relative to the file that names them")
    found = posixpath.normpath(posixpath.join(folder, path))
    if found == ".." or found.startswith("../"):
        raise TreeError(f"{path} leads out of the source")
    return "" if found == "." else found
