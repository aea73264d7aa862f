"""The audit log on disk: files that are only appended to, each record on its way to the disk before its answer is sent.

    DATA_DIR/audit/000000000001.log, ...     named by their first record; the oldest goes when there are too many bytes

A record is handed to the kernel before the client hears of its change, and flushed within a second: `kill -9` loses none, a
power cut the last second. A disk that is full stops no change (the store stops those itself); the records that found no room
are counted, and the next one tells how many. Reading and checking happen in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from plum_controller.audit.records import START, Line, Record, chained, hash_of, read_lines
from plum_controller.logs import fields

logger = logging.getLogger(__name__)

FILES = 16
"""Files that the allowed bytes are spread over: so much of it goes at once."""
FLUSH_SECONDS = 1.0
REFUSALS_PER_SECOND = 20.0
"""Refusals that are written down, with a burst of five times as many: a stranger must not push out what matters."""


class Verdict(NamedTuple):
    """What checking the chain found."""

    intact: bool
    records: int
    first: int
    last: int
    head: str
    """Hash of the last record: whoever notes it elsewhere can tell later whether the log was rewritten as a whole."""
    problem: str


class AuditLog:
    """Open with the first record; closed with `close`. One writer: the event loop's thread."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.folder = folder
        self._file_bytes = max(4096, limit_bytes // FILES)
        self._descriptor = -1
        self._size = 0
        self._seq = 0
        self._head = START
        self._lost = 0
        self._dirty = False
        self._flushing: asyncio.Task[None] | None = None
        self._allowance = REFUSALS_PER_SECOND * 5
        self._allowed_at = time.monotonic()
        self.listeners: set[Callable[[Record], None]] = set()
        """Told each record once it is written down. They must not raise."""

    # ---- writing

    def add(self, *, refused: bool = False, **what: Any) -> None:
        """Write a record down. `refused`: it is one of those that only so many are kept of. Never raises."""
        if refused and not self._may_add_refusal():
            self._lost += 1
            return
        try:
            if self._descriptor < 0 or self._size >= self._file_bytes:
                self._next_file()
            now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            record = Record(seq=self._seq + 1, time=now, unrecorded=self._lost, **what)
            digest, line = chained(self._head, record)
            written = os.write(self._descriptor, line)
            if written < len(line):
                os.ftruncate(self._descriptor, self._size)
                raise OSError(f"{written} of {len(line)} bytes were written")
        except OSError as error:
            if not self._lost:
                logger.warning("audit record was not written", extra=fields(folder=str(self.folder), error=str(error)))
            self._lost += 1
            return
        self._seq, self._head, self._lost = record.seq, digest, 0
        self._size += len(line)
        self._dirty = True
        for listener in tuple(self.listeners):
            listener(record)
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush(), name="audit-flush")

    def _may_add_refusal(self) -> bool:
        now = time.monotonic()
        self._allowance = min(REFUSALS_PER_SECOND * 5, self._allowance + (now - self._allowed_at) * REFUSALS_PER_SECOND)
        self._allowed_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    async def _flush(self) -> None:
        while self._dirty:
            await asyncio.sleep(FLUSH_SECONDS)
            self._dirty = False
            with contextlib.suppress(OSError):
                await self._sync()
        self._flushing = None

    async def _sync(self) -> None:
        descriptor = os.dup(self._descriptor)  # the file may be changed for the next one meanwhile
        try:
            await asyncio.to_thread(os.fsync, descriptor)
        finally:
            os.close(descriptor)

    def _next_file(self) -> None:
        """Go on where the last process ended, or begin another file. Raises `OSError`."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = self._files()
        if self._descriptor < 0 and files:
            self._seq, self._head = self._last(files)
            path = files[-1]
            whole = _whole_bytes(path)
            if whole < self._file_bytes:
                self._open(path, whole)
                return
        path = self.folder / f"{self._seq + 1:012}.log"
        self._open(path, 0)
        for old in self._files()[:-FILES]:
            old.unlink(missing_ok=True)

    def _open(self, path: Path, size: int) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(descriptor, size)  # what a crash cut off
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
        self._descriptor, self._size = descriptor, size

    @staticmethod
    def _last(files: list[Path]) -> tuple[int, str]:
        for path in reversed(files):
            lines = list(read_lines(path.read_bytes()))
            if lines:
                return lines[-1].record.seq, lines[-1].hash
        return 0, START

    def close(self) -> None:
        """Flush and close. Safe to repeat."""
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    # ---- reading, in a thread

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.log"))

    def newest(self, before: int, wanted: Callable[[Record], bool], since: str = "") -> Iterator[Record]:
        """Records that are wanted, newest first, with numbers below `before` (0: all), back to the time `since`."""
        for path in reversed(self._files()):
            if before and int(path.stem) >= before:
                continue
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                return  # the oldest has just gone
            for line in reversed(list(read_lines(data))):
                if since and line.record.time < since:
                    return
                if (not before or line.record.seq < before) and wanted(line.record):
                    yield line.record

    def check(self) -> Verdict:
        """Follow the chain from the oldest record that is kept to the newest."""
        head, head_seq = self._head, self._seq
        first = last = count = 0
        before = ""
        for path in self._files():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue  # the oldest has just gone
            lines = list(read_lines(data))
            if data and not data.endswith(b"\n"):
                problem = f"{path.name} ends in the middle of a record: a crash, or somebody, cut it off"
                return Verdict(False, count, first, last, before, problem)
            if data.count(b"\n") != len(lines):
                return Verdict(False, count, first, last, before, f"{path.name} holds a line that is no record")
            for line in lines:
                problem = _problem(before, last, line, path.name)
                if problem:
                    return Verdict(False, count, first, last, before, problem)
                first = first or line.record.seq
                before, last, count = line.hash, line.record.seq, count + 1
        if head_seq and last < head_seq:
            return Verdict(False, count, first, last, before, f"the records behind {last} are gone; the last was {head_seq}")
        if head_seq == last and head_seq and head != before:
            return Verdict(False, count, first, last, before, f"record {last} is not the one that was written")
        return Verdict(True, count, first, last, before or START, "")


def _problem(before: str, last: int, line: Line, name: str) -> str:
    if last and line.record.seq != last + 1:
        return f"{name}: record {line.record.seq} follows {last}"
    # What was before the oldest kept record has gone by the bound; only the very first has a known one.
    chained_to = before or (START if line.record.seq == 1 else "")
    if chained_to and hash_of(chained_to, line.text) != line.hash:
        return f"{name}: record {line.record.seq} was changed, or the one before it"
    return ""


def _whole_bytes(path: Path) -> int:
    data = path.read_bytes()
    return data.rfind(b"\n") + 1
