"""The one writer: transactions queue, a batch of them becomes one transaction of the engine.

    begin -> waiting -> plan against the heads -> engine thread: write, flush -> publish -> answer
                 ^                                     |
                 +------ the next batch gathers -------+

A transaction whose precondition fails takes no part in the batch and harms no other. Nothing is answered, not even a
refusal, before the batch that it was judged against is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apsw

from plum_controller.store import statements
from plum_controller.store.base import Key, LogEntry, Revision, Transaction
from plum_controller.store.connection import translate
from plum_controller.store.database import CHECKPOINT_PAGES, Database
from plum_controller.store.engine_thread import EngineThread
from plum_controller.store.errors import PreconditionError, StoreClosedError, StoreOutcomeError, StoreUnavailableError
from plum_controller.store.rows import RowChanges
from plum_controller.store.transactions import MAX_WRITES, check_form, plan

logger = logging.getLogger(__name__)

BATCH_ROWS = 512
"""Rows of one batch: more would make the first one wait and the commits no cheaper."""
BATCH_BYTES = 8 << 20
RECOVERY_SECONDS = (0.05, 1.0)
"""First and longest pause between attempts to find out what a failed disk holds."""

Answer = tuple["asyncio.Future[Revision]", Revision | PreconditionError]


@dataclass(slots=True)
class Batch:
    """What one transaction of the engine holds, and who waits for it."""

    first: Revision
    entries: list[LogEntry] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    heads: dict[Key, tuple[int, bool]] = field(default_factory=dict)
    """The last row of each key in this batch, and whether it is a deletion."""
    answers: list[Answer] = field(default_factory=list)
    size_bytes: int = 0
    changes: RowChanges | None = None
    """What is done to rows beside the objects."""


class Writer:
    """States: idle, busy with a batch, recovering (a batch's outcome is unknown), closed."""

    def __init__(
        self,
        database: Database,
        thread: EngineThread,
        publish: Callable[[Revision, Sequence[LogEntry]], None],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._thread = thread
        self._publish = publish
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Transaction, asyncio.Future[Revision]]] = deque()
        self._heads: dict[Key, int] = {}
        self._revision: Revision = 0
        self._row_batches = 0
        self._busy = False
        self._recovery: asyncio.Task[None] | None = None
        self._closed = False
        self._idle = asyncio.Event()
        self._idle.set()

    def load(self, heads: dict[Key, int], revision: Revision, row_batches: int = 0) -> None:
        """Start from what is on disk: the log row of every live key, the last revision, the last batch with rows."""
        self._heads = heads
        self._row_batches = row_batches
        self._revision = revision

    def begin(self, transaction: Transaction) -> asyncio.Future[Revision]:
        """Queue a transaction. Raises `StoreClosedError`, `StoreUnavailableError`; the future raises what comes later."""
        check_form(transaction)
        if self._closed:
            raise StoreClosedError("the store is closed")
        if self._recovery is not None:
            raise StoreUnavailableError("the disk failed and is being read again; nothing was written")
        future: asyncio.Future[Revision] = self._loop.create_future()
        self._waiting.append((transaction, future))
        if not self._busy:
            self._busy = True
            self._idle.clear()
            # Not at once: whoever else is ready to commit in this round of the event loop joins the batch.
            self._loop.call_soon(self._start_batch)
        return future

    async def close(self) -> None:
        """Finish what was accepted. Safe to repeat."""
        self._closed = True
        await self._idle.wait()

    def _start_batch(self) -> None:
        batch = self._gather()
        if batch.rows or batch.changes is not None:
            objects = [(*key, row_id, int(deleted)) for key, (row_id, deleted) in batch.heads.items()]
            job = partial(self._database.write, batch.rows, objects, batch.changes)
            self._thread.submit(job).add_done_callback(partial(self._finish, batch))
        elif batch.answers:
            _answer(batch)
            self._loop.call_soon(self._start_batch)
        else:
            self._busy = False
            self._idle.set()

    def _gather(self) -> Batch:
        """Judge waiting transactions in their order until the batch is full."""
        batch = Batch(self._revision + 1)
        revision = self._revision
        now = self._clock()
        current = partial(self._current, batch.heads)
        taken = 0
        while self._waiting and taken < BATCH_ROWS and batch.size_bytes < BATCH_BYTES:
            transaction, future = self._waiting.popleft()
            if future.done():  # the caller gave up before anything was done for it
                continue
            try:
                entries = plan(transaction, current, revision + 1, now)
            except PreconditionError as error:
                batch.answers.append((future, error))
                continue
            if entries:
                revision += 1
                self._add(batch, entries)
            if transaction.rows:
                if batch.changes is None:
                    batch.changes = RowChanges(self._row_batches + 1)
                batch.size_bytes += batch.changes.add(transaction.rows)
            taken += len(entries) + len(transaction.rows)
            batch.answers.append((future, revision))
        return batch

    def _add(self, batch: Batch, entries: Sequence[LogEntry]) -> None:
        row_id = statements.first_id(entries[0].revision)
        for entry in entries:
            _, key, value, deleted, previous, time = entry
            operation = statements.DELETE if deleted else statements.UPDATE if previous else statements.CREATE
            inside = batch.heads.get(key)
            earlier = inside[0] if inside is not None else self._heads.get(key)
            batch.rows.append((row_id, time, key.resource, key.namespace, key.name, operation, earlier, value))
            batch.heads[key] = (row_id, deleted)
            batch.size_bytes += len(value)
            row_id += 1
        batch.entries += entries

    def _current(self, changed: dict[Key, tuple[int, bool]], key: Key) -> Revision:
        inside = changed.get(key)
        if inside is None:
            return self._heads.get(key, 0) // MAX_WRITES
        return 0 if inside[1] else inside[0] // MAX_WRITES

    def _finish(self, batch: Batch, written: asyncio.Future[None]) -> None:
        error = written.exception()
        if error is None:
            self._settle(batch)
        elif isinstance(error, apsw.FullError):
            self._refuse(batch, error)
            self._start_batch()
        else:
            self._recovery = self._loop.create_task(self._recover(batch, error))

    def _settle(self, batch: Batch) -> None:
        """The batch is on disk: go on with the next one, tell the listeners, then the callers."""
        for key, (row_id, deleted) in batch.heads.items():
            if deleted:
                self._heads.pop(key, None)
            else:
                self._heads[key] = row_id
        if batch.changes is not None:
            self._row_batches = batch.changes.number
        if batch.entries:
            self._revision = batch.entries[-1].revision
        self._start_batch()
        if batch.entries:
            self._publish(batch.entries[-1].revision, batch.entries)
        _answer(batch)
        if self._database.log_pages >= CHECKPOINT_PAGES:
            self._thread.submit(self._database.checkpoint)

    def _refuse(self, batch: Batch, cause: BaseException) -> None:
        """Nothing of the batch is on disk, and what was judged against it was judged against nothing."""
        for future, _ in batch.answers:
            _fail(future, cause, self._database)

    async def _recover(self, batch: Batch, cause: BaseException) -> None:
        """The engine failed in the middle: the batch may be on disk. Find out before anybody gets an answer."""
        logger.error("write failed, reading the disk again", extra={"path": str(self._database.path)}, exc_info=cause)
        while self._waiting:
            _fail(self._waiting.popleft()[1], cause, self._database)
        pause, longest = RECOVERY_SECONDS
        while True:
            try:
                last, row_batches = await self._thread.submit(self._database.recover)
                break
            except Exception as error:
                logger.warning("disk still fails", extra={"path": str(self._database.path), "reason": str(error)})
            if self._closed:
                for future, _ in batch.answers:
                    if not future.done():
                        future.set_exception(StoreOutcomeError("the disk never told whether the write is there"))
                last = row_batches = -1
                break
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
        self._recovery = None
        written = row_batches >= batch.changes.number if batch.changes is not None else last >= statements.first_id(batch.first)
        if written:
            self._settle(batch)
        else:
            self._refuse(batch, cause)
            self._start_batch()


def _answer(batch: Batch) -> None:
    for future, result in batch.answers:
        if future.done():
            continue
        if isinstance(result, PreconditionError):
            future.set_exception(result)
        else:
            future.set_result(result)


def _fail(future: asyncio.Future[Revision], cause: BaseException, database: Database) -> None:
    if not future.done():
        error = translate(cause if isinstance(cause, Exception) else RuntimeError(str(cause)), database.path)
        error.__cause__ = cause
        future.set_exception(error)
