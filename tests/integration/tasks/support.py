"""Making runs and waiting for them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_schemas.base import ObjectMeta
from plum_schemas.taskdefinition import TaskDefinition, TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunSpec

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of one namespace."""

    api: ApiClient
    namespace: str

    async def define(self, name: str, **spec: Any) -> TaskDefinition:
        """A definition; fields as in a manifest."""
        made = TaskDefinition(
            metadata=ObjectMeta(name=name, namespace=self.namespace), spec=msgspec.convert(spec, TaskDefinitionSpec)
        )
        return await self.api.create(made)

    async def start(self, task: str = "", name: str = "", **spec: Any) -> TaskRun:
        """A run, created."""
        name = name or f"run-{next(_NUMBERS)}"
        whole = spec if "task" in spec else {"taskRef": task, **spec}
        return await self.api.create(
            TaskRun(metadata=ObjectMeta(name=name, namespace=self.namespace), spec=msgspec.convert(whole, TaskRunSpec))
        )

    async def wait(self, run: TaskRun, until: Callable[[TaskRun], bool] | None = None, seconds: float = 30.0) -> TaskRun:
        """The run once it has ended, or is as `until` says."""
        fits = until or (lambda found: found.status.phase in TERMINAL_PHASES)
        async with asyncio.timeout(seconds):
            async with aclosing(self.api.watch(TaskRun, self.namespace, fields=f"metadata.name={run.metadata.name}")) as events:
                async for event in events:
                    if event.type == "DELETED" or fits(event.object):
                        return event.object
        raise AssertionError("the watch ended")

    async def run(self, task: str = "", name: str = "", **spec: Any) -> TaskRun:
        """A run, ended."""
        return await self.wait(await self.start(task, name, **spec))

    async def cancel(self, run: TaskRun) -> None:
        await self.api.patch(TaskRun, run.key, {"spec": {"canceled": True}})
