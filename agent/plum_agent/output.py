"""The output of runs: when each part of it was written, and how much of it is kept.

    workload -> stdout.log, stderr.log (opened for append by the shim; nobody stands between)
                    | grew (inotify)
                    v
    OutputKeeper -> stdout.log.times   (offset, time) pairs: every part of the file has a time, good to a tenth of a second
                 -> hole punched into the oldest part, once the file is longer than maxSize x maxFiles
                 -> followers of the log are woken

Rotation frees the oldest blocks in place. The workload's file is never renamed, copied or cut, so not one byte can
fall between two files, and the shim needs no agent to write on. The apparent size of a file keeps growing; its use of
the disk does not.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from plum_agent.inotify import Inotify, punch_hole

logger = logging.getLogger(__name__)

STREAMS = ("stdout", "stderr")
PAUSE_SECONDS = 0.1
"""Between two looks at a busy file: bounds the cost of a workload that writes all the time."""
BLOCK = 4096
MAX_ENTRIES = 65536
"""Entries of one index (1 MiB); above that the older half is thinned out."""
_ENTRY = struct.Struct("<Qd")


@dataclass(slots=True)
class _File:
    """One growing file and its index."""

    path: Path
    index: Path
    keep_bytes: int
    unit_bytes: int
    size: int = 0
    """Size up to which the index reaches."""
    entries: int = 0
    freed: int = 0
    """Bytes at the front whose blocks were given back."""
    grown: asyncio.Event = field(default_factory=asyncio.Event)


class OutputKeeper:
    """Watches the output files of all runs of this agent process."""

    def __init__(self) -> None:
        self._inotify = Inotify()
        self._files: dict[int, _File] = {}
        self._watches: dict[Path, int] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._inotify.descriptor, self._on_growth)
        self._timer: asyncio.TimerHandle | None = None
        self._can_punch = True

    def add(self, folder: Path, max_bytes: int, max_files: int) -> None:
        """Keep the output of a run from now on; what it wrote while no agent was there is caught up with. Safe to repeat."""
        for stream in STREAMS:
            path = folder / f"{stream}.log"
            if path in self._watches:
                continue
            try:
                if not path.exists():
                    path.touch()
                watch = self._inotify.add(path)
            except OSError as error:
                logger.warning("output is not watched", extra={"path": str(path), "error": str(error)})
                continue
            file = _File(path, index_of(path), max(BLOCK, max_bytes) * max_files, max(BLOCK, max_bytes))
            entries = read_index(file.index)
            file.entries, file.size = len(entries), entries[-1][0] if entries else 0
            self._watches[path], self._files[watch] = watch, file
            with suppress(OSError):
                self._note(file, path.stat().st_mtime)

    def remove(self, folder: Path) -> None:
        """Stop watching the output of a run; what is there is noted first. Safe to repeat."""
        for stream in STREAMS:
            path = folder / f"{stream}.log"
            watch = self._watches.pop(path, None)
            if watch is not None:
                file = self._files.pop(watch)
                with suppress(OSError):
                    self._note(file, time.time())
                self._inotify.remove(watch)
                file.grown.set()

    def flush(self, folder: Path) -> None:
        """Note now what a run has written so far."""
        for stream in STREAMS:
            watch = self._watches.get(folder / f"{stream}.log")
            if watch is not None:
                with suppress(OSError):
                    self._note(self._files[watch], time.time())

    async def wait_for_growth(self, folder: Path, timeout_seconds: float) -> None:
        """Return when a file of this run grew or is no longer watched, at the latest after the timeout.

        The files of a run that is being started come in a moment; whoever asks meanwhile must not keep the agent from that.
        """
        files = [self._files[watch] for stream in STREAMS if (watch := self._watches.get(folder / f"{stream}.log")) is not None]
        if not files:
            await asyncio.sleep(PAUSE_SECONDS)
            return
        waiters = [self._loop.create_task(file.grown.wait()) for file in files]
        await asyncio.wait(waiters, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

    def close(self) -> None:
        self._loop.remove_reader(self._inotify.descriptor)
        if self._timer is not None:
            self._timer.cancel()
        for file in self._files.values():
            file.grown.set()
        self._inotify.close()

    def _on_growth(self) -> None:
        now = time.time()
        fired = self._inotify.read()
        for watch in self._files if fired is None else fired:
            file = self._files.get(watch)
            if file is not None:
                with suppress(OSError):
                    self._note(file, now)
        self._loop.remove_reader(self._inotify.descriptor)
        self._timer = self._loop.call_later(PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._timer = None
        self._loop.add_reader(self._inotify.descriptor, self._on_growth)

    def _note(self, file: _File, now: float) -> None:
        size = file.path.stat().st_size
        if size <= file.size:
            return
        with file.index.open("ab") as index:
            index.write(_ENTRY.pack(size, now))
        file.size, file.entries = size, file.entries + 1
        if size - file.freed > file.keep_bytes:
            self._rotate(file)
        if file.entries > MAX_ENTRIES:
            entries = read_index(file.index)
            half = len(entries) // 2
            self._write_index(file, entries[1:half:2] + entries[half:])
        file.grown.set()
        file.grown = asyncio.Event()

    def _rotate(self, file: _File) -> None:
        """Free the oldest part, so that one unit less than the bound is kept and room for the next unit is there."""
        if not self._can_punch:
            return
        end = (file.size - (file.keep_bytes - file.unit_bytes)) // BLOCK * BLOCK
        descriptor = os.open(file.path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            punch_hole(descriptor, 0, end)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            self._can_punch = False
            logger.warning(
                "this file system cannot free parts of files, output grows without bound", extra={"path": str(file.path)}
            )
            return
        finally:
            os.close(descriptor)
        file.freed = end
        self._write_index(file, [entry for entry in read_index(file.index) if entry[0] > end])

    def _write_index(self, file: _File, entries: list[tuple[int, float]]) -> None:
        temporary = file.index.with_suffix(".new")
        temporary.write_bytes(b"".join(_ENTRY.pack(*entry) for entry in entries))
        temporary.rename(file.index)
        file.entries = len(entries)


def index_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.times")


def read_index(path: Path) -> list[tuple[int, float]]:
    """(end offset, unix seconds) in order. A torn last entry is left out."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    return list(_ENTRY.iter_unpack(content[: len(content) // _ENTRY.size * _ENTRY.size]))
