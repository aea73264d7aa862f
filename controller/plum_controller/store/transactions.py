"""Decides one transaction: are its preconditions met, and which entries does it append?

    Transaction + current revision of each key -> entries of the next revision | PreconditionError

Pure, and the same for every engine, so engines can only differ in where the entries end up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plum_controller.store.base import ABSENT, ANY, Key, LogEntry, Revision, RowChange, RowDelete, RowFold, RowPut, Transaction
from plum_controller.store.errors import PreconditionError

MAX_WRITES = 1 << 16
"""Writes in one transaction. SQLite rows are numbered `revision * MAX_WRITES + ordinal`, which leaves 47 bits for revisions."""

RESTORE_GAP = 1_000_000_000
"""Least distance between the last revision of a backup and the next one after it was restored."""
REVISIONS_PER_SECOND = 25_000
"""More than any engine reaches: bounds what the original may have given out since the backup was taken."""


def check_form(transaction: Transaction) -> None:
    """Refuse what no engine could store. Raises `ValueError`: a mistake of the program, not of a user."""
    writes = transaction.writes
    if transaction.rows:
        check_rows(transaction.rows)
    if len(writes) > 1 and len({write.key for write in writes}) != len(writes):
        raise ValueError("a transaction may write a key once")
    if len(writes) > MAX_WRITES:
        raise ValueError(f"a transaction may hold {MAX_WRITES} writes, not {len(writes)}")
    for key, _, _, _, _ in writes:
        for part in key:
            if not part.isascii():
                part.encode()  # a lone surrogate would fail inside the engine and take the whole batch with it


def check_rows(rows: Sequence[RowChange]) -> None:
    """Refuse rows that no engine could store. Raises `ValueError`."""
    changed = {(row.space, row.key) for row in rows if isinstance(row, RowPut)}
    dropped = {(row.space, row.key) for row in rows if isinstance(row, RowDelete)}
    if changed & dropped:
        raise ValueError("a transaction may put a row or delete it, not both")
    for row in rows:
        (row.space + (row.prefix if isinstance(row, RowFold) else row.key)).encode()
        if not row.space:
            raise ValueError("a row belongs to a space")


def plan(transaction: Transaction, current: Callable[[Key], Revision], revision: Revision, time: float) -> list[LogEntry]:
    """The entries that the transaction appends at `revision`, in the order of its writes.

    `current` tells the revision of a key's last write, 0 when it does not exist. Deleting what does not exist is
    refused whatever was expected: watchers would see an end without a beginning. Raises `PreconditionError`.
    """
    for key, expected in transaction.checks:
        actual = current(key)
        if expected not in (ANY, actual):
            raise PreconditionError(key, expected, actual)

    text = b"%d" % revision
    entries = []
    for key, head, tail, expected, deleted in transaction.writes:
        actual = current(key)
        if expected not in (ANY, actual) or (deleted and actual == ABSENT):
            raise PreconditionError(key, expected, actual)
        entries.append(LogEntry(revision, key, head + text + tail, deleted, actual, time))
    return entries


def revision_after_restore(revision: Revision, taken: float, now: float) -> Revision:
    """Where a store goes on that was opened from a backup at `revision`, taken and opened at these Unix times.

    The original went on after the backup, and clients know the revisions it gave out. None may come twice.
    """
    return revision + RESTORE_GAP + REVISIONS_PER_SECOND * max(0, int(now - taken))
