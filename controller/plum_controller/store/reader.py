"""Reads from the log, in pieces so small that none keeps the write-ahead log from starting over.

    SqliteStore -> reader thread -> one short read transaction per piece

A state of the past does not change as long as compaction stays behind it, so pieces read one after another fit together.
Everything here blocks and runs on the reader's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import apsw

from plum_controller.store import statements
from plum_controller.store.base import Key, LogEntry, Revision
from plum_controller.store.connection import translated
from plum_controller.store.database import Database

PIECE_ROWS = 500
PIECE_BYTES = 4 << 20
"""A piece ends when it holds this much, however few rows that are."""
TIME_ROWS = 5000
"""Rows looked at in one piece of a search by time; only their first bytes are read."""

START = ("", "", "")

T = TypeVar("T")


class Reader:
    """Answers questions about the log up to a published revision that the caller names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def changes(self, since: Revision, until: Revision, limit: int) -> list[LogEntry]:
        """Whole commits after `since`, up to and including `until`: about `limit` entries, at least one commit."""
        low, high = statements.last_id(since), statements.last_id(until)
        rows = self._rows(statements.READ_LOG, (low, high, max(limit, 1)), PIECE_BYTES)
        whole = len(rows)
        if rows and self._one(statements.READ_LOG, (rows[-1][0], statements.last_id(_revision(rows[-1])), 1)) is not None:
            # The piece ends inside a commit: leave that one to the next read, unless it is the only one.
            cut = _revision(rows[-1])
            whole = next(index for index, row in enumerate(rows) if _revision(row) == cut)
            if whole == 0:
                low, high = statements.last_id(cut - 1), statements.last_id(cut)
                rows = self._rows(statements.READ_LOG, (low, high, -1), None)
                whole = len(rows)
        return [statements.entry_of(row) for row in rows[:whole]]

    def objects(
        self, at: Revision, after: Sequence[str], resource: str, namespace: str
    ) -> tuple[list[LogEntry], Sequence[str] | None]:
        """One piece of the live objects at a revision, in key order, and where the next piece starts (None: no more)."""
        conditions, values = ["1"], list(after)
        for column, value in (("resource", resource), ("namespace", namespace)):
            if value:
                conditions.append(f"objects.{column} = ?")
                values.append(value)
        sql = statements.READ_OBJECTS.format(condition=" AND ".join(conditions))
        rows = self._rows(sql, (*values, PIECE_ROWS), PIECE_BYTES)
        limit_id = statements.last_id(at)
        entries = [entry for row in rows if (entry := self._as_of(row, limit_id)) is not None]
        return entries, rows[-1][2:5] if rows else None

    def object(self, at: Revision, key: Key) -> list[LogEntry]:
        """The object as it was at a revision, if it lived then."""
        for row in self._chain(key):
            if row[0] <= statements.last_id(at):
                return [] if row[5] == statements.DELETE else [statements.entry_of(row)]
        return []

    def history(self, key: Key, until: Revision, limit: int) -> list[LogEntry]:
        """The kept changes of one object, newest first."""
        found: list[LogEntry] = []
        for row in self._chain(key):
            if row[0] <= statements.last_id(until):
                found.append(statements.entry_of(row))
                if len(found) >= limit:
                    break
        return found

    def last_before(self, time: float, after: Revision, until: Revision) -> Revision | None:
        """The last commit at or before a time, among those after `after` and up to `until`. None: there is none."""
        low, high = statements.last_id(after), statements.last_id(until)
        while high > low:
            bound = self._one(statements.NEXT_BOUND, (low, high, TIME_ROWS))
            if bound is None or bound[0] is None:
                return None
            found = self._one(statements.LAST_BEFORE_TIME, (bound[0] - 1, high, time))
            if found is not None:
                return _revision(found)
            high = bound[0] - 1
        return None

    def _as_of(self, row: Sequence[Any], limit_id: int) -> LogEntry | None:
        """Follow an object's history back to its state at `limit_id`. None: it did not live then."""
        found: Sequence[Any] | None = row
        while found is not None and found[0] > limit_id:
            found = self._one(statements.READ_ROW, (found[6],))
        if found is None or found[5] == statements.DELETE:
            return None
        return statements.entry_of(found)

    def _chain(self, key: Key) -> Iterator[Sequence[Any]]:
        head = self._one(statements.READ_HEAD, key)
        row = self._one(statements.READ_ROW, (head[0],)) if head is not None else None
        while row is not None:
            yield row
            row = self._one(statements.READ_ROW, (row[6],))

    def _one(self, sql: str, values: Sequence[Any]) -> Sequence[Any] | None:
        def fetch(connection: apsw.Connection) -> Sequence[Any] | None:
            rows = connection.execute(sql, values).fetchall()  # to the end: an open statement would pin the write-ahead log
            return rows[0] if rows else None

        return self._run(fetch)

    def _rows(self, sql: str, values: Sequence[Any], most_bytes: int | None) -> list[Sequence[Any]]:
        def fetch(connection: apsw.Connection) -> list[Sequence[Any]]:
            rows: list[Sequence[Any]] = []
            size = 0
            cursor = connection.execute(sql, values)
            for row in cursor:
                rows.append(row)
                size += len(row[7])
                if most_bytes is not None and size >= most_bytes:
                    break
            cursor.close(force=True)
            return rows

        return self._run(fetch)

    def _run(self, fetch: Callable[[apsw.Connection], T]) -> T:
        with self._database.reading, translated(self._database.path):
            return fetch(self._database.reader)


def _revision(row: Sequence[Any]) -> Revision:
    return statements.revision_of(row[0])
