"""One command on another machine: this terminal on one side, channels of a WebSocket on the other.

    stdin (thread)  -> 0        SIGWINCH -> 4 {"Width":80,"Height":24}        end of stdin -> 255 0
    stdout, stderr  <- 1, 2     exit code <- 3 Status

The terminal is given back as it was found, whatever happens. Output is written by a thread, so that a reader who takes
their time (`| less`) does not keep the connection from being answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from plum_client.websocket import WebSocket, WebSocketClosedError

from plum_cli.errors import FAILED, UNAVAILABLE, CliError
from plum_cli.session import Session

PROTOCOL = "v5.channel.k8s.io"
STDIN, STDOUT, STDERR, STATUS, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PIECE = 32768
END_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class RemoteCommand:
    """Runs one command."""

    def __init__(self, session: Session, instance: str, words: Sequence[str], *, stdin: bool, tty: bool) -> None:
        self._session = session
        self._stdin = stdin
        self._tty = tty
        query = [("stdout", "true"), ("stderr", "false" if tty else "true")]
        query += [("stdin", "true")] if stdin else []
        query += [("tty", "true")] if tty else []
        query += [("command", word) for word in words]
        path = f"/apis/plum.dev/v1/namespaces/{quote(session.namespace)}/instances/{quote(instance, safe='')}/exec"
        self._path = f"{path}?{urlencode(query, errors='surrogateescape')}"

    async def run(self) -> int:
        """The exit code of the command. Raises `CliError` when there is none, and the errors of `plum_client`."""
        socket = await self._session.transport.open_websocket(self._path, subprotocols=(PROTOCOL,))
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()
        assert main is not None  # noqa: S101 -- a coroutine runs in a task
        inputs: asyncio.Task[None] | None = None
        ended_by: list[int] = []

        def end(number: int) -> None:
            ended_by.append(number)
            main.cancel()

        try:
            with raw_terminal() if self._tty else contextlib.nullcontext():
                for number in END_SIGNALS:
                    loop.add_signal_handler(number, end, number)
                if self._tty:
                    loop.add_signal_handler(signal.SIGWINCH, self._send_size, socket)
                    self._send_size(socket)
                if self._stdin:
                    inputs = loop.create_task(self._carry_input(socket))
                return await self._carry_output(socket)
        except asyncio.CancelledError:
            if ended_by:
                raise CliError(f"ended by {signal.Signals(ended_by[0]).name}", 128 + ended_by[0]) from None
            raise
        except WebSocketClosedError as error:
            raise CliError(f"the connection to the command broke: {error.message}", UNAVAILABLE) from error
        finally:
            if inputs is not None:
                inputs.cancel()
            await socket.close()

    async def _carry_output(self, socket: WebSocket) -> int:
        while True:
            message = await socket.receive()
            if not isinstance(message, bytes) or not message:
                continue
            if message[0] in (STDOUT, STDERR):
                await asyncio.to_thread(_write, message[0], message[1:])
            elif message[0] == STATUS:
                return exit_code(message[1:])

    async def _carry_input(self, socket: WebSocket) -> None:
        pieces: asyncio.Queue[bytes] = asyncio.Queue()
        room = threading.Semaphore(4)
        threading.Thread(target=_read_input, args=(asyncio.get_running_loop(), pieces, room), daemon=True).start()
        with contextlib.suppress(WebSocketClosedError):
            while data := await pieces.get():
                socket.send_bytes(bytes((STDIN,)) + data)
                await socket.drain()
                room.release()
            socket.send_bytes(bytes((CLOSE, STDIN)))

    def _send_size(self, socket: WebSocket) -> None:
        with contextlib.suppress(OSError, WebSocketClosedError):
            size = os.get_terminal_size(sys.stdin.fileno())
            socket.send_bytes(bytes((RESIZE,)) + msgspec.json.encode({"Width": size.columns, "Height": size.lines}))


def exit_code(text: bytes) -> int:
    """From the status of a command. Raises `CliError` when it did not end by itself."""
    status: dict[str, Any] = msgspec.json.decode(text)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode" and str(cause.get("message")).isdigit():
            return int(cause["message"])
    raise CliError(str(status.get("message") or "the command ended without an exit code"), FAILED)


def _read_input(loop: asyncio.AbstractEventLoop, pieces: asyncio.Queue[bytes], room: threading.Semaphore) -> None:
    """Read stdin as fast as the command takes it; an empty piece is its end. A thread: files and terminals cannot be polled
    alike."""
    while True:
        room.acquire()
        try:
            data = os.read(sys.stdin.fileno(), PIECE)
        except OSError:
            data = b""
        try:
            loop.call_soon_threadsafe(pieces.put_nowait, data)
        except RuntimeError:
            return  # the command has ended
        if not data:
            return


def _write(channel: int, data: bytes) -> None:
    stream = sys.stdout.buffer if channel == STDOUT else sys.stderr.buffer
    stream.write(data)
    stream.flush()


@contextlib.contextmanager
def raw_terminal() -> Iterator[None]:
    """Every key goes to the other side, Ctrl-C too."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor, termios.TCSADRAIN)  # what was typed ahead is kept
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
