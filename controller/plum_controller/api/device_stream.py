"""`GET /devices/NAMESPACE/NAME/commands?session=`: what a device is to do, as lines of JSON, for as long as it reads."""

from __future__ import annotations

import asyncio

from plum_client.devices.protocol import DeviceError

from plum_controller.api.api import Api
from plum_controller.api.devices import FIRST, status_error
from plum_controller.api.requests import ApiRequest
from plum_controller.api.streams import Receive, Send, wait_for_disconnect


def is_commands(request: ApiRequest) -> bool:
    return request.method == "GET" and request.path[0] == FIRST and request.path[-1] == "commands"


async def send_commands(api: Api, request: ApiRequest, receive: Receive, send: Send) -> None:
    """Stream to a device until it leaves. Raises `ApiStatusError` before the first byte."""
    route, desk = api.devices.route(request), api.devices.running().host.desk
    try:
        commands = desk.commands(route.key, request.query.get("session", ""))
    except DeviceError as error:
        raise status_error(error) from error
    gone = asyncio.ensure_future(wait_for_disconnect(receive))
    gone.add_done_callback(lambda _: commands.close())
    head = [(b"content-type", b"application/x-ndjson"), (b"cache-control", b"no-store")]
    try:
        await send({"type": "http.response.start", "status": 200, "headers": head})
        async for line in commands.lines():
            if not api.ready or not api.authenticator.is_valid(request.identity.credential):
                break
            await send({"type": "http.response.body", "body": line, "more_body": True})
        if not gone.done():
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        gone.cancel()
        desk.left(route.key, commands)
