"""What a store file is, as far as this program must know: an SQLite database with Plum's tables, and a lock beside it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from plum_cli.errors import CliError

MAGIC = b"SQLite format 3\x00"
STORE_NAME = "plum.db"
TABLES = frozenset({"log", "objects"})


def check_store(path: Path) -> int:
    """See that a file is a whole store; answers with the number of rows in its log. Raises `CliError`."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise CliError(f"{path} is no backup: it is no SQLite database")
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if verdict != "ok":
                raise CliError(f"{path} is damaged: {verdict}")
            found = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not found >= TABLES:
                raise CliError(f"{path} is no backup of Plum: it has no table {', '.join(sorted(TABLES - found))}")
            return int(connection.execute("SELECT count(*) FROM log").fetchone()[0])
    except OSError as error:
        raise CliError(f"cannot read {path}: {error.strerror}") from error
    except sqlite3.DatabaseError as error:
        raise CliError(f"{path} is damaged: {error}") from error


def locked_by(store: Path) -> str:
    """The process id of the controller that has the store open; empty when none has."""
    lock = store.with_name(store.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
    finally:
        os.close(descriptor)
    return ""


@contextmanager
def exclusive(store: Path) -> Iterator[None]:
    """Keep controllers away from a store for as long as the block runs. Raises `CliError` when one has it open."""
    descriptor = os.open(store.with_name(store.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            raise CliError(f"the controller with process id {holder} has {store} open; stop it first") from error
        yield
    finally:
        os.close(descriptor)
