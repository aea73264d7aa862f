"""Calls from the controller to the outside: http tasks, webhooks, notifications, http steps.

    request(method, url) -> allow list -> resolve -> every address checked -> connect to that very address -> bounded answer

A name is resolved once and the checked address is connected to: a name server that answers differently each time gains nothing.
No proxy settings of the environment are followed, and no redirects unless asked for; each is checked like a first call.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import httptools

from plum_client.outgoing_rules import PORTS, parse_allow_list, refusal

CONNECT_SECONDS = 10.0
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
"""Of the head of an answer."""
SETTING = "PLUM_OUTGOING_ALLOW"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ASCII = "".join(map(chr, range(33, 127)))
"""Characters of a URL that are sent as they are, `%` among them: what is encoded already stays so."""
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_PIECE = 65_536


class OutgoingError(Exception):
    """A call that brought no answer. After all but the first four reasons the request may have happened."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """NotAllowed, BadUrl, Unresolvable, Unreachable, Timeout, TooLarge or BadAnswer."""
        self.message = message


@dataclass(frozen=True, slots=True)
class OutgoingAnswer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; of repeated ones the last."""
    body: bytes
    url: str
    """Where it came from, after redirects."""


class OutgoingClient:
    """Makes calls, each over a connection of its own. Safe to share."""

    def __init__(self, allow: str = "*", own_ports: Collection[int] = (), user_agent: str = "plum-controller") -> None:
        """`allow`: see `plum_client.outgoing_rules`. `own_ports`: where this controller listens without encryption.
        Raises `ValueError`."""
        self._entries = parse_allow_list(allow)
        self.own_ports = set(own_ports)
        self._user_agent = user_agent

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        timeout: float = 30.0,
        max_bytes: int = MAX_ANSWER_BYTES,
        redirects: int = 0,
    ) -> OutgoingAnswer:
        """Send one request and have the whole answer within `timeout` seconds. Raises `OutgoingError`."""
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(method, url, dict(headers or {}), body, max_bytes, redirects)
        except TimeoutError as error:
            raise OutgoingError("Timeout", f"{url} did not answer within {timeout:g} s; the request may have happened") from error

    async def _follow(
        self, method: str, url: str, headers: dict[str, str], body: bytes, max_bytes: int, redirects: int
    ) -> OutgoingAnswer:
        while True:
            parts = split_url(url)
            answer = await self._ask(method, url, parts, headers, body, max_bytes)
            target = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or redirects <= 0 or not target:
                return answer
            redirects -= 1
            url = urljoin(url, target)
            if split_url(url).netloc != parts.netloc:
                headers = {name: value for name, value in headers.items() if name.lower() not in _SECRET_HEADERS}
            if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
                method, body = "GET", b""

    async def resolve(self, scheme: str, host: str, port: int) -> list[str]:
        """The addresses of a host that may be called, in the resolver's order. For protocols other than HTTP too. Raises
        `OutgoingError`."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise OutgoingError("Unresolvable", f"the name {host} has no address: {error}") from error
        allowed, refused = [], ""
        for text in dict.fromkeys(str(entry[4][0]) for entry in found):
            why = refusal(self._entries, scheme, host, ip_address(text.partition("%")[0]), port, self.own_ports)
            if why:
                refused = why
            else:
                allowed.append(text)
        if not allowed:
            message = (
                f"calls to {scheme}://{host}:{port} are refused: {refused}; the setting {SETTING} of whoever calls can open it"
            )
            raise OutgoingError("NotAllowed", message)
        return allowed

    async def _ask(
        self, method: str, url: str, parts: SplitResult, headers: Mapping[str, str], body: bytes, max_bytes: int
    ) -> OutgoingAnswer:
        host, port = str(parts.hostname), parts.port or PORTS[parts.scheme]
        data = _request_bytes(method, parts, headers, body, self._user_agent)
        addresses = await self.resolve(parts.scheme, host, port)
        reader, writer = await self._connect(addresses, host, port, self._tls if parts.scheme == "https" else None)
        try:
            writer.write(data)
            return await _read_answer(reader, url, method, max_bytes)
        except (OSError, httptools.HttpParserError) as error:
            raise OutgoingError("BadAnswer", f"{url} broke off or does not speak HTTP: {error}") from error
        finally:
            writer.transport.abort()

    async def _connect(
        self, addresses: list[str], host: str, port: int, context: ssl.SSLContext | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        last: Exception | None = None
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    name = host if context is not None else None
                    return await asyncio.open_connection(address, port, ssl=context, server_hostname=name, limit=_PIECE)
            except TimeoutError:
                last = TimeoutError(f"no connection within {CONNECT_SECONDS:g} s")
            except (OSError, ssl.SSLError) as error:
                last = error
        raise OutgoingError("Unreachable", f"{host}:{port} cannot be reached: {last}") from last


def split_url(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises `OutgoingError`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise OutgoingError("BadUrl", f"{url!r} is no URL: {error}") from error
    if parts.scheme not in PORTS or not parts.hostname or port == 0 or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise OutgoingError("BadUrl", f"{url!r} is no URL that can be called; write http://HOST/PATH or https://HOST/PATH")
    if parts.username is not None:
        raise OutgoingError("BadUrl", "a URL with a user and password is refused; send an Authorization header from a Secret")
    return parts if url.isascii() else _in_ascii(url, parts)


def _in_ascii(url: str, parts: SplitResult) -> SplitResult:
    """As it goes over the wire: letters outside ASCII as %XX, in the name of the host by the rules for names."""
    host = str(parts.hostname)
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError as error:
        raise OutgoingError("BadUrl", f"{url!r} is no URL that can be called: {error}") from error
    netloc = f"{f'[{host}]' if ':' in host else host}{f':{parts.port}' if parts.port is not None else ''}"
    return parts._replace(netloc=netloc, path=quote(parts.path, safe=_ASCII), query=quote(parts.query, safe=_ASCII))


def _request_bytes(method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes, user_agent: str) -> bytes:
    path = parts.path or "/"
    lines = [f"{method} {path}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
    given = {name.lower() for name in headers}
    if "host" not in given:
        lines.append(f"Host: {parts.netloc}")
    for name, value in headers.items():
        if name.lower() in ("content-length", "connection", "transfer-encoding"):
            continue
        if any(char in "\r\n\0" for char in name + value) or not name or any(char in " :\t" for char in name):
            raise OutgoingError("BadUrl", f"the header {name!r} holds a character that ends headers; remove it")
        if any(ord(char) > 255 for char in name + value):
            text = f"the header {name!r} holds characters that headers cannot carry; encode them, or send them in the body"
            raise OutgoingError("BadUrl", text)
        lines.append(f"{name}: {value}")
    if "user-agent" not in given:
        lines.append(f"User-Agent: {user_agent}")
    if body or method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


@dataclass(slots=True)
class _Parsed:
    """Collects one answer, as the parser tells it."""

    max_bytes: int
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0
    head_size: int = 0
    head_done: bool = False
    done: bool = False
    problem: str = ""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.head_size += len(name) + len(value)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.head_done = True

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        if self.size <= self.max_bytes:
            self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.done = True


async def _read_answer(reader: asyncio.StreamReader, url: str, method: str, max_bytes: int) -> OutgoingAnswer:
    parsed = _Parsed(max_bytes)
    parser = httptools.HttpResponseParser(parsed)
    received = 0
    while not parsed.done:
        data = await reader.read(_PIECE)
        if not data:
            break
        received += len(data)
        parser.feed_data(data)
        if parsed.head_done and 100 <= parser.get_status_code() < 200:
            raise OutgoingError("BadAnswer", f"{url} answered {parser.get_status_code()}, which nobody asked for")
        if parsed.head_done and (method == "HEAD" or parser.get_status_code() in (204, 304)):
            break
        if parsed.size > max_bytes:
            raise OutgoingError("TooLarge", f"the answer of {url} is larger than {max_bytes} bytes")
        if parsed.head_size > MAX_HEADER_BYTES or (not parsed.head_done and received > 2 * MAX_HEADER_BYTES):
            raise OutgoingError("TooLarge", f"the head of the answer of {url} is larger than {MAX_HEADER_BYTES} bytes")
    sized = "content-length" in parsed.headers or "transfer-encoding" in parsed.headers
    if not parsed.head_done or (sized and not parsed.done and method != "HEAD" and parser.get_status_code() not in (204, 304)):
        raise OutgoingError("BadAnswer", f"{url} closed the connection before its answer was complete")
    return OutgoingAnswer(parser.get_status_code(), parsed.headers, b"".join(parsed.pieces), url)
