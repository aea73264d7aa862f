"""A machine that becomes a node: a real agent over TLS with a folder of its own, started and killed by a test.

machine = Machine(tmp_path, "edge-1", server.secure_url)
machine.start(join=token); machine.wait_ready()
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

PATH = {"PATH": "/usr/bin:/bin"}


def until(holds: Callable[[], Any], seconds: float = 40.0, every: float = 0.05) -> Any:
    """What `holds` answers, as soon as that is true; else the last answer."""
    end = time.monotonic() + seconds
    while not (answer := holds()) and time.monotonic() < end:
        time.sleep(every)
    return answer


class Machine:
    """One data directory, and the agent that runs on it."""

    def __init__(self, folder: Path, node: str, controller: str, environment: Mapping[str, str] | None = None) -> None:
        self.node = node
        self.data = folder / f"{node}-agent"
        self.log_file = folder / f"{node}-agent.log"
        self.controller = controller
        self.environment = {**PATH, **(environment or {})}
        self.agent: subprocess.Popen[bytes] | None = None

    @property
    def identity(self) -> Path:
        return self.data / "identity" / "node.pem"

    @property
    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def start(self, join: str = "", node: str = "") -> subprocess.Popen[bytes]:
        """Start the agent and do not wait for it. It leads a process group, so that a power cut can be played."""
        command = [
            sys.executable, "-m", "plum_agent", "--node", node or self.node, "--controller", self.controller,
            "--data-dir", str(self.data), "--on-stop", "leave", "--engine", "none",
        ]  # fmt: skip
        env = {**self.environment, **({"PLUM_JOIN_TOKEN": join} if join else {})}
        with self.log_file.open("ab") as errors:
            self.agent = subprocess.Popen(
                command, env=env, stdout=subprocess.PIPE, stderr=errors, cwd=self.log_file.parent, start_new_session=True
            )
        return self.agent

    def wait_ready(self) -> None:
        """Wait for the line that the agent prints when it works."""
        assert self.agent is not None and self.agent.stdout is not None
        readable, _, _ = select.select([self.agent.stdout], [], [], 30)
        assert readable and b"ready" in self.agent.stdout.readline(), self.log[-3000:]

    def run(self, join: str = "") -> None:
        self.start(join)
        self.wait_ready()

    def refused(self, join: str = "", node: str = "") -> str:
        """What the agent says when it ends because it cannot be a node."""
        self.start(join, node)
        assert self.agent is not None
        code = self.agent.wait(30)
        self._forget()
        assert code == 1, (code, self.log[-3000:])
        return self.log.splitlines()[-1]

    def end(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the agent alone and wait for its end. Does nothing when none runs."""
        if self.agent is not None:
            self.agent.send_signal(number)
            self.agent.wait(30)
            self._forget()

    def cut_power(self) -> None:
        """Kill the agent with everything that it has started and that is not a workload."""
        assert self.agent is not None
        os.killpg(self.agent.pid, signal.SIGKILL)
        self.agent.wait(30)
        self._forget()

    def _forget(self) -> None:
        assert self.agent is not None and self.agent.stdout is not None
        self.agent.stdout.close()
        self.agent = None
