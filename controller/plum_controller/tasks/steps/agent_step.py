"""Step `agent`: a task for an agent, that is, for a program that registered as a worker.

    {agent | task, input, worker labels, timeout}  ->  the task's output

`task` names a TaskDefinition or a builtin; `agent` names the task that a worker registered, without a definition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from plum_flow.calls import TaskFailedError
from plum_flow.steps.config import Config
from plum_schemas.durations import format_duration
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRunSpec

from plum_controller.tasks.steps.runners import Around
from plum_controller.tasks.steps.task_runs import carry_out

if TYPE_CHECKING:
    from plum_controller.workflows.steps import Step

FIELDS = ("agent", "task", "input", "node", "nodeSelector", "timeout")


async def run(step: Step, around: Around) -> Any:
    """Hand it over, and wait for its end."""
    config = Config(step.config, FIELDS)
    if ("agent" in config) == ("task" in config):
        raise TaskFailedError("name one of config.agent, config.task", "InvalidConfig", retryable=False)
    seconds = config.seconds("timeout", 0.0)
    spec = TaskRunSpec(
        task_ref=config.text("task", ""),
        task=TaskDefinitionSpec(task=config.text("agent")) if "agent" in config else None,
        payload={**step.payload, **config.mapping("input")},
        timeout=format_duration(seconds) if seconds else None,
        node_name=config.text("node", ""),
        node_selector=config.texts("nodeSelector"),
    )
    return await carry_out(around.api, step, spec)
