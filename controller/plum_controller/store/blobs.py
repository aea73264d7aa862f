"""The bytes of artifacts, stored by their checksum, and uploads on their way there.

    <folder>/uploads/<id>/data, note     grows at its end; goes on after any interruption
            /blobs/ab/abcd...            complete, on disk, named by its sha256

An upload is linked into place, never copied, after all of it is on disk: `kill -9` at any moment leaves an upload that can
go on, or a whole blob. Calls block; callers use threads.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

SPARE_BYTES = 64 * 2**20
"""Room that uploads leave on the disk: the store of the objects is beside them and must be able to write."""
UPLOAD_SECONDS = 24 * 3600.0
"""An upload that nobody went on with for so long is thrown away."""
_PIECE = 1024 * 1024
_ID = re.compile(r"[0-9a-f]{32}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class NoRoomError(Exception):
    """The disk has no room. The message says for what."""


class NoUploadError(Exception):
    """There is no such upload: it never was, was finished, or was thrown away."""


@dataclass(frozen=True, slots=True)
class Upload:
    """Bytes on their way."""

    id: str
    owner: str
    """Who may go on with it, in which namespace."""
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return self.data.stat().st_size


@dataclass(slots=True)
class BlobStore:
    """One folder. Only one process writes to it."""

    folder: Path
    clock: Callable[[], float] = time.time
    busy: set[str] = field(default_factory=set)
    """Checksums of blobs that are being given to an object: not to be collected."""

    # ---- uploads

    def begin(self, owner: str, size: int) -> Upload:
        """A new upload. `size` in bytes as announced, 0 when it is not known. Raises `NoRoomError`, `OSError`."""
        self.check_room(size)
        folder = self.folder / "uploads" / secrets.token_hex(16)
        folder.mkdir(parents=True)
        (folder / "note").write_text(owner, encoding="utf-8")
        (folder / "data").touch()
        return Upload(folder.name, owner, folder)

    def find(self, upload_id: str, owner: str) -> Upload:
        """Raises `NoUploadError`, also for the upload of somebody else."""
        folder = self.folder / "uploads" / upload_id
        if not _ID.match(upload_id) or not (folder / "data").is_file():
            raise NoUploadError(upload_id)
        if (folder / "note").read_text(encoding="utf-8") != owner:
            raise NoUploadError(upload_id)
        return Upload(upload_id, owner, folder)

    def append(self, file: BinaryIO, data: bytes) -> None:
        """Write at the end of an upload. Raises `NoRoomError`; what was written before stays."""
        self.check_room(len(data))
        file.write(data)
        file.flush()

    def check_room(self, size: int) -> None:
        """Raises `NoRoomError` when so many bytes would leave too little of the disk."""
        folder = self.folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < size + SPARE_BYTES:
            raise NoRoomError(
                f"the artifact store is full: {free >> 20} MiB are free, {(size + SPARE_BYTES) >> 20} MiB are needed"
            )

    def cancel(self, upload: Upload) -> None:
        """Throw an upload away. Safe to repeat."""
        shutil.rmtree(upload.folder, ignore_errors=True)

    def digest(self, upload: Upload) -> str:
        """The checksum of what is on the disk, once it is there for good."""
        found = hashlib.sha256()
        with upload.data.open("rb") as file:
            os.fsync(file.fileno())
            while piece := file.read(_PIECE):
                found.update(piece)
        return found.hexdigest()

    def keep(self, upload: Upload, sha256: str) -> Path:
        """Give a whole upload its place. The upload stays until `cancel`, so that this may be repeated."""
        path = self.path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.hardlink_to(upload.data)
        except FileExistsError:
            pass
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
                raise
            upload.data.replace(path)  # a file system without links: a crash right now costs the upload, nothing else
        for folder in (path.parent, path.parent.parent):
            _sync(folder)
        return path

    # ---- blobs

    def path(self, sha256: str) -> Path:
        """Where the bytes with a checksum are, or would be."""
        if not _SHA256.match(sha256):
            raise ValueError(f"{sha256!r} is no sha256")
        return self.folder / "blobs" / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        return bool(_SHA256.match(sha256)) and self.path(sha256).is_file()

    def list(self) -> list[str]:
        """Checksums of all blobs."""
        return sorted(path.name for path in (self.folder / "blobs").glob("??/*"))

    def drop(self, sha256: str) -> bool:
        """Delete a blob that no object names, unless it is just being given to one. Returns at once."""
        if sha256 in self.busy:
            return False
        self.path(sha256).unlink(missing_ok=True)
        return True

    def give_up(self) -> None:
        """Throw away uploads that nobody went on with."""
        for folder in (self.folder / "uploads").glob("*"):
            with suppress(OSError):
                data = folder / "data"
                newest = data.stat().st_mtime if data.exists() else folder.stat().st_mtime
                if self.clock() - newest > UPLOAD_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
