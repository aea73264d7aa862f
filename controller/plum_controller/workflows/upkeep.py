"""Rows and definitions that nobody needs any more."""

from __future__ import annotations

import asyncio
import logging

from plum_client.informer import Informer
from plum_flow.running.journal import MERGES, RUNS, Journal, space_of
from plum_flow.workflow.rows import RUN_KEY, decode_run
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.workflows.definitions import Definitions

logger = logging.getLogger(__name__)


class Upkeep:
    """Removes what deleted runs leave behind."""

    def __init__(self, journal: Journal, definitions: Definitions, runs: Informer[WorkflowRun]) -> None:
        self._journal = journal
        self._definitions = definitions
        self._runs = runs
        self._swept = False
        self._sweeping = asyncio.Lock()

    async def sweep(self) -> None:
        """Once, before the first run goes on: forget rows of runs that were deleted while nobody looked, and definitions that
        nobody pins."""
        if self._swept:
            return
        async with self._sweeping:
            if not self._swept:
                await self._sweep()
                self._swept = True

    async def forget(self, uid: str) -> None:
        """Forget the rows of a run that was deleted."""
        try:
            await self._journal.drop(space_of(uid))
            await self._journal.drop(MERGES + uid)
        except Exception as error:
            logger.warning("rows of a run could not be removed", extra={"uid": uid, "error": str(error)})

    async def _sweep(self) -> None:
        try:
            used: set[str] = set()
            known: set[str] = set()
            for run in self._runs.list():
                known.add(run.metadata.uid)
                digest = run.status.definition_hash
                if not digest and (value := await self._journal.get(space_of(run.metadata.uid), RUN_KEY)) is not None:
                    digest = decode_run(value).hash  # it ended before its status said what it is pinned to
                used.add(digest)
            for prefix in (RUNS, MERGES):
                after = ""
                while spaces := await self._journal.spaces(prefix, after):
                    after = spaces[-1]
                    for space in spaces:
                        if space.removeprefix(prefix) not in known:
                            await self._journal.drop(space)
            await self._definitions.forget_unused(used)
        except Exception:
            logger.exception("rows of former runs could not be removed")
