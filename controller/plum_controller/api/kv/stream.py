"""Changes of a namespace's entries as server-sent events.

    GET /kv/NAMESPACE[/KEY]?watch=true[&prefix=][&since=REVISION]     or Last-Event-ID, which browsers send by themselves

    event: put        data: {"key":"level","type":"int","value":80,"revision":"41"}
    event: sync       what was there before has been told; id is the revision that it shows
    event: delete     data: {"key":"level","revision":"42"}
    event: progress   nothing that concerns this stream happened up to this revision

The id of a change is `REVISION.N`, N counting the changes of that revision: a client that comes back in the middle of a
transaction gets the rest of it and nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from plum_controller.api.kv.listing import entry_json
from plum_controller.api.watch import Sink, WatchHub, WatchPlan, WatchStream, chunk
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.kv import key_of
from plum_controller.resources.options import WatchOptions
from plum_controller.store.cache import WatchEvent

CONTENT_TYPE = b"text/event-stream"
_encode = msgspec.json.Encoder().encode


def plan(
    kind: ResourceKind, namespace: str, prefix: str, key: str, since: str, seconds: float | None, credential: str
) -> WatchPlan:
    """The plan of one stream. Raises `ApiStatusError` 400."""
    revision, skip = _position(since)
    if since:
        options = WatchOptions(namespace=namespace, revision=str(revision), allow_bookmarks=True)
    else:
        options = WatchOptions(namespace=namespace, match="NotOlderThan", send_initial_events=True, allow_bookmarks=True)

    def make(hub: WatchHub, made: WatchPlan) -> WatchStream:
        return EntryStream(hub, made, prefix, key, skip)

    return WatchPlan(
        kind,
        options,
        timeout_seconds=seconds,
        credential=credential,
        make=make,
        content_type=CONTENT_TYPE,
        tells_expiry_inside=False,
    )


def _position(since: str) -> tuple[int, int]:
    """The revision to go on behind, and how many changes of the next one were told already."""
    revision, _, count = since.partition(".")
    if not since:
        return 0, 0
    if not revision.isascii() or not revision.isdigit() or (count and not (count.isascii() and count.isdigit())):
        raise bad_request(f"since is {since!r}; use a revision, or the id of the last event")
    return (int(revision) - 1, int(count)) if count else (int(revision), 0)


class EntryStream(WatchStream):
    """A watch whose lines are server-sent events."""

    __slots__ = ("_count", "_initial", "_key", "_prefix", "_revision", "_skip")

    def __init__(self, hub: WatchHub, plan: WatchPlan, prefix: str, key: str, skip: int) -> None:
        super().__init__(hub, plan)
        self._prefix = prefix
        self._key = key
        self._skip = skip
        """Changes of the first revision that the client has."""
        self._initial = bool(plan.options.send_initial_events)
        self._revision = 0
        self._count = 0

    def _write(self, sink: Sink, events: Sequence[WatchEvent]) -> None:
        text = b"".join([self._event(event) for event in events])
        if text:
            self._hub.metrics.watch_events += len(events)
            self._send(sink, text)

    def _event(self, event: WatchEvent) -> bytes:
        number = self._number(event.revision)
        key = key_of(event.entry)
        if number <= self._skip or (self._key and key != self._key) or not key.startswith(self._prefix):
            return b""
        if event.type == "DELETED":
            data = _encode({"key": key, "revision": str(event.revision)})
        else:
            data = self._hub.encoded(event, "entry", _data)
        name = b"delete" if event.type == "DELETED" else b"put"
        if self._initial:
            return b"event: %b\ndata: %b\n\n" % (name, data)
        return b"id: %d.%d\nevent: %b\ndata: %b\n\n" % (event.revision, number, name, data)

    def _number(self, revision: int) -> int:
        """Which change of its revision this is, from 1 on."""
        if self._initial:
            return 1
        if revision != self._revision:
            if self._revision:
                self._skip = 0
            self._revision, self._count = revision, 0
        self._count += 1
        return self._count

    def bookmark(self, *, initial: bool = False) -> None:
        watcher = self._watcher
        if self._sink is None or watcher is None or self.ended:
            return
        self._initial = False
        name = b"sync" if initial else b"progress"
        revision = watcher.revision
        self._send(self._sink, b'id: %d\nevent: %b\ndata: {"revision":"%d"}\n\n' % (revision, name, revision))

    def fail(self, error: ApiStatusError) -> None:
        if self.ended:
            return
        if self._sink is not None:
            self._send(self._sink, b"event: error\ndata: %b\n\n" % error.body())
        self.close()

    def _send(self, sink: Sink, text: bytes) -> None:
        sink.write(chunk(text) if self._framed else text)


def _data(event: WatchEvent) -> bytes:
    return _encode(entry_json(event.entry, with_value=True))
