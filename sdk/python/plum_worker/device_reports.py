"""Values that wait to be told, in the order they were measured. Bounded: when too many wait, only the newest of each property.

report --add--> waiting --take--> one request's values (each property once) --told | give_back-->
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

MAX_WAITING = 5000
"""Values. Beyond it the older ones of each property are dropped, and counted."""


class Report(NamedTuple):
    """One value."""

    name: str
    value: Any
    time: str
    quality: str

    def body(self) -> dict[str, Any]:
        return {"value": self.value, "deviceTime": self.time} | ({"quality": self.quality} if self.quality != "good" else {})


class Reports:
    """Filled from any thread, emptied by the session."""

    def __init__(self) -> None:
        self._waiting: deque[Report] = deque()
        self._lock = threading.Lock()
        self.wake: Callable[[], None] = lambda: None
        self.newest: dict[str, Any] = {}
        """The value that was reported last, by property."""
        self.dropped = 0
        """Values that nobody will hear of: newer ones of the same property took their place."""

    def add(self, values: Mapping[str, Any], time: datetime, quality: str = "good") -> None:
        """Raises `TypeError` for a value that is no JSON."""
        text = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
        plain = {name: msgspec.to_builtins(value) for name, value in values.items()}
        with self._lock:
            self.newest.update(plain)
            self._waiting.extend(Report(name, value, text, quality) for name, value in plain.items())
            if len(self._waiting) > MAX_WAITING:
                self._shrink()
        self.wake()

    def take(self) -> dict[str, Report]:
        """The oldest values that one request can tell: none of a property twice."""
        taken: dict[str, Report] = {}
        with self._lock:
            while self._waiting and self._waiting[0].name not in taken:
                report = self._waiting.popleft()
                taken[report.name] = report
        return taken

    def give_back(self, reports: Mapping[str, Report]) -> None:
        """They were not told: put them first again."""
        with self._lock:
            self._waiting.extendleft(reversed(list(reports.values())))
            if len(self._waiting) > MAX_WAITING:
                self._shrink()

    def __len__(self) -> int:
        return len(self._waiting)

    def _shrink(self) -> None:
        """Half of the room is for what comes: the newest value of each property stays, then the newest of all."""
        newest = {report.name: index for index, report in enumerate(self._waiting)}
        keep = set(newest.values())
        last = len(self._waiting) - MAX_WAITING // 2
        kept = [report for index, report in enumerate(self._waiting) if index >= last or index in keep]
        self.dropped += len(self._waiting) - len(kept)
        self._waiting = deque(kept)
