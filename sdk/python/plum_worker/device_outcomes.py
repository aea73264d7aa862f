"""What a device has executed: ends that still have to be told, and keys that must not be executed again.

    executed --record--> file, flushed --> told --confirm--> forgotten after 1,000 others

Without a folder it remembers until the process ends. With one, an operation that is sent again after a crash of the driver is
answered from the file.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

KEPT = 1000


class Outcome(msgspec.Struct, omit_defaults=True):
    """How one operation ended."""

    id: str
    key: str
    phase: str
    result: Any = None
    error: str = ""
    told: bool = False
    """Somebody took it, or nobody wants to know."""

    def body(self) -> dict[str, Any]:
        """As it is told."""
        told: dict[str, Any] = {"phase": self.phase}
        if self.result is not None:
            told["result"] = self.result
        if self.error:
            told["error"] = self.error
        return told


class Outcomes:
    """Of one device. Raises `OSError` when the folder cannot be written: better than to promise what is not kept."""

    def __init__(self, folder: str = "", name: str = "") -> None:
        self._known: OrderedDict[str, Outcome] = OrderedDict()
        self.untold: OrderedDict[str, Outcome] = OrderedDict()
        """By id, in the order they ended."""
        self.fresh: set[str] = set()
        """Those of them that ended in this process."""
        self._file: int | None = None
        if folder:
            path = Path(folder) / f"{quote(name, safe='')}.outcomes"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._load(path)
            self._file = self._rewrite(path)

    def find(self, key: str) -> Outcome | None:
        """How an operation with this key ended, if it is known."""
        return self._known.get(key)

    def record(self, outcome: Outcome) -> None:
        """Remember an end before anybody is told."""
        if self._file is not None:
            _write(self._file, msgspec.json.encode(outcome) + b"\n")
            os.fsync(self._file)
        self._keep(outcome)
        self.untold[outcome.id] = outcome
        self.fresh.add(outcome.id)

    def again(self, outcome: Outcome, identity: str) -> None:
        """The same operation was sent again: tell its end once more."""
        self.untold[identity] = msgspec.structs.replace(outcome, id=identity)

    def confirm(self, identity: str) -> None:
        """It was told, or nobody wants to know."""
        outcome = self.untold.pop(identity, None)
        self.fresh.discard(identity)
        if outcome is not None and self._file is not None:  # not flushed: telling an end twice is harmless
            _write(self._file, msgspec.json.encode(msgspec.structs.replace(outcome, told=True)) + b"\n")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _keep(self, outcome: Outcome) -> None:
        self._known[outcome.key] = outcome
        self._known.move_to_end(outcome.key)
        while len(self._known) > KEPT:
            self._known.popitem(last=False)

    def _load(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(msgspec.MsgspecError):  # the last line may be cut off by a crash
                    self._keep(msgspec.json.decode(line, type=Outcome))
        self.untold.update({outcome.id: outcome for outcome in self._known.values() if not outcome.told})

    def _rewrite(self, path: Path) -> int:
        fresh = path.with_suffix(".new")
        number = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        _write(number, b"".join(msgspec.json.encode(outcome) + b"\n" for outcome in self._known.values()))
        os.fsync(number)
        fresh.replace(path)
        return number


def _write(number: int, data: bytes) -> None:
    while data:
        data = data[os.write(number, data) :]
