"""Connections to the SQLite file: which library is safe, how a connection is set up, what its errors mean.

One connection writes and checkpoints (the writer's thread); one reads (the reader's thread), in short transactions and
never a checkpoint. Nothing else opens the file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import apsw

from plum_controller.store.errors import StoreCorruptError, StoreError, StoreFullError, StoreUnavailableError, StoreVersionError

SAFE_VERSION = (3, 51, 3)
"""Before it, two connections that checkpoint at once can corrupt the file (sqlite.org/wal.html#walresetbug)."""
BUSY_MILLISECONDS = 2000
"""For whoever else looks into the file with a tool; our own two connections never wait for each other."""
WRITER_CACHE_KIB = 8192
READER_CACHE_KIB = 2048


def check_library(version: str) -> None:
    """Raises `StoreVersionError` when the SQLite library is older than the fix."""
    if tuple(int(part) for part in version.split(".")) < SAFE_VERSION:
        wanted = ".".join(str(part) for part in SAFE_VERSION)
        raise StoreVersionError(f"SQLite {version} can corrupt the store; install apsw with SQLite {wanted} or newer")


def open_writer(path: Path, vfs: str | None = None) -> apsw.Connection:
    """The one connection that writes. A missing file is made, readable by its owner only: it may hold secrets."""
    if vfs is None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = apsw.Connection(str(path), vfs=vfs)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    if connection.execute("PRAGMA page_count").get == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only has an effect before the first page exists
    connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    connection.execute("PRAGMA synchronous = FULL")
    if connection.execute("PRAGMA journal_mode = WAL").get != "wal":
        connection.close()
        raise StoreUnavailableError(f"{path} is on a file system without shared memory; choose a local disk")
    connection.wal_autocheckpoint(0)  # the writer checkpoints between batches, not inside a commit that somebody waits for
    return connection


def open_reader(path: Path, vfs: str | None = None) -> apsw.Connection:
    """A connection that cannot write."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY, vfs=vfs)
    connection.set_busy_timeout(BUSY_MILLISECONDS)
    connection.execute(f"PRAGMA cache_size = -{READER_CACHE_KIB}")
    return connection


def translate(error: Exception, path: Path) -> StoreError:
    """The store's error for one of SQLite's."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, apsw.FullError):
        return StoreFullError(f"no space left for {path}; nothing was written; free some space, the store goes on by itself")
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return StoreCorruptError(f"{path} is damaged ({error}); restore a backup")
    return StoreUnavailableError(f"{path}: {error}")


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise the store's errors instead of SQLite's."""
    try:
        yield
    except (apsw.Error, OSError) as error:
        raise translate(error, path) from error
