"""Both kinds of runs behind one driver: each call goes to the driver of its run.

a launch says what it is                     -> start
a run says it by the files in its folder     -> everything afterwards, whatever its template says by now
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from plum_schemas.template import Template

from plum_agent.drivers import container_files
from plum_agent.drivers.base import Command, CommandRequest, Driver, Exit, Handle, Launch, Run, Started
from plum_agent.drivers.container import ContainerDriver
from plum_agent.drivers.process import ProcessDriver
from plum_agent.errors import StartError


class RuntimesDriver:
    """Processes and containers of this machine."""

    runtimes: tuple[str, ...] = ("process", "container")
    keeps_runs = True
    ready_seconds: float | None = None

    def __init__(self, processes: ProcessDriver, containers: ContainerDriver) -> None:
        self.processes = processes
        self.containers = containers

    def _of(self, run: Run) -> Driver:
        return self.containers if container_files.is_container(run.directory) else self.processes

    def check(self, template: Template) -> None:
        (self.containers if template.runtime == "container" else self.processes).check(template)

    async def start(self, launch: Launch) -> Started:
        return await (self.processes if launch.container is None else self.containers).start(launch)

    async def find(self, run: Run) -> Handle | Exit | None:
        return await self._of(run).find(run)

    async def wait(self, run: Run, handle: Handle) -> Exit:
        return await self._of(run).wait(run, handle)

    async def signal(self, run: Run, handle: Handle, signal: int) -> None:
        await self._of(run).signal(run, handle, signal)

    async def kill(self, run: Run, handle: Handle | None) -> None:
        """A stray whose folder is gone is ended by its marker, whatever it is."""
        await self._of(run).kill(run, handle)
        if not run.directory.is_dir():
            with suppress(StartError):
                await self.containers.kill(run, None)

    async def execute(self, launch: Launch, command: tuple[str, ...], timeout_seconds: float) -> int:
        return await self._of(launch.run).execute(launch, command, timeout_seconds)

    async def open_command(self, launch: Launch, request: CommandRequest) -> Command:
        return await self._of(launch.run).open_command(launch, request)

    async def connect(self, run: Run, handle: Handle, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await self._of(run).connect(run, handle, port)

    async def end_commands(self, prefix: str) -> None:
        await self.processes.end_commands(prefix)

    async def list_markers(self, prefix: str) -> list[str]:
        both = await asyncio.gather(self.processes.list_markers(prefix), self.containers.list_markers(prefix))
        return sorted({marker for markers in both for marker in markers})

    async def release(self, run: Run) -> None:
        await self._of(run).release(run)

    async def close(self) -> None:
        await asyncio.gather(self.processes.close(), self.containers.close())
