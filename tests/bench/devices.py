"""Devices: reports that become status and history, and the way of an operation to a driver and back."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.load import request_bytes, run_load
from tests.bench.objects import call
from tests.bench.programs import Program, controller
from tests.bench.table import Row

REPORTS = 4_000
DEVICES = 100
OPERATIONS = 200
HISTORY = 5_000
BASE = "/apis/plum.dev/v1/namespaces/default"


def body(session: str, number: int) -> bytes:
    values = {"temperature": {"value": number / 10}, "contacts": {"value": number}}
    return json.dumps({"session": session, "values": values}).encode()


def reports(count: int, devices: int) -> Iterator[bytes]:
    """One report of two values each, every time others."""
    return iter(
        [
            request_bytes("POST", f"/devices/default/bench-{index % devices}/reports", body("bench", index), "application/json")
            for index in range(count)
        ]
    )


async def measure(folder: Path) -> list[Row]:
    """The rows of devices."""
    from plum_worker import Device

    async with controller(folder) as program:
        host, port = program.host, program.port
        announced = {"session": "bench", "type": "Bench", "heartbeat": "10m"}
        for number in range(DEVICES):
            await asyncio.to_thread(call, program, "PUT", f"/devices/default/bench-{number}", announced)
        many = await run_load(host, port, reports(REPORTS, DEVICES))
        one = await run_load(host, port, reports(HISTORY, 1), connections=1)

        path = f"{BASE}/resources/bench-0/history?property=temperature&step=1s&limit=1000"
        began = time.perf_counter()
        await asyncio.to_thread(call, program, "GET", path)
        read = time.perf_counter() - began

        device = Device("echo", address=program.url)

        @device.operation
        async def echo(text: str) -> str:
            return text

        with device:
            await _announced(program)
            seconds = sorted([await _round_trip(program, number) for number in range(OPERATIONS)])
    return [
        Row(f"reports of two values by {DEVICES} devices, 16 connections, with history", many.rate, "/s", 1_000),
        Row("reports of one device, one connection", one.rate, "/s", 300),
        Row(f"history of one property, {HISTORY + REPORTS // DEVICES:,} values as spans of 1 s", read * 1000, "ms", 200, False),
        Row("operation: asked, carried out by a driver, ended; p50", seconds[len(seconds) // 2] * 1000, "ms", 50, False),
    ]


async def _announced(program: Program) -> None:
    """Until the driver's device is there."""
    async with asyncio.timeout(60):
        while b'"echo"' not in await asyncio.to_thread(call, program, "GET", f"{BASE}/resources"):
            await asyncio.sleep(0.05)


async def _round_trip(program: Program, number: int) -> float:
    """From the request for an operation to its end, as a client sees it."""
    name = f"echo-{number}"
    wanted = {
        "apiVersion": "plum.dev/v1",
        "kind": "Operation",
        "metadata": {"name": name},
        "spec": {"resourceRef": "echo", "method": "echo", "arguments": {"text": str(number)}},
    }
    began = time.perf_counter()
    await asyncio.to_thread(call, program, "POST", f"{BASE}/operations", wanted)
    while True:
        found = json.loads(await asyncio.to_thread(call, program, "GET", f"{BASE}/operations/{name}"))
        phase = (found.get("status") or {}).get("phase")
        if phase == "Succeeded":
            return time.perf_counter() - began
        if phase in ("Failed", "Expired", "Canceled", "Unknown"):
            raise RuntimeError(f"{name} ended as {phase}: {found['status']}")
        await asyncio.sleep(0.002)
