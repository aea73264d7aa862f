"""What every executor in the controller is called with, and how it says that a task failed. Plugins use this too.

    class Shout:
        async def execute(self, call: Call) -> Any: return {"text": call.payload["text"].upper()}

A call is cancelled (`asyncio.CancelledError`) when its run is cancelled or its time is over; clean up and let it pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from plum_schemas.taskdefinition import TaskDefinitionSpec

from plum_flow.task_states import Outcome

if TYPE_CHECKING:
    from plum_client.client import ApiClient

MAX_OUTPUT_BYTES = 1024 * 1024
"""Of an output as JSON."""


class TaskFailedError(Exception):
    """The task failed. What is tried again is decided by the retry policy, by `reason` and `code`."""

    def __init__(self, message: str, reason: str = "Error", code: str = "", *, retryable: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        """CamelCase word."""
        self.code = code
        """Status code, such as `503`, that `retry.on` may name."""
        self.retryable = retryable
        """False: the next attempt would end the same way."""


async def _no_progress(share: float, message: str) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of one run."""

    name: str
    """Of the run."""
    namespace: str
    task: TaskDefinitionSpec
    payload: Mapping[str, Any]
    """With the definition's defaults."""
    uid: str = ""
    idempotency_key: str = ""
    """The same for every attempt."""
    attempt: int = 1
    started_at: datetime | None = None
    """When the first attempt started: waits that began before a restart of the controller go on."""
    labels: Mapping[str, str] = field(default_factory=dict)
    progress: Callable[[float, str], Awaitable[None]] = _no_progress
    """`await call.progress(0.5, "half of it")`: shown in the run; written about once a second."""

    @property
    def config(self) -> Mapping[str, Any]:
        """For plugins: `plugin.config` of the definition."""
        return self.task.plugin.config if self.task.plugin is not None else {}


class Executor(Protocol):
    """Executes attempts. One object for all of them, used by any number at once."""

    async def execute(self, call: Call) -> Any:
        """Do it and return the output, any JSON value. Raises `TaskFailedError`, or anything else as a failure `Error`."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What builtins may reach."""

    api: ApiClient
    now: Callable[[], datetime]


def result_of(output: Any) -> Outcome:
    """The end of an attempt that gave this output: a success, unless the output cannot be kept."""
    try:
        size = len(msgspec.json.encode(output))
    except (TypeError, ValueError, RecursionError) as error:
        return Outcome("Failed", "InvalidOutput", f"the output is no JSON value: {error}", retryable=False)
    if size > MAX_OUTPUT_BYTES:
        text = f"the output has {size} bytes as JSON; {MAX_OUTPUT_BYTES} are kept at most"
        return Outcome("Failed", "OutputTooLarge", text, retryable=False)
    return Outcome("Succeeded", output=output)


def without_waiting(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that awaits nothing. Raises `TaskFailedError` when it would wait, and what it raises."""
    try:
        work.send(None)
    except StopIteration as stop:
        return stop.value
    work.close()
    raise TaskFailedError("this builtin waits; it cannot be computed at once", retryable=False)
