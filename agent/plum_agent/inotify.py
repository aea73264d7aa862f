"""Being told by the kernel that a file grew: no polling, so quiet workloads cost nothing."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MODIFY = 0x2
_OVERFLOW = 0x4000
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_EVENT = struct.Struct("iIII")

KEEP_SIZE_PUNCH_HOLE = 0x1 | 0x2
"""Flags of fallocate: free the blocks, keep the size."""


class Inotify:
    """Watches files for growth. `descriptor` becomes readable when `read` has something."""

    def __init__(self) -> None:
        self.descriptor = _check(_libc.inotify_init1(_FLAGS), "inotify_init1")

    def add(self, path: Path) -> int:
        """Watch a file; returns the number that `read` answers with. Raises `OSError`."""
        return _check(_libc.inotify_add_watch(self.descriptor, os.fsencode(path), _MODIFY), f"inotify_add_watch {path}")

    def remove(self, watch: int) -> None:
        """Safe to repeat, and when the file is gone."""
        _libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> set[int] | None:
        """Watches that fired since the last read; None when so many fired that the kernel lost count."""
        fired: set[int] = set()
        while True:
            try:
                buffer = os.read(self.descriptor, 65536)
            except BlockingIOError:
                return fired
            offset = 0
            while offset < len(buffer):
                watch, mask, _, length = _EVENT.unpack_from(buffer, offset)
                offset += _EVENT.size + length
                if mask & _OVERFLOW:
                    return None
                fired.add(watch)

    def close(self) -> None:
        os.close(self.descriptor)


def punch_hole(descriptor: int, offset: int, length: int) -> None:
    """Free the blocks of a range; its bytes read as zeros and the size stays. Raises `OSError` where the file system cannot."""
    result = _libc.fallocate(descriptor, KEEP_SIZE_PUNCH_HOLE, ctypes.c_int64(offset), ctypes.c_int64(length))
    _check(result, "fallocate")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
