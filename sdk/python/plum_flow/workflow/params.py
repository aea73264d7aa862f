"""Parameters of a run: defaults filled in, types and allowed values checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plum_schemas.validation import FieldError, invalid, not_supported, required
from plum_schemas.workflow import Param, has_type

from plum_flow.secret_marks import Held, redactor_of


def begin_with(params: Sequence[Param], given: Mapping[str, Any], held: Held, path: str) -> tuple[dict[str, Any], str]:
    """The values of all parameters of a run, and in words what is wrong with those that were given.

    Marks stay in place of the values of secrets; what they stand for is checked, and never shown.
    """
    values, errors = resolve(params, given, path)
    if held.marks:
        _, errors = resolve(params, held.put_in(given), path)
    text = "; ".join(f"{error.field}: {error.message}" for error in errors)
    return values, str(redactor_of(held.values)(text)) if held.marks else text


def resolve(params: Sequence[Param], given: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[FieldError]]:
    """The values of all parameters, and what is wrong with those that were given."""
    errors: list[FieldError] = []
    known = {param.name for param in params}
    for name in given:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            errors.append(invalid(f"{path}.{name}", given[name], f"the workflow has no such parameter; it has {names}"))
    values: dict[str, Any] = {}
    for param in params:
        where = f"{path}.{param.name}"
        value = as_number(given.get(param.name, param.default), param.type)
        if value is None:
            errors.append(required(where, f"a parameter of type {param.type} without a default"))
            continue
        if not has_type(value, param.type):
            errors.append(invalid(where, value, f"must be of type {param.type}"))
        elif param.enum and value not in param.enum:
            errors.append(not_supported(where, value, [str(choice) for choice in param.enum]))
        values[param.name] = value
    return values, errors


def as_number(value: Any, kind: str) -> Any:
    """Whole numbers that JSON wrote as 4.0."""
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
