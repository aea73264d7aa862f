"""One device on its host: its session, its stream, its operations; and what the host keeps of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.resource import DeviceModel, Resource, ResourceSpec, fits_type

from plum_client.devices.protocol import KEEPALIVE_SECONDS, Announcement, DeviceError, Reading, Received
from plum_client.devices.tickets import Moment, Ticket


class Keeper(Protocol):
    """Where a host keeps what it must not forget."""

    def moment(self) -> Moment:
        """Now."""

    async def announce(self, key: ObjectKey, announcement: Announcement) -> Resource:
        """The Resource, made where there is none. Raises `DeviceError`."""

    async def note(self, ticket: Ticket) -> None:
        """Durable when it returns. Raises `DeviceError` when it cannot be, or must not be any more; then nothing is changed."""

    async def report(self, key: ObjectKey, readings: dict[str, Reading]) -> Received:
        """Durable when it returns. Raises `DeviceError`."""

    def presence(self, key: ObjectKey, online: bool, session: str, reason: str = "") -> None:
        """A device came or went. `reason`: why it is away, where more is known than that it is silent."""


class Commands:
    """One open stream of one device."""

    def __init__(self) -> None:
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.closed = False

    def put(self, command: dict[str, Any]) -> None:
        if not self.closed:
            self._lines.put_nowait(msgspec.json.encode(command) + b"\n")

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._lines.put_nowait(None)

    async def lines(self) -> AsyncIterator[bytes]:
        """What is to be said, with a blank line where nothing was for a while."""
        yield b"\n"
        while True:
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    line = await self._lines.get()
            except TimeoutError:
                line = b"\n"
            if line is None:
                return
            yield line


class Device:
    """One device on this host."""

    def __init__(self, key: ObjectKey) -> None:
        self.key = key
        self.spec: ResourceSpec | None = None
        """None while only operations are known of it."""
        self.revision = ""
        self.session = ""
        self.online = False
        self.heard = float("-inf")
        """Seconds at which it said something last."""
        self.why = ""
        """Why its driver does not reach it; empty while it does."""
        self.said_why = ""
        """What of that was told."""
        self.stream: Commands | None = None
        self.reported: dict[str, Any] = {}
        """Newest value of each property that is known here."""
        self.tickets: dict[str, Ticket] = {}
        """Operations that have not ended, by uid."""
        self.ended: dict[str, Ticket] = {}
        self.sent: set[str] = set()
        """Operations that went out on this stream."""
        self.told: dict[str, Any] = {}
        """Desired values that went out on this stream."""
        self.lock = asyncio.Lock()
        self.timer: asyncio.TimerHandle | None = None
        self.heartbeat: float | None = None
        """As announced, where the Resource is not known yet."""

    @property
    def silence(self) -> float:
        """Seconds after which it counts as away: two heartbeats."""
        heartbeat = self.heartbeat if self.spec is None else parse_duration(self.spec.heartbeat)
        return 2 * (heartbeat or 15.0)

    def model(self) -> DeviceModel:
        return self.spec.model if self.spec is not None else DeviceModel()


def command_of(ticket: Ticket) -> dict[str, Any]:
    """An operation as its device is told of it. `notAfter`: the latest start, by the clock of the host."""
    return {
        "type": "operation",
        "id": ticket.uid,
        "name": ticket.name,
        "method": ticket.method,
        "arguments": ticket.arguments,
        "notAfter": ticket.deadline_at,
        "idempotencyKey": ticket.idempotency_key,
        "attempt": ticket.attempt + 1,
        "timeout": ticket.timeout,
    }


def check_values(model: DeviceModel, values: dict[str, Reading]) -> None:
    """Raises `DeviceError` 422 for values that the model does not have. Bounds are for what is desired: reports say what is."""
    if not model.properties:
        return
    known = {one.name: one for one in model.properties}
    causes: list[dict[str, str]] = []
    for name, reading in values.items():
        wanted = known.get(name)
        if wanted is None:
            text = f"Unsupported value: {name!r}: the model has {', '.join(sorted(known))}"
            causes.append({"reason": "FieldValueNotSupported", "message": text, "field": f"values.{name}"})
        elif wanted.type != "enum" and not fits_type(reading.value, wanted.type):
            text = f"Invalid value: {reading.value!r}: must be of type {wanted.type}"
            causes.append({"reason": "FieldValueInvalid", "message": text, "field": f"values.{name}.value"})
    if causes:
        text = "; ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
        raise DeviceError(422, "Invalid", f"the report does not fit the model: {text}", causes)
