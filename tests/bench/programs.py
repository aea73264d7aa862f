"""Starts the real programs for a measurement: a controller on a free port and agents with the fake or the real driver."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(slots=True)
class Program:
    """A running controller."""

    process: asyncio.subprocess.Process
    url: str
    start_seconds: float
    """From fork to the line that says it is ready."""
    workers: str = ""
    """Address of the listener for workers."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def resident_mb(self) -> float:
        return resident_mb(self.process.pid)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


def cpu_seconds(pid: int) -> float:
    """User and system time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def controller(data_dir: Path, *extra: str) -> AsyncIterator[Program]:
    """A controller with its store on disk; ends with the block."""
    started = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "plum_controller", "--listen", "127.0.0.1:0", "--data-dir", str(data_dir), *extra,
        stdout=asyncio.subprocess.PIPE,
        stderr=(data_dir / "controller.log").open("ab"),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        if not line:
            raise RuntimeError((data_dir / "controller.log").read_text()[-2000:])
        seconds, said = time.perf_counter() - started, json.loads(line)
        yield Program(process, said["url"], seconds, said.get("workers", ""))
    finally:
        await _stop(process)


@contextlib.asynccontextmanager
async def agents(
    url: str, data_dir: Path, *, driver: str, count: int = 1, node: str = "node"
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One agent process that stands for `count` nodes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "plum_agent", "--node", node, "--controller", url,
        "--data-dir", str(data_dir), "--driver", driver, "--count", str(count),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=(data_dir / "agent.log").open("ab"),
    )  # fmt: skip
    try:
        yield process
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 15)
        except TimeoutError:
            process.kill()
            await process.wait()
