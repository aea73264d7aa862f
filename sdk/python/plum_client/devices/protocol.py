"""What a device and its host say to each other: HTTP/1.1 with JSON, the same on an agent and on the controller.

    PUT  /devices/NAMESPACE/NAME                    Announcement -> Welcome
    POST /devices/NAMESPACE/NAME/reports            Report       -> Received; an empty one is a heartbeat
    GET  /devices/NAMESPACE/NAME/commands?session=  lines of Command; a blank line says that the host is there
    POST /devices/NAMESPACE/NAME/operations/ID      Move         -> {}; 409 when the move is not allowed

A session is one life of the program that speaks for the device: it takes a new one with every start, and keeps it over
reconnections. Whoever confirmed an operation is known by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from plum_schemas.base import ObjectKey, Struct
from plum_schemas.markers import AnyJson
from plum_schemas.resource import DeviceModel
from plum_schemas.scalars import Duration

Quality = Literal["good", "uncertain", "bad"]
MovePhase = Literal["Accepted", "Running", "Succeeded", "Failed"]
T = TypeVar("T")
KEEPALIVE_SECONDS = 5.0
"""Between two blank lines of a stream on which nothing else was said."""
MOST_BYTES = 4 * 1024 * 1024
"""Of one body."""
Session = Annotated[str, Meta(min_length=1, max_length=200)]


class Announcement(Struct):
    """A device says that it is there."""

    session: Session
    """Names this life of its program."""
    type: str = ""
    """Kind of device; kept where the Resource says none."""
    model: DeviceModel | None = None
    """What it knows and can do; kept where the Resource has no model of its own."""
    heartbeat: Duration | None = None
    """How often it will say something; kept where nobody else said it."""


class Welcome(Struct, omit_defaults=False):
    """What the host answers."""

    desired: dict[str, Any]
    """Values it should have."""
    model: DeviceModel
    """What counts: that of the Resource, which may be another than the announced one."""
    cursor: str
    """Version of the Resource that this was read from."""
    heartbeat: str
    """How often it has to say something."""


class Reading(Struct):
    """One value that a device reports."""

    value: AnyJson
    """The value."""
    device_time: datetime | None = None
    """When it was measured, by the clock of the device."""
    quality: Quality = "good"
    """How far it can be trusted."""


class Report(Struct):
    """Values that a device reports, by property."""

    session: Session
    values: dict[str, Reading] = {}


class Received(Struct, omit_defaults=False):
    """What became of a report."""

    stored: bool = True
    """It waits on the disk of the node, or is in the store."""
    dropped: int = 0
    """Older values of these properties that gave way because the room for them is full."""


class Move(Struct):
    """A device says how far an operation is."""

    session: Session
    phase: MovePhase
    result: AnyJson = None
    error: str = ""
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None


class DeviceError(Exception):
    """A request that is refused. `code` is its HTTP status."""

    def __init__(self, code: int, reason: str, message: str, causes: list[dict[str, str]] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.causes = causes or []

    def body(self) -> bytes:
        """As Kubernetes' `Status`."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": self.reason,
            "message": self.message,
            "code": self.code,
        }
        if self.causes:
            status["details"] = {"causes": self.causes}
        return msgspec.json.encode(status)


def refused(message: str, reason: str = "Conflict") -> DeviceError:
    """409: the move or the session is not the one that counts."""
    return DeviceError(409, reason, message)


def away(message: str) -> DeviceError:
    """503: nothing was done; the same request may be made again."""
    return DeviceError(503, "ServiceUnavailable", message)


class Route(Struct):
    """What a path below `/devices` names."""

    key: ObjectKey
    part: Literal["", "reports", "commands", "operations"] = ""
    operation: str = ""


def route_of(path: list[str]) -> Route | None:
    """The parts after `devices`, decoded; None when nothing is served there."""
    match path:
        case [namespace, name] if namespace and name:
            return Route(key=ObjectKey(namespace, name))
        case [namespace, name, ("reports" | "commands") as part] if namespace and name:
            return Route(key=ObjectKey(namespace, name), part=part)
        case [namespace, name, "operations", operation] if namespace and name and operation:
            return Route(key=ObjectKey(namespace, name), part="operations", operation=operation)
    return None


_announcements = msgspec.json.Decoder(Announcement)
_reports = msgspec.json.Decoder(Report)
_moves = msgspec.json.Decoder(Move)


def read_announcement(body: bytes) -> Announcement:
    """Raises `DeviceError` 400 that names the field."""
    return _read(_announcements, body, "an announcement")


def read_report(body: bytes) -> Report:
    """Raises `DeviceError` 400 that names the field."""
    return _read(_reports, body, "a report")


def read_move(body: bytes) -> Move:
    """Raises `DeviceError` 400 that names the field."""
    return _read(_moves, body, "a move of an operation")


def _read(decoder: msgspec.json.Decoder[T], body: bytes, what: str) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DeviceError(400, "BadRequest", f"the body is not {what}: {error}") from error
