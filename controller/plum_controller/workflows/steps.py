"""What carries out the step types: `http`, `script`, `agent`, `database`, `email`, `webhook`, `llm`, `mcp`,
`operation`.

    Step(type, config, payload, ...) --StepRunner.run--> output, or TaskFailedError

A step that was under way when the controller stopped is carried out again with the same idempotency key.
"""

from __future__ import annotations

from typing import Any, Protocol

from plum_flow.steps.step import Step


class StepRunner(Protocol):
    """Carries out steps of one type, any number at once. Cancelled when the step is to be stopped."""

    async def run(self, step: Step) -> Any:
        """The output, any JSON value. Raises `TaskFailedError`."""


__all__ = ["Step", "StepRunner"]
