"""What all attempts of one node share."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from plum_client.clock import Clock
from plum_client.events import EventRecorder
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun

from plum_agent.drivers.base import Driver
from plum_agent.output import OutputKeeper
from plum_agent.tasks.launching import TaskLauncher
from plum_agent.tasks.record import TaskLedger


class TaskApi(Protocol):
    """Where attempts read and write: the controller, or the runs that this node carries out by itself."""

    async def get(self, kind: type[TaskRun], key: ObjectKey, /) -> TaskRun | None: ...
    async def write_status(self, run: TaskRun, /) -> TaskRun: ...
    async def patch(self, kind: type[TaskRun], key: ObjectKey, patch: dict[str, Any], /, *, subresource: str) -> TaskRun: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything an attempt needs besides its record."""

    node: str
    boot_id: str
    api: TaskApi
    clock: Clock
    driver: Driver
    ledger: TaskLedger
    launcher: TaskLauncher
    keeper: OutputKeeper | None
    random: Random
    events: EventRecorder | None = None
    """None: its tasks are no objects of the controller yet, so there is nothing that an event could be about."""
