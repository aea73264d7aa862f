"""Rows of nodes as they change, for those who watch a run.

    Actor --stored--> WorkflowEngine --changed--> Feed of the run --> watchers, each from the position it knows

Rows have no revision of the store. A feed numbers the changes of one run from the moment somebody first asks for them, and
keeps the last ones for whoever comes back. What a feed has forgotten, a restart of the controller included, is told as such:
list again. Runs that nobody reads cost one look into a dictionary for each step.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

KEPT_CHANGES = 4000
"""Of one run, for watchers that come back."""
KEPT_BYTES = 4 << 20
"""Of one run: outputs may be large."""
KEPT_FEEDS = 200
"""Runs that are followed for nobody, the oldest look first forgotten."""


class NodeChange(NamedTuple):
    """One row as it is on disk now."""

    position: int
    key: str
    row: bytes


Changed = Callable[[Sequence[NodeChange]], None]
Gone = Callable[[], None]


class PositionUnknownError(Exception):
    """What happened after this position is not known any more: list again."""


class Feed:
    """The changes of one run."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = 0
        self._kept: deque[NodeChange] = deque()
        self._bytes = 0
        self.watchers: dict[Changed, Gone] = {}

    def text(self, position: int | None = None) -> str:
        """A position as clients know it; by default the last one."""
        return f"{self._name}-{self._last if position is None else position}"

    def changed(self, rows: Mapping[str, bytes]) -> None:
        """Number the rows and tell of them."""
        changes = []
        for key, row in rows.items():
            self._last += 1
            changes.append(NodeChange(self._last, key, row))
            self._bytes += len(row)
        self._kept.extend(changes)
        while len(self._kept) > KEPT_CHANGES or (self._bytes > KEPT_BYTES and self._kept):
            self._bytes -= len(self._kept.popleft().row)
        for tell in list(self.watchers):
            tell(changes)

    def after(self, text: str) -> list[NodeChange]:
        """What happened after a position. Raises `PositionUnknownError`."""
        name, _, number = text.rpartition("-")
        position = int(number) if number.isascii() and number.isdigit() and len(number) < 19 else -1
        oldest = self._kept[0].position - 1 if self._kept else self._last
        if name != self._name or not oldest <= position <= self._last:
            raise PositionUnknownError(f"what happened after {text!r} is not known any more; list the nodes again")
        return [change for change in self._kept if change.position > position]


class Feeds:
    """The feeds of all runs that somebody reads."""

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)
        self._made = 0
        self._feeds: OrderedDict[str, Feed] = OrderedDict()
        """By uid of the run, the one looked at last at the end."""

    def follows(self, uid: str) -> bool:
        """Whether anybody wants to know."""
        return uid in self._feeds

    def of(self, uid: str) -> Feed:
        """The feed of a run, from now on if there was none."""
        found = self._feeds.get(uid)
        if found is None:
            self._made += 1
            found = self._feeds[uid] = Feed(f"{self._epoch}-{self._made}")
            self._forget_idle()
        self._feeds.move_to_end(uid)
        return found

    def changed(self, uid: str, rows: Mapping[str, bytes]) -> None:
        """Rows of a run are on disk."""
        feed = self._feeds.get(uid)
        if feed is not None and rows:
            feed.changed(rows)

    def forget(self, uid: str) -> None:
        """A run was deleted."""
        feed = self._feeds.pop(uid, None)
        for gone in list(feed.watchers.values()) if feed is not None else ():
            gone()

    def _forget_idle(self) -> None:
        idle = len(self._feeds) - KEPT_FEEDS
        for uid in [uid for uid, feed in self._feeds.items() if not feed.watchers][: max(0, idle)]:
            del self._feeds[uid]
