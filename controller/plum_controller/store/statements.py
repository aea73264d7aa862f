"""Every statement that the SQLite engine runs after its start, and the row format of the log.

    id = revision * MAX_WRITES + ordinal

Raw SQL on apsw instead of SQLAlchemy Core: docs/adr/0002 has the measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import apsw

from plum_controller.store.base import Key, LogEntry, Revision
from plum_controller.store.transactions import MAX_WRITES

CREATE, UPDATE, DELETE = 0, 1, 2
"""Values of `log.operation`."""

# The key's change before this one is known to the writer except for keys that do not exist now: those may have been
# deleted before, and the head of their history still says so.
INSERT_LOG = """
INSERT INTO log (id, time, resource, namespace, name, operation, earlier, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6,
  coalesce(?7, (SELECT id FROM objects WHERE resource = ?3 AND namespace = ?4 AND name = ?5), 0), ?8)
"""
UPSERT_OBJECT = """
INSERT INTO objects (resource, namespace, name, id, deleted) VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (resource, namespace, name) DO UPDATE SET id = excluded.id, deleted = excluded.deleted
"""
LOG_COLUMNS = "log.id, log.time, log.resource, log.namespace, log.name, log.operation, log.earlier, log.value"
LIVE_KEYS = "SELECT resource, namespace, name, id FROM objects WHERE deleted = 0"
LAST_ID = "SELECT coalesce(max(id), 0) FROM log"
READ_LOG = f"SELECT {LOG_COLUMNS} FROM log WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"  # noqa: S608 - constants only
READ_ROW = f"SELECT {LOG_COLUMNS} FROM log WHERE id = ?"  # noqa: S608
READ_HEAD = "SELECT id FROM objects WHERE resource = ? AND namespace = ? AND name = ?"
READ_OBJECTS = f"""
SELECT {LOG_COLUMNS} FROM objects JOIN log ON log.id = objects.id
WHERE (objects.resource, objects.namespace, objects.name) > (?, ?, ?) AND {{condition}}
ORDER BY objects.resource, objects.namespace, objects.name LIMIT ?
"""  # noqa: S608
LAST_BEFORE_TIME = "SELECT id FROM log WHERE id > ?1 AND id <= ?2 AND time <= ?3 ORDER BY id DESC LIMIT 1"
NEXT_BOUND = "SELECT min(id) FROM (SELECT id FROM log WHERE id > ?1 AND id <= ?2 ORDER BY id DESC LIMIT ?3)"
PUT_ROW = """
INSERT INTO rows (space, key, live, value) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (space, key) DO UPDATE SET live = excluded.live, value = excluded.value
"""
FOLD_ROWS = "UPDATE rows SET live = 0 WHERE space = ?1 AND key >= ?2 AND key < ?3 AND live = 1"
DELETE_ROW_OF = "DELETE FROM rows WHERE space = ?1 AND key = ?2"
READ_ROWS = "SELECT key, value FROM rows WHERE space = ?1 AND key > ?2 AND key >= ?3 AND key < ?4 ORDER BY key LIMIT ?5"
READ_LIVE_ROWS = """
SELECT key, value FROM rows WHERE space = ?1 AND key > ?2 AND key >= ?3 AND key < ?4 AND live = 1 ORDER BY key LIMIT ?5
"""
NEXT_SPACE = "SELECT min(space) FROM rows WHERE space > ?1 AND space < ?2"
DROP_ROWS = "DELETE FROM rows WHERE space = ?1 AND key IN (SELECT key FROM rows WHERE space = ?1 LIMIT ?2)"
NTH_ROW_FROM_END = "SELECT key FROM rows WHERE space = ?1 AND key >= ?2 AND key < ?3 ORDER BY key DESC LIMIT 1 OFFSET ?4"
TRIM_ROWS = """
DELETE FROM rows WHERE space = ?1 AND key IN
  (SELECT key FROM rows WHERE space = ?1 AND key >= ?2 AND key < ?3 ORDER BY key LIMIT ?4)
"""
LAST_TEXT = "\U0010ffff"
"""Behind every key."""
READ_META = "SELECT value FROM meta WHERE name = ?"
WRITE_META = "INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
DELETE_META = "DELETE FROM meta WHERE name = ?"


def first_id(revision: Revision) -> int:
    """The lowest id of a commit."""
    return revision * MAX_WRITES


def last_id(revision: Revision) -> int:
    """The highest id that a commit could have."""
    return revision * MAX_WRITES + MAX_WRITES - 1


def revision_of(row_id: int) -> Revision:
    return row_id // MAX_WRITES


def entry_of(row: Sequence[Any]) -> LogEntry:
    row_id, time, resource, namespace, name, operation, earlier, value = row
    key = Key(sys.intern(resource), sys.intern(namespace), name)
    previous = 0 if operation == CREATE else earlier // MAX_WRITES
    return LogEntry(row_id // MAX_WRITES, key, value, operation == DELETE, previous, time)


def read_meta(connection: apsw.Connection, name: str) -> float | None:
    value: float | None = connection.execute(READ_META, (name,)).get
    return value


def write_meta(connection: apsw.Connection, values: Iterable[tuple[str, float]]) -> None:
    connection.executemany(WRITE_META, values)
