"""Rows beside the objects, on SQLite: their changes in a batch of the writer, and how they are read.

    transactions --RowChanges.add--> puts, deletions, folds --write--> one transaction of the engine, with the batch's objects

What a batch of rows alone has written cannot be told from the log, so each batch with rows leaves its number in `meta`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import apsw

from plum_controller.store import statements
from plum_controller.store.base import RowChange, RowFold, RowPut
from plum_controller.store.connection import translated

if TYPE_CHECKING:
    from plum_controller.store.database import Database

ROWS_META = "rows"
DROP_STEP = 500
"""Rows removed in one step: a few milliseconds."""
PIECE_BYTES = 8 << 20
"""What one read holds at most, however few rows that are."""


class RowChanges:
    """What one batch does to rows, in the order of its transactions."""

    def __init__(self, number: int) -> None:
        self.number = number
        """Counts batches with rows, over restarts."""
        self._puts: dict[str, dict[str, tuple[str, str, int, bytes]]] = {}
        self._deletions: dict[tuple[str, str], None] = {}
        self._folds: list[tuple[str, str, str]] = []

    def add(self, rows: Sequence[RowChange]) -> int:
        """Take in one transaction. Answers with the bytes it brings."""
        size = 0
        folds = []
        for row in rows:
            if isinstance(row, RowPut):
                self._puts.setdefault(row.space, {})[row.key] = (row.space, row.key, int(row.live), row.value)
                self._deletions.pop((row.space, row.key), None)
                size += len(row.value)
            elif isinstance(row, RowFold):
                folds.append((row.space, row.prefix, row.prefix + statements.LAST_TEXT))
            else:
                self._puts.get(row.space, {}).pop(row.key, None)
                self._deletions[row.space, row.key] = None
        for space, low, high in folds:
            # Rows of this batch are folded here: what a later transaction of the batch puts must stay live.
            own = self._puts.get(space, {})
            for key, (_, _, live, value) in own.items():
                if live and low <= key < high:
                    own[key] = (space, key, 0, value)
            self._folds.append((space, low, high))
        return size

    def write(self, writer: apsw.Connection) -> None:
        """Inside of a transaction of the engine. Folds come first: those of this batch's own rows are done already."""
        if self._folds:
            writer.executemany(statements.FOLD_ROWS, self._folds)
        if self._deletions:
            writer.executemany(statements.DELETE_ROW_OF, list(self._deletions))
        if self._puts:
            writer.executemany(statements.PUT_ROW, [put for own in self._puts.values() for put in own.values()])
        statements.write_meta(writer, [(ROWS_META, self.number)])


class RowReader:
    """Reads rows on the reader's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def rows(self, space: str, live: bool, prefix: str, after: str, limit: int) -> list[tuple[str, bytes]]:
        sql = statements.READ_LIVE_ROWS if live else statements.READ_ROWS
        with self._database.reading, translated(self._database.path):
            found: list[tuple[str, bytes]] = []
            size = 0
            cursor = self._database.reader.execute(sql, (space, after, prefix, prefix + statements.LAST_TEXT, limit))
            for key, value in cursor:
                found.append((key, value))
                size += len(value)
                if size >= PIECE_BYTES:
                    break
            cursor.close(force=True)
            return found

    def spaces(self, prefix: str, after: str, limit: int) -> list[str]:
        found: list[str] = []
        at = max(after, prefix[:-1] + chr(ord(prefix[-1]) - 1) + statements.LAST_TEXT) if prefix else after
        with self._database.reading, translated(self._database.path):
            while len(found) < limit:
                following = self._database.reader.execute(statements.NEXT_SPACE, (at, prefix + statements.LAST_TEXT)).get
                if following is None:
                    break
                found.append(following)
                at = following
        return found

    def trim_bound(self, space: str, prefix: str, keep: int, below: str) -> str:
        """Rows with the prefix go whose key sorts before this."""
        end = prefix + statements.LAST_TEXT
        with self._database.reading, translated(self._database.path):
            last = self._database.reader.execute(statements.NTH_ROW_FROM_END, (space, prefix, end, keep)).get
        return min(max(below, "" if last is None else last + "\0"), end)


def trim_step(database: Database, space: str, prefix: str, bound: str) -> int:
    """Remove some rows with the prefix before a key, on the writer's thread."""
    before = database.writer.total_changes()
    with database.transaction():
        database.writer.execute(statements.TRIM_ROWS, (space, prefix, bound, DROP_STEP))
    return database.writer.total_changes() - before


def drop_step(database: Database, space: str) -> int:
    """Remove some rows of a space, on the writer's thread."""
    before = database.writer.total_changes()
    with database.transaction():
        database.writer.execute(statements.DROP_ROWS, (space, DROP_STEP))
    return database.writer.total_changes() - before
