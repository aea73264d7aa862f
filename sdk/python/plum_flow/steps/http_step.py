"""Step `http`: a request to an address on the allow list.

    {method, url, query, headers, body, timeout, redirects, expect}  ->  {status, headers, body}

Answers from 400 on fail the step unless `expect` lists their status. A JSON body is a value in the output.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from plum_client.outgoing import OutgoingAnswer, OutgoingError

from plum_flow.calls import MAX_OUTPUT_BYTES, TaskFailedError
from plum_flow.http_call import FAILED_FROM, NEVER_RETRIED, SHOWN, encode_body, value_of
from plum_flow.steps.config import Config, wrong
from plum_flow.steps.step import Reach, Step

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
FIELDS = ("method", "url", "query", "headers", "body", "timeout", "redirects", "expect")
DEFAULT_SECONDS = 30.0


async def run(step: Step, reach: Reach) -> Any:
    """Make the request."""
    config = Config(step.config, FIELDS)
    method = config.choice("method", METHODS, "GET")
    expected = config.any("expect", [])
    if not isinstance(expected, list) or not all(isinstance(status, int) for status in expected):
        raise wrong("expect", expected, "use a list of statuses")
    body = config.any("body")
    if body is None and method not in ("GET", "HEAD", "DELETE"):
        body = dict(step.payload)
    url = with_query(config.text("url"), config.mapping("query"))
    headers = {"Idempotency-Key": step.idempotency_key, **config.texts("headers")}
    redirects = config.number("redirects", 5, 0, 20)
    answer = await call(reach, method, url, headers, body, config.seconds("timeout", DEFAULT_SECONDS), redirects)
    if answer.status >= FAILED_FROM and answer.status not in expected:
        raise refused(method, url, answer)
    return {"status": answer.status, "headers": dict(answer.headers), "body": value_of(answer.body)}


def with_query(url: str, query: dict[str, Any]) -> str:
    """An address with further parameters."""
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query, doseq=True)}"


async def call(
    reach: Reach, method: str, url: str, headers: dict[str, str], body: Any, seconds: float, redirects: int = 0
) -> OutgoingAnswer:
    """One guarded request. Raises `TaskFailedError` when no answer came."""
    data = b""
    if body is not None:
        data, headers = encode_body(body, headers)
    try:
        return await reach.outgoing.request(
            method, url, headers, data, timeout=seconds, max_bytes=MAX_OUTPUT_BYTES, redirects=redirects
        )
    except OutgoingError as error:
        raise TaskFailedError(error.message, error.reason, retryable=error.reason not in NEVER_RETRIED) from error


def refused(method: str, url: str, answer: OutgoingAnswer) -> TaskFailedError:
    """An answer that is a failure."""
    said = answer.body[:SHOWN].decode(errors="replace")
    text = f"{method} {url.partition('?')[0]} was answered with {answer.status}: {said}"
    return TaskFailedError(text, "HttpStatus", str(answer.status))
