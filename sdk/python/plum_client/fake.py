"""An API in memory, for tests and simulations of controllers: a `Transport` that behaves like the server.

    FakeApi(objects...) <- ApiClient <- Manager, controllers under test
         crash_after    the process dies right after its n-th write
         faults         seeded: latency, refused requests, answers lost after the write happened, watches cut

It passes the same contract suite as the real API (tests/contract/test_api.py). All chance comes from `seed`, so a run under
`plum_client.simulated` repeats exactly. `plum_client.fake_objects` names what is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

import msgspec
from plum_schemas.base import KindInfo, Object, ObjectKey

from plum_client.client import ApiClient
from plum_client.clock import Clock, SystemClock
from plum_client.codec import JsonObject, T, codec_of, encode
from plum_client.errors import ApiUnavailableError
from plum_client.fake_answers import Answers, bookmark, discovery, selection_of
from plum_client.fake_objects import Objects, RefusedError
from plum_client.fake_watch import Line, Watcher, WatchHub
from plum_client.transport import Request, Response, Stream

BOOKMARK_SECONDS = 60.0
Typed: TypeAlias = list[T]
Keys: TypeAlias = list[ObjectKey]


class CrashError(BaseException):
    """The process died here. Not an `Exception`, so that no error handling of the code under test survives it."""


@dataclass(slots=True)
class Faults:
    """How unreliable the way to the API is. Shares are between 0 and 1."""

    latency: tuple[float, float] = (0.0, 0.0)
    """Seconds each request takes, at least and at most."""
    watch_latency: tuple[float, float] = (0.0, 0.0)
    """Seconds until watch events arrive; their order is kept."""
    refuse: float = 0.0
    """Share of requests that never arrive."""
    lose_answer: float = 0.0
    """Share of requests that happen, and whose answer is lost."""
    cut_watch: float = 0.0
    """Share of watch events before which the connection breaks."""
    conflict: float = 0.0
    """Share of updates and patches that are refused as stale, though they are not."""


class FakeApi:
    """The API in memory. Objects given here exist from the start, status included.

    After a crash every request raises `CrashError` until `revive()`, or until `crash_after` is set anew.
    """

    def __init__(
        self,
        *objects: Object | JsonObject | Iterable[Object | JsonObject],
        clock: Clock | None = None,
        seed: int = 0,
        kinds: Iterable[KindInfo | type[Object]] = (),
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.faults = Faults()
        self.writes = 0
        """Writes that changed something since the start."""
        self.requests = 0
        """Requests of all sorts since the start, watches not counted."""
        self.random = Random(seed)  # noqa: S311  repeatable on purpose
        self._objects = Objects(lambda: self.clock, self.random)
        self._answers = Answers(self._objects)
        self._crash_after: int | None = None
        self._dead = False
        for kind in kinds:
            self._objects.of(codec_of(kind).info)
        self._hub = WatchHub(self._objects)
        self.load(*objects)

    # ---- for tests

    @property
    def crash_after(self) -> int | None:
        """Die right after the write of this number (of `writes`)."""
        return self._crash_after

    @crash_after.setter
    def crash_after(self, writes: int | None) -> None:
        self._crash_after = writes
        self._dead = False

    def revive(self) -> None:
        """The process runs again; it crashes no more."""
        self.crash_after = None

    @property
    def revision(self) -> int:
        """Of the last write."""
        return self._objects.revision

    def client(self, field_manager: str = "test") -> ApiClient:
        return ApiClient(self, field_manager)

    def load(self, *objects: Object | JsonObject | Iterable[Object | JsonObject]) -> None:
        """Put objects in as they are, status included; as somebody else's writes, so they are not counted."""
        for item in objects:
            if isinstance(item, Object):
                self._objects.load(item.info, msgspec.to_builtins(item))
            elif isinstance(item, dict):
                self._objects.load(self._kind_of(item), item)
            else:
                self.load(*item)
        self._hub.publish()

    def get(self, kind: type[T], name: str, namespace: str = "default") -> T | None:
        """An object as it is now, without a request."""
        found = self._objects.of(kind.info).get(ObjectKey(namespace if kind.info.namespaced else "", name))
        return None if found is None else codec_of(kind).decode(encode(found))

    def keys(self, kind: type[Object] | KindInfo) -> Keys:
        """The keys of all objects of a kind, sorted."""
        return sorted(self._objects.of(codec_of(kind).info))

    def list(self, kind: type[T], namespace: str = "") -> Typed[T]:
        """All objects of a kind in key order, without a request."""
        decode, stored = codec_of(kind).decode, self._objects.of(kind.info)
        return [decode(encode(stored[key])) for key in sorted(stored) if not namespace or key.namespace == namespace]

    def compact(self, revision: int | None = None) -> None:
        """Forget the history up to a revision (None: all of it): watches and pages from before get 410."""
        self._objects.compact(self.revision if revision is None else revision)
        self._answers.snapshots.clear()

    def cut_watches(self) -> None:
        """Break every open watch, after what it has not read yet."""
        self._hub.push_to_all(Line("CUT"))

    # ---- as a transport

    async def send(self, request: Request) -> Response:
        """Raises `ApiUnavailableError` as the faults say, `CrashError` after the crash."""
        self.requests += 1
        self._check_alive()
        await self._travel(self.faults.latency)
        self._check_alive()
        if self._happens(self.faults.refuse):
            raise ApiUnavailableError("connection refused")
        before = self.revision
        response = self._answer(request)
        if self.revision > before:
            self.writes += self.revision - before
            self._hub.publish()
            if self._crash_after is not None and self.writes >= self._crash_after:
                self._dead = True
                self._check_alive()
        if self._happens(self.faults.lose_answer):
            raise ApiUnavailableError("connection closed before the answer came")
        return response

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[Stream, None]:
        """A watch. Raises `ApiUnavailableError` as the faults say, `CrashError` after the crash."""
        self._check_alive()
        await self._travel(self.faults.latency)
        if self._happens(self.faults.refuse):
            raise ApiUnavailableError("connection refused")
        try:
            selection = selection_of(request)
        except RefusedError as refusal:
            yield Stream(refusal.code, _once(refusal.body()))
            return
        watcher = self._hub.open(request.info, selection, request.query.get("resourceVersion", ""))
        try:
            yield Stream(200, self._events(watcher, float(request.query.get("timeoutSeconds") or 0)))
        finally:
            self._hub.close(watcher)

    async def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """Discovery: the kinds that were used, or named at the start."""
        return discovery(path, list(self._objects.kinds.values()))

    async def close(self) -> None:
        """Nothing is held."""

    # ---- inside

    def _answer(self, request: Request) -> Response:
        try:
            if self._happens(self.faults.conflict) and request.method in ("PUT", "PATCH"):
                raise RefusedError(409, "Conflict", f'Operation cannot be fulfilled on {request.info.resource} "{request.name}"')
            return self._answers.answer(request)
        except RefusedError as refusal:
            return Response(refusal.code, refusal.body())

    async def _events(self, watcher: Watcher, timeout_seconds: float) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds if timeout_seconds else float("inf")
        while True:
            try:
                async with asyncio.timeout(min(BOOKMARK_SECONDS, max(0.0, deadline - loop.time()))):
                    await watcher.wake.wait()
            except TimeoutError:
                yield bookmark(watcher.info, self.revision)
                if loop.time() >= deadline:
                    return
                continue
            await self._travel(self.faults.watch_latency)
            watcher.wake.clear()
            while watcher.lines:
                self._check_alive()
                line = watcher.lines.popleft()
                if line.type == "CUT" or self._happens(self.faults.cut_watch):
                    raise ApiUnavailableError("connection reset by peer")
                yield b'{"type":"%b","object":%b}' % (line.type.encode(), line.value)
                if line.type == "ERROR":
                    return

    def _check_alive(self) -> None:
        if self._dead:
            raise CrashError(f"crashed after write {self._crash_after}")

    async def _travel(self, seconds: tuple[float, float]) -> None:
        if seconds[1] > 0:
            await asyncio.sleep(self.random.uniform(*seconds))

    def _happens(self, share: float) -> bool:
        return share > 0 and self.random.random() < share

    def _kind_of(self, item: JsonObject) -> KindInfo:
        for info in self._objects.kinds.values():
            if (info.api_version, info.kind) == (item.get("apiVersion"), item.get("kind")):
                return info
        raise ValueError(f"{item.get('apiVersion')} {item.get('kind')} is not known; name its KindInfo in kinds=")


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
