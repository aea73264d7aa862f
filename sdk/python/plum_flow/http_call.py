"""Executor `http`: a request to an address on the allow list.

    HttpCall + payload + secrets -> expressions replaced -> OutgoingClient -> {status, headers, body}

Values of Secrets are read for the call, and taken out of what comes back before anything is stored.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.outgoing import OutgoingAnswer, OutgoingClient, OutgoingError
from plum_schemas.base import ObjectKey
from plum_schemas.core import Secret
from plum_schemas.taskdefinition import HttpCall

from plum_flow.calls import MAX_OUTPUT_BYTES, Call, TaskFailedError
from plum_flow.expressions import ExpressionError, Redactor, UnresolvedError, compile_value, secret_values
from plum_flow.expressions.secret_values import secret_names

NAMES = frozenset({"payload", "run", "secrets"})
NEVER_RETRIED = frozenset({"NotAllowed", "BadUrl", "TooLarge"})
"""Reasons that the next attempt would meet again."""
LONGEST_SECONDS = 86_400.0
"""Of one call without a timeout of its own: the run's timeout ends it earlier."""
FAILED_FROM = 400
SHOWN = 500
"""Characters of an answer that an error repeats."""


class HttpExecutor:
    """Makes the calls."""

    def __init__(self, outgoing: OutgoingClient, api: ApiClient) -> None:
        self._outgoing = outgoing
        self._api = api

    async def execute(self, call: Call) -> Any:
        """Raises `TaskFailedError` for an answer from 400 on, with its status as `code`."""
        http = call.task.http
        assert http is not None  # noqa: S101  the schema says so
        resolved, redact = await self._resolve(http, call)
        headers = (
            {"Idempotency-Key": call.idempotency_key, **resolved.headers} if call.idempotency_key else dict(resolved.headers)
        )
        body = b""
        if resolved.method not in ("GET", "HEAD", "DELETE") or resolved.body is not None:
            body, headers = encode_body(resolved.body if resolved.body is not None else dict(call.payload), headers)
        try:
            answer = await self._outgoing.request(
                resolved.method, resolved.url, headers, body, timeout=LONGEST_SECONDS, max_bytes=MAX_OUTPUT_BYTES
            )
        except OutgoingError as error:
            message = str(redact(error.message))
            raise TaskFailedError(message, error.reason, retryable=error.reason not in NEVER_RETRIED) from None
        output = redact({"status": answer.status, "headers": dict(answer.headers), "body": body_of(answer)})
        if answer.status >= FAILED_FROM:
            said = str(redact(answer.body[:SHOWN].decode(errors="replace")))
            url = str(redact(resolved.url)).partition("?")[0]
            text = f"{resolved.method} {url} was answered with {answer.status}: {said}"
            raise TaskFailedError(text, "HttpStatus", str(answer.status))
        return output

    async def _resolve(self, http: HttpCall, call: Call) -> tuple[HttpCall, Redactor]:
        parts = {"url": http.url, "headers": dict(http.headers), "body": http.body}
        try:
            template = compile_value(parts, NAMES)
            secrets = {name: await self._secret(name, call.namespace) for name in sorted(secret_names(template.references))}
            found = {name: keys for name, keys in secrets.items() if keys is not None}
            run = {"name": call.name, "namespace": call.namespace, "id": call.uid, "labels": dict(call.labels)}
            values = {"payload": dict(call.payload), "run": run, "secrets": secret_values(template.references, found)}
            resolved = template.evaluate(values)
            changed = msgspec.structs.replace(
                http, url=str(resolved["url"]), headers=_texts(resolved["headers"]), body=resolved["body"]
            )
        except (ExpressionError, UnresolvedError) as error:
            raise TaskFailedError(f"spec.http: {error}", "InvalidExpression", retryable=False) from None
        return changed, Redactor(value for keys in found.values() for value in keys.values())

    async def _secret(self, name: str, namespace: str) -> Mapping[str, str] | None:
        secret = await self._api.get(Secret, ObjectKey(namespace, name))
        if secret is None:
            return None
        return {key: base64.b64decode(value).decode(errors="replace") for key, value in secret.data.items()}


def encode_body(body: Any, headers: Mapping[str, str]) -> tuple[bytes, dict[str, str]]:
    """A text as it is, everything else as JSON, with the header that says so unless one is given."""
    named = any(name.lower() == "content-type" for name in headers)
    if isinstance(body, str):
        return body.encode(), dict(headers) if named else {**headers, "Content-Type": "text/plain; charset=utf-8"}
    return msgspec.json.encode(body), dict(headers) if named else {**headers, "Content-Type": "application/json"}


def body_of(answer: OutgoingAnswer) -> Any:
    """JSON as a value, everything else as text."""
    return value_of(answer.body)


def value_of(body: bytes) -> Any:
    """JSON as a value, everything else as text, nothing as None."""
    if not body.strip():
        return None
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        return body.decode(errors="replace")


def _texts(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else msgspec.json.encode(value).decode() for name, value in headers.items()}
