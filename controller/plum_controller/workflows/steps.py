"""What carries out the step types: `http`, `script`, `agent`, `database`, `email`, `webhook`, `llm`, `mcp`,
`operation`.

    Step(type, config, payload, ...) --StepRunner.run--> output, or TaskFailedError

A step that was under way when the controller stopped is carried out again with the same idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from plum_schemas.taskrun import SecretMark


@dataclass(frozen=True, slots=True)
class Step:
    """One attempt of one node, its expressions filled in."""

    type: str
    config: Mapping[str, Any]
    payload: Mapping[str, Any]
    namespace: str
    run: str
    """Name of the run."""
    run_uid: str
    node: str
    attempt: int
    idempotency_key: str
    """The same for every attempt."""
    timeout: float | None
    """Seconds of the attempt; the engine ends it then."""
    secrets: Sequence[SecretMark] = ()
    """Marks in config and payload, for steps that are carried out by a TaskRun; all others have the values."""
    is_aborted: Callable[[], bool] = lambda: False
    """Whether it is cancelled because its end is not wanted any more, and not because the controller stops."""


class StepRunner(Protocol):
    """Carries out steps of one type, any number at once. Cancelled when the step is to be stopped."""

    async def run(self, step: Step) -> Any:
        """The output, any JSON value. Raises `TaskFailedError`."""
