"""Forgets history that nobody may ask for any more, in steps that no writer notices.

    promise: meta.compacted = C     reads below C are refused from now on
    sweep:   visit the rows of (swept, C], delete what each replaced, and deletions themselves
    vacuum:  give free pages back to the file system

The cost follows what changed since the last time: what a row replaced is named in the row (`earlier`), so nothing is
searched. Each step is one small transaction on the writer's thread; batches run between two steps.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from plum_controller.store import statements
from plum_controller.store.base import Revision
from plum_controller.store.database import Database

SWEEP_ROWS = 50
"""Rows visited between two looks at the clock."""
STEP_SECONDS = 0.004
"""Longest step, give or take one round of `SWEEP_ROWS`: the wait that a commit may find."""
VACUUM_PAGES = 32
FREE_PAGES = 256
"""Free pages (4 KiB each) that stay in the file for the next writes, or a tenth of the file if that is more."""

TO_SWEEP = "SELECT id, earlier, operation, resource, namespace, name FROM log WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
DELETE_ROW = "DELETE FROM log WHERE id = ?"
DELETE_HEAD = "DELETE FROM objects WHERE resource = ? AND namespace = ? AND name = ? AND id = ?"
TIME_OF = "SELECT time FROM log WHERE id <= ? ORDER BY id DESC LIMIT 1"


class Step(NamedTuple):
    """What one step did."""

    removed: int
    """Rows of the log that are gone."""
    done: bool


def promise(database: Database, upto: Revision) -> float:
    """Write down that reads below `upto` are refused. Answers with the time of that commit."""
    writer = database.writer
    found = writer.execute(TIME_OF, (statements.last_id(upto),)).get
    moment = float(found if found is not None else statements.read_meta(writer, "compacted_time") or 0.0)
    with database.transaction():
        statements.write_meta(writer, [("compacted", upto), ("compacted_time", moment)])
    return moment


def sweep(database: Database, upto: Revision) -> Step:
    """One step towards `upto`."""
    writer = database.writer
    began = time.monotonic()
    position = int(statements.read_meta(writer, "swept") or 0)
    limit_id = statements.last_id(upto)
    before = writer.total_changes()
    heads = 0
    with database.transaction():
        while True:
            rows = writer.execute(TO_SWEEP, (position, limit_id, SWEEP_ROWS)).fetchall()
            if not rows:
                break
            gone = [(row[1],) for row in rows if row[1]]
            ended = [row for row in rows if row[2] == statements.DELETE]
            writer.executemany(DELETE_ROW, gone + [(row[0],) for row in ended])
            counted = writer.total_changes()
            writer.executemany(DELETE_HEAD, [(*row[3:], row[0]) for row in ended])
            heads += writer.total_changes() - counted
            position = _id(rows[-1])
            if time.monotonic() - began > STEP_SECONDS:
                break
        removed = writer.total_changes() - before - heads
        if rows or removed:
            statements.write_meta(writer, [("swept", position)])
    return Step(removed, not rows)


def vacuum(database: Database) -> bool:
    """Give some free pages back. True when there are no more to give."""
    writer = database.writer
    free, total = int(writer.execute("PRAGMA freelist_count").get), int(writer.execute("PRAGMA page_count").get)
    surplus = free - max(FREE_PAGES, total // 10)
    if surplus <= 0:
        return True
    writer.execute(f"PRAGMA incremental_vacuum({min(surplus, VACUUM_PAGES)})").fetchall()
    return surplus <= VACUUM_PAGES


def _id(row: Sequence[Any]) -> int:
    row_id: int = row[0]
    return row_id
