"""A workload that bears witness: two copies of it that run at once are found out by the kernel.

Each copy takes a lock that the kernel gives back when its last process is gone, whatever ended it. A copy that finds the lock
taken writes `overlap`. The copy ignores SIGTERM and has a child in a session of its own, so stopping it takes all of Plum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Witness:
    """The files of one workload, outside of all instances."""

    folder: Path

    def command(self) -> list[str]:
        script = f"""
            exec 9>>{self.folder}/lock
            read -r up _ </proc/uptime
            flock -n 9 || echo "overlap $WORKER_NODE_ID $PLUM_INSTANCE_ID $up" >>{self.folder}/log
            echo "start $WORKER_NODE_ID $PLUM_INSTANCE_ID $up" >>{self.folder}/log
            trap '' TERM
            setsid sleep 1000 &
            exec sleep 1001
        """
        return ["sh", "-c", script]

    def lines(self, word: str) -> list[list[str]]:
        """Node, instance and uptime of every `start` or `overlap`."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [line.split()[1:] for line in lines if line.split()[0] == word]

    @property
    def starts(self) -> list[list[str]]:
        return self.lines("start")

    @property
    def overlaps(self) -> list[list[str]]:
        return self.lines("overlap")
