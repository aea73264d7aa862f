"""What a task function is given besides its payload, and what it may raise."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

LOG_BYTES = 32 * 1024
"""Of what a task logs, kept with its result."""


class TaskError(Exception):
    """The task failed, in words that retry rules and people understand.

    `reason` is a CamelCase word that `retry.on` may name. `permanent`: trying again cannot help. `retry_after`: seconds.
    """

    def __init__(self, message: str, reason: str = "Error", *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after


class TaskCanceledError(Exception):
    """The attempt is to stop: cancelled, out of time, or given to another worker. Let it pass through."""


class CancellationToken:
    """Says whether an attempt is to stop. For use from any thread and from coroutines of any loop."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.reason = ""
        """Why; empty until then."""
        self.is_timeout = False
        """It took longer than its timeout."""

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Block until it is to stop, at most so long; true if it is. A sleep that a cancellation ends."""
        return self._event.wait(seconds)

    async def wait_async(self) -> None:
        """Return when it is to stop."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not done.done():
                done.set_result(None)

        def tell_there() -> None:
            loop.call_soon_threadsafe(tell)

        self.on_cancel(tell_there)
        await done

    def raise_if_set(self) -> None:
        """Raises `TaskCanceledError` when it is to stop. Call it between steps."""
        if self._event.is_set():
            raise TaskCanceledError(self.reason)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call this when it is to stop, now if it is already. From whatever thread that comes."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self, reason: str, *, is_timeout: bool = False) -> None:
        """Have it stop. Only the first call counts."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason, self.is_timeout = reason, is_timeout
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class TaskLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs as usual, and keeps the end of it for the result."""

    def __init__(self, logger: logging.Logger, extra: Mapping[str, object]) -> None:
        super().__init__(logger, dict(extra))
        self._lines: deque[str] = deque()
        self._bytes = 0

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if level >= logging.INFO or self.isEnabledFor(level):
            try:
                text = str(msg) % args if args else str(msg)
            except (TypeError, ValueError):
                text = str(msg)
            self.keep(f"{logging.getLevelName(level).lower()}: {text}")
        super().log(level, msg, *args, **kwargs)

    def keep(self, line: str) -> None:
        """Put a line into what goes with the result."""
        line = line[-LOG_BYTES:]
        self._lines.append(line)
        self._bytes += len(line) + 1
        while self._bytes > LOG_BYTES and len(self._lines) > 1:
            self._bytes -= len(self._lines.popleft()) + 1

    @property
    def tail(self) -> str:
        return "\n".join(self._lines)


class Context:
    """One attempt of one run, as its function sees it."""

    def __init__(
        self,
        *,
        task: str,
        run_name: str,
        namespace: str = "default",
        attempt: int = 1,
        idempotency_key: str = "",
        timeout: float | None = None,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        traceparent: str = "",
        report: Callable[[float, str], None] | None = None,
    ) -> None:
        """A test makes one of its own: only `task` and `run_name` are needed."""
        self.task = task
        self.run_name = run_name
        """Name of the TaskRun."""
        self.namespace = namespace
        self.attempt = attempt
        """Counts from 1."""
        self.idempotency_key = idempotency_key
        """The same for every attempt of the run: what was done under it need not be done again."""
        self.priority = priority
        self.labels = dict(labels or {})
        """Labels of the run."""
        self.traceparent = traceparent
        """W3C trace context; empty if there is none."""
        self.deadline = None if timeout is None else time.monotonic() + timeout
        """By `time.monotonic`, when the attempt is ended; None without a limit."""
        self.cancellation = CancellationToken()
        self.logger = TaskLogger(logging.getLogger(f"plum_worker.task.{task}"), {"run": run_name, "attempt": attempt})
        """Its last lines go with the result."""
        self._report = report

    @property
    def canceled(self) -> bool:
        """Whether the attempt is to stop."""
        return self.cancellation.is_set

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None without a limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def progress(self, fraction: float, message: str = "") -> None:
        """How far it is, 0 to 1, as often as you like: the newest wins. Raises `TaskCanceledError` when it is to stop."""
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"progress is {fraction}; use 0 to 1")
        self.cancellation.raise_if_set()
        if self._report is not None:
            self._report(fraction, message)
