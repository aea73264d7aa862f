"""The zips this node keeps, by checksum: found again after a restart, dropped longest unused first.

<data>/artifacts/<sha256>.zip, <sha256>-<address>.zip    complete and verified: from the controller, from elsewhere
                 ....part                                on its way; goes on from its end
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

SPARE_BYTES = 32 * 2**20
"""Room that a download leaves on the disk: the ledger must be able to write."""


class NoRoomError(Exception):
    """The disk has no room for it. The message says how much is missing."""


@dataclass(frozen=True, slots=True)
class ZipStore:
    """Zips of one agent. Used from its loop; every call is short."""

    directory: Path
    limit_bytes: int
    """Of all zips together. What instances of this node run is kept beyond it."""
    pinned: Callable[[], Set[str]]
    """Checksums of what instances of this node run, or are about to."""

    def find(self, key: str) -> Path | None:
        """The verified zip, if it is here. It counts as used now."""
        path = self.path(key)
        try:
            os.utime(path)
        except FileNotFoundError:
            return None
        return path

    def path(self, key: str) -> Path:
        return self.directory / f"{key}.zip"

    def part(self, key: str) -> Path:
        return self.directory / f"{key}.part"

    def make_room(self, size: int, key: str) -> None:
        """Drop what was not used for longest until `size` bytes more fit. Raises `NoRoomError` when the disk is full."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        keep = set(self.pinned()) | {_sha256(key)}
        files = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.directory.glob("*.zip"))
        total = sum(length for _, length, _ in files)
        for _, length, path in files:
            if total + size <= self.limit_bytes and self._free() >= size + SPARE_BYTES:
                return
            if _sha256(path.stem) not in keep:
                path.unlink(missing_ok=True)
                total -= length
                logger.info("artifact dropped from the cache", extra={"sha256": path.stem, "size_bytes": length})
        for path in self.directory.glob("*.part"):
            if self._free() < size + SPARE_BYTES and _sha256(path.stem) not in keep:
                path.unlink(missing_ok=True)
        free = self._free()
        if free < size + SPARE_BYTES:
            missing = (size + SPARE_BYTES - free) // 2**20 + 1
            raise NoRoomError(f"{missing} MiB are missing on the disk of {self.directory}; free them, or choose another node")

    def take(self, key: str) -> Path:
        """The part, complete and verified, becomes the zip."""
        part, path = self.part(key), self.path(key)
        descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(path)
        return path

    def drop(self, key: str) -> None:
        """Forget a zip that turned out to be damaged."""
        with suppress(FileNotFoundError):
            self.path(key).unlink()

    def _free(self) -> int:
        return shutil.disk_usage(self.directory).free


def _sha256(key: str) -> str:
    return key.partition("-")[0]
