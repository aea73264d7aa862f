"""A disk under SQLite that forgets, fills up and fails: an apsw VFS between the store and the real files.

    SQLite -> FaultyDisk -> the file system
                 |
                 +-> what a power loss would leave: what was flushed, and any part of what was not

The store runs on real files all the time; the model beside them knows for each file what was flushed and what was not.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw

SECTOR = 512
"""Bytes that a disk writes as a whole at best. Writes are torn between sectors, and sometimes inside one."""

_numbers = itertools.count()


@dataclass
class FileModel:
    """One file: what is safe, and what was only handed to the kernel."""

    durable: bytearray = field(default_factory=bytearray)
    named: bool = False
    """The directory entry is safe: the directory was flushed since the file was made."""
    removed: bool = False
    """Deleted, but the directory was not flushed: the file may come back."""
    replaced: FileModel | None = None
    """The removed file whose name this one took."""
    pending: list[tuple[str, int, bytes]] = field(default_factory=list)

    def flush(self) -> None:
        for operation in self.pending:
            _apply(self.durable, operation)
        self.pending.clear()

    def after_power_loss(self, chance: random.Random) -> bytes | None:
        """The content that the next start finds; None when the file is gone."""
        if self.removed and chance.random() < 0.5:
            return None
        if not self.named and chance.random() < 0.3:
            return self.replaced.after_power_loss(chance) if self.replaced is not None else None
        content = bytearray(self.durable)
        kept = chance.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        for kind, offset, data in self.pending:
            if kind == "truncate":
                if chance.random() < kept:
                    _apply(content, (kind, offset, data))
                continue
            for start in range(0, len(data), SECTOR):
                piece = data[start : start + SECTOR]
                if chance.random() < 0.02:
                    piece = piece[: chance.randrange(len(piece) + 1)]  # torn inside the sector
                if chance.random() < kept:
                    _apply(content, ("write", offset + start, piece))
        return bytes(content)


class FaultyDisk(apsw.VFS):
    """Registered for its lifetime under `name`, which `SqliteStore(vfs=...)` takes."""

    def __init__(self) -> None:
        self.vfs_name = f"faulty-{next(_numbers)}"
        self.files: dict[str, FileModel] = {}
        self.before: Callable[[str, str], None] = lambda operation, path: None
        """Called before each write, truncate, sync and delete; an exception makes it fail. On SQLite's thread."""
        self.after: Callable[[str, str], None] = lambda operation, path: None
        super().__init__(self.vfs_name, base="")

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return FaultyFile(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self.before("delete", filename)
        super().xDelete(filename, syncdir)
        model = self.files.get(filename)
        if model is not None:
            model.removed = True
            if syncdir:
                self.flush_directory()

    def flush_directory(self) -> None:
        """All names are safe, and what was deleted stays away."""
        for path, model in list(self.files.items()):
            model.named, model.replaced = True, None
            if model.removed:
                del self.files[path]

    def power_loss(self, chance: random.Random) -> dict[str, bytes]:
        """The files as the next start finds them if the power fails now."""
        found = {Path(path).name: model.after_power_loss(chance) for path, model in self.files.items()}
        return {name: content for name, content in found.items() if content is not None}


class FaultyFile(apsw.VFSFile):
    """Passes everything on and takes notes."""

    def __init__(self, disk: FaultyDisk, name: Any, flags: list[int]) -> None:
        self._disk = disk
        self._path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        known = Path(self._path)
        model = disk.files.get(self._path)
        if model is None or model.removed:
            there = known.exists()
            model = FileModel(bytearray(known.read_bytes()) if there else bytearray(), named=there, replaced=model)
            disk.files[self._path] = model
        self._model = model
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self._disk.before("write", self._path)
        super().xWrite(data, offset)
        self._model.pending.append(("write", offset, bytes(data)))
        self._disk.after("write", self._path)

    def xTruncate(self, newsize: int) -> None:
        self._disk.before("truncate", self._path)
        super().xTruncate(newsize)
        self._model.pending.append(("truncate", newsize, b""))
        self._disk.after("truncate", self._path)

    def xSync(self, flags: int) -> None:
        self._disk.before("sync", self._path)
        # Not passed on: the machine that runs the test stays up, and its disk is not what is tested.
        self._model.flush()
        if not self._model.named:
            self._disk.flush_directory()  # as SQLite does when it first flushes a new journal or write-ahead log
        self._disk.after("sync", self._path)


def _apply(content: bytearray, operation: tuple[str, int, bytes]) -> None:
    kind, offset, data = operation
    if kind == "truncate":
        del content[offset:]
        content.extend(bytes(offset - len(content)))
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data
