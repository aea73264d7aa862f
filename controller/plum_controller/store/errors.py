"""Errors of the store, and what a caller does about each.

- StoreError
  - PreconditionError      the key is not at the expected revision; read again and decide
  - CompactedError         the history that was asked for is gone; list again
  - FutureRevisionError    the revision has not happened yet; wait or ask for less
  - StoreFullError         the disk is full; nothing was written; retry when there is room
  - StoreUnavailableError  the engine failed; nothing was written; retry with backoff
    - StoreOutcomeError    the process ended before the disk told whether the write is there; read again after the restart
  - StoreClosedError       the process is shutting down; do not retry here
  - StoreInUseError        another process holds the store; do not start
  - StoreVersionError      the file or the SQLite library is of a version that is not safe; do not start
  - StoreCorruptError      the file is damaged; restore a backup
"""

from __future__ import annotations

from plum_controller.store.base import Key, Revision


class StoreError(Exception):
    """Base of all errors of the store."""


class PreconditionError(StoreError):
    """A key is not at the revision that the transaction expected."""

    def __init__(self, key: Key, expected: Revision, actual: Revision) -> None:
        wanted = "to exist" if expected == -1 else "not to exist" if expected == 0 else f"revision {expected}"
        found = f"is at revision {actual}" if actual else "does not exist"
        super().__init__(f"{key} {found}, expected {wanted}")
        self.key = key
        self.expected = expected
        self.actual = actual


class CompactedError(StoreError):
    """The history that was asked for is gone."""

    def __init__(self, revision: Revision, compacted: Revision) -> None:
        super().__init__(f"revision {revision} was compacted; the oldest kept one is {compacted + 1}")
        self.revision = revision
        self.compacted = compacted


class FutureRevisionError(StoreError):
    """The revision has not happened yet."""

    def __init__(self, revision: Revision, current: Revision) -> None:
        super().__init__(f"revision {revision} has not happened; the store is at {current}")
        self.revision = revision
        self.current = current


class StoreFullError(StoreError):
    """The disk is full; nothing was written."""


class StoreUnavailableError(StoreError):
    """The engine failed; nothing was written."""


class StoreOutcomeError(StoreUnavailableError):
    """The process is shutting down and the disk never told whether the write is there."""


class StoreClosedError(StoreError):
    """The process is shutting down."""


class StoreInUseError(StoreError):
    """Another process holds the store."""


class StoreVersionError(StoreError):
    """The file or the SQLite library is of a version that is not safe."""


class StoreCorruptError(StoreError):
    """The file is damaged."""
