"""Field errors: what a kind's own rules answer, and the checks that several kinds share.

    Object.validate(old) -> FieldError ... -> `details.causes[]` of the 422 that the user reads

Reasons and texts are Kubernetes' own, because tools match on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

REQUIRED = "FieldValueRequired"
INVALID = "FieldValueInvalid"
NOT_SUPPORTED = "FieldValueNotSupported"
DUPLICATE = "FieldValueDuplicate"
FORBIDDEN = "FieldValueForbidden"


class FieldError(NamedTuple):
    """One refused field. `message` is complete: `Invalid value: 0: must not be 0 when ...`."""

    field: str
    """Path as users write it, such as `spec.strategy.maxSurge`."""
    reason: str
    message: str
    value: Any = None


def required(field: str, hint: str = "") -> FieldError:
    return FieldError(field, REQUIRED, f"Required value: {hint}" if hint else "Required value")


def invalid(field: str, value: Any, hint: str) -> FieldError:
    return FieldError(field, INVALID, f"Invalid value: {quote(value)}: {hint}", value)


def forbidden(field: str, hint: str) -> FieldError:
    return FieldError(field, FORBIDDEN, f"Forbidden: {hint}")


def duplicate(field: str, value: Any) -> FieldError:
    return FieldError(field, DUPLICATE, f"Duplicate value: {quote(value)}", value)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    choices = ", ".join(quote(choice) for choice in supported)
    return FieldError(field, NOT_SUPPORTED, f"Unsupported value: {quote(value)}: supported values: {choices}", value)


def quote(value: Any) -> str:
    """A value as Kubernetes prints it in a message: strings quoted, the rest as JSON would have it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return "null" if value is None else str(value)


def checked(field: str, value: Any, check: Callable[[Any], object]) -> Iterator[FieldError]:
    """The error `check` raises as ValueError about `value`, as a field error; nothing if it accepts the value."""
    try:
        check(value)
    except ValueError as error:
        yield invalid(field, value, str(error))


def exactly_one(field: str, choices: dict[str, Any]) -> Iterator[FieldError]:
    """Exactly one of the named values may be set; None counts as not set."""
    given = [name for name, value in choices.items() if value is not None]
    names = ", ".join(choices)
    if not given:
        yield required(field, f"set one of {names}")
    for extra in given[1:]:
        yield forbidden(f"{field}.{extra}", f"may not be set together with {given[0]}; set one of {names}")
