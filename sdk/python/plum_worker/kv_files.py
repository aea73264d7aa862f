"""What the SDK keeps on disk: the last good values of a namespace, and the writes that wait for the controller.

    DIR/NAMESPACE.json        a snapshot, replaced as a whole
    DIR/NAMESPACE[.N].queue   one JSON document per line, in the order of the writes; N where several programs share a folder

A write is flushed before the call that made it returns. A line that a crash cut off in the middle was never promised.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import threading
from collections import deque
from pathlib import Path
from typing import Any

from plum_worker.kv_errors import KvRefusedError, QueueFullError

QUEUES = 64
"""Programs that may share a folder."""
DONE: dict[str, Any] = {"done": 1}
"""A line that says that the first write that waits was done."""


class Snapshot:
    """The last good values."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self._path = folder / f"{namespace}.json"

    def load(self) -> dict[str, list[Any]]:
        """Entries as `[type, value, revision]` by key; nothing if there is none that can be read."""
        try:
            found = json.loads(self._path.read_text())["entries"]
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if isinstance(found, dict) else {}

    def store(self, entries: dict[str, list[Any]]) -> None:
        """Replace it. A full disk keeps the old one."""
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        try:
            with fresh.open("w") as file:
                json.dump({"entries": entries}, file, separators=(",", ":"))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError:
            fresh.unlink(missing_ok=True)


class WriteQueue:
    """Writes that wait, first in first out. Used from several threads."""

    def __init__(self, folder: Path, namespace: str, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._file = _open_own(folder, namespace)
        self._waiting: deque[dict[str, Any]] = deque(self._read())
        self._done = 0
        """Lines at the front of the file that are done."""

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, write: dict[str, Any]) -> None:
        """Keep a write; it is on disk when this returns. Raises `QueueFullError`."""
        with self._lock:
            if len(self._waiting) >= self._limit:
                raise QueueFullError(f"{len(self._waiting)} writes wait for the controller already; this one was not kept")
            start = self._file.seek(0, os.SEEK_END)
            try:
                self._append([write])
                os.fsync(self._file.fileno())
            except OSError as error:
                self._cut(start)
                raise QueueFullError(f"the write could not be kept: {error.strerror or error}") from error
            self._waiting.append(write)

    def keys(self) -> set[str]:
        """Keys of the writes that wait."""
        with self._lock:
            return {write["key"] for write in self._waiting}

    def first(self) -> dict[str, Any] | None:
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def drop(self) -> None:
        """The first write is done."""
        with self._lock:
            self._waiting.popleft()
            self._done += 1
            try:
                if not self._waiting:
                    self._cut(0)
                    self._done = 0
                elif self._done >= self._limit:
                    self._rewrite()
                else:
                    # Not flushed: only a power loss forgets it, and then the write is sent once more.
                    self._append([DONE])
            except OSError:
                pass  # the disk is full; the write is sent once more after a restart

    def close(self) -> None:
        with self._lock:
            if not self._file.closed and self._waiting and self._done:
                self._rewrite()
            self._file.close()

    def _rewrite(self) -> None:
        """Forget what is done. What is sent twice after a crash in between is sent in the same order."""
        self._cut(0)
        self._append(list(self._waiting))
        os.fsync(self._file.fileno())
        self._done = 0

    def _append(self, lines: list[dict[str, Any]]) -> None:
        text = b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)
        if self._file.write(text) != len(text):
            raise OSError(errno.ENOSPC, "no space left")

    def _cut(self, size: int) -> None:
        self._file.seek(size)
        self._file.truncate()

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        found: list[dict[str, Any]] = []
        whole = 0
        for line in self._file:
            try:
                if not line.endswith(b"\n"):
                    break
                write = json.loads(line)
            except ValueError:
                break
            whole += len(line)
            if write != DONE:
                found.append(write)
            elif found:
                del found[0]
        self._cut(whole)
        return found


def _open_own(folder: Path, namespace: str) -> Any:
    """The first queue file that no other program holds."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(QUEUES):
            file = (folder / f"{namespace}{f'.{number}' if number else ''}.queue").open("ab+", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                continue
            return file
    except OSError as error:
        raise KvRefusedError(f"the folder {folder} of the key-value store cannot be used: {error.strerror}") from error
    raise KvRefusedError(f"{QUEUES} programs use the folder {folder} already; give this one another with PLUM_KV_DIR")
