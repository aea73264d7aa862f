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
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun

_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Tasks:
    """Tasks of one namespace."""

    api: ApiClient
    namespace: str

    async def define(self, name: str, **spec: Any) -> None:
        """A definition; fields as in a manifest."""
        metadata = {"name": name, "namespace": self.namespace}
        manifest = {"apiVersion": "plum.dev/v1", "kind": "TaskDefinition", "metadata": metadata, "spec": spec}
        await self.api.create(manifest, kind=TaskDefinition.info)

    async def start(self, task: str | dict[str, Any] = "", name: str = "", **spec: Any) -> TaskRun:
        """A run, created: of a definition by its name, or of one of its own. Fields as in a manifest, short forms too."""
        what = {"task": task} if isinstance(task, dict) else {"taskRef": task}
        given = {field: value for field, value in {**what, **spec}.items() if value is not None}
        manifest = {
            "apiVersion": "plum.dev/v1",
            "kind": "TaskRun",
            "metadata": {"name": name or f"run-{next(_NUMBERS)}", "namespace": self.namespace},
            "spec": given,
        }
        return msgspec.convert(await self.api.create(manifest, kind=TaskRun.info), TaskRun)

    async def wait(self, run: TaskRun, until: Callable[[TaskRun], bool] | None = None, seconds: float = 30.0) -> TaskRun:
        """The run once it has ended, or is as `until` says."""
        fits = until or (lambda found: found.status.phase in TERMINAL_PHASES)
        async with asyncio.timeout(seconds):
            async with aclosing(self.api.watch(TaskRun, self.namespace, fields=f"metadata.name={run.metadata.name}")) as events:
                async for event in events:
                    if event.type == "DELETED" or fits(event.object):
                        return event.object
        raise AssertionError("the watch ended")

    async def run(self, task: str | dict[str, Any] = "", name: str = "", **spec: Any) -> TaskRun:
        """A run, ended."""
        return await self.wait(await self.start(task, name, **spec))

    async def cancel(self, run: TaskRun) -> None:
        await self.api.patch(TaskRun, run.key, {"spec": {"canceled": True}})
