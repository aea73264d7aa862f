"""The store in one SQLite file: the default engine.

    commit ---> Writer (group commit) ---> writer thread --+
    compact, backup ---------------------> writer thread --+--> plum.db, plum.db-wal
    read, read_at, history, snapshot ----> reader thread --+

Writes are on disk (`synchronous=FULL`) before they are answered. Reads of the past never hold up a write, and no read
sees a commit that was not published.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from plum_controller.store import compaction, statements
from plum_controller.store.backup import Backup
from plum_controller.store.base import Key, Listener, LogEntry, Revision, Transaction
from plum_controller.store.connection import translated
from plum_controller.store.database import Database
from plum_controller.store.engine_thread import EngineThread
from plum_controller.store.errors import CompactedError, FutureRevisionError, StoreClosedError
from plum_controller.store.reader import START, Reader
from plum_controller.store.rows import ROWS_META, RowReader, drop_step, trim_step
from plum_controller.store.writer import Writer

logger = logging.getLogger(__name__)
T = TypeVar("T")


class SqliteStore:
    """Implements `Store`. One object serves one opening of a file; open a new object after `close`."""

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Callable[[], float] = time.time,
        vfs: str | None = None,
    ) -> None:
        """`vfs` names a registered SQLite VFS: the fault tests put theirs between SQLite and the disk."""
        self._database = Database(Path(path), vfs)
        self._reader = Reader(self._database)
        self._row_reader = RowReader(self._database)
        self._clock = clock
        self._listeners: list[Listener] = []
        self._revision: Revision = 0
        self._compacted: Revision = 0
        self._compacted_time = 0.0
        self._maintenance = asyncio.Lock()
        self._writer: Writer | None = None
        self._write_thread: EngineThread | None = None
        self._read_thread: EngineThread | None = None

    @property
    def revision(self) -> Revision:
        return self._revision

    @property
    def compacted(self) -> Revision:
        return self._compacted

    async def open(self) -> None:
        self._write_thread = EngineThread("plum-store-writer")
        self._read_thread = EngineThread("plum-store-reader")
        try:
            await self._write_thread.submit(self._database.open)
            heads, row_batches = await self._on_writer(self._load)
        except BaseException:
            await self._stop_threads()
            raise
        self._writer = Writer(self._database, self._write_thread, self._publish, self._clock)
        self._writer.load(heads, self._revision, row_batches)

    async def close(self) -> None:
        if self._write_thread is None:
            return
        if self._writer is not None:
            await self._writer.close()
            self._writer = None
            async with self._maintenance:  # a step that runs now ends; the next one finds the store closed
                await self._write_thread.submit(self._database.close)
        await self._stop_threads()

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def commit(self, transaction: Transaction) -> Revision:
        return await self.begin(transaction)

    def begin(self, transaction: Transaction) -> asyncio.Future[Revision]:
        if self._writer is None:
            raise StoreClosedError("the store is closed")
        return self._writer.begin(transaction)

    async def snapshot(self) -> AsyncIterator[Sequence[LogEntry]]:
        async for piece in self._pieces(self._revision, "", ""):
            yield piece

    async def read(self, since: Revision, limit: int = 1000) -> Sequence[LogEntry]:
        if since < self._compacted:
            raise CompactedError(since, self._compacted)
        if since >= self._revision:
            return []
        entries = await self._on_reader(partial(self._reader.changes, since, self._revision, limit))
        if since < self._compacted:  # compaction came past while the rows were read: some may have been gone already
            raise CompactedError(since, self._compacted)
        return entries

    async def read_at(self, revision: Revision, resource: str, namespace: str = "", name: str = "") -> Sequence[LogEntry]:
        if revision > self._revision:
            raise FutureRevisionError(revision, self._revision)
        if name and (namespace or not resource):
            return await self._object_at(revision, Key(resource, namespace, name))
        found = [entry async for piece in self._pieces(revision, resource, namespace) for entry in piece]
        return [entry for entry in found if entry.key.name == name] if name else found

    async def history(self, key: Key, limit: int = 100) -> Sequence[LogEntry]:
        return await self._on_reader(partial(self._reader.history, key, self._revision, limit))

    async def revision_at(self, time: float) -> Revision:
        compacted, moment = self._compacted, self._compacted_time
        found = await self._on_reader(partial(self._reader.last_before, time, compacted, self._revision))
        if self._compacted > compacted and (found is None or found < self._compacted):
            raise CompactedError(compacted, self._compacted)
        if found is not None:
            return found
        if compacted and time < moment:
            raise CompactedError(0, compacted)
        return compacted

    async def compact(self, upto: Revision) -> int:
        async with self._maintenance:
            upto = min(upto, self._revision)
            if upto > self._compacted:
                # Refuse first: whoever reads while the rows go must notice.
                self._compacted = upto
                self._compacted_time = await self._on_writer(partial(compaction.promise, self._database, upto))
            removed = 0
            done = False
            while not done:
                count, done = await self._on_writer(partial(compaction.sweep, self._database, self._compacted))
                removed += count
            while not await self._on_writer(partial(compaction.vacuum, self._database)):
                pass
            await self._on_writer(self._database.checkpoint)
            return removed

    async def rows(
        self, space: str, *, live: bool = False, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[tuple[str, bytes]]:
        return await self._on_reader(partial(self._row_reader.rows, space, live, prefix, after, limit))

    async def row_spaces(self, prefix: str = "", after: str = "", limit: int = 1000) -> Sequence[str]:
        return await self._on_reader(partial(self._row_reader.spaces, prefix, after, limit))

    async def drop_rows(self, space: str) -> int:
        removed = 0
        while step := await self._on_writer(partial(drop_step, self._database, space)):
            removed += step
        return removed

    async def trim_rows(self, space: str, prefix: str, keep: int, below: str = "") -> int:
        bound = await self._on_reader(partial(self._row_reader.trim_bound, space, prefix, keep, below))
        removed = 0
        while bound > prefix and (step := await self._on_writer(partial(trim_step, self._database, space, prefix, bound))):
            removed += step
        return removed

    async def backup(self, path: str) -> Revision:
        async with self._maintenance:
            copy = Backup(self._database, Path(path))
            try:
                await self._on_writer(copy.start)
                while not await self._on_writer(copy.step):
                    pass
                return await self._on_writer(partial(copy.finish, self._clock()))
            finally:
                if self._write_thread is not None:
                    await asyncio.shield(self._write_thread.submit(copy.abandon))

    async def _object_at(self, revision: Revision, key: Key) -> Sequence[LogEntry]:
        if revision < self._compacted:
            raise CompactedError(revision, self._compacted)
        found = await self._on_reader(partial(self._reader.object, revision, key))
        if revision < self._compacted:
            raise CompactedError(revision, self._compacted)
        return found

    async def _pieces(self, revision: Revision, resource: str, namespace: str) -> AsyncIterator[Sequence[LogEntry]]:
        """The live objects at a revision in key order. Raises `CompactedError` also when compaction comes past meanwhile."""
        after: Sequence[str] | None = (resource, namespace, "") if resource else START
        while after is not None:
            if revision < self._compacted:
                raise CompactedError(revision, self._compacted)
            entries, after = await self._on_reader(partial(self._reader.objects, revision, after, resource, namespace))
            if revision < self._compacted:
                raise CompactedError(revision, self._compacted)
            if entries:
                yield entries

    def _load(self) -> tuple[dict[Key, int], int]:
        """Read what the writer must know: the row of every live key, and the last batch that changed rows."""
        writer = self._database.writer
        self._compacted = int(statements.read_meta(writer, "compacted") or 0)
        self._compacted_time = statements.read_meta(writer, "compacted_time") or 0.0
        self._revision = max(statements.revision_of(writer.execute(statements.LAST_ID).get), self._compacted)
        intern = sys.intern
        rows = writer.execute(statements.LIVE_KEYS)
        heads = {Key(intern(resource), intern(namespace), name): row_id for resource, namespace, name, row_id in rows}
        return heads, int(statements.read_meta(writer, ROWS_META) or 0)

    def _publish(self, revision: Revision, entries: Sequence[LogEntry]) -> None:
        self._revision = revision
        for listener in self._listeners:
            try:
                listener(entries)
            except Exception:  # its fault must not cost the writer the answer to what is on disk
                logger.exception("listener failed", extra={"revision": revision})

    async def _on_writer(self, job: Callable[[], T]) -> T:
        return await self._run(self._write_thread, job)

    async def _on_reader(self, job: Callable[[], T]) -> T:
        return await self._run(self._read_thread, job)

    async def _run(self, thread: EngineThread | None, job: Callable[[], T]) -> T:
        if thread is None:
            raise StoreClosedError("the store is closed")
        with translated(self._database.path):
            return await thread.submit(job)

    async def _stop_threads(self) -> None:
        for thread in (self._read_thread, self._write_thread):
            if thread is not None:
                await thread.stop()
        self._read_thread = self._write_thread = None
