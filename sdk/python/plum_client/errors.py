"""Errors the API client raises, and what a caller does about each.

- ApiError
  - BadRequestError         400  the request makes no sense; a bug in the caller
  - UnauthorizedError       401  no or wrong token; a person must act
  - ForbiddenError          403  not allowed; a person must act
  - NotFoundError           404  the object is gone; the reconcile is finished
  - ConflictError       409, 412  resource_version is stale; read again and retry
    - AlreadyExistsError    409  somebody created it before; read it and go on from there
  - RevisionCompactedError  410  the watch is too old; list again
  - InvalidObjectError      422  the spec can never work; do not retry
  - TooManyRequestsError    429  wait `retry_after` seconds, then retry
  - ApiUnavailableError     5xx, timeout, refused connection; retry with backoff; the request may have happened
    - NotConnectedError            nobody was reached; the request has not happened
      - LinkOpenError              nobody has been reached for a while, so it was not even tried
    - AnswerTimeoutError           connected, and nothing was heard for too long; the request may have happened
    - NoEndpointError              no endpoint of a service takes requests; nothing was sent
- TerminalError                  raised by reconcilers: the spec can never work; reported in a condition, not retried

Only the API client turns status codes into these, so nobody else compares codes or message texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason of a refusal: which field, and what was expected there."""

    reason: str
    """CamelCase, such as `FieldValueInvalid`."""
    message: str
    field: str = ""
    """Path such as `spec.replicas`; empty where no single field is meant."""


class ApiError(Exception):
    """An answer that was not a success. Subclasses say what to do about it."""

    code = 0

    def __init__(self, message: str, status: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status: dict[str, Any] = dict(status or {})
        """The `Status` object of the answer; empty when there was no answer."""

    @property
    def reason(self) -> str:
        """CamelCase, such as `NotFound`; empty when the server gave none."""
        return str(self.status.get("reason") or "")

    @property
    def causes(self) -> tuple[Cause, ...]:
        details = self.status.get("details") or {}
        return tuple(
            Cause(str(cause.get("reason") or ""), str(cause.get("message") or ""), str(cause.get("field") or ""))
            for cause in details.get("causes") or ()
        )

    @property
    def retry_after(self) -> float:
        """Seconds the server asked to wait; 0 when it did not say."""
        return float((self.status.get("details") or {}).get("retryAfterSeconds") or 0.0)


class BadRequestError(ApiError):
    """The request makes no sense to the server, also 405, 406, 413 and 415."""

    code = 400


class UnauthorizedError(ApiError):
    code = 401


class ForbiddenError(ApiError):
    code = 403


class NotFoundError(ApiError):
    code = 404


class ConflictError(ApiError):
    """The object changed since it was read, or an apply met a field owned by somebody else."""

    code = 409


class AlreadyExistsError(ConflictError):
    """A create met an object of that name."""


class RevisionCompactedError(ApiError):
    """History from that revision on is no longer kept."""

    code = 410


class InvalidObjectError(ApiError):
    """The object breaks rules of its kind; `causes` names each field."""

    code = 422


class TooManyRequestsError(ApiError):
    code = 429


class ApiUnavailableError(ApiError):
    """No usable answer came. The request may or may not have happened."""

    code = 503


class NotConnectedError(ApiUnavailableError):
    """No connection could be made: the request was not sent."""


class LinkOpenError(NotConnectedError):
    """The circuit breaker is open: nothing was sent."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds
        """Until the server is asked again; 0 when that is happening now."""


class AnswerTimeoutError(ApiUnavailableError):
    """The server was connected and silent for too long."""


class NoEndpointError(ApiUnavailableError):
    """No endpoint of a service takes requests now. The message counts those there are, and says why not."""


class TerminalError(Exception):
    """A reconciler found a spec that can never work. Not retried until the object changes."""

    def __init__(self, message: str, reason: str = "InvalidSpec") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        """CamelCase; becomes the reason of the condition."""


_BY_CODE: dict[int, type[ApiError]] = {
    kind.code: kind
    for kind in (
        BadRequestError,
        UnauthorizedError,
        ForbiddenError,
        NotFoundError,
        ConflictError,
        RevisionCompactedError,
        InvalidObjectError,
        TooManyRequestsError,
    )
}


def error_of(code: int, body: bytes, what: str = "") -> ApiError:
    """The error for an answer of 400 or more. `what` names the request where the body is no `Status`."""
    try:
        status = msgspec.json.decode(body)
    except msgspec.DecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        text = body[:200].decode(errors="replace").strip()
        return _class_of(code, "")(f"{what}: the server answered {code} {text}".strip(": "))
    message = str(status.get("message") or f"{what}: the server answered {code}")
    return _class_of(code, str(status.get("reason") or ""))(message, status)


def _class_of(code: int, reason: str) -> type[ApiError]:
    if code >= 500 or code == 408:
        return ApiUnavailableError
    if code == 409 and reason == "AlreadyExists":
        return AlreadyExistsError
    if code == 412:
        return ConflictError
    return _BY_CODE.get(code, BadRequestError)
