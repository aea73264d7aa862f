"""A command beside an instance, as messages of a tunnel stream. Loaded when somebody first asks for one.

    controller -> 0 input | 4 {"Width":80,"Height":24} | 255 0 (no more input) -> Command
               <- 1 stdout | 2 stderr                                          <-
               <- result {"exitCode": 3}

The first byte of a message is the channel, numbered as in Kubernetes' remote command protocol. Whatever ends the stream
ends the command: the client that went away, the tunnel that broke, an agent that stops.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from plum_schemas.base import Struct

from plum_agent.drivers.base import Command, CommandRequest, Driver
from plum_agent.errors import StartError
from plum_agent.tunnel import StreamRefusedError, TunnelStream
from plum_agent.unit import Unit

STDIN, RESIZE, CLOSE = 0, 4, 255
"""Channels of input, terminal size and end of input."""


class ExecQuery(Struct):
    """What is wanted; the `params` of the tunnel's `open` message."""

    namespace: str = ""
    instance: str = ""
    command: list[str] = []
    stdin: bool = False
    tty: bool = False


class _Size(msgspec.Struct, rename="pascal"):
    width: int = 0
    height: int = 0


async def serve(stream: TunnelStream, driver: Driver, unit: Unit, query: ExecQuery) -> Mapping[str, Any]:
    """Run the command until it ends. Raises `StreamRefusedError` when it cannot be started."""
    assert unit.launch is not None  # noqa: S101 -- the caller looked
    if not query.command:
        raise StreamRefusedError(400, "there is no command to run; name a program")
    try:
        request = CommandRequest(tuple(query.command), query.stdin, query.tty)
        command = await driver.open_command(unit.launch, request)
    except StartError as error:
        raise StreamRefusedError(500, str(error)) from error
    inputs = asyncio.get_running_loop().create_task(_give_input(stream, command))
    try:
        stream.accept()
        while (piece := await command.read()) is not None:
            await stream.send(piece[1], bytes((piece[0],)))
        return {"exitCode": await command.wait()}
    finally:
        inputs.cancel()
        await command.close()


async def _give_input(stream: TunnelStream, command: Command) -> None:
    while (message := await stream.receive()) is not None:
        channel = message[0] if message else None
        if channel == STDIN:
            await command.write(message[1:])
        elif channel == RESIZE:
            size = _size(message[1:])
            command.resize(size.width, size.height)
        elif channel == CLOSE and message[1:] == bytes((STDIN,)):
            command.end_input()
    command.end_input()


def _size(text: bytes) -> _Size:
    try:
        return msgspec.json.decode(text, type=_Size)
    except msgspec.MsgspecError:
        return _Size()
