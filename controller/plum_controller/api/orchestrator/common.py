"""What all routes of the orchestrator surface share: reading and changing objects, pages, the shape of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import ConflictError
from plum_schemas.base import KindInfo, ObjectKey

from plum_controller.api.requests import Answer, ApiRequest, number
from plum_controller.resources.errors import ApiStatusError, bad_request

if TYPE_CHECKING:
    from plum_controller.api.api import Api

Json = dict[str, Any]
PAGE, MAX_PAGE = 50, 500
ATTEMPTS = 10
"""Of a change that meets changes of others."""
AT_ONCE = 500
"""Objects that are decoded before others get their turn."""
encode = msgspec.json.Encoder().encode


class Objects:
    """Our objects, for the routes."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.cache = api.service.cache

    @cached_property
    def client(self) -> ApiClient:
        from plum_controller.api.local import LocalTransport  # it knows the API, which knows this

        return ApiClient(LocalTransport(self.api, "plum-orchestrator"), field_manager="plum-orchestrator")

    async def get(self, request: ApiRequest, info: KindInfo, name: str) -> Json:
        found = await self.client.get(info, key_of(request, name))
        if found is None:
            word = {"Workflow": "workflow", "Trigger": "trigger"}.get(info.kind, "execution")
            raise ApiStatusError(404, "NotFound", f"there is no {word} {name!r}")
        return found

    async def change(self, request: ApiRequest, info: KindInfo, name: str, change: Callable[[Json], Json]) -> Json:
        for attempt in range(ATTEMPTS):
            try:
                return await self.client.update(change(await self.get(request, info, name)), kind=info)
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def all(self, info: KindInfo, namespace: str) -> list[Json]:
        found = []
        for index, entry in enumerate(self.cache.list(info.resource, namespace, None, None)):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            found.append(msgspec.json.decode(entry.value))
        return found

    async def page(
        self, request: ApiRequest, info: KindInfo, fits: Callable[[Json], bool], show: Callable[[Json], Json]
    ) -> Answer:
        """One page, newest first."""
        limit = min(number(request.query, "limit") or PAGE, MAX_PAGE)
        offset = number(request.query, "offset") or 0
        found = [one for one in await self.all(info, namespace_of(request)) if fits(one)]
        found.sort(key=lambda one: (one["metadata"].get("creationTimestamp") or "", one["metadata"]["name"]), reverse=True)
        items = [show(one) for one in found[offset : offset + limit]]
        return json_answer({"items": items, "total": len(found), "limit": limit, "offset": offset})


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(encode(value), status=status)


def refused_answer(code: int, message: str, causes: Any = None) -> Answer:
    body: Json = {"error": message, "code": code}
    if causes:
        body["details"] = causes
    return json_answer(body, code)


def moment_of(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "1970-01-01T00:00:00Z")


def namespace_of(request: ApiRequest) -> str:
    return request.query.get("namespace") or "default"


def key_of(request: ApiRequest, name: str) -> ObjectKey:
    return ObjectKey(namespace_of(request), name)


def read_body(request: ApiRequest) -> Json:
    try:
        body = msgspec.json.decode(request.body) if request.body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body


def required_text(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad_request(f"{name} is missing")
    return value
