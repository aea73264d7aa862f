"""Attempts under way: each in a thread of its own, or as a task of the event loop that the program gave for coroutines.

    start -> function -> finished(Ending), once, from whatever thread that happens in

Threads cannot be ended from outside: a function that is to stop looks at its context. One that does not stop keeps its place
until it returns, but its attempt is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from plum_worker.context import Context, TaskCanceledError, TaskError
from plum_worker.functions import TaskFunction, write_output

logger = logging.getLogger("plum_worker")


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended."""

    outcome: Literal["SUCCEEDED", "FAILED", "TIMEOUT", "CANCELED"]
    output: bytes = b""
    reason: str = ""
    message: str = ""
    permanent: bool = False
    retry_after: float | None = None


def ending_of(error: BaseException, context: Context) -> Ending:
    """What an exception of a task function means."""
    if isinstance(error, TaskError):
        return Ending("FAILED", b"", error.reason, error.message, error.permanent, error.retry_after)
    if isinstance(error, TaskCanceledError | asyncio.CancelledError) and context.canceled:
        return stopped(context)
    context.logger.keep("".join(traceback.format_exception(error)).rstrip())
    return Ending("FAILED", b"", type(error).__name__, str(error))


def stopped(context: Context) -> Ending:
    """The attempt was told to stop, and did."""
    token = context.cancellation
    if token.is_timeout:
        return Ending("TIMEOUT", b"", "Timeout", token.reason)
    return Ending("CANCELED", b"", "Canceled", token.reason)


class Execution:
    """One call of a task function."""

    def __init__(self, function: TaskFunction, payload: bytes, context: Context, finished: Callable[[Ending], None]) -> None:
        """`finished` is called once, from any thread, when the function has returned."""
        self._function = function
        self._payload = payload
        self._context = context
        self._finished = finished

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin. Coroutines run on `loop`, which is not the one of the connection: they may block it without losing leases."""
        if self._function.is_async:
            loop.call_soon_threadsafe(self._start_coroutine)
        else:
            name = f"task-{self._context.run_name}"
            threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            arguments = self._function.arguments(self._payload, self._context)
            ending = Ending("SUCCEEDED", write_output(self._function.function(**arguments)))
        except BaseException as error:  # whatever it is, the attempt has ended
            ending = ending_of(error, self._context)
        self._finished(ending)

    def _start_coroutine(self) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._await(), name=f"task-{self._context.run_name}")

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        self._context.cancellation.on_cancel(cancel)
        task.add_done_callback(self._coroutine_done)

    async def _await(self) -> Any:
        arguments = self._function.arguments(self._payload, self._context)
        return await self._function.function(**arguments)

    def _coroutine_done(self, task: asyncio.Task[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        try:
            ending = ending_of(error, self._context) if error is not None else Ending("SUCCEEDED", write_output(task.result()))
        except TaskError as failure:
            ending = ending_of(failure, self._context)
        self._finished(ending)
