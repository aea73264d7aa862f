"""A folder on this machine, read whole and consistent: a file that changes while it is read is read again.

A file is read again when its inode, size or time changed, or when that time is so recent that a second change may hide in it.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from plum_controller.manifests.tree import MAX_BYTES, Tree, hash_bytes
from plum_controller.sources.base import Revision, SourceError

FRESH_NS = 2_000_000_000
"""A file that changed so lately may change again without a new time: it is always read."""
ATTEMPTS = 5
MAX_FILES = 50_000


class _Stamp(NamedTuple):
    inode: int
    device: int
    size: int
    changed_ns: int


class _Known(NamedTuple):
    stamp: _Stamp
    content: bytes
    hash: str


class FolderSource:
    """One folder, or one file as a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, _Known] = {}

    def fetch(self) -> Revision:
        """Read what changed. Raises `SourceError`."""
        for _ in range(ATTEMPTS):
            tree = self._read()
            if tree is not None:
                return Revision(tree.revision, tree)
        raise SourceError(f"{self.path} changes faster than it can be read; it is tried again")

    def revision(self, name: str) -> Revision | None:
        """A folder has no past."""
        return None

    def _read(self) -> Tree | None:
        """The tree; None when a file vanished or changed while it was read."""
        now = time.time_ns()
        known: dict[str, _Known] = {}
        total = 0
        for name, path in self._files():
            before = _stamp(path)
            have = self._known.get(name)
            if have is None or have.stamp != before or now - before.changed_ns < FRESH_NS:
                content = _content(path)
                if content is None or _stamp(path) != before:
                    return None
                have = _Known(before, content, hash_bytes(content))
            known[name] = have
            total += len(have.content)
            if total > MAX_BYTES or len(known) > MAX_FILES:
                limit = f"{MAX_BYTES // 2**20} MB or {MAX_FILES} files"
                raise SourceError(f"{self.path} holds more than {limit}; is it the right folder? spec.ignore is read later")
        self._known = known
        return Tree({name: have.content for name, have in known.items()}, {name: have.hash for name, have in known.items()})

    def _files(self) -> Iterator[tuple[str, Path]]:
        try:
            mode = self.path.stat().st_mode
        except OSError as error:
            raise SourceError(f"{self.path} cannot be read: {error.strerror or error}; nothing is changed or deleted") from error
        if not stat.S_ISDIR(mode):
            yield self.path.name, self.path
            return
        yield from _walk(self.path, "", self.path.resolve())


def _walk(folder: Path, prefix: str, root: Path) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root):
                raise SourceError(f"{entry.path} is a link that leads out of the source; put the file itself there")
            if entry.is_dir():
                yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", root)
            elif entry.is_file():
                yield prefix + entry.name, Path(entry.path)
    except OSError as error:
        where = error.filename or folder
        raise SourceError(f"{where} cannot be read: {error.strerror or error}; nothing is changed or deleted") from error


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except FileNotFoundError:
        return _Stamp(0, 0, -1, 0)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; nothing is changed or deleted") from error
    return _Stamp(found.st_ino, found.st_dev, found.st_size, max(found.st_mtime_ns, found.st_ctime_ns))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}; nothing is changed or deleted") from error
