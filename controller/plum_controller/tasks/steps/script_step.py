"""Step `script`: a program on a node, with the payload as JSON on its standard input (`plum_flow.steps.script`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plum_flow.steps.script import script_spec

from plum_controller.tasks.steps.runners import Around
from plum_controller.tasks.steps.task_runs import carry_out

if TYPE_CHECKING:
    from plum_controller.workflows.steps import Step


async def run(step: Step, around: Around) -> Any:
    """Run it, and wait for its end."""
    return await carry_out(around.api, step, script_spec(step.config, step.payload))
