"""Where the engine keeps its runs: rows in the store, which the program gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

RUNS = "runs/"
MERGES = "merges/"
"""How far runs that nodes carry out were merged: one row for each, beside those of the run."""
DEFINITIONS = "definitions/"
DEFINITION_KEY = "definition"


class Journal(Protocol):
    """What the engine writes down before it does anything. `plum_controller.store.journal` has the one of the store."""

    async def commit(self, space: str, rows: Mapping[str, bytes], folds: Sequence[str] = ()) -> None:
        """Write rows and fold others, all or nothing, on disk when this returns."""

    async def live(self, space: str) -> list[tuple[str, bytes]]:
        """The rows of a space that were not folded, in key order."""

    async def read(self, space: str, after: str = "", limit: int = 2000, prefix: str = "") -> Sequence[tuple[str, bytes]]:
        """All rows of a space, in key order."""

    async def get(self, space: str, key: str) -> bytes | None:
        """One row."""

    async def spaces(self, prefix: str, after: str = "", limit: int = 2000) -> Sequence[str]:
        """The spaces that have rows."""

    async def drop(self, space: str) -> int:
        """Forget a space."""


def space_of(uid: str) -> str:
    """Where the rows of a run are."""
    return RUNS + uid
