"""How a request reaches the API: the one seam between the client and a server.

    ApiClient -> Request -> Transport -> HTTP to another process     (HttpTransport)
                                      -> the API in this process     (plum_controller.api.local.LocalTransport)
                                      -> an API in memory, for tests (plum_client.fake.FakeApi)

A transport carries bytes and status codes; it never raises for a status code. It raises `ApiUnavailableError`
when no answer came; the request may or may not have happened.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

from plum_schemas.base import KindInfo

from plum_client.codec import RawEvent

EMPTY: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """One call on the objects of one kind."""

    method: str
    """`GET`, `POST`, `PUT`, `PATCH` or `DELETE`."""
    info: KindInfo
    namespace: str = ""
    """Empty: all namespaces, or a cluster-wide kind."""
    name: str = ""
    """Empty: the collection."""
    subresource: str = ""
    """`status`, `scale`, `log`, `history` or empty."""
    query: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    body: bytes = b""
    content_type: str = "application/json"
    accept: str = "application/json"

    @property
    def path(self) -> str:
        """`/apis/plum.dev/v1/namespaces/default/deployments/web/status`, without the query."""
        info = self.info
        parts = ["/apis", info.group, info.version] if info.group else ["/api", info.version]
        if self.namespace and info.namespaced:
            parts += ["namespaces", self.namespace]
        parts.append(info.plural)
        if self.name:
            parts.append(self.name)
        if self.subresource:
            parts.append(self.subresource)
        return "/".join(parts)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status code."""

    status: int
    body: bytes
    revision: int = 0
    """The store revision of a write (header `X-Plum-Revision`), 0 where there was none."""
    warnings: tuple[str, ...] = ()
    """Texts of the `Warning` headers."""


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on: a watch (one JSON document per item) or raw bytes (logs)."""

    status: int
    chunks: AsyncIterator[bytes]
    """Lines without their newline for a watch; any pieces for logs. From status 400 on: the body of the error, in one piece."""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    """Length, range, entity tag and location of the answer, by lower-case name; empty where there was no HTTP."""
    events: AsyncIterator[RawEvent] | None = None
    """The same as `chunks`, of a watch whose events need not be read from lines; one of both is taken."""


class Transport(Protocol):
    """Carries requests to an API."""

    async def send(self, request: Request) -> Response:
        """Ask once and wait for the whole answer. Raises `ApiUnavailableError`."""

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """Ask for an answer that goes on; leaving the context ends it. Raises `ApiUnavailableError`, also while reading."""

    async def close(self) -> None:
        """Let go of connections. Safe to repeat."""
