"""A thread that runs jobs one after another, for a connection that must never be used by two at once.

    event loop --submit(job)--> queue --> thread --result--> event loop

Jobs that were submitted run, also when nobody waits for their result any more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Job = tuple[Callable[[], Any], asyncio.Future[Any]]


class EngineThread:
    """Started once, stopped once."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        # A daemon, so that a program that forgot `close` still ends; what was acknowledged is on disk anyway.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run the job after all earlier ones. Call on the event loop."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    async def stop(self) -> None:
        """Return when every submitted job ran and the thread is gone."""
        last = self.submit(lambda: None)
        self._jobs.put(None)
        await last
        self._thread.join()

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                result = job()
            except Exception as error:
                self._answer(_fail, future, error)
            else:
                self._answer(_succeed, future, result)

    def _answer(self, settle: Callable[[asyncio.Future[Any], Any], None], future: asyncio.Future[Any], value: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(settle, future, value)
        except RuntimeError:  # the loop is closed: nobody can be waiting
            pass


def _succeed(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
