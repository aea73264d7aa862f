"""The device protocol on the controller, and what agents tell of their devices. See `plum_client.devices.protocol`.

/devices/NAMESPACE/NAME...            as agents serve it, for programs without one; ?node= is an agent's announcement
POST /agent/v1/devices {"node", "items": [...]}      reports and presence, many at once -> {"results": [{code, ...}, ...]}
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.devices.protocol import (
    MOST_BYTES,
    DeviceError,
    Reading,
    Route,
    read_announcement,
    read_move,
    read_report,
    route_of,
)
from plum_schemas.base import ObjectKey, Struct

from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.errors import ApiStatusError, bad_request, too_large

if TYPE_CHECKING:
    from plum_controller.devices.service import Devices

FIRST = "devices"
AGENT_PATH = ["agent", "v1", "devices"]
MOST_ITEMS = 500
_encode = msgspec.json.Encoder().encode


class Item(Struct):
    """What an agent tells of one device."""

    namespace: str
    name: str
    session: str = ""
    age: float = 0.0
    values: dict[str, Reading] = {}
    online: bool | None = None
    reason: str = ""


class _Items(Struct):
    node: str
    items: list[Item]


class DevicesApi:
    """Answers these routes."""

    def __init__(self) -> None:
        self.devices: Devices | None = None
        """Set while the controllers run."""

    async def answer(self, request: ApiRequest) -> Answer:
        """Raises `ApiStatusError`."""
        try:
            if request.path == AGENT_PATH:
                return Answer(_encode({"results": await self._tell(request)}))
            return Answer(await self._on_device(request, self.route(request)))
        except DeviceError as error:
            raise status_error(error) from error

    def route(self, request: ApiRequest) -> Route:
        """Raises `ApiStatusError` 404."""
        route = route_of(list(request.path[1:]))
        if route is None:
            raise ApiStatusError(
                404, "NotFound", "below /devices there is NAMESPACE/NAME, and reports, commands, operations/ID", {}
            )
        return route

    async def _on_device(self, request: ApiRequest, route: Route) -> bytes:
        devices, node = self.running(), request.query.get("node", "")
        if len(request.body) > MOST_BYTES:
            raise too_large(f"the body is larger than {MOST_BYTES} bytes")
        match request.method, route.part:
            case "PUT", "":
                announcement = read_announcement(request.body)
                if node:
                    _check_node(request, node)
                    return _encode(await devices.recorder.announce(route.key, announcement, node))
                return _encode(await devices.host.desk.announce(route.key, announcement))
            case "POST", "reports":
                return _encode(await devices.host.desk.report(route.key, read_report(request.body)))
            case "POST", "operations":
                await devices.host.desk.move(route.key, route.operation, read_move(request.body))
                return b"{}"
        raise ApiStatusError(405, "MethodNotAllowed", f"{request.method} is not served here; see docs/devices.md")

    async def _tell(self, request: ApiRequest) -> list[dict[str, Any]]:
        if request.method != "POST":
            raise ApiStatusError(405, "MethodNotAllowed", 'reports are told with POST and {"node": ..., "items": [...]}')
        try:
            asked = msgspec.json.decode(request.body, type=_Items)
        except msgspec.MsgspecError as error:
            raise bad_request(f"the body is no list of reports: {error}") from error
        if len(asked.items) > MOST_ITEMS:
            raise too_large(f"{len(asked.items)} reports are too many for one request; send {MOST_ITEMS} at most")
        _check_node(request, asked.node)
        devices = self.running()
        by_device: dict[tuple[str, str], list[int]] = {}
        for number, item in enumerate(asked.items):
            by_device.setdefault((item.namespace, item.name), []).append(number)
        results: list[dict[str, Any]] = [{} for _ in asked.items]

        async def of_one_device(numbers: list[int]) -> None:
            for number in numbers:
                results[number] = await _record(devices, asked.node, asked.items[number])

        await asyncio.gather(*(of_one_device(numbers) for numbers in by_device.values()))
        return results

    def running(self) -> Devices:
        """Raises `ApiStatusError` 503."""
        if self.devices is None:
            raise ApiStatusError(503, "ServiceUnavailable", "the controllers of this server do not run", {"retryAfterSeconds": 1})
        return self.devices


async def _record(devices: Devices, node: str, item: Item) -> dict[str, Any]:
    key = ObjectKey(item.namespace, item.name)
    try:
        await devices.recorder.report(key, node, item.values, max(0.0, item.age), item.online, item.session, item.reason)
    except DeviceError as error:
        return {"code": error.code, "reason": error.reason, "message": error.message}
    return {"code": 200}


def _check_node(request: ApiRequest, node: str) -> None:
    """An agent speaks for its own node."""
    own = request.identity.node
    if own and own != node:
        raise ApiStatusError(403, "Forbidden", f"forbidden: the agent of node {own!r} may not speak for node {node!r}", {})


def status_error(error: DeviceError) -> ApiStatusError:
    details: dict[str, Any] = {"causes": error.causes} if error.causes else {}
    if error.code == 503:
        details["retryAfterSeconds"] = 1
    return ApiStatusError(error.code, error.reason, error.message, details)
