"""Why a package cannot be used: every problem with the file it is about and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MAX_SHOWN = 20
"""Problems told at once; more of them are of the same sort."""


class Problem(NamedTuple):
    """One thing that is wrong."""

    file: str
    """Name inside the package; empty for the zip as a whole."""
    message: str
    """What is wrong and what to do, without the name of the file."""

    def __str__(self) -> str:
        return f"{shown(self.file)}: {self.message}" if self.file else self.message


class PackageError(Exception):
    """The package can never run. Nothing that is tried again makes it better; another package does."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems[:MAX_SHOWN])
        more = f"; and {len(problems) - MAX_SHOWN} more" if len(problems) > MAX_SHOWN else ""
        super().__init__("; ".join(map(str, self.problems)) + more)


def broken(message: str, file: str = "") -> PackageError:
    """One problem after which nothing more can be read."""
    return PackageError([Problem(file, message)])


def shown(name: str) -> str:
    """A name from a package for people: control characters, bytes that are no text, and great length made visible."""
    text = "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in name)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 120 else f"{text[:117]}..."
