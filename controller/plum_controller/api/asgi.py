"""The API over HTTP and WebSocket, as an ASGI application.

    uvicorn --scope--> Asgi -- Entrance, body -------> Api.answer --> one write to the connection      (whole requests on
                                                                                      hot paths come by `swift.py` instead)
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
import time
from collections.abc import Awaitable, Callable

from plum_controller.api import classic_stream, device_stream, instance_log, service_stream, streams
from plum_controller.api.access import STREAMED
from plum_controller.api.api import Api
from plum_controller.api.artifacts import is_artifacts
from plum_controller.api.authentication import certificate_identity
from plum_controller.api.classic.apps import UPLOAD
from plum_controller.api.encodings import compressed, inflated, wants_compressed
from plum_controller.api.entrance import Entrance
from plum_controller.api.heads import Head
from plum_controller.api.identity import ANONYMOUS, Identity
from plum_controller.api.limits import READING
from plum_controller.api.ranges import send_file
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, error_answer, split_path
from plum_controller.api.routes import Target
from plum_controller.api.sockets import Connection, connection_of, ssl_object_of
from plum_controller.api.streams import Receive, Scope, Send
from plum_controller.api.swift import HOT, Swift
from plum_controller.api.tunnel import RevokedError
from plum_controller.api.wire import answer_headers
from plum_controller.resources.errors import ApiStatusError, bad_request, no_such_resource, too_large
from plum_controller.settings import Settings

Mounted = Callable[[Scope, Receive, Send], Awaitable[None]]

AGENT_PATH = ["agent", "v1", "connect"]
SECURE = ("https", "wss")
CERTIFICATE_IDENTITY = "plum.identity"
"""Key in a scope: who the client certificate of the connection names, put there by the protocol."""


REQUEST = "plum.request"
"""Key in a scope: the request, as soon as its head is understood."""


class Asgi:
    """The application that uvicorn runs. `docs` builds the FastAPI application of `/docs` when it is first needed."""

    def __init__(self, api: Api, settings: Settings, docs: Callable[[], Mounted] | None = None) -> None:
        self.api = api
        self.settings = settings
        self.entrance = Entrance(api, settings)
        self.swift = Swift(self.entrance, settings)
        self._in_flight = self.entrance.in_flight
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
        if not path.startswith(HOT) or scope["query_string"]:
            return None
        return self.swift.answer_now(path, Head(scope["headers"]), _peer(scope), _shown(scope))

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
        head, shown = Head(scope["headers"]), _shown(scope)
        request = self.entrance.read(
            scope["method"], scope["raw_path"], scope["query_string"], head, _peer(scope), secure=shown is not None
        )
        scope[REQUEST] = request
        self.entrance.judge(request, head, shown)
        return request

    async def _ui_file(self, name: str, scope: Scope) -> Answer:
        """A file of the UI, for everybody who may talk to this listener. Raises `ApiStatusError`."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        self.entrance.guard.check(headers.get(b"host"), headers.get(b"origin"), any_name=scope.get("scheme") in SECURE)
        self.entrance.rate.take(_peer(scope))
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
        self.entrance.note(scope.get(REQUEST), answer, error)

    def _refusal(self, error: Exception, scope: Scope) -> Answer:
        return self.entrance.refusal(error, scope["method"], scope["path"])

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
            target = self._log_target(request)
            if target is not None:
                await streams.send_log_messages(self.api, request, target, scope, receive, send)
                return
            result = await self.api.answer(request)
            if not isinstance(result, WatchAnswer):
                raise bad_request("only watches, logs, commands and agents speak WebSocket")
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


def _peer(scope: Scope) -> str:
    client = scope["client"]
    return client[0] if client else ""


def _shown(scope: Scope) -> Identity | None:
    """Who a client certificate names; None where there is no TLS."""
    if scope.get("scheme") not in SECURE:
        return None
    shown: Identity = scope.get(CERTIFICATE_IDENTITY, ANONYMOUS)
    return shown


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
