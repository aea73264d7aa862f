"""Task functions: from their signatures to how they are called.

    @worker.task("resize")
    def resize(picture: Picture, context: Context) -> Result: ...

    payload (JSON) -> dict, dataclass, msgspec Struct, TypedDict or pydantic model -> function -> value -> JSON

At most one parameter gets the payload. A parameter annotated with `Context`, or called `context`, gets the context.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from plum_worker.context import Context, TaskError

INVALID_PAYLOAD, INVALID_OUTPUT = "InvalidPayload", "InvalidOutput"


@dataclass(frozen=True, slots=True)
class TaskFunction:
    """A function and how to call it."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    payload_name: str
    """Empty: it takes no payload."""
    payload_type: Any
    context_name: str
    """Empty: it takes no context."""

    def arguments(self, payload: bytes, context: Context) -> dict[str, Any]:
        """Raises `TaskError` for a payload that does not fit: trying again cannot help."""
        arguments: dict[str, Any] = {}
        if self.payload_name:
            arguments[self.payload_name] = read_payload(payload or b"null", self.payload_type)
        if self.context_name:
            arguments[self.context_name] = context
        return arguments


def inspect_task(name: str, function: Callable[..., Any]) -> TaskFunction:
    """Raises `TypeError` for a function that cannot be called with a payload and a context."""
    signature = inspect.signature(function)
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):  # annotations that only a type checker can see
        hints = {}
    payload_name = context_name = ""
    payload_type: Any = Any
    for parameter in signature.parameters.values():
        hint = hints.get(parameter.name, Any)
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"task {name!r}: the parameter {parameter.name!r} is positional only; remove the /")
        if hint is Context or (hint is Any and parameter.name == "context"):
            context_name = parameter.name
        elif not payload_name:
            payload_name, payload_type = parameter.name, hint
        elif parameter.default is parameter.empty:
            raise TypeError(f"task {name!r} takes {payload_name!r} and {parameter.name!r}; only one parameter gets the payload")
    return TaskFunction(name, function, inspect.iscoroutinefunction(function), payload_name, payload_type, context_name)


def read_payload(payload: bytes, kind: Any) -> Any:
    """The payload as the type that a function asks for. Raises `TaskError`."""
    try:
        if hasattr(kind, "model_validate_json"):
            return kind.model_validate_json(payload)
        if kind is Any or kind is inspect.Parameter.empty:
            return msgspec.json.decode(payload)
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise TaskError(f"the payload does not fit: {error}", INVALID_PAYLOAD, permanent=True) from error


def write_output(value: Any) -> bytes:
    """What a function returned, as JSON. Raises `TaskError`."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
        raise TaskError(f"what the task returned is no JSON: {error}", INVALID_OUTPUT, permanent=True) from error


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
