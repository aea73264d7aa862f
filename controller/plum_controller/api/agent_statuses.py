"""Many statuses in one request: what an agent on a slow link has to tell after a while.

    POST /agent/v1/statuses {"items": [{namespace, name, patch}, ...]}
      -> each like PATCH .../instances/NAME/status, in order, with the rights of whoever asks -> {"results": [{code, ...}, ...]}

An item that is refused changes nothing for the others. Sending the same again is harmless: a status that is there already is
no write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer
from plum_controller.resources.errors import ApiStatusError, bad_request, too_large

if TYPE_CHECKING:
    from plum_controller.api.access import Gate
    from plum_controller.api.objects import ObjectsApi

PATH = ["agent", "v1", "statuses"]
MOST_ITEMS = 200
_MERGE = "application/merge-patch+json"


class _Item(msgspec.Struct):
    namespace: str
    name: str
    patch: msgspec.Raw


class _Items(msgspec.Struct):
    items: list[_Item]


async def answer(request: ApiRequest, objects: ObjectsApi, gate: Gate) -> Answer:
    """Write them one after the other. Raises `ApiStatusError` when nothing of the request makes sense."""
    if request.method != "POST":
        raise ApiStatusError(405, "MethodNotAllowed", 'statuses are told with POST and {"items": [...]}')
    try:
        asked = msgspec.json.decode(request.body, type=_Items)
    except msgspec.MsgspecError as error:
        raise bad_request(f"the body is no list of statuses: {error}") from error
    if len(asked.items) > MOST_ITEMS:
        raise too_large(f"{len(asked.items)} statuses are too many for one request; send {MOST_ITEMS} at most")
    return Answer(msgspec.json.encode({"results": [await _write(item, request, objects, gate) for item in asked.items]}))


async def _write(item: _Item, request: ApiRequest, objects: ObjectsApi, gate: Gate) -> dict[str, Any]:
    one = ApiRequest(
        "PATCH",
        ["apis", "plum.dev", "v1", "namespaces", item.namespace, "instances", item.name, "status"],
        request.query,
        bytes(item.patch),
        "application/json",
        _MERGE,
        request.user_agent,
        request.identity,
    )
    try:
        gate.check(one)
        done = await objects.answer(one)
    except ApiStatusError as error:
        return {"code": error.code, "message": error.message}
    assert not isinstance(done, WatchAnswer)  # noqa: S101 -- a patch is no watch
    return {"code": done.status, "revision": done.revision}
