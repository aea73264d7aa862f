"""A real controller for tests: a process of its own on a free port, and a small HTTP client over raw sockets.

async with running_server(tmp_path) as server:
    answer = await server.get("/version")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

START_SECONDS = 30.0


@dataclass(slots=True)
class HttpAnswer:
    """One answer, whole."""

    status: int
    headers: dict[str, str]
    body: bytes
    warnings: list[str] = field(default_factory=list)

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class RunningServer:
    """A controller that is ready."""

    url: str
    process: subprocess.Popen[bytes]
    data_dir: Path
    log: Path
    start_seconds: float
    """From the start of the process to its ready line."""
    secure_url: str = ""
    """Of the listener with TLS; empty if there is none."""
    workers: str = ""
    """Address of the listener for workers."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, over TLS."""
        return self.data_dir / "admin.kubeconfig"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> HttpAnswer:
        """One request on a connection of its own."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", "Connection: close", "User-Agent: plum-test/1"]
        if data or method in ("POST", "PUT", "PATCH"):
            lines += [f"Content-Length: {len(data)}", f"Content-Type: {content_type}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        return await self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    async def raw(self, data: bytes, timeout: float = 20.0) -> HttpAnswer:
        """Send bytes as they are and read one answer up to the end of the connection."""
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                writer.write(data)
                return parse_answer(await reader.read(-1))
            finally:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()

    async def get(self, path: str, **headers: str) -> HttpAnswer:
        return await self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    @contextlib.asynccontextmanager
    async def watch(self, path: str, accept: str = "application/json") -> AsyncIterator[asyncio.Queue[dict[str, Any] | None]]:
        """Events of a watch, as they arrive; None when the server ended it."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.host}\r\nAccept: {accept}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head + await reader.read(1000)
        events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        task = asyncio.create_task(_read_events(reader, events, b"chunked" in head))
        try:
            yield events
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def stop(self, number: int = signal.SIGTERM, timeout: float = 20.0) -> int:
        """Send a signal and wait for the end. Answers with the exit code, negative for a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, timeout)


async def _read_events(reader: asyncio.StreamReader, events: asyncio.Queue[dict[str, Any] | None], chunked: bool) -> None:
    rest = b""
    try:
        while True:
            if chunked:
                size = int((await reader.readuntil(b"\r\n")).strip(), 16)
                data = (await reader.readexactly(size + 2))[:size]
            else:
                data = await reader.read(65536)
            if not data:
                break
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                events.put_nowait(json.loads(line))
    except (asyncio.IncompleteReadError, ConnectionError):
        events.put_nowait({"type": "BROKEN"})
    events.put_nowait(None)


def parse_answer(data: bytes) -> HttpAnswer:
    head, separator, body = data.partition(b"\r\n\r\n")
    assert separator, f"no HTTP answer: {data[:300]!r}"
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    warnings = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.lower() == "warning":
            warnings.append(value.strip())
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunk(body)
    return HttpAnswer(int(first.split(" ")[1]), headers, body, warnings)


def _unchunk(data: bytes) -> bytes:
    parts = []
    while data:
        size_text, _, data = data.partition(b"\r\n")
        size = int(size_text, 16)
        if size == 0:
            break
        parts.append(data[:size])
        data = data[size + 2 :]
    return b"".join(parts)


@contextlib.contextmanager
def started_server(
    data_dir: Path, *flags: str, env: Mapping[str, str] | None = None, secure: bool = False
) -> Iterator[RunningServer]:
    """Start a controller with its store in `data_dir`; stop it at the end, and fail when it does not stop by itself.

    `secure`: it also listens with TLS, at `secure_url`, with a kubeconfig for its administrator at `kubeconfig`.
    """
    if secure:
        flags = ("--secure-listen", "127.0.0.1:0", *flags)
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "controller.log"
    started = time.monotonic()
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "plum_controller", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir), *flags],
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=data_dir,
            env={**os.environ, **(env or {})},
        )
    assert process.stdout is not None
    try:
        readable, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if readable else b""
        assert line, f"the controller did not start:\n{log.read_text()[-4000:]}"
        ready = json.loads(line)
        seconds = time.monotonic() - started
        yield RunningServer(ready["url"], process, data_dir, log, seconds, ready.get("secureUrl", ""), ready.get("workers", ""))
    finally:
        process.stdout.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError("the controller did not stop within 20 s of SIGTERM") from None


@contextlib.asynccontextmanager
async def running_server(
    data_dir: Path, *flags: str, env: Mapping[str, str] | None = None, secure: bool = False
) -> AsyncIterator[RunningServer]:
    """`started_server` for one test."""
    with started_server(data_dir, *flags, env=env, secure=secure) as server:
        yield server
