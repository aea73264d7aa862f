"""Checks what many clients saw of one API: no stale read, no lost update, no gap in a watch, no list that never was.

    clients  -> Operation (asked at, answered at, what came back) -+
    watchers -> Version (revision, name, contents or deleted)     -+-> check -> sentences about what is wrong

Revisions give the total order that a checker would otherwise have to search for. What is left to check is that every answer is
true at a revision between the moment it was asked and the moment it was answered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

Contents = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Version:
    """One change of one object, as a watcher saw it."""

    revision: int
    name: str
    contents: Contents | None
    """None: deleted."""
    created: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One request that was answered."""

    kind: str
    """create, update, patch, delete, get or list."""
    asked_at: float
    answered_at: float
    name: str = ""
    revision: int = 0
    """Of the object in the answer, or of the list; 0: there was no object."""
    contents: Contents | None = None
    based_on: int = 0
    """For update: the revision it was based on."""
    mark: str = ""
    """For writes: the entry this operation added."""
    items: Mapping[str, int] = field(default_factory=dict)
    """For list: revision by name."""


class Log:
    """All versions of all objects, in the order of their revisions."""

    def __init__(self, versions: Iterable[Version]) -> None:
        self.versions = sorted(versions, key=lambda version: version.revision)
        self.by_revision = {version.revision: version for version in self.versions}
        self._of: dict[str, list[Version]] = defaultdict(list)
        for version in self.versions:
            self._of[version.name].append(version)
        self._revisions = {name: [version.revision for version in found] for name, found in self._of.items()}

    def names(self) -> Iterable[str]:
        return self._of

    def of(self, name: str) -> Sequence[Version]:
        return self._of.get(name, ())

    def at(self, name: str, revision: int) -> Version | None:
        """What an object was at a revision; None: not there."""
        position = bisect_right(self._revisions.get(name, []), revision)
        version = self._of[name][position - 1] if position else None
        return version if version is not None and version.contents is not None else None


def check(operations: Sequence[Operation], watches: Sequence[Sequence[Version]]) -> list[str]:
    """Everything that is wrong, in sentences; empty for a true history. The first watch must have seen all from the beginning."""
    wrong = list(check_watches(watches))
    log = Log(watches[0])
    wrong += check_writes(operations, log)
    wrong += check_updates(operations, log)
    wrong += check_reads(operations, log)
    return wrong


def check_watches(watches: Sequence[Sequence[Version]]) -> Iterable[str]:
    """Each change once and in order, and every watcher the same ones."""
    for number, seen in enumerate(watches):
        for before, after in pairwise(seen):
            if after.revision <= before.revision:
                yield f"watcher {number} saw revision {after.revision} after {before.revision}"
    complete = watches[0]
    for number, seen in enumerate(watches[1:], 1):
        missing = {v.revision for v in complete if seen and v.revision > seen[0].revision} - {v.revision for v in seen}
        if missing:
            yield f"watcher {number} did not see {sorted(missing)[:5]}"
    there: set[str] = set()
    for version in complete:
        if version.created == (version.name in there):
            yield f"{version.name} at {version.revision}: created {version.created}, was there {version.name in there}"
        if version.contents is None:
            there.discard(version.name)
        else:
            there.add(version.name)


def check_writes(operations: Sequence[Operation], log: Log) -> Iterable[str]:
    """Every acknowledged write is in the log, as what was acknowledged, and each revision was given once."""
    given: set[int] = set()
    for operation in operations:
        if operation.kind not in ("create", "update", "patch"):
            continue
        version = log.by_revision.get(operation.revision)
        if version is None:
            yield f"{operation.kind} of {operation.name} was acknowledged at {operation.revision}, and no watcher saw it"
        elif (version.name, version.contents) != (operation.name, operation.contents):
            yield f"{operation.kind} of {operation.name} at {operation.revision} was acknowledged as something else than was seen"
        if operation.revision in given:
            yield f"revision {operation.revision} was given to two writes"
        given.add(operation.revision)


def check_updates(operations: Sequence[Operation], log: Log) -> Iterable[str]:
    """An update that named a revision was based on the version right before; no version loses a mark before it is deleted."""
    based = {operation.revision: operation.based_on for operation in operations if operation.kind == "update"}
    for name in log.names():
        for before, after in pairwise(log.of(name)):
            if after.revision in based and based[after.revision] != before.revision:
                base = based[after.revision]
                yield f"update of {name} at {after.revision} was based on {base}, but {before.revision} came between"
            if before.contents is not None and after.contents is not None:
                lost = before.contents.keys() - after.contents.keys()
                if lost:
                    yield f"{name} at {after.revision} lost {sorted(lost)[:3]}, which {before.revision} had"


def check_reads(operations: Sequence[Operation], log: Log) -> Iterable[str]:
    """No read is older than what anybody had been told when it was asked, and every read is something that was."""
    by_answer = sorted(operations, key=lambda operation: operation.answered_at)
    told_of: dict[str, int] = defaultdict(int)
    told = 0
    position = 0
    for operation in sorted(operations, key=lambda operation: operation.asked_at):
        while position < len(by_answer) and by_answer[position].answered_at < operation.asked_at:
            known = by_answer[position]
            told_of[known.name] = max(told_of[known.name], known.revision)
            told = max(told, known.revision, *known.items.values())
            for name, revision in known.items.items():
                told_of[name] = max(told_of[name], revision)
            position += 1
        if operation.kind == "get":
            yield from _check_get(operation, told_of[operation.name], log)
        elif operation.kind == "list":
            yield from _check_list(operation, told, log)


def _check_get(operation: Operation, told: int, log: Log) -> Iterable[str]:
    if operation.revision:
        version = log.by_revision.get(operation.revision)
        if version is None or (version.name, version.contents) != (operation.name, operation.contents):
            yield f"get of {operation.name} answered with revision {operation.revision} and contents that never were"
        if operation.revision < told:
            yield f"get of {operation.name} answered with {operation.revision} after somebody had been told of {told}"
    elif told and not any(version.contents is None and version.revision > told for version in log.of(operation.name)):
        yield f"get of {operation.name} found nothing after somebody had been told of {told}"


def _check_list(operation: Operation, told: int, log: Log) -> Iterable[str]:
    if operation.revision < told:
        yield f"list at {operation.revision} after somebody had been told of {told}"
    for name in {*log.names(), *operation.items}:
        version = log.at(name, operation.revision)
        actual = version.revision if version is not None else 0
        if operation.items.get(name, 0) != actual:
            yield f"list at {operation.revision} shows {name} as {operation.items.get(name, 0)}, but it was {actual}"
