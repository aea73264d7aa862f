r"""Heads of requests: header lines, sorted by who asks for them, and read once where a client sends the same ones again.

    b"GET /kv/plant/level HTTP/1.1\r\nHost: ...\r\n\r\n" --whole_request--> Line + Head + body, or None: the protocol reads it
                                         |- header lines -| --httptools, the first time--> Head --a dictionary--> Head

A program that asks a thousand times over one connection sends the same header lines a thousand times. Only httptools judges
whether lines are a head; bytes that it has judged once on this connection mean the same the next time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import httptools

MAX_HEADS = 16
"""Remembered per connection: a client has few kinds of requests, and bodies of few lengths at a time."""
MAX_HEAD_BYTES = 4096
"""A longer head is not remembered."""
IMPERSONATE_USER, IMPERSONATE_GROUP = b"impersonate-user", b"impersonate-group"

_LINE = re.compile(rb"(GET|PUT|POST|PATCH|DELETE) (/(?:kv/|api)[!-\"$->@-~]*)(?:\?([!-\"$-~]*))? HTTP/1\.1\r\n").match
_UNUSUAL = frozenset({b"expect", b"transfer-encoding", b"upgrade"})
"""With one of these the protocol has more to do than to answer."""


class Head:
    """The header lines of one request; never changed, so that many requests may share one."""

    __slots__ = ("accept", "body_length", "content_type", "groups", "host", "origin", "rest", "user_agent")

    def __init__(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Names are in lower case."""
        self.accept = self.content_type = self.user_agent = ""
        self.host: bytes | None = None
        self.origin: bytes | None = None
        self.rest: Mapping[bytes, bytes]
        """The rarely needed ones."""
        self.groups: Sequence[str] = ()
        """Values of all `Impersonate-Group`."""
        self.body_length = 0
        rest = {}
        for name, value in headers:
            if name == b"accept":
                self.accept = value.decode("latin-1") if not self.accept else f"{self.accept},{value.decode('latin-1')}"
            elif name == b"host":
                self.host = value
            elif name == b"user-agent":
                self.user_agent = value.decode("latin-1")
            elif name == b"content-type":
                self.content_type = value.decode("latin-1")
            elif name == b"origin":
                self.origin = value
            else:
                rest[name] = value
        self.rest = rest
        if IMPERSONATE_GROUP in rest:
            self.groups = [value.decode("utf-8", "replace") for name, value in headers if name == IMPERSONATE_GROUP]


class Plain(NamedTuple):
    """A request on a hot path that needs nothing of the protocol but an answer."""

    method: str
    raw_path: bytes
    query_string: bytes
    head: Head
    body_start: int
    """Where in the bytes the body begins."""
    end: int
    """Bytes of the whole request; more than have arrived while its body is on the way."""


class Heads:
    """What one connection has sent before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[bytes, Head | None] = {}

    def read(self, data: bytes) -> Plain | None:
        """The request that the bytes begin with; None for one that the protocol has to read itself."""
        line = _LINE(data)
        if line is None:
            return None
        start = line.end()
        body_start = data.find(b"\r\n\r\n", start - 2) + 4
        if not start < body_start <= MAX_HEAD_BYTES:
            return None
        lines = data[start:body_start]
        known = self._known
        head = known.get(lines)
        if head is None:
            if lines in known:
                return None
            head = read_head(lines)
            if len(known) >= MAX_HEADS:
                known.clear()
            known[lines] = head
            if head is None:
                return None
        method, raw_path, query = line.groups(b"")
        return Plain(_METHODS[method], raw_path, query, head, body_start, body_start + head.body_length)


_METHODS = {method.encode(): method for method in ("GET", "PUT", "POST", "PATCH", "DELETE")}


def read_head(lines: bytes) -> Head | None:
    """Header lines as httptools reads them; None for lines that are no head, or an unusual one."""
    found = _Found()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(b"PUT / HTTP/1.1\r\n" + lines)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    if not found.whole or found.more or not parser.should_keep_alive() or parser.should_upgrade():
        return None
    headers = [(name.lower(), value) for name, value in found.headers]
    lengths = [value for name, value in headers if name == b"content-length"]
    if len(lengths) > 1 or any(
        name in _UNUSUAL or (name == b"connection" and value.lower() != b"keep-alive") for name, value in headers
    ):
        return None
    head = Head(headers)
    if lengths:
        if not lengths[0].isdigit() or len(lengths[0]) > 12:
            return None
        head.body_length = int(lengths[0])
    return head


class _Found:
    """Takes what the parser finds."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.whole = False
        self.more = False
        """Something followed the head: it ended before its lines did."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.whole:
            self.more = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.whole = True

    def on_message_begin(self) -> None:
        if self.whole:
            self.more = True

    def on_body(self, body: bytes) -> None:
        self.more = True
