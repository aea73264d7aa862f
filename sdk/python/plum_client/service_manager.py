"""What a program tells systemd: that it is ready, that it still lives, that it ends.

    READY=1, WATCHDOG=1, STOPPING=1  -->  datagram to $NOTIFY_SOCKET

Without a service manager (`NOTIFY_SOCKET` is not set) nothing is sent. A manager that does not answer is no reason to fail.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from contextlib import suppress


def notify(state: str, environment: Mapping[str, str] | None = None) -> bool:
    """Send one message. False: there is no service manager, or it does not listen."""
    address = (os.environ if environment is None else environment).get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # an abstract address is written with @ in the environment
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
        sender.connect(address)
        sender.send(state.encode())
        return True
    return False


def watchdog_seconds(environment: Mapping[str, str] | None = None) -> float | None:
    """How often the manager wants to hear that this process lives; None: not at all. Half of its patience, as it asks for."""
    given = os.environ if environment is None else environment
    microseconds, pid = given.get("WATCHDOG_USEC", ""), given.get("WATCHDOG_PID", "")
    if not microseconds.isdigit() or int(microseconds) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(microseconds) / 2_000_000


async def keep_telling() -> None:
    """Say READY, and from then on that the event loop turns, until it is cancelled. A loop that hangs is silent, and is ended."""
    notify("READY=1")
    period = watchdog_seconds()
    if period is None:
        return
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(period)
