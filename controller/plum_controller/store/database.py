"""The open file: its two connections, and the few things that are done to it as a whole.

    writer thread: write, checkpoint, recover, backup, compaction steps
    reader thread: short reads, each under `reading`

Everything here blocks and runs on one of the two engine threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apsw

from plum_controller.store import schema, statements
from plum_controller.store.connection import check_library, open_reader, open_writer, translated
from plum_controller.store.file_lock import FileLock
from plum_controller.store.rows import ROWS_META, RowChanges
from plum_controller.store.transactions import revision_after_restore

logger = logging.getLogger(__name__)

CHECKPOINT_PAGES = 1000
"""Pages in the write-ahead log (4 KiB each) from which it is copied into the database, as SQLite does by default."""
TRUNCATE_PAGES = 4 * CHECKPOINT_PAGES
"""Size that the log only reaches when reads overlapped for long: then the reader waits for one checkpoint."""


class Database:
    """Closed, or open with both connections."""

    writer: apsw.Connection
    reader: apsw.Connection

    def __init__(self, path: Path, vfs: str | None = None) -> None:
        self.path = path
        self.reading = threading.Lock()
        """Held during a read, and by whoever needs that no read is going on."""
        self.log_pages = 0
        """Pages in the write-ahead log after the last commit."""
        self._vfs = vfs
        self._lock = FileLock(path.with_name(path.name + ".lock"))

    def open(self) -> None:
        """Take the file, make or migrate its tables. Raises the store's errors."""
        check_library(apsw.sqlite_lib_version())
        with translated(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        """Close both connections and let go of the file. The last one to close moves the log into the database."""
        with self.reading:
            self._disconnect()
        self._lock.release()

    def write(
        self, log_rows: Sequence[tuple[Any, ...]], object_rows: Sequence[tuple[Any, ...]], changes: RowChanges | None = None
    ) -> None:
        """One transaction, on disk when this returns.

        After `apsw.FullError` nothing of it is there; after any other error only `recover` can tell.
        """
        with self.transaction():
            self.writer.executemany(statements.INSERT_LOG, log_rows)
            self.writer.executemany(statements.UPSERT_OBJECT, object_rows)
            if changes is not None:
                changes.write(self.writer)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A write transaction on the writer's connection, rolled back on any error."""
        self.writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.writer.execute("COMMIT")
        except BaseException:
            if self.writer.in_transaction:  # SQLite rolls back by itself after some errors
                with contextlib.suppress(apsw.Error):
                    self.writer.execute("ROLLBACK")
            raise

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database, so that it starts from its beginning. A full disk only delays it."""
        try:
            if self.log_pages < TRUNCATE_PAGES:
                self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            else:
                with self.reading:
                    self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self.log_pages = 0
        except apsw.Error:
            logger.warning("checkpoint failed", extra={"path": str(self.path)}, exc_info=True)

    def recover(self) -> tuple[int, int]:
        """Find out what is on disk after an error, and make sure that it stays so. Answers with the last id of the log and
        the number of the last batch that changed rows.

        A commit that failed while it was flushed may have reached the disk. Opening the file again reads what is there;
        the checkpoint writes and flushes it anew (a flush that failed once is not repeated by the kernel) and empties the
        write-ahead log. SQLite flushes neither that nor the deletion of a log, so a power loss could still bring back
        the old one with the failed commit in it: a small commit makes the new log's header, length and name durable.
        Raises until all of that has worked.
        """
        with self.reading:
            self._disconnect()
            self._connect()
            self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            with self.transaction():
                statements.write_meta(self.writer, [("recovered", time.time())])
            last: int = self.writer.execute(statements.LAST_ID).get
            return last, int(statements.read_meta(self.writer, ROWS_META) or 0)

    def _prepare(self) -> None:
        self.writer = open_writer(self.path, self._vfs)
        found = schema.state(self.writer, self.path)
        if found == "older":
            self.writer.close()
            schema.migrate(self.path)
            self.writer = open_writer(self.path, self._vfs)
        elif found == "empty":
            schema.create(self.writer)
            flush_directory(self.path.parent)
        self.writer.close()
        self._connect()
        self._finish_restore()

    def _connect(self) -> None:
        self.writer = open_writer(self.path, self._vfs)
        self.writer.set_wal_hook(self._note_log_pages)
        self.reader = open_reader(self.path, self._vfs)

    def _disconnect(self) -> None:
        for name in ("reader", "writer"):
            connection = getattr(self, name, None)
            if connection is not None:
                try:
                    connection.close(force=True)
                except apsw.Error:
                    logger.warning("connection did not close cleanly", extra={"path": str(self.path)}, exc_info=True)

    def _note_log_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self.log_pages = pages
        return apsw.SQLITE_OK

    def _finish_restore(self) -> None:
        """A backup that is opened for the first time goes on far above the revisions that its original gave out."""
        taken = statements.read_meta(self.writer, "backup_time")
        if taken is None:
            return
        last = statements.revision_of(self.writer.execute(statements.LAST_ID).get)
        revision = max(last, int(statements.read_meta(self.writer, "compacted") or 0))
        now = time.time()
        with self.transaction():
            bumped = revision_after_restore(revision, taken, now)
            statements.write_meta(self.writer, [("compacted", bumped), ("compacted_time", now)])
            self.writer.execute(statements.DELETE_META, ("backup_time",))


def flush_directory(path: Path) -> None:
    """Make durable which files there are."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
