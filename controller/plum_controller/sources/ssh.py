"""ssh for Git: one command over one connection, for a client that reads and writes in a thread.

    thread: read, write <--buffer, condition--> event loop: asyncssh connection

The host must show a key of `known_hosts`; there is no trust on first use.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

from plum_controller.sources.base import SourceError

CONNECT_SECONDS = 15.0


class SshVendor:
    """Opens connections for dulwich."""

    def __init__(self, loop: asyncio.AbstractEventLoop, private_key: str, known_hosts: str, timeout: float) -> None:
        self._loop = loop
        self._private_key = private_key
        self._known_hosts = known_hosts
        self._timeout = timeout

    def run_command(self, host: str, command: bytes, username: str | None = None, port: int | None = None, **_: Any) -> Channel:
        """Connect and start a command. Raises `SourceError`."""
        import asyncssh

        where = f"{host}:{port}" if port else host
        if not self._known_hosts.strip():
            raise SourceError(f"{where}: spec.source.git.knownHosts is empty; write the host's keys there: ssh-keyscan {host}")
        if not self._private_key.strip():
            raise SourceError(f"{where}: ssh needs a private key; see spec.source.git.secretRef")
        try:
            key = asyncssh.import_private_key(self._private_key)
            hosts = asyncssh.import_known_hosts(self._known_hosts)
        except (asyncssh.KeyImportError, ValueError) as error:
            raise SourceError(f"{where}: the private key or known_hosts cannot be read: {error}") from error
        opening = asyncio.run_coroutine_threadsafe(
            self._open(host, port or 22, username or "git", key, hosts, command), self._loop
        )
        try:
            connection, process = opening.result(CONNECT_SECONDS * 2)
        except asyncssh.HostKeyNotVerifiable as error:
            raise SourceError(f"{where} shows a key that is not in spec.source.git.knownHosts: {error}") from error
        except asyncssh.PermissionDenied as error:
            raise SourceError(f"{where} refuses the key of spec.source.git.secretRef: {error}") from error
        except (OSError, asyncssh.Error, TimeoutError) as error:
            opening.cancel()
            raise SourceError(f"{where} cannot be reached: {error or type(error).__name__}") from error
        return Channel(self._loop, connection, process, self._timeout)

    async def _open(self, host: str, port: int, user: str, key: Any, hosts: Any, command: bytes) -> tuple[Any, Any]:
        import asyncssh

        connection = await asyncssh.connect(
            host, port, username=user, client_keys=[key], known_hosts=hosts, config=None, agent_path=None,
            connect_timeout=CONNECT_SECONDS, login_timeout=CONNECT_SECONDS, keepalive_interval=10,
            preferred_auth="publickey",
        )  # fmt: skip
        try:
            process = await connection.create_process(command.decode(), encoding=None)
        except BaseException:
            connection.close()
            raise
        return connection, process


class Channel:
    """A running command as dulwich wants it: `read` blocks until it has so many bytes, or the end."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Any, process: Any, timeout: float) -> None:
        self._loop = loop
        self._connection = connection
        self._process = process
        self._timeout = timeout
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._pump = asyncio.run_coroutine_threadsafe(self._fill(), loop)
        self.stderr = None

    def read(self, size: int | None = None) -> bytes:
        """Raises TimeoutError after a silence."""
        with self._changed:
            while not self._ended and (size is None or len(self._buffer) < size):
                if not self._changed.wait(self._timeout):
                    raise TimeoutError(f"nothing was heard for {self._timeout:.0f} s")
            if self._error is not None and not self._buffer:
                raise OSError(str(self._error))
            count = len(self._buffer) if size is None else min(size, len(self._buffer))
            found = bytes(self._buffer[:count])
            del self._buffer[:count]
            return found

    def write(self, data: bytes) -> int:
        """Send, and wait while the other side does not take it."""
        asyncio.run_coroutine_threadsafe(self._send(bytes(data)), self._loop).result(self._timeout)
        return len(data)

    def can_read(self) -> bool:
        """Whether something has come that was not read."""
        with self._changed:
            return bool(self._buffer) or self._ended

    def close(self) -> None:
        """End the connection. Safe to repeat."""
        self._pump.cancel()
        self._loop.call_soon_threadsafe(self._connection.close)

    async def _send(self, data: bytes) -> None:
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    async def _fill(self) -> None:
        try:
            while data := await self._process.stdout.read(65536):
                with self._changed:
                    self._buffer += data
                    self._changed.notify_all()
        except Exception as error:
            self._error = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            with contextlib.suppress(Exception):
                self._process.close()
