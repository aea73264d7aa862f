"""What this machine does with nothing of Plum in between: the yardsticks for every rate over HTTP.

The goals were set on a machine on which a bare ASGI callable answers 45,000 to 59,000 requests per second, and the least
durable server (`tests.bench.ceiling`) takes 8,700 creates per second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.bench.load import request_bytes, run_load
from tests.bench.objects import machine, name
from tests.bench.table import Row

REQUESTS = 40_000
GOAL = 45_000
APPLICATION = """
BODY = b"x" * 1000
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"1000")]

async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})
"""


OBJECTS = 10_000
CEILING = """
from pathlib import Path
from tests.bench.ceiling import application

application = application(Path(__file__).with_name("ceiling.db"))
"""


async def measure(data_dir: Path) -> list[Row]:
    """A callable that answers 1 KB and does nothing else, and the least durable server, under the same server and load."""
    (data_dir / "bare.py").write_text(APPLICATION)
    (data_dir / "least.py").write_text(CEILING)
    async with _served(data_dir, "bare:answer") as port:
        bare = await run_load("127.0.0.1", port, iter([request_bytes("GET", "/")] * REQUESTS))
    async with _served(data_dir, "least:application") as port:
        bodies = [json.dumps(machine(index)).encode() for index in range(OBJECTS)]
        created = await run_load("127.0.0.1", port, iter([request_bytes("POST", "/machines", body) for body in bodies]))
        gets = [request_bytes("GET", f"/machines/{name(index)}") for index in range(OBJECTS)]
        got = await run_load("127.0.0.1", port, iter(gets * 3))
    return [
        Row("yardstick: a bare ASGI answer of 1 KB", bare.rate, "/s", GOAL, reference="Starlette 32,000 there"),
        Row("yardstick: create, least durable server", created.rate, "/s", 8_700, reference="3,700 on one connection"),
        Row("yardstick: GET, least durable server", got.rate, "/s", 29_000),
    ]


@contextlib.asynccontextmanager
async def _served(data_dir: Path, application: str) -> AsyncIterator[int]:
    """The port of an application under uvicorn, as the controller runs under it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", application, "--app-dir", str(data_dir), "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--no-access-log", "--log-level", "warning",
    )  # fmt: skip
    try:
        await _listening(port)
        yield port
    finally:
        process.kill()
        await process.wait()


async def _listening(port: int) -> None:
    """Wait until the server takes connections. Raises `TimeoutError` after 30 seconds."""
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return
