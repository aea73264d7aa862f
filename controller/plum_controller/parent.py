"""Ends this process when its parent ends, also when the parent is killed: for `plum dev`, whose processes must not linger."""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent ends. When the parent ended before, this process goes at once.

    An orphan's parent is process 1, or the nearest process that takes up orphans. As process 1 of a container `plum dev` is a
    real parent, so there its command line decides.
    """
    expected = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != expected or (expected == 1 and b"plum" not in Path("/proc/1/cmdline").read_bytes()):
        os.kill(os.getpid(), signal.SIGTERM)
