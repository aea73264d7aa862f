"""Copies the open database while writers go on.

    writer thread: start, then a few pages per step, batches between the steps, then finish

The copy is made on the connection that writes: SQLite then repeats in the copy every page that a commit changes meanwhile,
so it never starts over, and what it ends with is the state of one moment.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import apsw

from plum_controller.store import statements
from plum_controller.store.base import Revision
from plum_controller.store.database import Database

STEP_PAGES = 128


class Backup:
    """One copy on its way. `start`, `step` until it says True, `finish`; or `abandon` at any point."""

    def __init__(self, database: Database, path: Path) -> None:
        self._database = database
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._copy: apsw.Connection | None = None
        self._pages: apsw.Backup | None = None

    def start(self) -> None:
        self._partial.unlink(missing_ok=True)
        os.close(os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._copy = apsw.Connection(str(self._partial))
        self._copy.execute("PRAGMA synchronous = OFF")  # the whole file is flushed once, by `finish`
        self._pages = self._copy.backup("main", self._database.writer, "main")

    def step(self) -> bool:
        """Copy some pages. True when all are there."""
        assert self._pages is not None  # noqa: S101 - `start` came first
        self._pages.step(STEP_PAGES)
        return bool(self._pages.done)

    def finish(self, now: float) -> Revision:
        """Mark the file as a copy, flush it, and only then give it its name."""
        assert self._pages is not None and self._copy is not None  # noqa: S101
        self._pages.finish()
        self._pages = None
        self._copy.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, without a log beside it
        statements.write_meta(self._copy, [("backup_time", now)])
        last = statements.revision_of(self._copy.execute(statements.LAST_ID).get)
        revision = max(last, int(statements.read_meta(self._copy, "compacted") or 0))
        self._copy.close()
        self._copy = None
        _flush(self._partial)
        self._partial.replace(self._path)
        _flush(self._path.parent)
        return revision

    def abandon(self) -> None:
        """Leave no trace. Safe to repeat, and after `finish`."""
        with contextlib.suppress(apsw.Error):
            if self._pages is not None:
                self._pages.close(force=True)
        if self._copy is not None:
            self._copy.close(force=True)
        self._pages = self._copy = None
        self._partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
