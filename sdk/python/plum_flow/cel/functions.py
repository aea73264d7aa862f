"""The functions of CEL's standard library, of its string, list, set and optional extensions, and of Kubernetes.

    REGISTRY["size"] = [Overload(None, ("string",), "int", len), ...]

An overload is chosen by the types that are known before the values are, or by the values. `any` fits every type. A
function gets the budget first when its work depends on the size of what it gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

from plum_schemas.durations import parse_duration

from plum_flow.cel.errors import Budget, EvaluationError
from plum_flow.cel.syntax import Unsigned
from plum_flow.cel.values import (
    INT_MAX,
    INT_MIN,
    TypeValue,
    integer,
    kind_of,
    no_overload,
    text,
    unsigned,
)

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


class Overload(NamedTuple):
    """One meaning of a function."""

    receiver: str | None
    """Kind of the receiver of a method; None for a function."""
    arguments: tuple[str, ...]
    result: str
    call: Function
    takes_budget: bool


REGISTRY: dict[str, list[Overload]] = {}


def define(name: str, receiver: str | None, arguments: tuple[str, ...], result: str, *, budget: bool = False) -> Callable[[F], F]:
    """Registers the decorated function as an overload. Kinds may name several: `string|bytes`."""

    def add(call: F) -> F:
        REGISTRY.setdefault(name, []).append(Overload(receiver, arguments, result, call, budget))
        return call

    return add


def fits(wanted: str, kind: str) -> bool:
    """Whether a value of a kind can be taken where `wanted` is. What is not known yet may fit."""
    return wanted == "any" or kind == "dyn" or kind in wanted.split("|") or (kind == "object" and "map" in wanted.split("|"))


# ---- conversions and sizes

_TYPE_NAMES = {"null": "null_type", "timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}


@define("size", None, ("string|bytes|list|map",), "int")
@define("size", "string|bytes|list|map", (), "int")
def size(value: Any) -> int:
    return len(value)


@define("type", None, ("any",), "type")
def type_name(value: Any) -> TypeValue:
    kind = kind_of(value)
    return TypeValue(_TYPE_NAMES.get(kind, kind))


@define("dyn", None, ("any",), "dyn")
def dyn(value: Any) -> Any:
    return value


@define("int", None, ("int|uint|double|string|timestamp",), "int")
def to_int(value: Any) -> int:
    kind = kind_of(value)
    if kind == "timestamp":
        return int(value.timestamp())
    if kind == "double" and not (INT_MIN < value < INT_MAX):
        raise EvaluationError("integer overflow")
    try:
        return integer(int(value))
    except ValueError:
        raise EvaluationError(f"{value[:50]!r} is no integer") from None


@define("uint", None, ("int|uint|double|string",), "uint")
def to_uint(value: Any) -> Unsigned:
    try:
        if kind_of(value) == "double" and not 0 <= value < 2.0**64:
            raise EvaluationError("unsigned integer overflow")
        return unsigned(int(value))
    except ValueError:
        raise EvaluationError(f"{value!r} is no unsigned integer") from None


@define("double", None, ("int|uint|double|string",), "double")
def to_double(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        raise EvaluationError(f"{value[:50]!r} is no number") from None


@define("bool", None, ("bool|string",), "bool")
def to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1"):
        return True
    if value in ("false", "False", "FALSE", "f", "0"):
        return False
    raise EvaluationError(f"{value[:50]!r} is neither true nor false")


@define("bytes", None, ("string|bytes",), "bytes", budget=True)
def to_bytes(budget: Budget, value: Any) -> bytes:
    budget.spend(len(value) // 10)
    return value.encode() if isinstance(value, str) else bytes(value)


@define("string", None, ("any",), "string", budget=True)
def to_string(budget: Budget, value: Any) -> str:
    kind = kind_of(value)
    if kind == "string":
        return str(value)
    if kind == "bool":
        return "true" if value else "false"
    if kind in ("int", "uint"):
        return str(int(value))
    if kind == "double":
        return format_double(value)
    if kind == "bytes":
        try:
            return text(value.decode(), budget)
        except UnicodeDecodeError:
            raise EvaluationError("the bytes are no UTF-8") from None
    if kind == "timestamp":
        shown = value.astimezone(UTC).isoformat()
        return str(shown).replace("+00:00", "Z")
    if kind == "duration":
        return f"{value.total_seconds():g}s"
    if kind in ("ip", "cidr", "url"):
        return str(value.value)
    raise no_overload("string", value)


def format_double(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


# ---- times


@define("timestamp", None, ("string|int|timestamp",), "timestamp")
def to_timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str):
            found = datetime.fromisoformat(value)
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        raise EvaluationError(f"{value!r} is no time such as 2026-01-02T03:04:05Z") from None


@define("duration", None, ("string|duration",), "duration")
def to_duration(value: Any) -> timedelta:
    if isinstance(value, timedelta):
        return value
    sign = -1 if value.startswith("-") else 1
    try:
        return sign * timedelta(seconds=parse_duration(value.lstrip("-+")))
    except (ValueError, OverflowError):
        raise EvaluationError(f"{value[:50]!r} is no duration such as 1h30m") from None


def _zone(name: str) -> Any:
    if name[:1] in "+-" or name[:1].isdigit():
        sign = -1 if name.startswith("-") else 1
        hours, _, minutes = name.lstrip("+-").partition(":")
        return timezone(sign * timedelta(hours=int(hours), minutes=int(minutes or 0)))
    return ZoneInfo(name)


def _part(read: Callable[[datetime], int]) -> Function:
    def get(moment: datetime, zone: str = "UTC") -> int:
        try:
            return read(moment.astimezone(_zone(zone)))
        except (ValueError, KeyError, OSError, OverflowError):
            raise EvaluationError(f"{zone[:50]!r} is no time zone") from None

    return get


for _name, _read in {
    "getFullYear": lambda t: t.year,
    "getMonth": lambda t: t.month - 1,
    "getDate": lambda t: t.day,
    "getDayOfMonth": lambda t: t.day - 1,
    "getDayOfWeek": lambda t: (t.weekday() + 1) % 7,
    "getDayOfYear": lambda t: t.timetuple().tm_yday - 1,
    "getHours": lambda t: t.hour,
    "getMinutes": lambda t: t.minute,
    "getSeconds": lambda t: t.second,
    "getMilliseconds": lambda t: t.microsecond // 1000,
}.items():
    define(_name, "timestamp", (), "int")(_part(_read))
    define(_name, "timestamp", ("string",), "int")(_part(_read))

for _name, _unit in {"getHours": 3600, "getMinutes": 60, "getSeconds": 1}.items():
    define(_name, "duration", (), "int")(lambda value, unit=_unit: int(value.total_seconds() / unit))
define("getMilliseconds", "duration", (), "int")(lambda value: value.microseconds // 1000)
