"""What the classic routes have in common: refusals as one line of text, bodies, namespaces, pages, identifiers.

Namespace: the parameter `namespace`, else `default`. Identifiers of objects are their uid as 32 hexadecimal digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from plum_controller.api.requests import TEXT, Answer, ApiRequest, number
from plum_controller.resources.errors import bad_request

encode = msgspec.json.Encoder().encode
MANAGER = "plum-classic"
"""Field manager of everything that is written here."""


def text(status: int, message: str) -> Answer:
    """One line, for people and for programs that compare it."""
    return Answer(f"{message}\n".encode(), status=status, content_type=TEXT)


def read_body(request: ApiRequest, kind: type[Any]) -> Any:
    """Raises `ApiStatusError` 400."""
    try:
        return msgspec.json.decode(request.body, type=kind)
    except msgspec.MsgspecError as error:
        raise bad_request(f"bad json: {error}") from error


def namespace_of(request: ApiRequest) -> str:
    return request.query.get("namespace") or "default"


def page(items: Sequence[Any], request: ApiRequest) -> Answer:
    """As many as `limit` says, and a Link to the rest."""
    limit, offset = number(request.query, "limit") or 0, number(request.query, "offset") or 0
    part = items[offset : offset + limit] if limit else items[offset:]
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if limit and offset + limit < len(items):
        query = urlencode({**request.query, "offset": offset + limit})
        headers = ((b"link", f'</{"/".join(request.path)}?{query}>; rel="next"'.encode()),)
    return Answer(encode(part), headers=headers)


def id_of(uid: str) -> str:
    """The identifier of an object, from its uid."""
    return uid.replace("-", "")


def seconds_of(time: str) -> int:
    """Unix seconds of a time as objects write it, 0 without one."""
    from datetime import datetime

    return int(datetime.fromisoformat(time).timestamp()) if time else 0
