"""Signed requests: whether one is genuine, fresh and new, and what expressions see of it.

    X-Plum-Signature: sha256=HEX    HMAC-SHA256 over "TIMESTAMP.DELIVERY.BODY", with X-Plum-Timestamp and X-Plum-Delivery
    X-Hub-Signature-256: sha256=HEX GitHub's: over the body alone, so it carries no time

A genuine request is new when its signature was not seen before; how long that must be remembered follows from its time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from plum_flow.signing import DELIVERY_HEADER, TIMESTAMP_HEADER, sign

HUB_HEADER = "x-hub-signature-256"
DELIVERY_HEADERS = (DELIVERY_HEADER, "x-github-delivery", "x-gitlab-event-uuid", "idempotency-key")
HUB_MEMORY = timedelta(days=7)
"""How long a signature without a time is remembered: the same body counts once within it."""
HIDDEN = frozenset({"authorization", "cookie", "proxy-authorization", HUB_HEADER, "x-hub-signature"})
"""Headers that expressions do not see: they would end up in runs."""
MAX_FORM_FIELDS = 1000


class NotGenuineError(Exception):
    """The request is refused. The message says why, and nothing that helps to forge one."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """A request that was signed with the secret."""

    nonce: str
    """The same for the same request."""
    remember: timedelta
    """How long it could be sent again."""


def verify(
    headers: Mapping[str, str], body: bytes, secret: bytes, header: str, tolerance: timedelta, now_seconds: float
) -> Genuine:
    """Raises `NotGenuineError`. `headers` by lower-case name; `header` is the one the trigger wants."""
    header = header.lower()
    shown = headers.get(header, "")
    if not shown and header != HUB_HEADER:
        raise NotGenuineError(f"the header {header} is missing")
    if header == HUB_HEADER:
        _compare(shown, "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest())
        return Genuine(_nonce(shown), HUB_MEMORY)
    timestamp, delivery = headers.get(TIMESTAMP_HEADER, ""), headers.get(DELIVERY_HEADER, "")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        raise NotGenuineError(f"the header {TIMESTAMP_HEADER} must be the time in seconds since 1970")
    _compare(shown, sign(secret, timestamp, delivery, body))
    if abs(now_seconds - int(timestamp)) > tolerance.total_seconds():
        raise NotGenuineError("the request is too old, or the clock of its sender is wrong")
    # It could be sent again from `tolerance` before its time to `tolerance` after it.
    return Genuine(_nonce(shown), 2 * tolerance + timedelta(minutes=1))


def _compare(shown: str, expected: str) -> None:
    if not hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), expected.encode()):
        raise NotGenuineError("the signature is not that of this request")


def _nonce(signature: str) -> str:
    return hashlib.sha256(signature.strip().encode()).hexdigest()[:32]


def delivery_of(headers: Mapping[str, str]) -> str:
    """How the sender calls this delivery; empty when it does not say."""
    return next((headers[name] for name in DELIVERY_HEADERS if headers.get(name)), "")


def event_of(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """What expressions see as `event`."""
    shown = {name: value for name, value in headers.items() if name not in HIDDEN}
    return {
        "type": "webhook",
        "method": method,
        "path": path,
        "query": dict(query),
        "headers": shown,
        "delivery": delivery_of(headers),
        "body": body_of(headers.get("content-type", ""), body),
    }


def body_of(content_type: str, body: bytes) -> Any:
    """A body as a value: JSON, a form, or text. Raises `ValueError` for JSON that is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return msgspec.json.decode(body) if body.strip() else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"the body is no JSON: {error}") from error
    text = body.decode("utf-8", "replace")
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS))
    return text
