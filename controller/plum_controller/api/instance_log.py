"""`GET .../instances/NAME/log`: the output of an Instance, from the node it runs on, as it is produced.

follow  previous  tailLines  sinceSeconds  timestamps  stream  -->  the agent's tunnel  -->  text/plain, chunked
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey

from plum_controller.api.requests import ApiRequest, flag, number
from plum_controller.api.routes import Target
from plum_controller.api.tunnel import TunnelHub, TunnelStream
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.service import ResourceService

STREAMS = ("all", "stdout", "stderr")


class _Spec(msgspec.Struct, rename="camel"):
    node_name: str = ""


class _Instance(msgspec.Struct):
    spec: _Spec = msgspec.field(default_factory=_Spec)


def is_log(target: Target) -> bool:
    """Whether a target is the log of an Instance."""
    return target.subresource == "log" and target.kind.info.resource == "instances.plum.dev"


def log_params(target: Target, query: Mapping[str, str]) -> dict[str, Any]:
    """What the agent is asked. Raises `ApiStatusError` 400."""
    stream = query.get("stream") or "all"
    if stream not in STREAMS:
        raise bad_request(f"stream is {stream!r}; use one of {', '.join(STREAMS)}")
    return {
        "namespace": target.namespace,
        "instance": target.name,
        "follow": flag(query, "follow"),
        "previous": flag(query, "previous"),
        "tailLines": number(query, "tailLines"),
        "sinceSeconds": number(query, "sinceSeconds"),
        "timestamps": flag(query, "timestamps"),
        "stream": stream,
    }


@asynccontextmanager
async def open_log(service: ResourceService, hub: TunnelHub, request: ApiRequest, target: Target) -> AsyncIterator[TunnelStream]:
    """The stream of an Instance's output. Raises `ApiStatusError`: 404, 409 without a node, 503 without its agent."""
    params = log_params(target, request.query)
    value = service.get(target.kind, ObjectKey(target.namespace, target.name))
    node = msgspec.json.decode(value, type=_Instance).spec.node_name
    if not node:
        raise ApiStatusError(409, "Conflict", f'instance "{target.name}" has no output yet: it waits for a node')
    async with hub.get(node).open("log", params) as stream:
        yield stream
