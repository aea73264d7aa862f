"""Keeps the statuses of runs up to date: at once when a run starts or ends, else twice a second while it moves.

    engine --moved--> one task per run that is behind --> WorkflowRun.status --> ended

What says that a run has ended is written only once that is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import ApiError, ConflictError, NotFoundError
from plum_client.informer import Informer
from plum_flow.running.actor import Actor
from plum_flow.running.statuses import status_of
from plum_schemas.workflowrun import WorkflowRun

logger = logging.getLogger(__name__)

STATUS_SECONDS = 0.5
"""Between two writes of a status while only counts move."""
MAX_ATTEMPTS = 10
"""Of one write, when others write the object meanwhile."""


class StatusWriter:
    """One for all runs of the engine."""

    def __init__(self, api: ApiClient, clock: Clock, runs: Informer[WorkflowRun], ended: Callable[[Actor], None]) -> None:
        """`ended` is told when the last status of a run is written."""
        self._api = api
        self._clock = clock
        self._runs = runs
        self._ended = ended
        self._behind: dict[str, asyncio.Task[None]] = {}
        """Runs whose status is being written, by uid."""
        self._written: dict[str, float] = {}
        self._closed = False

    def moved(self, actor: Actor) -> None:
        """Bring the status up to date, soon."""
        uid = actor.run.uid
        if uid not in self._behind and not self._closed:
            self._behind[uid] = asyncio.get_running_loop().create_task(self._keep(actor), name=f"status-{actor.key.name}")

    def is_behind(self, uid: str) -> bool:
        """The status of this run is being written."""
        return uid in self._behind

    def forget(self, uid: str) -> None:
        """A run goes on no more."""
        self._written.pop(uid, None)

    async def close(self) -> None:
        """Leave the statuses as they are; the rows say more."""
        self._closed = True
        tasks = list(self._behind.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _keep(self, actor: Actor) -> None:
        try:
            await self._write_until_current(actor)
        finally:
            # Here, not in a callback of the task: a move in between would be lost.
            self._behind.pop(actor.run.uid, None)

    async def _write_until_current(self, actor: Actor) -> None:
        uid = actor.run.uid
        failures = 0
        while not self._closed:
            wait = self._written.get(uid, float("-inf")) + STATUS_SECONDS - self._clock.monotonic()
            if actor.run.is_done or wait > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if actor.run.is_done else wait):
                        await actor.ended.wait()
            if actor.closed:
                return
            done = actor.ended.is_set()
            try:
                changed = await self._write(actor)
                failures = 0
            except NotFoundError:
                return
            except ApiError as error:
                failures += 1
                logger.debug("status could not be written", extra={"key": str(actor.key), "error": str(error)})
                await asyncio.sleep(min(0.01 * 2**failures, 5.0))
                continue
            self._written[uid] = self._clock.monotonic()
            if done:
                self._ended(actor)
                return
            if not changed and not actor.run.is_done:
                return

    async def _write(self, actor: Actor) -> bool:
        """Write the status if it differs. Raises `ApiError`."""
        now = self._clock.now()
        for attempt in range(MAX_ATTEMPTS):
            run = self._runs.get(actor.key) if attempt == 0 else await self._api.get(WorkflowRun, actor.key)
            if run is None or run.metadata.uid != actor.run.uid:
                raise NotFoundError(f"run {actor.key} is gone")
            if actor.run.is_done and not actor.ended.is_set():
                await actor.ended.wait()
            status = status_of(actor.run, run.status, run.metadata.generation, now, actor.redactor)
            if status == run.status:
                return False
            try:
                await self._api.write_status(msgspec.structs.replace(run, status=status))
                return True
            except ConflictError:
                continue
        raise ConflictError(f"the status of {actor.key} is written by others all the time")
