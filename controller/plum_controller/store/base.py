"""What every engine of the store promises, and the values that flow through it.

    Transaction --commit--> one revision, on disk --> listeners (watch cache) --> the caller's answer

The store knows keys and bytes, not kinds. One property holds the rest together: a listener sees every commit
once, in revision order, after it is durable and before the caller of `commit` gets its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import NamedTuple, Protocol

Revision = int
"""Position in the store's history: 1 is the first commit, each commit takes the next number. 0 means none."""

ABSENT: Revision = 0
"""As a precondition: the key must not exist."""
ANY: Revision = -1
"""As a precondition: whatever is there."""


class Key(NamedTuple):
    """Names one object in the store. Sorts in list order: by resource, then namespace, then name."""

    resource: str
    """`deployments.plum.dev`; only `namespaces` and the like for the core group."""
    namespace: str
    """Empty for cluster-wide objects."""
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


class Write(NamedTuple):
    """One object of a transaction.

    The revision is known only at commit, and objects carry it inside: the stored value is `head + str(revision) + tail`.
    A deletion carries the object's last state, which watchers receive.
    """

    key: Key
    head: bytes
    tail: bytes
    expect: Revision = ANY
    """Revision of the object's last write that the key must have now: a number, `ABSENT` or `ANY`."""
    deleted: bool = False


class Check(NamedTuple):
    """A precondition on an object that the transaction does not write."""

    key: Key
    expect: Revision


class RowPut(NamedTuple):
    """One row beside the objects: it has no revision and no history, is not watched, and is never held in memory.

    For what there may be a hundred thousand of and only its owner reads again, such as the steps of a workflow's run.
    """

    space: str
    """Whose rows these are; they are read, and dropped, together."""
    key: str
    """Sorts the rows of a space."""
    value: bytes
    live: bool = True
    """Whether the owner needs it to go on after a restart."""


class RowFold(NamedTuple):
    """All rows of a space whose key starts with a prefix are no longer live. After the puts of the same transaction."""

    space: str
    prefix: str


class RowDelete(NamedTuple):
    """One row goes. A missing one is a success."""

    space: str
    key: str


RowChange = RowPut | RowFold | RowDelete


class Transaction(NamedTuple):
    """Several writes, all or none, at one revision. A key may be written once.

    A transaction with rows alone is as durable as any other, but takes no revision and nobody is told of it.
    """

    writes: Sequence[Write]
    checks: Sequence[Check] = ()
    rows: Sequence[RowChange] = ()


class LogEntry(NamedTuple):
    """One change as it was committed."""

    revision: Revision
    key: Key
    value: bytes
    """The object as JSON; for a deletion its last state, with the revision of the deletion inside."""
    deleted: bool
    previous: Revision
    """Revision of the same key's write before this one; 0 when this one created it."""
    time: float
    """Unix seconds at the commit, by the store's wall clock. For people: order comes from `revision` alone."""


Listener = Callable[[Sequence[LogEntry]], None]
"""Called on the event loop with the entries of one or more whole commits, in order. Must not raise and must not block."""


class Store(Protocol):
    """Several engines, one contract suite (`tests/contract/test_store.py`)."""

    @property
    def revision(self) -> Revision:
        """The last commit that was acknowledged and published."""

    @property
    def compacted(self) -> Revision:
        """History at or before this revision may be gone. Reads below it raise `CompactedError`."""

    async def open(self) -> None:
        """Take the store for this process. Raises `StoreInUseError`, `StoreVersionError`, `StoreCorruptError`."""

    async def close(self) -> None:
        """Finish what was accepted, then let go. Safe to repeat."""

    def subscribe(self, listener: Listener) -> None:
        """Add a listener for all later commits."""

    async def commit(self, transaction: Transaction) -> Revision:
        """Make it durable, publish it, answer with its revision.

        Raises `PreconditionError` when a key is not at its expected revision (nothing is written),
        `StoreFullError` or `StoreUnavailableError` when the engine refused (nothing is written), `StoreClosedError`.
        """

    def begin(self, transaction: Transaction) -> asyncio.Future[Revision]:
        """`commit` for callers that are no coroutine, on the event loop. May also raise at once what `commit` raises."""

    def snapshot(self) -> AsyncIterator[Sequence[LogEntry]]:
        """Every live object at `revision`, in key order, in batches."""

    async def read(self, since: Revision, limit: int = 1000) -> Sequence[LogEntry]:
        """Whole commits after `since`, in order: at least one if there is one, about `limit` entries at most.

        Raises `CompactedError` when `since` lies before the kept window.
        """

    async def read_at(self, revision: Revision, resource: str, namespace: str = "", name: str = "") -> Sequence[LogEntry]:
        """The live objects of a resource (optionally one namespace, or one object) as they were at `revision`, in key order.

        Raises `CompactedError`; `FutureRevisionError` for a revision that has not happened.
        """

    async def history(self, key: Key, limit: int = 100) -> Sequence[LogEntry]:
        """The kept changes of one object, newest first, deletions included."""

    async def revision_at(self, time: float) -> Revision:
        """The last revision committed at or before a wall-clock time (Unix seconds). Raises `CompactedError`."""

    async def compact(self, upto: Revision) -> int:
        """Forget history at or before `upto` that no read at a later revision needs. Small steps; writers go on.

        Answers with the number of entries removed.
        """

    async def rows(
        self, space: str, *, live: bool = False, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, bytes]]:
        """Rows of a space in key order, with their keys: those behind `after`, at most `limit`, perhaps only the live ones."""

    async def row_spaces(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[str]:
        """The spaces that have rows, in order: those behind `after`, at most `limit`."""

    async def drop_rows(self, space: str) -> int:
        """Remove all rows of a space, in small steps; writers go on. Answers with their number."""

    async def trim_rows(self, space: str, prefix: str, keep: int, below: str = "") -> int:
        """Remove rows whose key starts with a prefix: all but the last `keep` in key order, and those whose key sorts before
        `below`. Small steps; writers go on. Answers with their number."""

    async def backup(self, path: str) -> Revision:
        """Write a consistent copy that `open` accepts, while writers go on."""
