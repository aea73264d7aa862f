"""Begins to follow delegated runs with the first of them: an agent without any loads nothing of it and watches nothing.

Node.status.delegatedRuns > 0, or a file that an agent before this one left -> NodeRuns
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plum_agent.workflows.runs import NodeRuns

FILE = "runs.db"
"""What there is of runs on disk."""


class DelegationSwitch:
    """Runs until cancelled."""

    def __init__(self, directory: Path | None, make: Callable[[Path], NodeRuns]) -> None:
        """`directory` None: this node keeps nothing, so nothing is delegated to it."""
        self._directory = directory
        self._make = make
        self._wanted = asyncio.Event()
        self.runs: NodeRuns | None = None
        if directory is not None and (directory / FILE).exists():
            self._wanted.set()

    def tell(self, count: int) -> None:
        """How many runs the controller says that this node has."""
        if count and self._directory is not None:
            self._wanted.set()

    def __len__(self) -> int:
        """Runs that go on here."""
        return len(self.runs) if self.runs is not None else 0

    def try_now(self) -> None:
        """The controller answers again."""
        if self.runs is not None:
            self.runs.try_now()

    async def run(self) -> None:
        """Wait for the first run, then follow them."""
        await self._wanted.wait()
        assert self._directory is not None  # noqa: S101
        self.runs = self._make(self._directory)
        await self.runs.run()
