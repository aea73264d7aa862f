"""Ends what a test left behind, and nothing else: the programs it started and the workloads of its agents.

    PLUM_SANDBOX=<token> in the environment     a program of the sandbox; its workloads do not inherit it
    PLUM_RUN / PLUM_SHIM=<agent id>.…           a workload, or its shim, of an agent whose folder is in the sandbox
    a working directory inside the sandbox      a workload that wrote over its environment, as Redis does

Run as a program it waits until its standard input ends: so a test process that is killed leaves nothing either.
Only the standard library's start-up is imported, because one of these runs beside every test that starts programs.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

SANDBOX = "PLUM_SANDBOX"
ROUNDS_SECONDS = 10.0


def left_over(root: Path, token: str) -> list[int]:
    """Processes that belong to the sandbox. A zombie has no environment, so it is none."""
    wanted = [f"{SANDBOX}={token}\0".encode()]
    for identity in _agents(root):
        wanted += [f"PLUM_RUN={identity}.".encode(), f"PLUM_SHIM={identity}.".encode()]
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = b"\0" + (entry / "environ").read_bytes()
            inside = (entry / "cwd").readlink().is_relative_to(root)
        except OSError:
            continue
        if inside or any(b"\0" + marker in environment for marker in wanted):
            found.append(int(entry.name))
    return found


def _agents(root: Path) -> list[str]:
    """Identities of agents whose data is below a folder. Folders may vanish while this looks."""
    found = []
    for folder, _, files in os.walk(root):
        if "agent-id" in files:
            found.append(Path(folder, "agent-id").read_text(encoding="ascii").strip())
    return found


def end_all(root: Path, token: str) -> list[int]:
    """SIGKILL until nothing is left. Answers with what is left after all; empty when the sandbox is clean."""
    deadline = time.monotonic() + ROUNDS_SECONDS
    while (pids := left_over(root, token)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    return pids


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.buffer.read()
    end_all(Path(sys.argv[1]), sys.argv[2])
