"""Waiting for processes that are not our children, and signalling exactly the process we mean.

A pidfd names one process for ever, but `pidfd_open` takes a number, so identity is checked after it was opened. It also
opens for a zombie: its readiness then says at once that the process has ended.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import struct

from plum_agent.drivers.procfs import read_stat, read_zombie_status

_GET_INFO = (3 << 30) | (64 << 16) | (0xFF << 8) | 11
"""`PIDFD_GET_INFO` with the first version of `struct pidfd_info`, 64 bytes."""
_INFO_EXIT = 1 << 3
"""`PIDFD_INFO_EXIT`: Linux 6.15 and later tell the exit status to whoever holds the pidfd."""


def open_process(pid: int, start_ticks: int) -> int | None:
    """A pidfd of exactly this process, zombie or not; None when it is gone. Raises `OSError` when we cannot know."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    try:
        stat = read_stat(pid)
    except OSError:
        os.close(descriptor)
        raise
    if stat is None or stat.start_ticks != start_ticks:
        os.close(descriptor)
        return None
    return descriptor


def send_signal(pid: int, start_ticks: int, number: int) -> bool:
    """Signal exactly this process. False when it is gone."""
    descriptor = open_process(pid, start_ticks)
    if descriptor is None:
        return False
    try:
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


async def wait_until_ended(descriptor: int) -> None:
    """Return when the process of this pidfd has ended. The descriptor stays open."""
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def on_ready() -> None:
        loop.remove_reader(descriptor)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(descriptor, on_ready)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)


async def read_wait_status(descriptor: int, pid: int, start_ticks: int) -> int | None:
    """The wait status of an ended process that somebody else reaps: from the zombie, or from kernels that still know it."""
    for _ in range(20):
        status = read_zombie_status(pid, start_ticks)
        if status is not None:
            return status
        buffer = bytearray(struct.pack("<Q56x", _INFO_EXIT))
        try:
            fcntl.ioctl(descriptor, _GET_INFO, buffer)
        except OSError:
            return None
        mask, exit_status = struct.unpack("<Q52xi", buffer)
        if mask & _INFO_EXIT:
            return int(exit_status)
        await asyncio.sleep(0.01)
    return None
