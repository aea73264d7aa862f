"""Requests below `/kv` with the standard library alone: connections that are kept and used again.

    ask(method, path) -> Answer, or an error of `kv_errors`        events(path) -> server-sent events, one by one

May be used from any thread. A connection that was idle for long is not used again, so that a failure says something about
the controller and not about an old connection.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from plum_worker.kv_errors import KvConflictError, KvError, KvRefusedError, KvUnavailableError

IDLE_SECONDS = 2.0
"""A connection that was idle for longer is not used again: the controller may be closing it."""
SILENT_SECONDS = 150.0
"""A stream tells at least every minute how far it is; after this long without a word it is taken for dead."""
MAX_IDLE = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer below 400, and 404."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def revision(self) -> int:
        """Of the entry, or of the write."""
        text = self.headers.get("x-plum-revision") or self.headers.get("etag", "").strip('"')
        return int(text) if text.isdigit() else 0


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event."""

    id: str
    name: str
    data: Any


class Http:
    """Connections to one controller."""

    def __init__(self, base: str, token: str = "", ca_file: str = "", timeout: float = 10.0) -> None:
        parts = urlsplit(base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise KvRefusedError(f"{base!r} is no address of a controller; use http://HOST:PORT or https://HOST:PORT")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._prefix = parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
        self._timeout = timeout
        self._headers = {"User-Agent": "plum-kv", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[tuple[http.client.HTTPConnection, float]] = []
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """One request. Raises `KvError`; 404 is an answer."""
        connection = self._take()
        try:
            if connection.sock is None:
                self._connect(connection)
            connection.request(method, self._prefix + path, body or None, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise KvUnavailableError(f"the controller at {self._host}:{self._port} does not answer: {error}") from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection, response)
        answer = Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, data)
        if answer.status >= 400 and answer.status != 404:
            raise error_of(answer.status, data)
        return answer

    def events(self, path: str, last_event_id: str, stop: Stop) -> Iterator[Event]:
        """Events until the stream ends or `stop` is set. Raises `KvError`."""
        connection = self._make(SILENT_SECONDS)
        headers = {**self._headers, "Accept": "text/event-stream"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
        try:
            self._connect(connection)
            stop.hold(connection.sock)
            connection.request("GET", self._prefix + path, None, headers)
            response = connection.getresponse()
            if response.status != 200:
                raise error_of(response.status, response.read())
            yield from _events(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise KvUnavailableError(f"the stream from {self._host}:{self._port} broke off: {error}") from error
        finally:
            stop.hold(None)
            connection.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _take(self) -> http.client.HTTPConnection:
        now = time.monotonic()
        with self._lock:
            while self._idle:
                connection, since = self._idle.pop()
                if now - since < IDLE_SECONDS:
                    return connection
                connection.close()
        return self._make(self._timeout)

    def _give_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if response.will_close:
            connection.close()
            return
        with self._lock:
            if len(self._idle) < MAX_IDLE:
                self._idle.append((connection, time.monotonic()))
                return
        connection.close()

    def _make(self, timeout: float) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        kept, connection.timeout = connection.timeout, min(self._timeout, connection.timeout or self._timeout)
        connection.connect()
        connection.timeout = kept
        connection.sock.settimeout(kept)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Stop:
    """Ends a stream from another thread."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def hold(self, sock: socket.socket | None) -> None:
        with self._lock:
            self._socket = sock
        if self.event.is_set():
            self.set()

    def set(self) -> None:
        self.event.set()
        with self._lock:
            if self._socket is not None:
                try:
                    self._socket.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already


def _events(response: http.client.HTTPResponse) -> Iterator[Event]:
    name = data = identity = ""
    while line := response.readline():
        text = line.decode().rstrip("\n")
        field, _, value = text.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            data = value
        elif field == "id":
            identity = value
        elif not text and name:
            yield Event(identity, name, json.loads(data))
            name = data = identity = ""


def error_of(status: int, body: bytes) -> KvError:
    """The error of an answer of 400 or more."""
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:200].decode("utf-8", "replace").strip()
    kind = KvConflictError if status in (409, 412) else KvUnavailableError if status >= 500 or status == 429 else KvRefusedError
    return kind(f"{message} ({status})", status)


def path_of(namespace: str, key: str = "", query: Mapping[str, str] | None = None) -> str:
    """The path of an entry or a namespace, with its query."""
    path = f"/kv/{quote(namespace, safe='')}" + (f"/{quote(key, safe='')}" if key else "")
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in (query or {}).items())
    return f"{path}?{given}" if given else path


def from_environment(name: str, default: str = "") -> str:
    return os.environ.get(name, "") or default
