"""Runs that wait for a worker: put before the dispatcher when they may start, taken away when they wait no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from plum_client.clock import Clock
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun

from plum_controller.domain.task_dispatch import Dispatcher, waiting_of
from plum_controller.rpc.runs import Runs

LONGEST_SLEEP = 3600.0
"""Until a run that starts much later is looked at again: the wall clock may be set meanwhile."""


class WaitingRuns:
    """Pending runs by uid and by key."""

    def __init__(
        self, dispatcher: Dispatcher, runs: Runs, clock: Clock, gave_back: Mapping[str, str], ready: Callable[[], None]
    ) -> None:
        """`gave_back`: by uid, the worker that did not take it. `ready` is called when a run has become due by itself."""
        self._dispatcher = dispatcher
        self._runs = runs
        self._clock = clock
        self._gave_back = gave_back
        self._ready = ready
        self.keys: dict[str, ObjectKey] = {}
        """By uid."""
        self._uids: dict[ObjectKey, str] = {}
        self._later: dict[str, asyncio.TimerHandle] = {}
        """Runs whose next attempt starts at a later time."""

    def close(self) -> None:
        """Nothing becomes due any more."""
        for handle in self._later.values():
            handle.cancel()
        self._later.clear()

    def put(self, run: TaskRun) -> None:
        """A pending run is there, or has changed."""
        avoid = self._gave_back.get(run.metadata.uid, "")
        if not avoid and run.status.attempts:
            avoid = run.status.attempts[-1].worker
        waiting = waiting_of(run, avoid)
        self._remove(run.metadata.uid)
        if waiting is None:
            return
        self.keys[waiting.uid], self._uids[run.key] = run.key, waiting.uid
        start = run.status.next_attempt_at
        wait = (start - self._clock.now()).total_seconds() if start is not None else 0.0
        if wait > 0:
            loop = asyncio.get_running_loop()
            self._later[waiting.uid] = loop.call_later(min(wait, LONGEST_SLEEP), self.look_again, run.key)
        else:
            self._dispatcher.put(waiting)

    def look_again(self, key: ObjectKey) -> None:
        """A run may be due now."""
        run = self._runs.get(key)
        if run is not None:
            self.put(run)
            self._ready()

    def gone(self, key: ObjectKey) -> None:
        """A run is pending no more. One that is not known is fine."""
        uid = self._uids.get(key)
        if uid is not None:
            self._remove(uid)

    def _remove(self, uid: str) -> None:
        key = self.keys.pop(uid, None)
        if key is not None:
            self._uids.pop(key, None)
        handle = self._later.pop(uid, None)
        if handle is not None:
            handle.cancel()
        self._dispatcher.remove(uid)
