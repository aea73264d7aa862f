"""What a device can do, from the signatures of its driver: the model that the Resource shows and the server checks against.

def range(self) -> Annotated[float, Value(unit="m", min=0)]    -> {name: range, type: double, unit: m, min: 0, readOnly: true}
def scan(sector: int, speed: float = 1.0) -> ...              -> {name: scan, arguments: [...]}
"""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

TYPES = ("string", "integer", "double", "boolean", "enum", "object", "array")
_BY_CLASS = {bool: "boolean", int: "integer", float: "double", str: "string"}


@dataclass(frozen=True, slots=True)
class Value:
    """What an annotation cannot say: `Annotated[float, Value(unit="m", min=0, max=5000)]`."""

    unit: str = ""
    min: float | None = None
    max: float | None = None
    description: str = ""
    enum: Sequence[Any] = ()


def value_model(name: str, hint: Any, facts: Value, where: str) -> dict[str, Any]:
    """The model of one value. Raises `TypeError` when its type cannot be told."""
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        facts = next((extra for extra in extras if isinstance(extra, Value)), facts)
    kind, choices = _type_of(hint)
    choices = list(facts.enum) or choices
    if choices and kind not in TYPES:
        kind = "enum"
    if kind not in TYPES:
        text = f"{where}: the type of {name!r} cannot be told from {hint!r}"
        raise TypeError(f"{text}; annotate it with int, float, str, bool, dict, list or Literal")
    model: dict[str, Any] = {"name": name, "type": kind}
    if choices:
        model["enum"] = [choice.value if isinstance(choice, enum.Enum) else choice for choice in choices]
    for key in ("unit", "min", "max", "description"):
        given = getattr(facts, key)
        if given not in ("", None):
            model[key] = given
    return model


def _type_of(hint: Any) -> tuple[str, list[Any]]:
    """The type's name, and the choices it leaves."""
    if isinstance(hint, str):
        return hint, []  # named in words
    origin = typing.get_origin(hint)
    if origin is Literal:
        return "enum", list(typing.get_args(hint))
    if origin in (typing.Union, types.UnionType):
        kinds = {_type_of(part)[0] for part in typing.get_args(hint) if part is not type(None)}
        return ("double" if kinds == {"integer", "double"} else kinds.pop() if len(kinds) == 1 else ""), []
    kind = origin or hint
    if not isinstance(kind, type):
        return "", []
    if issubclass(kind, enum.Enum):
        return "enum", list(kind)
    for known, name in _BY_CLASS.items():
        if issubclass(kind, known):
            return name, []
    if issubclass(kind, list | tuple | Sequence):
        return "array", []
    if issubclass(kind, dict | Mapping | msgspec.Struct) or hasattr(kind, "__dataclass_fields__") or hasattr(kind, "__total__"):
        return "object", []
    return "", []


@dataclass(frozen=True, slots=True)
class OperationFunction:
    """A function that carries out an operation, and how to call it."""

    name: str
    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    """Types by name."""
    call_name: str
    """Parameter that gets the `OperationCall`; empty: none."""
    model: Mapping[str, Any]

    def fill(self, given: Mapping[str, Any], call: Any) -> dict[str, Any]:
        """The arguments as the function wants them. Raises `ValueError` for some that do not fit."""
        filled: dict[str, Any] = {}
        for name, value in given.items():
            if name not in self.arguments:
                raise ValueError(f"{self.name} has no argument {name!r}; it has {', '.join(self.arguments) or 'none'}")
            try:
                filled[name] = msgspec.convert(value, self.arguments[name])
            except msgspec.ValidationError as error:
                raise ValueError(f"argument {name}: {error}") from error
        if self.call_name:
            filled[self.call_name] = call
        return filled


def inspect_operation(name: str, function: Callable[..., Any], call_type: type, description: str) -> OperationFunction:
    """Raises `TypeError` for a function whose arguments cannot be told."""
    hints = hints_of(function)
    arguments: dict[str, Any] = {}
    models = []
    call_name = ""
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, Any)
        if hint is call_type or (hint is Any and parameter.name == "call"):
            call_name = parameter.name
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise TypeError(
                f"operation {name!r}: the parameter {parameter.name!r} has no name that a call could give; make it plain"
            )
        model = value_model(parameter.name, hint, Value(), f"operation {name!r}")
        if parameter.default is parameter.empty:
            model["required"] = True
        elif parameter.default is not None:
            default = parameter.default
            model["default"] = default.value if isinstance(default, enum.Enum) else default
        arguments[parameter.name] = hint
        models.append(model)
    model = {"name": name} | ({"arguments": models} if models else {})
    text = description or (inspect.getdoc(function) or "").partition("\n")[0]
    return OperationFunction(name, function, arguments, call_name, model | ({"description": text} if text else {}))


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a function, those of a type checker alone left out."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        return {}
