"""All step types by name, each loaded with its first step.

runners(api, outgoing, data_dir)["email"].run(step) -> output, or TaskFailedError
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plum_client.client import ApiClient
from plum_client.outgoing import OutgoingClient

if TYPE_CHECKING:
    from plum_controller.workflows.steps import Step, StepRunner

MODULES = {
    "http": "plum_flow.steps.http_step",
    "webhook": "plum_flow.steps.webhook_step",
    "script": "plum_controller.tasks.steps.script_step",
    "agent": "plum_controller.tasks.steps.agent_step",
    "database": "plum_controller.tasks.steps.database_step",
    "email": "plum_controller.tasks.steps.email_step",
    "llm": "plum_flow.steps.llm_step",
    "mcp": "plum_flow.steps.mcp_step",
    "operation": "plum_controller.tasks.steps.operation_step",
}


@dataclass(frozen=True, slots=True)
class Around:
    """What steps may reach."""

    api: ApiClient
    outgoing: OutgoingClient
    databases: Path
    """Folder of the SQLite files that steps may open."""
    smtp_url: str = ""
    """Mail server of steps that name none."""
    llm_url: str = ""
    """Address of the language model of steps that name none."""


def runners(around: Around) -> Mapping[str, StepRunner]:
    """One runner for each step type."""
    return {name: _Lazy(module, around) for name, module in MODULES.items()}


class _Lazy:
    """A runner that is imported when it is needed."""

    def __init__(self, module: str, around: Around) -> None:
        self._module = module
        self._around = around
        self._run: Any = None

    async def run(self, step: Step) -> Any:
        if self._run is None:
            self._run = importlib.import_module(self._module).run
        return await self._run(step, self._around)
