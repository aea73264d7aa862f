"""Watches of the fake API: each change goes to the watchers it concerns, found by index and not by asking every one.

    Objects.history -> WatchHub.publish -> Watcher.lines -> whoever reads the stream

A thousand agents watch `spec.nodeName=node-N`; a change of one Instance looks at one bucket, not at a thousand selectors.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from plum_schemas.base import KindInfo

from plum_client.codec import JsonObject, encode
from plum_client.fake_objects import Change, Objects, RefusedError
from plum_client.selection import Selection, field_text

Bucket = tuple[str, str]
"""A field and the value a watcher asks for; empty for watchers that ask for no single value."""


class Line(NamedTuple):
    """One event on its way."""

    type: str
    """As in a watch, or `CUT`: the connection breaks here."""
    value: bytes = b""


class Watcher:
    """One open watch."""

    __slots__ = ("bucket", "info", "lines", "selection", "wake")

    def __init__(self, info: KindInfo, selection: Selection) -> None:
        self.info = info
        self.selection = selection
        self.bucket = _bucket_of(selection)
        self.lines: deque[Line] = deque()
        self.wake = asyncio.Event()

    def offer(self, change: Change) -> None:
        """Take the change if it concerns this watcher. What starts or stops to match is added or deleted."""
        matched = change.old is not None and self.selection.matches_object(change.old)
        if change.new is not None and self.selection.matches_object(change.new):
            self.push(Line("MODIFIED" if matched else "ADDED", change.value))
        elif matched and change.old is not None:
            self.push(Line("DELETED", change.value if change.new is None else _at(change.old, change.revision)))

    def push(self, line: Line) -> None:
        self.lines.append(line)
        self.wake.set()


class WatchHub:
    """All open watches."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._watchers: dict[str, dict[str, dict[str, dict[Watcher, None]]]] = {}
        """By resource, then by the field they ask for, then by its value."""
        self._published = objects.revision

    def open(self, info: KindInfo, selection: Selection, since: str) -> Watcher:
        """A watch with everything after `since` already in it."""
        watcher = Watcher(info, selection)
        if since in ("", "0"):
            stored = self._objects.of(info)
            for key in sorted(stored):
                if selection.matches_object(stored[key]):
                    watcher.push(Line("ADDED", encode(stored[key])))
        elif int(since) < self._objects.compacted:
            text = f"too old resource version: {since} ({self._objects.compacted})"
            watcher.push(Line("ERROR", RefusedError(410, "Expired", text).body()))
        else:
            for change in self._objects.since(int(since)):
                if change.info.resource == info.resource:
                    watcher.offer(change)
        field, value = watcher.bucket
        self._watchers.setdefault(info.resource, {}).setdefault(field, {}).setdefault(value, {})[watcher] = None
        return watcher

    def close(self, watcher: Watcher) -> None:
        field, value = watcher.bucket
        watchers = self._watchers[watcher.info.resource][field]
        del watchers[value][watcher]
        if not watchers[value]:
            del watchers[value]

    def publish(self) -> None:
        """Hand what is new to the watchers it may concern."""
        for change in self._objects.since(self._published):
            for field, watchers in self._watchers.get(change.info.resource, {}).items():
                for value in _values(change, field):
                    for watcher in watchers.get(value, ()):
                        watcher.offer(change)
        self._published = self._objects.revision

    def push_to_all(self, line: Line) -> None:
        for fields in self._watchers.values():
            for values in fields.values():
                for watchers in values.values():
                    for watcher in watchers:
                        watcher.push(line)


def _bucket_of(selection: Selection) -> Bucket:
    if selection.field_selector is not None:
        for requirement in selection.field_selector.requirements:
            if requirement.operator == "=":
                return (requirement.path, requirement.value)
    return ("", "")


def _values(change: Change, field: str) -> Iterable[str]:
    """What the field was and is, once if that is the same."""
    if not field:
        return ("",)
    return dict.fromkeys(field_text(value, field) for value in (change.old, change.new) if value is not None)


def _at(value: JsonObject, revision: int) -> bytes:
    """An object as of an earlier revision, under the revision of the change that took it out of sight."""
    return encode({**value, "metadata": {**value["metadata"], "resourceVersion": str(revision)}})
