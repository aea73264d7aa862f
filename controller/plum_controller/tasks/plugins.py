"""Executors that others wrote: entry points of the group `plum.executors` in packages installed beside the controller.

    [project.entry-points."plum.executors"]      executor: plugin
    shout = "plum_shout:make_executor"           plugin: {name: shout, config: {...}}

`make_executor()` is called once, with the first task that needs it, and returns an object with `async execute(call)`; see
`calls.Executor`. A plugin runs in the controller's process with its rights: install only what you would build in.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from plum_flow.calls import Call, Executor, TaskFailedError

GROUP = "plum.executors"
logger = logging.getLogger(__name__)


class Plugins:
    """What is installed. Found once, loaded when used."""

    def __init__(self) -> None:
        self._points: dict[str, EntryPoint] | None = None
        self._made: dict[str, Executor] = {}

    def has(self, name: str) -> bool:
        """Whether an executor of this name is installed."""
        return name in self._found()

    async def execute(self, call: Call) -> Any:
        """Raises `TaskFailedError` when there is no such plugin, or when it cannot be loaded."""
        assert call.task.plugin is not None  # noqa: S101  the schema says so
        return await self._executor(call.task.plugin.name).execute(call)

    def _found(self) -> dict[str, EntryPoint]:
        if self._points is None:
            self._points = {point.name: point for point in entry_points(group=GROUP)}
        return self._points

    def _executor(self, name: str) -> Executor:
        made = self._made.get(name)
        if made is not None:
            return made
        point = self._found().get(name)
        if point is None:
            known = ", ".join(sorted(self._found())) or "none is"
            text = f"no executor {name} is installed beside the controller; installed: {known}"
            raise TaskFailedError(text, "PluginMissing", retryable=False)
        try:
            make: Callable[[], Executor] = point.load()
            executor = make()
            if not inspect.iscoroutinefunction(executor.execute):
                raise TypeError("its execute is no async function")
        except Exception as error:
            logger.exception("plugin cannot be loaded", extra={"plugin": name, "package": point.value})
            raise TaskFailedError(f"executor {name} ({point.value}) cannot be loaded: {error}", "PluginBroken") from error
        self._made[name] = executor
        return executor
