"""uvicorn's HTTP protocol, with what it lacks: limits on the head of a request and on the time to send it, and a way to
answer a simple read at once.

    bytes -> a whole request on a hot path?  yes: `swift.py` answers it, without ASGI
                                             no:  httptools -> head complete -> a read out of memory?  yes: answered here
                                                                                 no:  uvicorn starts the application's task

The clock of slow senders is one timer for all connections.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from plum_controller.api.asgi import CERTIFICATE_IDENTITY, SECURE, Asgi
from plum_controller.api.authentication import certificate_identity
from plum_controller.api.heads import Heads, Plain
from plum_controller.api.identity import Identity
from plum_controller.api.requests import Answer
from plum_controller.api.sockets import write_answer, write_plain
from plum_controller.resources.errors import ApiStatusError

SWEEP_SECONDS = 1.0
"""How often slow senders are looked for."""
UPLOADS = ("/v1/artifacts/", "/v1/apps/upload")
"""Where uploads arrive: slow links are given time, for as long as something comes."""
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending before the connection is cut."""


MOST_HELD = 64 * 1024
"""Bytes of a request that is held until it is whole. A longer one goes to httptools as it comes."""


class Protocol(HttpToolsProtocol):
    """One connection. `_reading_since` is the loop's time at which the request now being read began, 0 between requests.

    A request takes one of two ways, and the next one is not looked at before it is answered: the short one (`_held` while it is
    not whole, then `_answering`), or uvicorn's (`_in_message` while it is not whole, then a `cycle` that is not complete).
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        application: Any = self.app
        self._application: Asgi = application
        self._head_bytes = 0
        self._head_done = False
        self._any_length = False
        """The body may take as long as it keeps coming."""
        self._head_limit = self._application.settings.header_limit_bytes
        self._refusal: ApiStatusError | None = None
        self._lingers_since = 0.0
        self._certified: Identity | None = None
        """Over TLS: who the client certificate names, or nobody."""
        self._reading_since = self.loop.time()
        self._in_message = False
        self._swift = self._application.swift
        self._heads = Heads()
        self._peer = ""
        self._held = b""
        self._place = -1
        """Of the request that is held, among those that are in flight."""
        self._answering = False
        self._early = b""
        """What came while the request before it was being answered."""
        self._last = False
        """The server stops: no request is taken after this one."""
        self._active_at = 0.0
        """Time of the loop at which a request last took the short way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        if self.scheme in SECURE:
            self._certified = certificate_identity(transport.get_extra_info("ssl_object"))
            if self._certified.node:
                self._application.api.certified.add(self._certified.certificate, self)
        if len(self.connections) > self._application.settings.connection_limit:
            message = "this server has as many connections as it may, please try again later"
            self._refusal = ApiStatusError(503, "ServiceUnavailable", message, {"retryAfterSeconds": 1})

    def data_received(self, data: bytes) -> None:
        if self._lingers_since:
            return
        if self._refusal is not None:
            self._refuse(self._refusal)
            return
        if self._answering:
            self._early += data
            self.flow.pause_reading()
            return
        if self._held:
            data = self._held + data
            self._held = b""
        if not self._in_message and (self.cycle is None or self.cycle.response_complete) and self._takes_short_way(data):
            return
        self._give_up_place()
        super().data_received(data)

    def _takes_short_way(self, data: bytes) -> bool:
        """Answer a request that is whole, or hold it until it is. False: it is none for this way, and nothing has happened."""
        if self.flow.write_paused:
            return False
        plain = self._heads.read(data)
        if plain is None:
            return False
        self._active_at = self.loop.time()
        if len(data) != plain.end:
            return len(data) < plain.end <= MOST_HELD and self._hold(plain, data)
        place, self._place = self._place, -1
        since, self._reading_since = self._reading_since, 0.0
        self._answering = True
        body = data[plain.body_start :] if plain.head.body_length else b""
        if not self._swift.begin(plain, body, self._peer, self._certified, place, self.tasks, self._answered):
            self._answering = False
            self._place, self._reading_since = place, since
            return False
        return True

    def _hold(self, plain: Plain, data: bytes) -> bool:
        """Wait for the rest of a body. It counts as in flight from now on, as on the other way."""
        if self._place < 0:
            self._place = self._swift.enter(plain.method)
            if self._place < 0:
                return False
            self._reading_since = self.loop.time()
            self._head_bytes, self._head_done = plain.body_start, True
        self._held = data
        return True

    def _give_up_place(self) -> None:
        if self._place >= 0:
            self._swift.leave(self._place)
            self._place = -1

    def _answered(self, answer: Answer) -> None:
        """Write the answer to the request that took the short way, and look at what has come since."""
        self._answering = False
        transport = self.transport
        if transport.is_closing():
            return
        if not write_plain(transport, answer, self.server_state.default_headers, keep_alive=not self._last):
            self.finish()
            return
        self._active_at = self.loop.time()
        if self.timeout_keep_alive_task is None:  # it looks at the time itself, so that requests need not set it anew
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if self._early:
            early, self._early = self._early, b""
            self.flow.resume_reading()
            self.data_received(early)

    def timeout_keep_alive_handler(self) -> None:
        left = self._active_at + self.timeout_keep_alive - self.loop.time()
        if self._answering or self._held or left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(max(left, SWEEP_SECONDS), self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def shutdown(self) -> None:
        if self._answering or self._held:
            self._last = True
        else:
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        self._give_up_place()
        self._held = self._early = b""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._in_message = True
        self._reading_since = self.loop.time()
        self._head_bytes = 0
        self._head_done = False
        super().on_message_begin()
        if self._certified is not None:
            self.scope[CERTIFICATE_IDENTITY] = self._certified  # type: ignore[literal-required]

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._head_done = True
        self._any_length = self.scope.get("path", "").startswith(UPLOADS)  # a WebSocket has none yet

    def on_body(self, body: bytes) -> None:
        if self._any_length:
            self._reading_since = self.loop.time()
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._in_message = False
        self._reading_since = 0.0
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._head_limit:
            raise ValueError("the head of the request is too long")

    def send_400_response(self, msg: str) -> None:
        if self._head_bytes > self._head_limit:
            text = f"the request line and headers are longer than {self._head_limit} bytes"
            self._refuse(ApiStatusError(431, "BadRequest", text))
        else:
            self._refuse(ApiStatusError(400, "BadRequest", "this is no HTTP request that can be read"))

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if cycle.scope["method"] == "GET" and app is self._application and not self.flow.write_paused:
            answer = self._application.answer_now(cycle.scope)
            if answer is not None:
                write_answer(cycle, answer)
                return
        super()._start_asgi_task(cycle, app)

    def _should_upgrade_to_ws(self) -> bool:
        if self.ws_protocol_class is None:
            # Loaded with the first WebSocket: the start does without.
            from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

            self.ws_protocol_class = WSProtocol
        return True

    def _unsupported_upgrade_warning(self) -> None:
        """What may be upgraded to besides WebSocket is known by whoever answers the request."""

    def check_time(self, now: float, limit: float) -> None:
        """Give up on a client that takes too long to send its request."""
        if self._lingers_since:
            if now - self._lingers_since > LINGER_SECONDS:
                self.transport.abort()
            return
        since = self._reading_since
        if not since or now - since <= limit or self.transport.is_closing():
            return
        answered = not self._held and self._head_done and self.cycle.response_complete
        if self._head_bytes and not answered:
            self._refuse(ApiStatusError(408, "Timeout", "the request took too long to arrive"))
        else:
            self.transport.close()

    def _refuse(self, error: ApiStatusError) -> None:
        """Answer without the application and close. Does nothing when an answer has begun."""
        if self._lingers_since or self.transport.is_closing():
            return
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()
            return
        body = error.body()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (error.code, error.reason.encode(), len(body), body)
        )
        self._linger()

    def finish(self) -> None:
        """Close after an answer that is the last one."""
        if self._reading_since:
            self._linger()
        else:
            self.transport.close()

    def _linger(self) -> None:
        """Close for writing, and for a while take and drop what the client still sends: closing on unread bytes would make
        the kernel reset the connection, and the client would never see its answer."""
        self._lingers_since = self.loop.time()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()


class Sweeper:
    """Looks at all connections once per second, as long as there are any."""

    def __init__(self, connections: set[Any], limit_seconds: float) -> None:
        self._connections = connections
        self._limit = limit_seconds
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _sweep(self) -> None:
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            if isinstance(connection, Protocol):
                connection.check_time(now, self._limit)
        self.start()
