"""Programs that speak for devices in tests: the protocol by hand, so that a test decides about every message.

device = RawDevice(agent_address(folder), "default", "valve-1")
await device.announce(model=VALVE); await device.follow(); operation = await device.next("operation")
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.operation import Operation, OperationSpec, OperationStatus
from plum_schemas.operation_states import is_final
from plum_schemas.resource import Resource, ResourceStatus

VALVE = {
    "properties": [
        {"name": "position", "type": "integer", "unit": "%", "min": 0, "max": 100},
        {"name": "pressure", "type": "double", "unit": "bar", "readOnly": True},
    ],
    "operations": [
        {"name": "flush", "arguments": [{"name": "seconds", "type": "integer", "min": 1, "max": 60, "required": True}]},
        {"name": "home"},
    ],
}
SECONDS = 30.0


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, body: dict[str, Any]) -> None:
        super().__init__(f"{code} {body.get('reason')}: {body.get('message')}")
        self.code, self.reason, self.message, self.body = code, body.get("reason"), body.get("message", ""), body


def agent_address(node_folder: Path, namespace: str = "default") -> str:
    """What the agent that keeps its data there tells the programs of a namespace."""
    kept = json.loads((node_folder / "devices" / "address").read_bytes())
    word = hmac.new(kept["secret"].encode(), namespace.encode(), hashlib.sha256).hexdigest()[:32]
    return f"http://127.0.0.1:{kept['port']}/{word}"


class RawDevice:
    """One device, and the messages of its stream."""

    def __init__(self, address: str, namespace: str, name: str, session: str = "") -> None:
        self.transport = HttpTransport(address)
        self.path = f"/devices/{namespace}/{name}"
        self.session = session or secrets.token_hex(8)
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: list[dict[str, Any]] = []
        self._reading: asyncio.Task[None] | None = None

    async def ask(self, method: str, path: str, body: Any) -> Any:
        """Raises `RefusedError`, `ApiUnavailableError`."""
        headers = {"Content-Type": "application/json"}
        response = await self.transport.request(method, self.path + path, headers, msgspec.json.encode(body))
        decoded = msgspec.json.decode(response.body) if response.body else {}
        if response.status != 200:
            raise RefusedError(response.status, decoded)
        return decoded

    async def announce(self, **fields: Any) -> Any:
        return await self.ask("PUT", "", {"session": self.session, "model": VALVE, **fields})

    async def report(self, **values: Any) -> Any:
        readings = {
            name: value if isinstance(value, dict) and "value" in value else {"value": value} for name, value in values.items()
        }
        return await self.ask("POST", "/reports", {"session": self.session, "values": readings})

    async def move(self, operation: str, phase: str, **fields: Any) -> Any:
        return await self.ask("POST", f"/operations/{operation}", {"session": self.session, "phase": phase, **fields})

    async def follow(self) -> None:
        """Open the stream; returns when it is open."""
        self.leave()
        is_open: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read(is_open))
        await is_open

    async def _read(self, is_open: asyncio.Future[None]) -> None:
        try:
            await self._read_lines(is_open)
        except ApiUnavailableError as error:  # whoever is at the other end died
            if not is_open.done():
                is_open.set_exception(error)

    async def _read_lines(self, is_open: asyncio.Future[None]) -> None:
        async with self.transport.stream_path("GET", f"{self.path}/commands?session={self.session}") as stream:
            text = b""
            async for piece in stream.chunks:
                if stream.status != 200:
                    is_open.set_exception(RefusedError(stream.status, msgspec.json.decode(piece)))
                    return
                if not is_open.done():
                    is_open.set_result(None)
                *lines, text = (text + piece).split(b"\n")
                for line in filter(None, lines):
                    message = json.loads(line)
                    self.heard.append(message)
                    self.messages.put_nowait(message)

    async def next(self, kind: str, seconds: float = SECONDS) -> dict[str, Any]:
        """The next message of a kind; others before it are dropped."""
        async with asyncio.timeout(seconds):
            while True:
                message = await self.messages.get()
                if message["type"] == kind:
                    return message

    def leave(self) -> None:
        """Cut the stream."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    async def close(self) -> None:
        self.leave()
        await self.transport.close()


async def ask_for(api: ApiClient, resource: str, method: str = "home", name: str = "", **spec: Any) -> Operation:
    """An Operation, created."""
    metadata = ObjectMeta(name=name or f"op-{secrets.token_hex(5)}", namespace="default")
    return await api.create(Operation(metadata=metadata, spec=OperationSpec(resource_ref=resource, method=method, **spec)))


async def ended(api: ApiClient, operation: Operation, seconds: float = SECONDS) -> OperationStatus:
    """Its status once it has ended."""
    return await operation_until(api, operation, lambda status: is_final(status.phase), seconds)


async def operation_until(
    api: ApiClient, operation: Operation, fits: Callable[[OperationStatus], Any], seconds: float = SECONDS
) -> OperationStatus:
    """Its status once that holds."""
    found: Operation | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await api.get(Operation, operation.key)
                if found is not None and fits(found.status):
                    return found.status
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{operation.key}: {found and msgspec.to_builtins(found.status)}") from None


async def resource_until(
    api: ApiClient, name: str, fits: Callable[[ResourceStatus], Any], seconds: float = SECONDS
) -> ResourceStatus:
    """The status of a Resource once that holds."""
    found: Resource | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                found = await api.get(Resource, ObjectKey("default", name))
                if found is not None and fits(found.status):
                    return found.status
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{name}: {found and msgspec.to_builtins(found.status)}") from None
