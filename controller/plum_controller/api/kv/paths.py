"""What a path below `/kv` names, and which right a request to it needs.

/kv                      all namespaces
/kv/NAMESPACE            its entries
/kv/NAMESPACE/KEY        one entry; KEY is everything that follows, decoded once: `a//b`, `..` and `%2F` are parts of keys
/kv/NAMESPACE?key=KEY    the same, for clients that tidy up paths
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from plum_schemas.kv import MAX_KEY_LENGTH, kv_name
from plum_schemas.names import is_label

from plum_controller.api.requests import flag
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import bad_request

_VERBS = {"GET": "get", "HEAD": "get", "DELETE": "delete"}


class Place(NamedTuple):
    """What a request is about."""

    namespace: str
    """Empty: all of them."""
    key: str
    """Empty: the whole namespace."""


def place_of(raw_path: bytes, query: Mapping[str, str]) -> Place:
    """Raises `ApiStatusError` 400 for what can be no namespace and no key."""
    parts = raw_path.split(b"/", 3)  # "", "kv", namespace, key
    namespace = _text(parts[2]) if len(parts) > 2 else ""
    key = _text(parts[3]) if len(parts) > 3 else ""
    if not key:
        key = query.get("key", "")
    if namespace and not is_label(namespace):
        raise bad_request(f"{namespace!r} can be no namespace; use lower case letters, digits and '-', at most 63 of them")
    if key and not namespace:
        raise bad_request("a key needs its namespace: /kv/NAMESPACE/KEY")
    check_key(key)
    return Place(namespace, key)


def check_key(key: str) -> None:
    """Raises `ApiStatusError` 400. The empty text passes: it is no key."""
    if len(key) > MAX_KEY_LENGTH:
        raise bad_request(f"a key may have {MAX_KEY_LENGTH} characters, this one has {len(key)}")
    if not key.isprintable():
        raise bad_request(f"the key {key!r} holds characters that cannot be printed")


def rights_of(method: str, place: Place, query: Mapping[str, str]) -> Attributes | None:
    """What a request needs before it is looked at; None where its parts are judged one by one."""
    verb = _VERBS.get(method, "update")
    if not place.key:
        if method in ("POST", "DELETE"):
            return None
        verb = "list"
    if verb in ("get", "list") and query and flag(query, "watch"):
        verb = "watch"
    return Attributes(verb, "plum.dev", "kvs", "", place.namespace, kv_name(place.key) if place.key else "")


def _text(part: bytes) -> str:
    try:
        return unquote_to_bytes(part).decode() if b"%" in part else part.decode()
    except UnicodeDecodeError as error:
        raise bad_request("the path is not UTF-8") from error
