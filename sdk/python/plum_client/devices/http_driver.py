"""Devices that are reached by HTTP: `spec.driver.http`.

    operation  POST url {"id", "resource", "method", "arguments", "idempotencyKey", "attempt", "operations": [{name, value}]}
    desired    POST url {"resource", "desired": {...}, "operations": [{name, value}]}
    poll       GET  url -> {"states": {...}}, {"values": {...}} or the values themselves

2xx is a success, and what it answers the result. `operations` is the form of devices that know nothing else: each argument,
or the method where there is none, with its value as text. Values that are read as text become what the model says.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.resource import HttpDriver, PropertyModel, Resource

from plum_client.devices.drivers import CallError
from plum_client.outgoing import OutgoingClient, OutgoingError, split_url

_NEVER_REACHED = frozenset({"NotAllowed", "BadUrl", "Unresolvable", "Unreachable"})
SHOWN = 200
"""Characters of an answer that an error repeats."""


class HttpDevice:
    """One of them."""

    def __init__(self, resource: Resource, driver: HttpDriver, client: OutgoingClient) -> None:
        self.session = f"http-{secrets.token_hex(8)}"
        self._driver = driver
        self._client = client
        self._properties = {one.name: one for one in resource.spec.model.properties}

    async def operate(self, key: ObjectKey, command: Mapping[str, Any]) -> Any:
        arguments = command["arguments"]
        pairs = arguments or {command["method"]: ""}
        told = {name: command[name] for name in ("id", "method", "arguments", "idempotencyKey", "attempt")}
        answer = await self._post({**told, "resource": key.name, "operations": _pairs(pairs)})
        return _decoded(answer)

    async def stop(self, key: ObjectKey, command: Mapping[str, Any]) -> None:
        """The connection was cut; there is nothing more to be said in HTTP."""

    async def desire(self, key: ObjectKey, values: Mapping[str, Any]) -> None:
        await self._post({"resource": key.name, "desired": values, "operations": _pairs(values)})

    async def read(self, key: ObjectKey) -> dict[str, Any] | None:
        if self._driver.poll is None:
            await self._knock()
            return None
        found = _decoded(await self._ask("GET", b""))
        if isinstance(found, dict):
            found = next((found[name] for name in ("states", "values") if isinstance(found.get(name), dict)), found)
        if not isinstance(found, dict):
            raise CallError(f"{self._driver.url} answers no JSON object with values", True)
        if self._properties:
            found = {name: value for name, value in found.items() if name in self._properties}
        return {name: typed(value, self._properties.get(name)) for name, value in found.items()}

    async def _knock(self) -> None:
        """Whether somebody listens there; without `poll` nothing is asked."""
        try:
            parts = split_url(self._driver.url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            addresses = await self._client.resolve(parts.scheme, str(parts.hostname), port)
            async with asyncio.timeout(parse_duration(self._driver.timeout)):
                _, writer = await asyncio.open_connection(addresses[0], port)
            writer.close()
        except OutgoingError as error:
            raise CallError(error.message, False) from error
        except (OSError, TimeoutError) as error:
            raise CallError(f"{self._driver.url} cannot be reached: {error}", False) from error

    async def _post(self, body: Mapping[str, Any]) -> bytes:
        return await self._ask("POST", msgspec.json.encode(body))

    async def _ask(self, method: str, body: bytes) -> bytes:
        driver = self._driver
        headers = {"Accept": "application/json", **({"Content-Type": "application/json"} if body else {}), **driver.headers}
        try:
            answer = await self._client.request(method, driver.url, headers, body, timeout=parse_duration(driver.timeout))
        except OutgoingError as error:
            raise CallError(error.message, False if error.reason in _NEVER_REACHED else None) from error
        if not 200 <= answer.status < 300:
            text = answer.body[:SHOWN].decode("utf-8", "replace")
            raise CallError(f"{driver.url} answered {answer.status}: {text}", True)
        return answer.body


def _pairs(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"name": name, "value": text_of(value)} for name, value in values.items()]


def text_of(value: Any) -> str:
    """A value as devices write it that know only text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def typed(value: Any, model: PropertyModel | None) -> Any:
    """A value that may be text, as its model wants it; as it is when it cannot be."""
    if model is None or not isinstance(value, str) or model.type in ("string", "enum"):
        return value
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return value
    if model.type == "integer" and isinstance(decoded, float) and decoded.is_integer():
        return int(decoded)
    return decoded


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body.strip() else None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return body[: 64 * 1024].decode("utf-8", "replace")
