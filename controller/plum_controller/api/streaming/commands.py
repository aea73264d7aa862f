"""One command: what a client sends goes to the agent, what the command writes goes to the client, the exit code last.

    Remote (channels of a WebSocket, streams of SPDY)  <->  run_command  <->  TunnelStream of kind exec

Whoever ends first ends the other: a client that leaves closes the stream, and the agent kills the command.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from plum_controller.api.streaming.targets import CommandQuery
from plum_controller.api.tunnel import TunnelStream
from plum_controller.resources.errors import ApiStatusError, internal


class Remote(Protocol):
    """The client's side of a command."""

    async def carry_input(self, command: TunnelStream) -> None:
        """Give the command what the client sends. Returns when the client has gone. May raise `OSError` instead."""

    async def send(self, channel: int, data: bytes) -> None:
        """Give the client what the command wrote; waits while it does not read. Raises `OSError` when it has gone."""

    async def finish(self, status: bytes) -> None:
        """Tell how it ended. Raises `OSError` when the client has gone."""


async def run_command(command: TunnelStream, remote: Remote, query: CommandQuery) -> str:
    """Carry both ways until the command has ended or the client has gone. Answers with what happened, for the log."""
    output = asyncio.ensure_future(_carry_output(command, remote, query.outputs))
    inputs = asyncio.ensure_future(remote.carry_input(command))
    try:
        await asyncio.wait({output, inputs}, return_when=asyncio.FIRST_COMPLETED)
        if not output.done():
            return "the client has gone"
        output.result()
        await remote.finish(status_of(command))
        return str(command.error.message) if command.error is not None else f"exit code {command.result.get('exitCode')}"
    except OSError:
        return "the client has gone"
    finally:
        output.cancel()
        inputs.cancel()
        await asyncio.gather(output, inputs, return_exceptions=True)


async def _carry_output(command: TunnelStream, remote: Remote, outputs: frozenset[int]) -> None:
    async for message in command.chunks():
        if message and message[0] in outputs:
            await remote.send(message[0], message[1:])


def status_of(command: TunnelStream) -> bytes:
    """How a command ended, as a `Status` that clients take the exit code from."""
    if command.error is not None:
        return status_of_error(command.error)
    code = command.result.get("exitCode")
    if not isinstance(code, int):
        return status_of_error(internal("the agent did not tell the exit code"))
    if code == 0:
        return _status({"status": "Success"})
    return _status(
        {
            "status": "Failure",
            "message": f"command terminated with exit code {code}",
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    )


def status_of_error(error: ApiStatusError) -> bytes:
    """A refusal or a broken connection, inside a stream."""
    return _status({"status": "Failure", "message": error.message, "reason": error.reason, "code": error.code})


def _status(fields: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, **fields})
