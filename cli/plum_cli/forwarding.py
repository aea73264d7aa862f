"""Ports of an instance as ports of this machine: a listener for each, a WebSocket for each connection.

    client -- TCP --> listener -- WebSocket .../portforward?ports=80 --> controller --> agent --> 127.0.0.1:80

Connections do not wait for each other. Each side may end its half: `255 0` stands for the end of a half.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote

from plum_client.errors import ApiError, ConflictError, NotFoundError
from plum_client.websocket import WebSocket, WebSocketClosedError

from plum_cli.errors import FAILED, NOT_FOUND, CliError, UsageError
from plum_cli.instances import find_instance
from plum_cli.session import JsonObject, Session
from plum_cli.terminal import note

PROTOCOL = "v5.channel.k8s.io"
DATA, ERROR, CLOSE = 0, 1, 255
PIECE = 65536


class Port(NamedTuple):
    """One mapping."""

    local: int
    """0: a free one."""
    remote: str
    """A number or a name."""


def parse_ports(words: Sequence[str]) -> list[Port]:
    """`8080:80`, `80`, `:80`, `8080:http`. Raises `UsageError`."""
    ports = []
    for word in words:
        left, colon, right = word.rpartition(":")
        remote = right if colon else word
        local = (left or "0") if colon else remote
        if not local.isascii() or not local.isdigit() or int(local) > 65535:
            raise UsageError(
                f"{word!r}: the port to listen on is a number up to 65535; write LOCAL:REMOTE, such as 8080:{remote}"
            )
        if not remote or (remote.isdigit() and not 0 < int(remote) < 65536):
            raise UsageError(f"{word!r}: the port of the instance is a number from 1 to 65535, or its name")
        ports.append(Port(int(local), remote))
    return ports


class Forwarder:
    """Forwards ports of one instance, or of whatever instance of a deployment is ready."""

    def __init__(self, session: Session, what: str, address: str) -> None:
        self._session = session
        self._what = what
        self._address = address
        self._instance: JsonObject = {}

    async def run(self, ports: Sequence[Port]) -> int:
        """Listen until interrupted."""
        self._instance = await find_instance(self._session, self._what)
        for port in ports:
            self._number(port.remote)
        async with contextlib.AsyncExitStack() as stack:
            for port in ports:
                await stack.enter_async_context(await self._listen(port))
            await asyncio.get_running_loop().create_future()
        return FAILED

    async def _listen(self, port: Port) -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await self._serve(port, reader, writer)
            except (ApiError, CliError) as error:
                note(f"port {port.remote} of {self._name}: {getattr(error, 'message', '') or error}")
            except ConnectionError:
                pass
            finally:
                writer.transport.abort()

        try:
            server = await asyncio.start_server(serve, self._address, port.local)
        except OSError as error:
            raise CliError(f"{self._address}:{port.local} cannot be listened on: {error.strerror or error}") from error
        listening = server.sockets[0].getsockname()[1]
        print(f"{self._address}:{listening} -> {self._name}:{self._number(port.remote)}", flush=True)
        return server

    @property
    def _name(self) -> str:
        return str(self._instance["metadata"]["name"])

    def _number(self, remote: str) -> int:
        """The number of a port of the instance. Raises `CliError` for a name that it has not."""
        if remote.isdigit():
            return int(remote)
        ports = (self._instance.get("status") or {}).get("ports") or []
        names = {port["name"]: int(port["port"]) for port in ports}
        if remote not in names:
            known = ", ".join(names) or "none"
            raise CliError(f"instance {self._name} has no port named {remote!r}; it has: {known}", NOT_FOUND)
        return names[remote]

    async def _open(self, port: Port) -> WebSocket:
        path = f"/apis/plum.dev/v1/namespaces/{quote(self._session.namespace)}/instances/{quote(self._name, safe='')}/portforward"
        target = f"{path}?ports={self._number(port.remote)}"
        return await self._session.transport.open_websocket(target, subprotocols=(PROTOCOL,))

    async def _serve(self, port: Port, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            socket = await self._open(port)
        except (NotFoundError, ConflictError):
            before = self._name
            self._instance = await find_instance(self._session, self._what)
            if self._name == before:
                raise
            socket = await self._open(port)
        inwards = asyncio.ensure_future(_carry_input(reader, socket))
        try:
            await self._carry_output(port, socket, writer)
        finally:
            inwards.cancel()
            await asyncio.gather(inwards, return_exceptions=True)
            await socket.close()

    async def _carry_output(self, port: Port, socket: WebSocket, writer: asyncio.StreamWriter) -> None:
        begun: set[int] = set()
        while True:
            try:
                message = await socket.receive()
            except WebSocketClosedError as error:
                if error.close_code != 1000:
                    raise
                await writer.drain()
                writer.close()
                await writer.wait_closed()
                return
            if not isinstance(message, bytes) or not message:
                continue
            if message[0] == CLOSE:
                writer.write_eof()
            elif message[0] not in begun:
                begun.add(message[0])  # the number of the port, once on each channel
            elif message[0] == DATA:
                writer.write(message[1:])
                await writer.drain()
            elif message[0] == ERROR:
                raise CliError(message[1:].decode("utf-8", "replace"))


async def _carry_input(reader: asyncio.StreamReader, socket: WebSocket) -> None:
    with contextlib.suppress(WebSocketClosedError, ConnectionError):
        while data := await reader.read(PIECE):
            socket.send_bytes(bytes((DATA,)) + data)
            await socket.drain()
        socket.send_bytes(bytes((CLOSE, DATA)))
