"""What programs tell systemd."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest
from plum_client.service_manager import keep_telling, notify, watchdog_seconds


def test_without_a_service_manager_nothing_is_said() -> None:
    assert not notify("READY=1", {})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "relative"})
    assert not notify("READY=1", {"NOTIFY_SOCKET": "/nobody/listens"})


@pytest.mark.parametrize("abstract", [False, True])
async def test_a_program_says_that_it_is_ready_and_then_that_it_lives(
    abstract: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"@plum-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + address[1:] if abstract else address)
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "20000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)

        task = asyncio.create_task(keep_telling())
        said = [await asyncio.get_running_loop().sock_recv(listener, 100) for _ in range(3)]
        task.cancel()

    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1"]


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "x"}, None),
        ({"WATCHDOG_USEC": "4000000"}, 2.0),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
    ],
)
def test_only_the_process_that_is_watched_keeps_telling(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds
