"""Ends this process when its parent ends, also when the parent is killed: for `plum dev`, whose processes must not linger."""

from __future__ import annotations

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel for SIGTERM when the parent ends. `parent` is its pid, if the caller knows it.

    The parent may have ended before the kernel was asked; then the parent is already another one and this process goes at once.
    """
    expected = os.getppid() if parent is None else parent
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel refused PR_SET_PDEATHSIG")
    if os.getppid() != expected or os.getppid() == 1:
        os.kill(os.getpid(), signal.SIGTERM)
