"""What every source gives, and what can go wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from plum_controller.manifests.tree import Tree


class SourceError(Exception):
    """The source cannot be read now. The message says what, where and why; nothing is changed because of it."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of a source."""

    name: str
    """A commit, or a hash of what is there."""
    tree: Tree


class Source(Protocol):
    """Reads one source. `fetch` may be called again at any time and runs in a thread."""

    def fetch(self) -> Revision:
        """The newest revision. Raises `SourceError`."""

    def revision(self, name: str) -> Revision | None:
        """An earlier revision, where the source itself still has it. Raises `SourceError`."""
