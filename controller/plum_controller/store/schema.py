"""Brings a file to the schema this program speaks: a new one from a script, an older one by Alembic in a process of its own.

    no tables        -> schema.sql, stamped with HEAD
    at HEAD          -> nothing
    older            -> python -m plum_controller.store.migrate PATH, then again
    anything else    -> StoreVersionError

Runs at start on the writer's connection, with the store's file lock held.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw

from plum_controller.store.errors import StoreCorruptError, StoreVersionError

HEAD = "0002"
"""The newest file in `migrations/versions`."""
KNOWN = frozenset({"", "0001", HEAD})
"""Every revision that a file may be at: the ones that Alembic can lead to HEAD."""
SCRIPT = Path(__file__).with_name("schema.sql")
MIGRATIONS = Path(__file__).with_name("migrations")
APPLICATION_ID = 0x504C554D
"""`PLUM` in the file's header: a database of something else is refused, not filled with tables."""
MIGRATION_SECONDS = 600.0


def create(connection: apsw.Connection) -> None:
    """Make the tables of an empty database. All or nothing."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute(f"BEGIN IMMEDIATE;\nPRAGMA application_id = {APPLICATION_ID};\n{SCRIPT.read_text()}\nCOMMIT")


def state(connection: apsw.Connection, path: Path) -> str:
    """`empty`, `current` or `older`. Raises `StoreVersionError`, `StoreCorruptError`."""
    application = connection.pragma("application_id")
    if connection.execute("SELECT count(*) FROM sqlite_schema").get == 0 and application in (0, APPLICATION_ID):
        return "empty"
    if application != APPLICATION_ID:
        raise StoreVersionError(f"{path} is a database of another program")
    found = connection.execute("SELECT version_num FROM alembic_version").get or ""
    if found == HEAD:
        return "current"
    if found in KNOWN:
        return "older"
    raise StoreVersionError(f"{path} was written by a newer Plum (schema {found}; this one knows {HEAD}); start that version")


def migrate(path: Path) -> None:
    """Lead an older file to HEAD. No connection to it may be open. Raises `StoreCorruptError` with Alembic's last words."""
    command = [sys.executable, "-m", "plum_controller.store.migrate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MIGRATION_SECONDS, check=False)
    if done.returncode != 0:
        raise StoreCorruptError(f"{path} could not be migrated to schema {HEAD}: {done.stderr.strip()[-500:]}")
