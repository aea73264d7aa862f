"""Watches: changes written to every watcher in the moment of the commit, without a task switch per watcher.

    store commit -> WatchCache.publish -> WatchStream.deliver -> Sink.write      all in one call, for every watcher in turn
                                                                   |
                                          the socket's buffer (HTTP), a queue (in process, WebSocket)

A sink never blocks. What a client does not read piles up in its buffer, and past a bound the watch is cut with an error
that the client can resume from: 429, not 410, so it goes on from the revision it has. A bookmark is written only after
everything before it, because both pass through the same sink in order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from plum_schemas.base import KindInfo

from plum_controller.api.metrics import Metrics
from plum_controller.api.negotiation import Form
from plum_controller.api.omitting import Omission
from plum_controller.api.table import Tabulator, partial
from plum_controller.resources.errors import ApiStatusError, expired, too_many_requests
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WatchOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.cache import Watcher, WatchEvent
from plum_controller.store.errors import StoreError

_encode = msgspec.json.Encoder().encode

MEMO_BYTES = 2 * 1024 * 1024
"""Encoded events that are remembered: about those of one batch, which every watcher gets in turn."""
DRAIN_SECONDS = 0.005
"""How often a replay of history looks whether the client has read enough to be given more."""


class Sink(Protocol):
    """Where the lines of one watch go."""

    framed: bool
    """Lines are wanted as HTTP chunks."""

    def write(self, data: bytes) -> None:
        """Take a line, or with `framed` one or more chunks. Must not block and must not raise."""

    def buffered(self) -> int:
        """Bytes taken but not sent yet."""

    def wake(self) -> None:
        """The stream has ended: whoever serves it should look."""


@dataclass(frozen=True, slots=True)
class WatchPlan:
    """Everything that one watch was asked for."""

    kind: ResourceKind
    options: WatchOptions
    form: Form = Form.JSON
    include: str = "Metadata"
    timeout_seconds: float | None = None
    credential: str = ""
    """Name of the Token that the watch was opened with; it ends with it."""
    omission: Omission | None = None
    """Parts of the objects that are left out."""
    make: Callable[[WatchHub, WatchPlan], WatchStream] | None = None
    """Makes the stream, where it writes something else than lines of JSON."""
    content_type: bytes = b"application/json"
    tells_expiry_inside: bool = True
    """An expired revision is told in the stream. Kubernetes' clients list again only when they read it there."""


def chunk(line: bytes) -> bytes:
    """A line as a chunk of HTTP's chunked encoding."""
    return b"%x\r\n%b\r\n" % (len(line), line)


class WatchHub:
    """All open watches. Owns the clock of their bookmarks and the memory of encoded events."""

    def __init__(
        self,
        service: ResourceService,
        metrics: Metrics,
        *,
        default_seconds: float = 1800.0,
        bookmark_seconds: float = 60.0,
        buffer_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self.service = service
        self.metrics = metrics
        self.buffer_bytes = buffer_bytes
        self._default_seconds = default_seconds
        self._bookmark_seconds = bookmark_seconds
        self._streams: set[WatchStream] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._memo: dict[tuple[int, object], tuple[WatchEvent, bytes]] = {}
        self._memo_bytes = 0
        self._tabulators: dict[KindInfo, Tabulator] = {}

    def open(self, plan: WatchPlan) -> WatchStream:
        """Begin a watch; what it delivers waits until `attach`. Raises `ApiStatusError` that is the answer to the request."""
        stream = WatchStream(self, plan) if plan.make is None else plan.make(self, plan)
        stream.open()
        return stream

    def close(self) -> None:
        """End all watches cleanly: the server stops."""
        for stream in list(self._streams):
            stream.end()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def revoke(self, credential: str) -> None:
        """End what was opened with a token that is no longer worth anything."""
        for stream in list(self._streams):
            if stream.plan.credential == credential:
                stream.fail(ApiStatusError(401, "Unauthorized", "Unauthorized: the token of this watch was revoked"))

    def add(self, stream: WatchStream) -> float:
        """Count a stream in; answers with the seconds it may last."""
        self._streams.add(stream)
        self.metrics.watches = len(self._streams)
        if self._timer is None and self._bookmark_seconds > 0:
            self._timer = asyncio.get_running_loop().call_later(self._bookmark_seconds, self._bookmarks)
        asked = stream.plan.timeout_seconds
        return asked if asked else random.uniform(self._default_seconds, 2 * self._default_seconds)  # noqa: S311 - spread, not secret

    def discard(self, stream: WatchStream) -> None:
        self._streams.discard(stream)
        self.metrics.watches = len(self._streams)

    def _bookmarks(self) -> None:
        """One timer for all: a thousand watches wake the process once a minute, not a thousand times."""
        self._timer = None
        if self._streams:
            self._timer = asyncio.get_running_loop().call_later(self._bookmark_seconds, self._bookmarks)
        for stream in list(self._streams):
            stream.bookmark()

    def encoded(self, event: WatchEvent, key: object, make: Callable[[WatchEvent], bytes]) -> bytes:
        """An event in one form, made once for all watchers of that form."""
        found = self._memo.get((id(event), key))
        if found is not None and found[0] is event:
            return found[1]
        data = make(event)
        if self._memo_bytes > MEMO_BYTES:
            self._memo.clear()
            self._memo_bytes = 0
        self._memo[id(event), key] = (event, data)
        self._memo_bytes += len(data) + 200
        return data

    def tabulator(self, info: KindInfo) -> Tabulator:
        """The columns of a kind, compiled once."""
        found = self._tabulators.get(info)
        if found is None:
            if len(self._tabulators) > 1000:
                self._tabulators.clear()
            found = self._tabulators[info] = Tabulator(info)
        return found


class WatchStream:
    """One watch: open (delivers into a list), attached (delivers into its sink), ended."""

    __slots__ = (
        "_allowance",
        "_framed",
        "_handle",
        "_headings",
        "_hub",
        "_live",
        "_pending",
        "_sink",
        "_watcher",
        "ended",
        "plan",
    )

    def __init__(self, hub: WatchHub, plan: WatchPlan) -> None:
        self.plan = plan
        self.ended = False
        self._hub = hub
        self._pending: list[WatchEvent] = []
        self._sink: Sink | None = None
        self._framed = False
        self._headings = True
        self._watcher: Watcher | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._allowance = 0
        self._live = False
        """Everything from before has been delivered."""

    def open(self) -> None:
        """Subscribe. Raises `ApiStatusError`."""
        self._watcher = self._hub.service.watch(self.plan.kind, self.plan.options, self._deliver, self._gone)
        self._watcher.drained = self._drained

    def attach(self, sink: Sink) -> None:
        """Write what has waited, the end mark of the initial events if it was asked for, and from now on every change."""
        self._sink = sink
        self._framed = sink.framed
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self._hub.add(self), self.end)
        pending, self._pending = self._pending, []
        if pending:
            # A client may well take a moment for the first part, which can be larger than what a slow one may leave unread.
            before = sink.buffered()
            self._write(sink, pending)
            self._allowance = max(0, sink.buffered() - before)
        if self.plan.options.send_initial_events and self.plan.options.allow_bookmarks:
            self.bookmark(initial=True)

    def bookmark(self, *, initial: bool = False) -> None:
        """Tell how far the watch has come, if the client asked for that."""
        watcher = self._watcher
        if self._sink is None or watcher is None or self.ended or not self.plan.options.allow_bookmarks:
            return
        line = self._bookmark_line(watcher.revision, initial)
        self._sink.write(chunk(line) if self._framed else line)

    def end(self) -> None:
        """Finish cleanly, with a last bookmark. Safe to repeat."""
        if not self.ended:
            self.bookmark()
            self.close()

    def fail(self, error: ApiStatusError) -> None:
        """Finish with an ERROR event."""
        if self.ended:
            return
        if self._sink is not None:
            line = error_line(error)
            self._sink.write(chunk(line) if self._framed else line)
        self.close()

    def close(self) -> None:
        """Stop delivering. Safe to repeat."""
        if self.ended:
            return
        self.ended = True
        self._hub.discard(self)
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._sink is not None:
            self._sink.wake()

    def _gone(self, error: StoreError) -> None:
        """History was forgotten while it was replayed to this watch."""
        self.fail(expired(f"too old resource version: {error}"))

    async def _drained(self) -> None:
        """Wait until most of what was written has gone out: history comes no faster than the client reads it."""
        most = self._hub.buffer_bytes // 4
        while not self.ended and (self._sink is None or self._sink.buffered() > most):  # noqa: ASYNC110 -- no sink tells of it
            await asyncio.sleep(DRAIN_SECONDS)

    def _deliver(self, events: Sequence[WatchEvent]) -> None:
        sink = self._sink
        replayed, self._live = not self._live, self._watcher is None or self._watcher.attached
        if sink is None:
            self._pending.extend(events)
        elif not self.ended:
            before = sink.buffered()
            self._write(sink, events)
            if replayed:
                self._allowance += max(0, sink.buffered() - before)
            self._watch_buffer(sink)

    def _write(self, sink: Sink, events: Sequence[WatchEvent]) -> None:
        self._hub.metrics.watch_events += len(events)
        if self._framed and len(events) > 1:
            sink.write(b"".join([self._line(event) for event in events]))
        else:
            for event in events:
                sink.write(self._line(event))

    def _watch_buffer(self, sink: Sink) -> None:
        """Cut a client that does not read. Initial events and history do not count until they are through."""
        waiting = sink.buffered()
        if waiting <= self._hub.buffer_bytes:
            self._allowance = 0
        elif waiting > self._hub.buffer_bytes + self._allowance:
            self._hub.metrics.watches_cut += 1
            self.fail(
                too_many_requests("this watch reads more slowly than changes happen and was cut; resume from the last event", 1)
            )

    def _line(self, event: WatchEvent) -> bytes:
        plan = self.plan
        if plan.form is Form.JSON and plan.omission is None:
            return self._hub.encoded(event, True, _framed_line) if self._framed else event.line()
        if plan.form is Form.TABLE and self._headings:
            self._headings = False
            line = self._make(event, headings=True)
            return chunk(line) if self._framed else line
        key = (plan.form, plan.include, plan.omission, self._framed)
        return self._hub.encoded(event, key, self._framed_make if self._framed else self._make)

    def _framed_make(self, event: WatchEvent) -> bytes:
        return chunk(self._make(event))

    def _make(self, event: WatchEvent, headings: bool = False) -> bytes:
        plan = self.plan
        value = event.entry.value
        if plan.form is Form.TABLE:
            tabulator = self._hub.tabulator(plan.kind.info)
            value = tabulator.table([value], revision=str(event.revision), include=plan.include, headings=headings)
        elif plan.form is Form.PARTIAL:
            value = partial(value)
        elif plan.omission is not None:
            value = plan.omission.applied(value)
        return b'{"type":"%b","object":%b}\n' % (event.type.encode(), value)

    def _bookmark_line(self, revision: int, initial: bool) -> bytes:
        plan = self.plan
        metadata: dict[str, object] = {"resourceVersion": str(revision)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        info = plan.kind.info
        value: dict[str, object] = {"kind": info.kind, "apiVersion": info.api_version, "metadata": metadata}
        if plan.form is Form.PARTIAL:
            value.update({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"})
        elif plan.form is Form.TABLE:
            value.update({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": None, "rows": []})
        return _encode({"type": "BOOKMARK", "object": value}) + b"\n"


def _framed_line(event: WatchEvent) -> bytes:
    return chunk(event.line())


def error_line(error: ApiStatusError) -> bytes:
    """The ERROR event of a refusal that came after the headers were sent."""
    return b'{"type":"ERROR","object":%b}\n' % error.body()
