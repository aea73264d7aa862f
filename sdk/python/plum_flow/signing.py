"""How requests of Plum are signed.

X-Plum-Signature: sha256=HEX    HMAC-SHA256 over "TIMESTAMP.DELIVERY.BODY", with X-Plum-Timestamp and X-Plum-Delivery
"""

from __future__ import annotations

import hashlib
import hmac

TIMESTAMP_HEADER = "x-plum-timestamp"
DELIVERY_HEADER = "x-plum-delivery"


def sign(secret: bytes, timestamp: str, delivery: str, body: bytes) -> str:
    """The value of `X-Plum-Signature`."""
    return "sha256=" + hmac.new(secret, f"{timestamp}.{delivery}.".encode() + body, hashlib.sha256).hexdigest()
