"""Step `webhook`: tell another program, signed, as it would tell us.

    {url, event, body, headers, secret, timeout}  ->  {status, body}

The signature is that of `plum_flow.signing`; the delivery id is the same for every attempt, so the receiver can drop repetitions.
"""

from __future__ import annotations

import hashlib
import time
from typing import Any

from plum_flow.http_call import FAILED_FROM, encode_body, value_of
from plum_flow.signing import DELIVERY_HEADER, TIMESTAMP_HEADER, sign
from plum_flow.steps.config import Config
from plum_flow.steps.http_step import DEFAULT_SECONDS, call, refused
from plum_flow.steps.step import Reach, Step

FIELDS = ("url", "method", "event", "body", "headers", "secret", "timeout")


async def run(step: Step, reach: Reach) -> Any:
    """Send it once."""
    config = Config(step.config, FIELDS)
    event = {"event": config.text("event", step.node), "run": step.run, "node": step.node, "namespace": step.namespace}
    body = config.any("body", {**event, "data": dict(step.payload)})
    data, headers = encode_body(body, config.texts("headers"))
    delivery = hashlib.sha256(step.idempotency_key.encode()).hexdigest()[:32]
    headers = {**headers, DELIVERY_HEADER: delivery}
    if "secret" in config:
        stamp = str(int(time.time()))
        secret = config.text("secret").encode()
        headers |= {TIMESTAMP_HEADER: stamp, "x-plum-signature": sign(secret, stamp, delivery, data)}
    url, method = config.text("url"), config.choice("method", ("POST", "PUT"), "POST")
    answer = await call(reach, method, url, headers, data.decode(errors="replace"), config.seconds("timeout", DEFAULT_SECONDS))
    if answer.status >= FAILED_FROM:
        raise refused(method, url, answer)
    return {"status": answer.status, "body": value_of(answer.body)}
