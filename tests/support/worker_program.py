"""A worker for tests of faults, as an application would write it: `python worker_program.py` with the environment of an agent.

FOLDER is where executions leave a line each, so that a test can count what really happened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from plum_worker import Context, Worker

FOLDER = Path(os.environ.get("FOLDER", "."))
worker = Worker(capacity=int(os.environ.get("CAPACITY", "2")))


def note(context: Context, what: str) -> None:
    """One line, whole, also when several processes write."""
    line = f"{what} {context.run_name} {context.attempt} {os.getpid()}\n"
    descriptor = os.open(FOLDER / "executions", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, line.encode())
    os.close(descriptor)


@worker.task("echo")
def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


@worker.task("work")
def work(payload: dict[str, Any], context: Context) -> dict[str, Any]:
    """Takes `seconds`, and leaves a line at the beginning and at the end."""
    note(context, "begin")
    deadline = time.monotonic() + float(payload.get("seconds", 0))
    while (left := deadline - time.monotonic()) > 0:
        if context.cancellation.wait(left):
            note(context, "stopped")
            context.cancellation.raise_if_set()
    note(context, "end")
    return {"pid": os.getpid(), "attempt": context.attempt}


@worker.task("nap")
async def nap(payload: dict[str, Any], context: Context) -> str:
    note(context, "begin")
    try:
        await asyncio.sleep(float(payload.get("seconds", 0)))
    except asyncio.CancelledError:
        note(context, "stopped")
        raise
    note(context, "end")
    return "rested"


@worker.task("gate")
def gate(payload: dict[str, Any], context: Context) -> int:
    """Waits until a file is there, deaf to cancellation."""
    note(context, "begin")
    while not (FOLDER / str(payload["file"])).exists():
        time.sleep(0.02)
    note(context, "end")
    return os.getpid()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    worker.run()
