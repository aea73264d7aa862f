"""The API for callers in this process: the same answers as over HTTP, without HTTP.

    plum_client.Request --LocalTransport--> Api.answer --> Response
                                        --> WatchStream --> lines, pushed by the store's publish into a queue

Built-in controllers use it, so they see exactly what any other client sees. Bytes are passed on, not copied: an event of a watch
holds the object's bytes that the store has, and what names it needs no decoding (docs/adr/0049).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

from plum_client.codec import Head, RawEvent
from plum_client.errors import ApiUnavailableError
from plum_client.transport import Request, Response, Stream
from plum_client.watch import parse_line
from plum_schemas.base import ObjectKey

from plum_controller.api import instance_log
from plum_controller.api.api import Api
from plum_controller.api.identity import CONTROLLER, Identity
from plum_controller.api.negotiation import Form
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, error_answer, parse_query, split_path
from plum_controller.api.sockets import QueueSink
from plum_controller.api.watch import Sink, WatchPlan, WatchStream, error_line
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, internal, unavailable
from plum_controller.store.cache import WatchEvent
from plum_controller.store.errors import StoreError

logger = logging.getLogger(__name__)


class LocalTransport:
    """A `Transport` to the API of this process, for the controllers: nothing is asked of roles, unless somebody is acted for."""

    def __init__(self, api: Api, user_agent: str = "plum-controller", identity: Identity = CONTROLLER) -> None:
        self._api = api
        self._user_agent = user_agent
        self._identity = identity
        self._closed = False

    async def send(self, request: Request) -> Response:
        """Ask once. Raises `ApiUnavailableError` after `close`."""
        answer = await self._answer(self._request(request))
        if isinstance(answer, WatchAnswer):
            raise ApiUnavailableError("a watch is read with stream, not with send")
        return Response(answer.status, answer.body, answer.revision, answer.warnings)

    async def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Response:
        """A call on any path, as discovery makes it."""
        if self._closed:
            raise ApiUnavailableError("the API of this process was closed")
        path, _, query = path.partition("?")
        named = {name.lower(): value for name, value in (headers or {}).items()}
        answer = await self._answer(
            ApiRequest(
                method,
                split_path(path.encode()),
                parse_query(query.encode()),
                body,
                named.get("accept", ""),
                named.get("content-type", "application/json"),
                self._user_agent,
                self._identity,
            )
        )
        if isinstance(answer, WatchAnswer):
            raise ApiUnavailableError("a watch is read with stream, not with request")
        return Response(answer.status, answer.body, answer.revision, answer.warnings)

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """A watch or a log."""
        return self._stream(request)

    async def close(self) -> None:
        """Refuse further calls. Safe to repeat."""
        self._closed = True

    def _request(self, request: Request) -> ApiRequest:
        if self._closed:
            raise ApiUnavailableError("the API of this process was closed")
        return ApiRequest(
            request.method,
            request.path[1:].split("/"),
            request.query,
            request.body,
            request.accept,
            request.content_type,
            self._user_agent,
            self._identity,
            raw_path=request.path.encode(),
        )

    async def _answer(self, request: ApiRequest) -> Answer | WatchAnswer:
        try:
            self._api.gate.check(request)
            if request.method == "GET":
                now = self._api.objects.answer_now(request)
                if now is not None:
                    return now
            return await self._api.answer(request)
        except ApiStatusError as error:
            return error_answer(error)
        except StoreError as error:
            return error_answer(unavailable(f"the store does not answer: {error}"))
        except Exception as error:
            logger.exception("request failed", extra=fields(method=request.method, path="/".join(request.path)))
            return error_answer(internal(type(error).__name__))

    @asynccontextmanager
    async def _stream(self, call: Request) -> AsyncIterator[Stream]:
        request = self._request(call)
        try:
            self._api.gate.check(request)
        except ApiStatusError as error:
            yield Stream(error.code, _once(error.body()))
            return
        target = self._api.objects.router.find(request.path)
        if target is not None and instance_log.is_log(target):
            try:
                async with instance_log.open_log(self._api.service, self._api.tunnels, request, target) as log:
                    yield Stream(200, log.chunks())
            except ApiStatusError as error:
                yield Stream(error.code, _once(error.body()))
            return
        answer = await self._answer(request)
        if isinstance(answer, Answer):
            yield Stream(answer.status, _once(answer.body))
            return
        async with self._watch(answer.plan) as stream:
            yield stream

    @asynccontextmanager
    async def _watch(self, plan: WatchPlan) -> AsyncIterator[Stream]:
        try:
            if plan.make is None and plan.form is Form.JSON and plan.omission is None:
                plan = replace(plan, make=EventStream)
            stream = self._api.hub.open(plan)
        except ApiStatusError as error:
            yield Stream(200, _once(error_line(error))) if error.code == 410 else Stream(error.code, _once(error.body()))
            return
        sink = EventSink()
        try:
            stream.attach(sink)
            yield Stream(200, sink.lines(stream), events=sink.events(stream))
        finally:
            stream.close()


class EventStream(WatchStream):
    """A watch that hands over events instead of lines."""

    __slots__ = ()

    def _write(self, sink: Sink, events: Sequence[WatchEvent]) -> None:
        if isinstance(sink, EventSink):
            self._hub.metrics.watch_events += len(events)
            sink.add(events)
        else:
            super()._write(sink, events)


class EventSink(QueueSink):
    """Events, and lines of what is no change of an object, in memory until a task takes them."""

    def add(self, events: Sequence[WatchEvent]) -> None:
        self._items.extend(events)
        self._size += sum([len(event.entry.value) for event in events])
        self._event.set()

    async def events(self, stream: WatchStream) -> AsyncIterator[RawEvent]:
        """What was written, until the watch ends. Raises the error that an `ERROR` line carries."""
        async for item in self.items(stream):
            if isinstance(item, bytes):
                yield parse_line(item)
            else:
                _, namespace, name = item.entry.key
                yield RawEvent(item.type, Head(ObjectKey(namespace, name), item.entry.revision, ""), item.entry.value)


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body
