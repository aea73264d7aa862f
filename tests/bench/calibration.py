"""What this machine does with nothing of Plum in between: the yardstick for every rate over HTTP.

The goals were set on a machine on which a bare ASGI callable answers 45,000 to 59,000 requests per second.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from pathlib import Path

from tests.bench.load import request_bytes, run_load
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


async def measure(data_dir: Path) -> list[Row]:
    """A callable that answers 1 KB and does nothing else, under the same server and the same load."""
    (data_dir / "bare.py").write_text(APPLICATION)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "uvicorn", "bare:answer", "--app-dir", str(data_dir), "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--lifespan", "off", "--no-access-log", "--log-level", "warning",
    )  # fmt: skip
    try:
        await _listening(port)
        outcome = await run_load("127.0.0.1", port, iter([request_bytes("GET", "/")] * REQUESTS))
    finally:
        process.kill()
        await process.wait()
    return [Row("yardstick: a bare ASGI answer of 1 KB", outcome.rate, "/s", GOAL, reference="Starlette 32,000 there")]


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
