"""Workers: programs that run tasks for the controller.

    worker = Worker(capacity=4)

    @worker.task("resize")
    def resize(picture: Picture, context: Context) -> Result: ...

    worker.run()

In an application of the fleet no argument is needed: the agent tells it where the controller is and who it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from plum_worker import environment
from plum_worker.functions import TaskFunction, inspect_task

if TYPE_CHECKING:
    from plum_worker.connection import Connection

F = TypeVar("F", bound=Callable[..., Any])
logger = logging.getLogger("plum_worker")
BUILTIN_PREFIX = "builtin."


class Worker:
    """A set of tasks, and the connection that brings them work. Make one per process."""

    def __init__(
        self,
        address: str = "",
        *,
        worker_id: str = "",
        capacity: int | None = None,
        labels: Mapping[str, str] | None = None,
        namespace: str = "",
        token: str = "",
        ca_file: str = "",
        grace_seconds: float | None = None,
    ) -> None:
        """What is left out comes from the environment; see `plum_worker.environment`. Raises `WorkerConfigError`."""
        self.options = environment.load(
            address=address,
            worker_id=worker_id,
            capacity=capacity,
            labels=labels,
            namespace=namespace,
            token=token,
            ca_file=ca_file,
            grace_seconds=grace_seconds,
        )
        self._functions: dict[str, TaskFunction] = {}
        self._connection: Connection | None = None
        self._connection_loop: asyncio.AbstractEventLoop | None = None
        self._registered = asyncio.Event()
        self._stopping = False

    def task(self, name: str = "") -> Callable[[F], F]:
        """Decorate a function, sync or async, that executes the task of this name; the function's name if empty."""

        def register(function: F) -> F:
            wanted = name or function.__name__
            if wanted.startswith(BUILTIN_PREFIX):
                raise ValueError(f"task {wanted!r}: names that begin with {BUILTIN_PREFIX} are part of the controller")
            if wanted in self._functions:
                raise ValueError(f"task {wanted!r} is there already; choose another name")
            self._functions[wanted] = inspect_task(wanted, function)
            return function

        return register

    @property
    def tasks(self) -> list[str]:
        """Names of the tasks it runs."""
        return sorted(self._functions)

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, or `stop`. Raises `WorkerRefusedError` when the controller does not take this worker."""
        asyncio.run(self._run_with_signals())

    async def _run_with_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not the main thread
                loop.add_signal_handler(number, self.stop)
        await self.serve()

    async def serve(self) -> None:
        """Like `run`, in an event loop that exists: coroutine functions run in it. Signals are the program's own affair."""
        if not self._functions:
            raise ValueError("this worker has no tasks; decorate functions with @worker.task(...)")
        from plum_worker.connection import Connection

        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def tell_registered() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._registered.set)

        def tell_ended(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_exception(error) if error is not None else ended.set_result(None)

        async def connect() -> None:
            self._connection = Connection(self.options, self._functions, loop, tell_registered)
            self._connection_loop = asyncio.get_running_loop()
            if self._stopping:
                return
            await self._connection.run()

        def thread() -> None:
            error: BaseException | None = None
            try:
                asyncio.run(connect())
            except BaseException as raised:
                error = raised
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell_ended, error)

        threading.Thread(target=thread, name="plum-worker", daemon=True).start()
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError:
            self.stop()
            await ended
            raise
        finally:
            self._connection = self._connection_loop = None

    async def wait_registered(self) -> None:
        """Return when the controller has taken this worker, in the loop of `serve`."""
        await self._registered.wait()

    def stop(self) -> None:
        """Take nothing new, finish what is under way within the grace, give back the rest. Safe to repeat, from any thread."""
        self._stopping = True
        loop, connection = self._connection_loop, self._connection
        if loop is not None and connection is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(lambda: _keep(loop.create_task(connection.stop())))


_TASKS: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    """The loop alone does not keep a task alive."""
    _TASKS.add(task)
    task.add_done_callback(_TASKS.discard)
