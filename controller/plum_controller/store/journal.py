"""Rows of workflow runs in the store: what the engine writes before it does anything, and reads after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plum_controller.store.base import RowChange, RowDelete, RowFold, RowPut, Store, Transaction

PIECE = 2000
OUTBOX = "outbox"
"""The space of what is to go out."""
NOTHING: Mapping[str, bytes] = {}


class StoreJournal:
    """Implements the engine's `Journal` on a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def commit(
        self, space: str, rows: Mapping[str, bytes], folds: Sequence[str] = (), outgoing: Mapping[str, bytes] = NOTHING
    ) -> None:
        """Write rows, fold others, and keep what is to go out, in one transaction. Raises `StoreError`: nothing was written."""
        changes: list[RowChange] = [RowPut(space, key, value) for key, value in rows.items()]
        changes += [RowFold(space, prefix) for prefix in folds]
        changes += [RowPut(OUTBOX, key, value) for key, value in outgoing.items()]
        await self._store.commit(Transaction((), (), changes))

    async def waiting(self, after: str = "", limit: int = PIECE) -> Sequence[tuple[str, bytes]]:
        """What is to go out, in key order."""
        return await self._store.rows(OUTBOX, after=after, limit=limit)

    async def sent(self, keys: Sequence[str]) -> None:
        """Forget what has gone out, or was given up."""
        await self._store.commit(Transaction((), (), [RowDelete(OUTBOX, key) for key in keys]))

    async def live(self, space: str) -> list[tuple[str, bytes]]:
        """The rows that are needed to go on."""
        return await self._all(space, live=True)

    async def read(self, space: str, after: str = "", limit: int = PIECE, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """Rows in key order, those that were folded included."""
        return await self._store.rows(space, after=after, limit=limit, prefix=prefix)

    async def get(self, space: str, key: str) -> bytes | None:
        """One row."""
        found = await self._store.rows(space, prefix=key, limit=1)
        return found[0][1] if found and found[0][0] == key else None

    async def spaces(self, prefix: str, after: str = "", limit: int = PIECE) -> Sequence[str]:
        """Who has rows."""
        return await self._store.row_spaces(prefix, after, limit)

    async def drop(self, space: str) -> int:
        """Forget all rows of a space."""
        return await self._store.drop_rows(space)

    async def _all(self, space: str, *, live: bool) -> list[tuple[str, bytes]]:
        found: list[tuple[str, bytes]] = []
        while True:
            after = found[-1][0] if found else ""
            piece = await self._store.rows(space, live=live, after=after, limit=PIECE)
            found.extend(piece)
            if not piece:
                return found
