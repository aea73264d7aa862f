"""HTTP to services by name: resolve, ask, try again where the Service says so, learn from the answer.

    async with ServiceClient(resolver) as http:
        answer = await http.request("GET", "orders", "/orders/42")

Connections are kept per endpoint and dropped once the endpoint is withdrawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from plum_schemas.endpoint import Endpoint
from plum_schemas.service import ServiceSpec

from plum_client.http_transport import HttpTransport
from plum_client.resolver import Resolver
from plum_client.resolver_strategies import identity
from plum_client.transport import Response

FAILED_FROM = 500
"""Answers from this status on count against the endpoint."""


@dataclass(frozen=True, slots=True)
class ServiceAnswer:
    """An answer, and who gave it."""

    status: int
    body: bytes
    endpoint: Endpoint


class ServiceClient:
    """Requests to the services of one namespace. The resolver stays open when this is closed."""

    def __init__(self, resolver: Resolver, *, max_connections: int = 64, user_agent: str = "plum-service-client") -> None:
        """`max_connections` bounds requests at the same time to one endpoint."""
        self._resolver = resolver
        self._max_connections = max_connections
        self._user_agent = user_agent
        self._transports: dict[str, HttpTransport] = {}
        self._services: dict[str, None] = {}

    async def __aenter__(self) -> ServiceClient:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Drop all connections. Safe to repeat."""
        transports, self._transports = list(self._transports.values()), {}
        await asyncio.gather(*(transport.close() for transport in transports))

    async def request(
        self,
        method: str,
        service: str,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        key: str = "",
        version: str = "",
    ) -> ServiceAnswer:
        """Ask any path of a service. Raises `NoEndpointError`, `ApiUnavailableError`, `TimeoutError`.

        For services that follow a key it is taken from `key`, or from what `spec.hashKey` names: `header:NAME`, `query:NAME`.
        """
        self._services[service] = None
        spec = await self._resolver.policy(service)
        found: list[Endpoint] = []

        async def attempt(endpoint: Endpoint) -> Response:
            found.append(endpoint)
            return await (await self._transport(endpoint)).request(method, path, headers, body)

        answer = await self._resolver.call(
            service, attempt, version=version, key=key or key_of(spec, path, headers or {}), judge=_judge
        )
        return ServiceAnswer(answer.status, answer.body, found[-1])

    async def _transport(self, endpoint: Endpoint) -> HttpTransport:
        scheme = "https" if endpoint.spec.protocol == "https" else "http"
        url = f"{scheme}://{identity(endpoint)}"
        transport = self._transports.get(url)
        if transport is None:
            transport = self._transports[url] = HttpTransport(
                url, user_agent=self._user_agent, max_connections=self._max_connections, timeout=86_400.0
            )  # the time of one attempt is the resolver's business
            await self._drop_withdrawn()
        return transport

    async def _drop_withdrawn(self) -> None:
        """Close transports to what is no longer an endpoint, unless requests are under way there."""
        known = {identity(e) for service in self._services for e in (await self._resolver.follow(service)).list()}
        addresses = {url: urlsplit(url).netloc for url in self._transports}
        gone = [url for url, address in addresses.items() if address not in known and not self._resolver.under_way(address)]
        # All at once: whoever waits for a close while others change the map would drop the same one twice.
        closing = [self._transports.pop(url) for url in gone]
        await asyncio.gather(*(transport.close() for transport in closing))


def key_of(spec: ServiceSpec, path: str, headers: Mapping[str, str]) -> str:
    """What a choice by key follows in one request; empty when the request does not carry it."""
    where, _, name = spec.hash_key.partition(":")
    if where == "header":
        return next((value for header, value in headers.items() if header.lower() == name.lower()), "")
    if where == "query":
        return next(iter(parse_qs(urlsplit(path).query).get(name, ())), "")
    return ""


def _judge(answer: Response) -> str:
    return str(answer.status) if answer.status >= FAILED_FROM else ""
