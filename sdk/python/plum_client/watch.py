"""One watch over one connection: lines in, events out.

    {"type":"MODIFIED","object":{...}} -> RawEvent("MODIFIED", head, bytes of the object)
    {"type":"ERROR","object":Status}   -> RevisionCompactedError, ApiUnavailableError, ...

Events come in the order of the store, each once. Resuming after the end is the business of `plum_client.informer`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

import msgspec
from plum_schemas.base import KindInfo

from plum_client.codec import AnyT, RawEvent, head_of
from plum_client.errors import ApiUnavailableError, error_of
from plum_client.transport import Request, Transport

__all__ = ["RawEvent", "WatchEvent", "parse_line", "watch_events"]


@dataclass(frozen=True, slots=True)
class WatchEvent(Generic[AnyT]):
    """One change of one object."""

    type: str
    """`ADDED`, `MODIFIED` or `DELETED`, as seen through the selectors of the watch."""
    object: AnyT
    """The object after the change; for `DELETED` the last state."""
    revision: str
    """Watch again with `since` set to this to go on after it."""


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


_decode_line = msgspec.json.Decoder(_Line).decode


def parse_line(line: bytes) -> RawEvent:
    """One line of a watch. Raises the error an `ERROR` event carries, and `ApiUnavailableError` for a torn line."""
    try:
        event = _decode_line(line)
        if event.type != "ERROR":
            return RawEvent(event.type, head_of(event.object), bytes(event.object))
        status: Any = msgspec.json.decode(event.object)
        code = int(status.get("code") or 500)
    except (msgspec.MsgspecError, AttributeError, ValueError, TypeError) as error:
        raise ApiUnavailableError(f"the watch sent a line that is no event: {line[:80]!r}") from error
    raise error_of(code, bytes(event.object), "watch")


async def watch_events(
    transport: Transport,
    info: KindInfo,
    namespace: str,
    selectors: Mapping[str, str],
    since: str,
    timeout_seconds: int = 0,
    on_open: Callable[[], None] | None = None,
) -> AsyncGenerator[RawEvent, None]:
    """Events after `since` until the server ends the watch. Raises the errors of `plum_client.errors`.

    `on_open` is called once the server has answered that it watches.
    """
    query = {"watch": "true", "allowWatchBookmarks": "true", **selectors}
    if since:
        query["resourceVersion"] = since
    if timeout_seconds:
        query["timeoutSeconds"] = str(timeout_seconds)
    async with transport.stream(Request("GET", info, namespace, query=query)) as stream:
        if stream.status >= 400:
            body = b"".join([chunk async for chunk in stream.chunks])
            raise error_of(stream.status, body, f"watch {info.resource}")
        if on_open is not None:
            on_open()
        if stream.events is not None:
            async for event in stream.events:
                yield event
            return
        async for line in stream.chunks:
            if line:
                yield parse_line(line)
