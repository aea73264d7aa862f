"""The API over HTTP and WebSocket, as an ASGI application.

    uvicorn --scope--> Asgi -- guard, limits, body --> Api.answer --> one write to the connection
                            -- watch ---------------> WatchStream --> writes to the connection, from the store's publish
                            -- /agent/v1/connect ---> TunnelHub
                            -- .../exec, portforward -> streaming.serving
                            -- /v1/artifacts -------> ArtifactsApi, bodies straight to and from files
                            -- /docs ---------------> FastAPI, loaded with the first request
                            -- /, /ui, /assets -----> UiFiles, without rights        -- /session --> Sessions

Under uvicorn's httptools protocol answers are written straight to the connection (`wire.py`); under any other ASGI server
they go through `send`, with the same content.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable

from plum_controller.api import classic_stream, device_stream, instance_log, service_stream, streams
from plum_controller.api.access import GROUP, STREAMED, USER
from plum_controller.api.api import Api
from plum_controller.api.artifacts import is_artifacts
from plum_controller.api.audit import REFUSED
from plum_controller.api.authentication import PREFIX, certificate_identity
from plum_controller.api.classic.apps import UPLOAD
from plum_controller.api.encodings import compressed, inflated, wants_compressed
from plum_controller.api.identity import ANONYMOUS, LOCAL, Identity
from plum_controller.api.limits import READING, HostGuard, InFlight, PeerRate
from plum_controller.api.ranges import send_file
from plum_controller.api.requests import (
    NO_QUERY,
    Answer,
    ApiRequest,
    WatchAnswer,
    error_answer,
    parse_query,
    split_path,
)
from plum_controller.api.routes import Target
from plum_controller.api.sockets import Connection, connection_of, ssl_object_of
from plum_controller.api.streams import Receive, Scope, Send
from plum_controller.api.tunnel import RevokedError
from plum_controller.api.ui import sessions
from plum_controller.api.wire import answer_headers
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError, bad_request, internal, no_such_resource, too_large
from plum_controller.settings import Settings
from plum_controller.store.errors import StoreError

logger = logging.getLogger(__name__)

Mounted = Callable[[Scope, Receive, Send], Awaitable[None]]

AGENT_PATH = ["agent", "v1", "connect"]
SECURE = ("https", "wss")
OWN_TOKEN = PREFIX.encode()
CERTIFICATE_IDENTITY = "plum.identity"
"""Key in a scope: who the client certificate of the connection names, put there by the protocol."""


REQUEST = "plum.request"
"""Key in a scope: the request, as soon as its head is understood."""


class Asgi:
    """The application that uvicorn runs. `docs` builds the FastAPI application of `/docs` when it is first needed."""

    def __init__(self, api: Api, settings: Settings, docs: Callable[[], Mounted] | None = None) -> None:
        self.api = api
        self.settings = settings
        self._guard = HostGuard(settings.allowed_hosts)
        self._in_flight = InFlight(settings.reads_in_flight, settings.writes_in_flight)
        self._rate = PeerRate(settings.peer_rate)
        self._docs = docs
        self._mounted: Mounted | None = None
        self._loading = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    # HTTP

    def answer_now(self, scope: Scope) -> Answer | None:
        """The answer to a read that needs no waiting; None when the long way has to be taken. Never raises."""
        path: bytes = scope["raw_path"]
        is_entry = path.startswith(b"/kv/")
        if not (is_entry or path.startswith(b"/api")) or scope["query_string"]:
            return None
        started = time.perf_counter()
        try:
            request = self._head(scope)
            answer = self.api.kv.answer_now(request) if is_entry else self.api.objects.answer_now(request)
            if answer is None or wants_compressed(request.headers, len(answer.body)):
                return None
        except Exception as error:
            answer = self._refusal(error, scope)
            self._note(scope, answer, error)
        self.api.metrics.observe("GET", answer.status, time.perf_counter() - started)
        return answer

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        connection = connection_of(send)
        method: str = scope["method"]
        place = -1
        try:
            file = self.api.ui_files.find(split_path(scope["raw_path"])) if method in ("GET", "HEAD") else None
            if file is not None:
                answer = await self._ui_file(file, scope)
                self.api.metrics.observe(method, answer.status, time.perf_counter() - started)
                await _respond(answer, scope, send, connection)
                return
            request = self._head(scope)
            if request.path[0] == "session":
                answer = await self._session(request, scope, receive)
                self.api.metrics.observe(method, answer.status, time.perf_counter() - started)
                await _respond(answer, scope, send, connection)
                return
            if request.path[0] == "docs" and self._docs is not None:
                await self._serve_docs(self._docs, scope, receive, send)
                return
            if request.path == ["backup"] and method == "GET":
                self.api.audit.note(request, 200)
                await streams.send_backup(self.api, send)
                return
            if request.path == service_stream.PATH and method == "GET":
                await service_stream.send_endpoints(self.api, request, receive, send)
                return
            if device_stream.is_commands(request):
                await device_stream.send_commands(self.api, request, receive, send)
                return
            if method == "GET" and request.path in classic_stream.PATHS:
                await classic_stream.send_updates(self.api, request, receive, send)
                return
            if request.path == UPLOAD and method == "POST":
                answer = await self.api.classic_apps.upload(request, receive)
                self._note(scope, answer)
                self.api.metrics.observe(method, answer.status, time.perf_counter() - started)
                await _respond(answer, scope, send, connection)
                return
            if request.path[0] == "artifacts":
                await self._serve_artifact_files(request, scope, send, connection)
                return
            if is_artifacts(request):
                await self._serve_artifacts(request, scope, receive, send, connection)
                return
            if request.path[-1] in STREAMED and await self._serve_stream(request, scope, receive, send, connection):
                return
            target = self._log_target(request)
            if target is not None:
                await streams.send_log(self.api, request, target, receive, send)
                return
            place = self._in_flight.enter(method)
            if method in ("POST", "PUT", "PATCH", "DELETE"):
                body = await self._body(request, receive)
                request.body = inflated(body, request.headers.get(b"content-encoding"), self.settings.body_limit_bytes)
            result = await self.api.answer(request)
            if isinstance(result, WatchAnswer):
                self._in_flight.leave(place)
                place = -1
                await streams.send_watch(self.api, result.plan, receive, send, connection)
                return
            answer = result
            self._note(scope, answer)
            if wants_compressed(request.headers, len(answer.body)):
                answer = await compressed(answer)
        except Exception as error:
            answer = self._refusal(error, scope)
            self._note(scope, answer, error)
        finally:
            if place >= 0:
                self._in_flight.leave(place)
        self.api.metrics.observe(method, answer.status, time.perf_counter() - started)
        await _respond(answer, scope, send, connection)

    def _head(self, scope: Scope) -> ApiRequest:
        """A request without its body. Raises `ApiStatusError` when it may not be made."""
        accept = content_type = user_agent = ""
        host = origin = None
        rest: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name == b"accept":
                accept = value.decode("latin-1") if not accept else f"{accept},{value.decode('latin-1')}"
            elif name == b"host":
                host = value
            elif name == b"user-agent":
                user_agent = value.decode("latin-1")
            elif name == b"content-type":
                content_type = value.decode("latin-1")
            elif name == b"origin":
                origin = value
            else:
                rest[name] = value
        secure = scope.get("scheme") in SECURE
        self._guard.check(host, origin, any_name=secure)
        client = scope["client"]
        peer = client[0] if client else ""
        self._rate.take(peer)
        query_string = scope["query_string"]
        request = ApiRequest(
            scope["method"],
            split_path(scope["raw_path"]),
            parse_query(query_string) if query_string else NO_QUERY,
            b"",
            accept,
            content_type,
            user_agent,
            LOCAL,
            headers=rest,
            peer=peer,
            raw_path=scope["raw_path"],
        )
        scope[REQUEST] = request
        if secure or b"authorization" in rest or b"cookie" in rest:
            request.identity = ANONYMOUS
            request.identity = self._identity(scope, request, host, origin)
        if USER in rest or GROUP in rest:
            groups = [value.decode("utf-8", "replace") for name, value in scope["headers"] if name == GROUP]
            request.impersonator = request.identity.name
            request.identity = self.api.gate.impersonated(request.identity, rest, groups)
        if request.path[0] != "session":  # judged where it is answered
            self.api.gate.check(request)
        return request

    def _identity(self, scope: Scope, request: ApiRequest, host: bytes | None, origin: bytes | None) -> Identity:
        """Who makes a request with credentials, or over TLS: a token counts before a cookie, a cookie before a certificate.
        Raises `ApiStatusError` 401, 403 for what no page of ours sent."""
        secure, headers = scope.get("scheme") in SECURE, request.headers
        header = headers.get(b"authorization")
        # Over plain HTTP on loopback only our own tokens count: clients send whatever their configuration holds.
        if header is not None and (secure or OWN_TOKEN in header):
            return self.api.authenticator.bearer(header, request.peer)
        if b"cookie" in headers and request.path != sessions.PATH:
            secret = sessions.cookie_of(headers, sessions.cookie_name(secure, host))
            if secret:
                same = None if origin is None or host is None else origin.lower().partition(b"://")[2] == host.lower()
                return sessions.identify(self.api.authenticator, secret, request.method, headers, same)
        if not secure:
            return LOCAL
        shown: Identity = scope.get(CERTIFICATE_IDENTITY, ANONYMOUS)
        return self.api.authenticator.certified(shown)

    async def _ui_file(self, name: str, scope: Scope) -> Answer:
        """A file of the UI, for everybody who may talk to this listener. Raises `ApiStatusError`."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self._guard.check(headers.get(b"host"), headers.get(b"origin"), any_name=scope.get("scheme") in SECURE)
        self._rate.take(scope["client"][0] if scope["client"] else "")
        return await self.api.ui_files.answer(name, headers)

    async def _session(self, request: ApiRequest, scope: Scope, receive: Receive) -> Answer:
        """Logging in and out. Raises `ApiStatusError`."""
        if request.method in ("POST", "DELETE"):
            request.body = await self._body(request, receive)
        host = next((value for name, value in scope["headers"] if name == b"host"), None)
        answer = await self.api.sessions.answer(request, secure=scope.get("scheme") in SECURE, host=host)
        if answer is None:
            raise no_such_resource()
        if request.method not in READING:
            self.api.audit.note_login(request, None, answer.status)
        return answer

    async def _body(self, request: ApiRequest, receive: Receive) -> bytes:
        """The whole body. Raises `ApiStatusError` 413 before reading what is announced as too long. How long it may take is
        watched by the protocol."""
        limit = self.settings.body_limit_bytes
        announced = request.headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > limit:
            raise too_large(f"limit is {limit}")
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if message["type"] == "http.disconnect":
                raise bad_request("the client went away before its body was complete")
            return body
        parts, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise bad_request("the client went away before its body was complete")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large(f"limit is {limit}")
        return b"".join(parts)

    def _note(self, scope: Scope, answer: Answer, error: Exception | None = None) -> None:
        """Tell the audit log of an answer."""
        request: ApiRequest | None = scope.get(REQUEST)
        if request is None or (request.method in READING and answer.status not in REFUSED):
            return
        reason = error.reason if isinstance(error, ApiStatusError) else ""
        if request.path[0] == "session":
            self.api.audit.note_login(request, None, answer.status, reason)
        else:
            self.api.audit.note(request, answer.status, reason=reason, revision=answer.revision, body=answer.body)

    def _refusal(self, error: Exception, scope: Scope) -> Answer:
        """What is answered when an answer could not be made."""
        if isinstance(error, ApiStatusError):
            if error.code == 429:
                self.api.metrics.rejected += 1
            answer = error_answer(error)
            if error.code == 413:
                answer.headers += ((b"connection", b"close"),)
            return answer
        if isinstance(error, StoreError):
            logger.warning("store refused", extra=fields(path=scope.get("path"), error=str(error)))
            status = ApiStatusError(503, "ServiceUnavailable", f"the store does not answer: {error}", {"retryAfterSeconds": 1})
            return error_answer(status)
        logger.error("request failed", exc_info=error, extra=fields(method=scope.get("method"), path=scope.get("path")))
        return error_answer(internal(f"{type(error).__name__}; the server's log has more"))

    async def _serve_artifacts(
        self, request: ApiRequest, scope: Scope, receive: Receive, send: Send, connection: Connection | None
    ) -> None:
        """Bodies of any length in and out. Raises `ApiStatusError`."""
        started = time.perf_counter()
        result = await self.api.artifacts.answer(request, receive)
        if isinstance(result, Answer):
            self._note(scope, result)
            self.api.metrics.observe(request.method, result.status, time.perf_counter() - started)
            await _respond(result, scope, send, connection)
            return
        status = await send_file(result, result.name, request.method, request.headers, send)
        self.api.metrics.observe(request.method, status, time.perf_counter() - started)

    async def _serve_artifact_files(self, request: ApiRequest, scope: Scope, send: Send, connection: Connection | None) -> None:
        """Packages as files, under the names that programs of the system before know."""
        started = time.perf_counter()
        result = self.api.classic_apps.file(request)
        if isinstance(result, Answer):
            status = result.status
            await _respond(result, scope, send, connection)
        else:
            status = await send_file(*result, request.method, request.headers, send)
        self.api.metrics.observe(request.method, status, time.perf_counter() - started)

    async def _serve_stream(
        self, request: ApiRequest, scope: Scope, receive: Receive, send: Send, connection: Connection | None
    ) -> bool:
        """Serve a command or forwarded ports. False: the path is about something else. Raises `ApiStatusError`."""
        from plum_controller.api.streaming import serving, targets  # people need it, controllers and agents do not

        target = targets.find(request.path)
        if target is None:
            return False
        if scope["type"] == "websocket":
            await serving.serve_websocket(self.api, request, target, scope, receive, send)
        else:
            await serving.serve_http(self.api, request, target, scope, connection)
        return True

    def _log_target(self, request: ApiRequest) -> Target | None:
        """The Instance whose output is asked for, if that is what the request is about."""
        if request.method != "GET" or request.path[-1] != "log" or request.path[0] not in ("api", "apis"):
            return None
        target = self.api.objects.router.find(request.path)
        return target if target is not None and instance_log.is_log(target) else None

    # Pages that FastAPI serves

    async def _serve_docs(self, docs: Callable[[], Mounted], scope: Scope, receive: Receive, send: Send) -> None:
        mounted = self._mounted
        if mounted is None:
            async with self._loading:
                # Loading FastAPI takes most of a second: in a thread, so that nobody else waits for it.
                loaded: Mounted | None = self._mounted
                mounted = loaded if loaded is not None else await asyncio.to_thread(docs)
                self._mounted = mounted
        await mounted(scope, receive, send)

    # WebSocket

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            scope = {**scope, "method": "GET", "raw_path": scope.get("raw_path") or scope["path"].encode()}
            if scope.get("scheme") in SECURE:
                scope[CERTIFICATE_IDENTITY] = certificate_identity(ssl_object_of(receive))
            request = self._head(scope)
            if request.path == AGENT_PATH:
                node = request.query.get("node", "")
                if not node:
                    raise bad_request("node is missing: /agent/v1/connect?node=NAME")
                if not request.identity.may_all and request.identity.node != node:
                    raise ApiStatusError(403, "Forbidden", f"forbidden: {request.user!r} is not the agent of node {node!r}", {})
                await self._serve_agent(node, request.identity, receive, send)
                return
            if request.path[-1] in STREAMED and await self._serve_stream(request, scope, receive, send, None):
                return
            result = await self.api.answer(request)
            if not isinstance(result, WatchAnswer):
                raise bad_request("only watches and agents speak WebSocket")
            await streams.send_watch_messages(self.api, result.plan, scope, receive, send)
        except ApiStatusError as error:
            self._note(scope, error_answer(error), error)
            await _refuse_socket(error, scope, send)

    async def _serve_agent(self, node: str, identity: Identity, receive: Receive, send: Send) -> None:
        """The tunnel of a node, for as long as what it was opened with is worth something."""
        left = max(0.1, identity.expires - time.time()) if identity.expires else None
        try:
            with self.api.tunnels.revocable(identity.credential):
                async with asyncio.timeout(left):
                    await self.api.tunnels.serve(node, receive, send)
        except (RevokedError, TimeoutError):
            with contextlib.suppress(RuntimeError, OSError):
                await send({"type": "websocket.close", "code": 1008, "reason": "the credential was revoked or has expired"})


async def _respond(answer: Answer, scope: Scope, send: Send, connection: Connection | None) -> None:
    if connection is not None and await connection.write_answer(answer, with_body=scope["method"] != "HEAD"):
        return
    headers = answer_headers(answer)
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _refuse_socket(error: ApiStatusError, scope: Scope, send: Send) -> None:
    if "websocket.http.response" in (scope.get("extensions") or {}):
        headers = [(b"content-type", b"application/json")]
        await send({"type": "websocket.http.response.start", "status": error.code, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": error.body()})
    else:
        await send({"type": "websocket.close", "code": 1008, "reason": error.message[:100]})
