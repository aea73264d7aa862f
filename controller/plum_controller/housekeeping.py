"""Keeps the history bounded: once a minute, forgets what is older than the settings say.

    revision_at(now - history_seconds), revision - history_revisions  -->  Store.compact

Nothing happens while nothing is written, so an idle controller stays idle.
"""

from __future__ import annotations

import asyncio
import logging
import time

from plum_controller.logs import fields
from plum_controller.store.base import Revision, Store
from plum_controller.store.errors import CompactedError, StoreError

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 60.0
SHORTEST_SECONDS = 300.0
"""History kept at least, whatever the settings say: lists in pages and watches that resume live from it."""


class Housekeeper:
    """Compacts the store in the background."""

    def __init__(self, store: Store, history_seconds: float, history_revisions: int) -> None:
        self._store = store
        self._seconds = max(SHORTEST_SECONDS, history_seconds)
        self._revisions = history_revisions

    async def run(self) -> None:
        """Until cancelled. A failure is logged and tried again a minute later."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            try:
                await self.compact(time.time())
            except StoreError as error:
                logger.warning("history could not be compacted", extra=fields(error=str(error)))

    async def compact(self, now: float) -> int:
        """Forget what is too old or too much at a time in Unix seconds. Answers with the number of entries removed."""
        upto = await self._target(now)
        if upto <= self._store.compacted:
            return 0
        removed = await self._store.compact(upto)
        logger.debug("history compacted", extra=fields(revision=upto, removed=removed))
        return removed

    async def _target(self, now: float) -> Revision:
        by_count = self._store.revision - self._revisions if self._revisions else 0
        if self._store.revision == self._store.compacted:
            return 0
        try:
            by_age = await self._store.revision_at(now - self._seconds)
        except CompactedError:
            by_age = 0
        return max(by_count, by_age)
