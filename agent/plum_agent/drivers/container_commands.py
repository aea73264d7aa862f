"""Commands beside a run in a container: of people, of probes, of hooks.

    open_container_command: exec in the container, attached -> ContainerCommand
    close -> SIGKILL to everything that carries the mark of the command, as beside a process

A command has the environment, user and limits of the workload, and a mark of its own. Where `/proc` does not show it, it
ends with the container.
"""

from __future__ import annotations

import asyncio
import secrets

from plum_agent.drivers.base import CommandRequest, Launch
from plum_agent.drivers.commands import COMMAND_MARKER, end_family
from plum_agent.engine.attach import Attached, attach
from plum_agent.engine.client import EngineClient
from plum_agent.engine.errors import EngineError
from plum_agent.errors import StartError

EXIT_SECONDS = 5.0
"""How long the engine may take to notice the end of a command whose output has ended."""

RESIZES, RESIZE_SECONDS = 20, 0.05
"""Attempts to give a terminal its size, and the time between two."""


async def open_container_command(
    client: EngineClient, container_id: str, launch: Launch, request: CommandRequest
) -> ContainerCommand:
    """Raises `StartError`."""
    identity = f"{launch.run.marker}/{secrets.token_hex(4)}"
    body = {
        "Cmd": list(request.words),
        "Env": [f"{COMMAND_MARKER}={identity}", *(["TERM=xterm"] if request.tty else [])],
        "AttachStdin": request.stdin,
        "AttachStdout": True,
        "AttachStderr": True,
        "Tty": request.tty,
    }
    try:
        made = await client.request("POST", f"/containers/{container_id}/exec", None, body)
        attached = await attach(client, f"/exec/{made['Id']}/start", {"Detach": False, "Tty": request.tty}, request.tty)
    except EngineError as error:
        raise StartError(f"{request.words[0]} could not be started: {error}") from error
    command = ContainerCommand(client, made["Id"], identity, attached)
    if request.columns and request.rows:
        command.resize(request.columns, request.rows)
    return command


class ContainerCommand:
    """A command that runs in a container. One task reads, one writes."""

    def __init__(self, client: EngineClient, number: str, identity: str, attached: Attached) -> None:
        self._client, self._number, self._identity, self._attached = client, number, identity, attached
        self._code: int | None = None
        self._size = (0, 0)
        self._resizing: asyncio.Task[None] | None = None

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of what it writes, None at its end. What it left in the background may go on; it is ended by `close`."""
        return await self._attached.read()

    async def write(self, data: bytes) -> None:
        await self._attached.write(data)

    def end_input(self) -> None:
        self._attached.end_input()

    def resize(self, columns: int, rows: int) -> None:
        """The last size wins, however many are asked for at once."""
        self._size = (columns, rows)
        if self._resizing is None or self._resizing.done():
            self._resizing = asyncio.get_running_loop().create_task(self._resize())

    async def _resize(self) -> None:
        """A command that was just started may not have its terminal yet."""
        failures, done = 0, (0, 0)
        while done != self._size and failures < RESIZES:
            wanted = self._size
            try:
                query = {"h": str(wanted[1]), "w": str(wanted[0])}
                await self._client.request("POST", f"/exec/{self._number}/resize", query)
                done = wanted
            except EngineError:
                failures += 1
                await asyncio.sleep(RESIZE_SECONDS)

    async def wait(self) -> int:
        """The exit code, 128 + number after a signal. Raises `StartError` when it cannot be found out."""
        deadline = asyncio.get_running_loop().time() + EXIT_SECONDS
        while self._code is None:
            try:
                state = await self._client.request("GET", f"/exec/{self._number}/json")
            except EngineError as error:
                raise StartError(f"how the command ended cannot be found out: {error}") from error
            if not state["Running"]:
                self._code = int(state["ExitCode"] or 0)
            elif asyncio.get_running_loop().time() > deadline:
                raise StartError("the engine does not notice that the command has ended")
            else:
                await asyncio.sleep(0.01)
        return self._code

    async def close(self) -> None:
        self._attached.close()
        if self._resizing is not None:
            self._resizing.cancel()
        if self._code is None:
            await end_family(self._identity, 0, None)
