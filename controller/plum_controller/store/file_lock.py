"""One process per store: a lock file beside the database, held with `flock` and let go by the kernel at the process's end.

SQLite has locks of its own, but they let two controllers take turns, and both would give out the same revisions.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from plum_controller.store.errors import StoreInUseError


class FileLock:
    """Held or not held. `acquire` does not wait."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> None:
        """Raises `StoreInUseError` with the pid of the holder."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise StoreInUseError(f"process {holder} holds {self._path}; stop it or choose another data directory") from error
        # The pid is for the message above only; a full disk must not keep the store from opening.
        try:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        except OSError:
            pass
        self._descriptor = descriptor

    def release(self) -> None:
        """Safe to repeat. The file stays: removing it would let two processes lock two files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
