"""Requests of the device protocol with the standard library alone: over TCP, TLS, or a unix socket of the node's agent.

    ask(method, path, body) -> decoded answer, or `DeviceError`        lines(path, stop) -> one JSON value after the other

May be used from any thread. Connections are kept and used again.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from plum_worker.device_errors import DeviceRefusedError, DeviceUnavailableError
from plum_worker.kv_http import Stop

TIMEOUT_SECONDS = 10.0
SILENT_SECONDS = 90.0
"""A stream has a blank line now and then; after this long without one it is taken for dead."""
LATER = frozenset({408, 425, 429})


def address_of(environ: Mapping[str, str] | None = None) -> str:
    """Where a driver speaks the device protocol: the agent of its node, else the controller."""
    env = os.environ if environ is None else environ
    return env.get("PLUM_DEVICES") or env.get("CONTROLLER_BASE") or env.get("PLUM_SERVER") or "http://127.0.0.1:8080"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class DeviceLink:
    """Connections to one agent or controller. Raises `DeviceRefusedError` for an address that cannot be used."""

    def __init__(self, address: str, token: str = "", ca_file: str = "", tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(address)
        self.address, self.token = address, token
        self._unix = parts.path if parts.scheme in ("unix", "http+unix") else ""
        if not self._unix and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise DeviceRefusedError(f"PLUM_DEVICES is {address!r}; use http://HOST:PORT, https://HOST:PORT or unix:/PATH")
        self._host, self._prefix = parts.hostname or "", "" if self._unix else parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self.tls = (tls or ssl.create_default_context(cafile=ca_file or None)) if parts.scheme == "https" else None
        self._headers = {"User-Agent": "plum-device", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request. Raises `DeviceUnavailableError`: it may have happened; `DeviceRefusedError`: it has not."""
        data = msgspec.json.encode(body)
        while True:
            kept = self._take()
            connection = kept or self._make(TIMEOUT_SECONDS)
            try:
                connection.request(method, self._prefix + path, data, {**self._headers, "Content-Type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept is None or isinstance(error, TimeoutError):
                    raise DeviceUnavailableError(f"{self.address} does not answer: {error}") from error
                continue  # it was closed while it was idle: every request of the protocol may be sent twice
            self._give_back(connection, response)
            return _answer(response.status, content)

    def close(self) -> None:
        """Let go of connections that nobody uses. Safe to repeat."""
        while (connection := self._take()) is not None:
            connection.close()

    def _take(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> None:
        if response.will_close:
            connection.close()
            return
        with self._lock:
            self._idle.append(connection)

    def lines(self, path: str, stop: Stop) -> Iterator[Any]:
        """Values of a stream until it ends or `stop` is set. Raises `DeviceError`."""
        connection = self._make(TIMEOUT_SECONDS)
        try:
            connection.connect()
            stop.hold(connection.sock)
            connection.request("GET", self._prefix + path, None, self._headers)
            response = connection.getresponse()
            if response.status != 200:
                _answer(response.status, response.read())
            if connection.sock is not None:
                connection.sock.settimeout(SILENT_SECONDS)
            while line := response.readline():
                if line.strip():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeviceUnavailableError(f"the stream from {self.address} broke off: {error}") from error
        finally:
            stop.hold(None)
            connection.close()

    def _make(self, timeout: float) -> http.client.HTTPConnection:
        if self._unix:
            return UnixConnection(self._unix, timeout)
        if self.tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout)


def path_of(namespace: str, name: str, *rest: str) -> str:
    """The path of a device, or of a part of it."""
    return "/".join(["/devices", *(quote(part, safe="") for part in (namespace, name, *rest))])


def _answer(status: int, body: bytes) -> Any:
    if status < 400:
        return json.loads(body) if body.strip() else None
    reason = ""
    try:
        content = json.loads(body)
        message, reason = str(content["message"]), str(content.get("reason") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        message = body[:300].decode("utf-8", "replace").strip()
    kind = DeviceUnavailableError if status >= 500 or status in LATER else DeviceRefusedError
    raise kind(f"{message} ({status})", status, reason)
