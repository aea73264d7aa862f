"""Writes of the classic routes: objects of Plum, made and deleted for whoever asked."""

from __future__ import annotations

import msgspec
from plum_schemas.base import ObjectKey

from plum_controller.api.classic.wire import MANAGER, namespace_of
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.encode import Json
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService


async def create(service: ResourceService, request: ApiRequest, resource: str, manifest: Json) -> Json:
    """The object as it is stored, in the namespace of the request. Raises `ApiStatusError`."""
    kind = service.registry.require(resource)
    options = WriteOptions(field_manager=MANAGER, user=request.user)
    outcome = await service.create(kind, namespace_of(request), {"apiVersion": "plum.dev/v1", **manifest}, options)
    found: Json = msgspec.json.decode(outcome.value)
    return found


async def delete(service: ResourceService, request: ApiRequest, resource: str, key: ObjectKey) -> Answer:
    """204. Raises `ApiStatusError`."""
    await service.delete(service.registry.require(resource), key, DeleteOptions(user=request.user))
    return Answer(b"", status=204)
