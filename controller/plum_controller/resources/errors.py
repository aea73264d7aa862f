"""What the API answers when it refuses: one exception that carries a Kubernetes `Status`.

    raise not_found(info, "web")  ->  ApiStatusError  ->  body() -> {"kind":"Status","reason":"NotFound",...}

Clients decide by `code` and `reason` and people read `message`, so the texts are Kubernetes' own. A caller inside the
controller never catches one to go on: it is the answer to the request. Each constructor names the case it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from plum_schemas.base import KindInfo

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
TYPE_INVALID = "FieldValueTypeInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
NOT_FOUND = "FieldValueNotFound"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"
TOO_LONG = "FieldValueTooLong"

_encode = msgspec.json.Encoder().encode


class Cause(NamedTuple):
    """One problem of one field."""

    reason: str
    """`FieldValueRequired`, `FieldValueInvalid`, ...: for programs."""
    message: str
    """For people, without the field's name: `Invalid value: -1: spec.replicas in body should be ...`."""
    field: str
    """`spec.template.env[0].name`."""


class ApiStatusError(Exception):
    """A request that is refused, as a `Status`."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details: dict[str, Any] = {} if details is None else details
        self._shows_details = details is not None
        self.continue_token = ""
        """With 410 of an expired list: where the rest of the list can be read from, at a newer revision."""

    @property
    def retry_after_seconds(self) -> int:
        """What a `Retry-After` header should say; 0 for no header."""
        return int(self.details.get("retryAfterSeconds", 0))

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self._shows_details:
            status["details"] = self.details
        status["code"] = self.code
        return status

    def body(self) -> bytes:
        """The `Status` as JSON."""
        return _encode(self.status())


def success(info: KindInfo, name: str, uid: str) -> bytes:
    """The `Status` that answers a deletion after which the object is gone."""
    details = {"name": name, "group": info.group, "kind": info.plural, "uid": uid}
    if not info.group:
        del details["group"]
    return _encode({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})


def _details(info: KindInfo, name: str, kind: str | None = None) -> dict[str, Any]:
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if info.group:
        details["group"] = info.group
    details["kind"] = info.plural if kind is None else kind
    return details


def _causes(causes: Sequence[Cause]) -> list[dict[str, str]]:
    return [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]


def bad_request(message: str) -> ApiStatusError:
    """400: the request itself is malformed."""
    return ApiStatusError(400, "BadRequest", message)


def forbidden(info: KindInfo, name: str, message: str, causes: Sequence[Cause] = ()) -> ApiStatusError:
    """403: understood and refused."""
    details = _details(info, name)
    if causes:
        details["causes"] = _causes(causes)
    subject = f'{info.resource} "{name}"' if name else info.resource
    return ApiStatusError(403, "Forbidden", f"{subject} is forbidden: {message}", details)


def not_found(info: KindInfo, name: str) -> ApiStatusError:
    """404: no such object."""
    return ApiStatusError(404, "NotFound", f'{info.resource} "{name}" not found', _details(info, name))


def no_such_resource() -> ApiStatusError:
    """404: no kind, or no subresource, is served at this path."""
    return ApiStatusError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed(info: KindInfo, action: str, name: str = "") -> ApiStatusError:
    """405: the kind does not have this verb."""
    message = f'{action} is not supported on resources of kind "{info.resource}"'
    return ApiStatusError(405, "MethodNotAllowed", message, _details(info, name))


def not_acceptable(accepted: Sequence[str]) -> ApiStatusError:
    """406: none of the media types the client takes is one we can write."""
    return ApiStatusError(406, "NotAcceptable", f"only the following media types are accepted: {', '.join(accepted)}")


def already_exists(info: KindInfo, name: str, *, generated: bool = False, deleting: bool = False) -> ApiStatusError:
    """409: a create found the name taken; `generated` when the server chose it, `deleting` when the old object still goes."""
    message = f'{info.resource} "{name}" already exists'
    if generated:
        message += ", the server was not able to generate a unique name for the object"
    if deleting:
        message = f"object is being deleted: {message}"
    return ApiStatusError(409, "AlreadyExists", message, _details(info, name))


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(info: KindInfo, name: str, message: str = STALE) -> ApiStatusError:
    """409: the write was made on an older version of the object."""
    text = f'Operation cannot be fulfilled on {info.resource} "{name}": {message}'
    return ApiStatusError(409, "Conflict", text, _details(info, name))


def precondition_failed(info: KindInfo, name: str, message: str) -> ApiStatusError:
    """409: a uid or resourceVersion that was demanded does not match. Names the kind, not the plural, as Kubernetes does."""
    subject = f"{info.kind}.{info.group}" if info.group else info.kind
    text = f'Operation cannot be fulfilled on {subject} "{name}": {message}'
    return ApiStatusError(409, "Conflict", text, _details(info, name, info.kind))


def apply_conflict(message: str, causes: Sequence[Cause]) -> ApiStatusError:
    """409: fields of a server-side apply belong to other managers."""
    return ApiStatusError(409, "Conflict", message, {"causes": _causes(causes)})


def expired(message: str) -> ApiStatusError:
    """410: the revision that was asked for is no longer kept; list again."""
    return ApiStatusError(410, "Expired", message)


def too_large(message: str) -> ApiStatusError:
    """413: the body or the object is over the limit."""
    return ApiStatusError(413, "RequestEntityTooLarge", f"Request entity too large: {message}")


def unsupported_media_type(message: str) -> ApiStatusError:
    """415: the body's media type is not one we can read here."""
    return ApiStatusError(415, "UnsupportedMediaType", message)


def invalid(info: KindInfo, name: str, causes: Sequence[Cause]) -> ApiStatusError:
    """422: the object breaks rules; every one of them is named."""
    subject = f"{info.kind}.{info.group}" if info.group else info.kind
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    listed = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    details = _details(info, name, info.kind)
    details["causes"] = _causes(causes)
    return ApiStatusError(422, "Invalid", f'{subject} "{name}" is invalid: {listed}', details)


def invalid_option(kind: str, causes: Sequence[Cause]) -> ApiStatusError:
    """422: options of the request, such as `ListOptions`, break rules."""
    group = "meta.k8s.io"
    return invalid(KindInfo(kind=kind, plural=kind, group=group), "", causes)


def unprocessable(problem: str) -> ApiStatusError:
    """422 without a field: a JSON patch whose test failed or whose path is missing."""
    return ApiStatusError(422, "Invalid", f"the server rejected our request due to an error in our request: {problem}", {})


def too_many_requests(message: str, retry_after_seconds: int) -> ApiStatusError:
    """429: come back later."""
    return ApiStatusError(429, "TooManyRequests", message, {"retryAfterSeconds": retry_after_seconds})


def internal(message: str) -> ApiStatusError:
    """500: we are broken."""
    return ApiStatusError(500, "InternalError", f"Internal error occurred: {message}", {"causes": [{"message": message}]})


def unavailable(message: str, retry_after_seconds: int = 1) -> ApiStatusError:
    """503: nothing was done; retry."""
    return ApiStatusError(503, "ServiceUnavailable", message, {"retryAfterSeconds": retry_after_seconds})


def timeout(message: str, retry_after_seconds: int = 1, causes: Sequence[Cause] = ()) -> ApiStatusError:
    """504: it did not happen in time, or has not happened yet."""
    details: dict[str, Any] = {"retryAfterSeconds": retry_after_seconds}
    if causes:
        details["causes"] = [{"reason": cause.reason, "message": cause.message} for cause in causes]
    return ApiStatusError(504, "Timeout", f"Timeout: {message}", details)


def revision_in_future(revision: int, current: int) -> ApiStatusError:
    """504: a revision that has not happened yet was asked for."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version", "")
    return timeout(f"Too large resource version: {revision}, current: {current}", causes=(cause,))
