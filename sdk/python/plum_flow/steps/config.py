"""Settings of a step, read with errors that name the field, the value and what is expected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from plum_schemas.durations import parse_duration

from plum_flow.calls import TaskFailedError

T = TypeVar("T")
MISSING: Any = object()


def wrong(field: str, value: Any, expected: str) -> TaskFailedError:
    """A setting that can never work."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
    return TaskFailedError(f"config.{field} is {shown}; {expected}", "InvalidConfig", retryable=False)


class Config:
    """Reads one step's settings. Names may be written in camelCase or with underscores."""

    def __init__(self, values: Mapping[str, Any], known: Sequence[str]) -> None:
        self._values = {camel(name): value for name, value in values.items()}
        unknown = sorted(self._values.keys() - set(known))
        if unknown:
            text = f"config.{unknown[0]} is not known to this step; it takes {', '.join(known)}"
            raise TaskFailedError(text, "InvalidConfig", retryable=False)

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def any(self, name: str, default: Any = None) -> Any:
        found = self._values.get(name)
        return default if found is None else found

    def text(self, name: str, default: Any = MISSING) -> str:
        found = self._get(name, default)
        if isinstance(found, bool) or not isinstance(found, str | int | float):
            raise wrong(name, found, "use a text")
        return str(found)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        found = self._get(name, default)
        if isinstance(found, str) and found.isascii() and found.isdigit():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
            raise wrong(name, found, f"use a whole number from {low} to {high}")
        return found

    def flag(self, name: str, default: bool = False) -> bool:
        found = self._get(name, default)
        if not isinstance(found, bool):
            raise wrong(name, found, "use true or false")
        return found

    def mapping(self, name: str) -> dict[str, Any]:
        found = self._get(name, {})
        if not isinstance(found, dict):
            raise wrong(name, found, "use a map")
        return found

    def texts(self, name: str) -> dict[str, str]:
        """A map whose values are texts; others are written as JSON."""
        return {
            key: value if isinstance(value, str) else msgspec.json.encode(value).decode()
            for key, value in self.mapping(name).items()
        }

    def names(self, name: str) -> list[str]:
        """A list of texts, or a single one."""
        found = self._get(name, [])
        found = [found] if isinstance(found, str) else found
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            raise wrong(name, found, "use a text or a list of texts")
        return found

    def seconds(self, name: str, default: float) -> float:
        """A duration such as `30s`, or a number of seconds."""
        found = self._values.get(name)
        if found is None:
            return default
        try:
            value = float(found) if isinstance(found, int | float) and not isinstance(found, bool) else parse_duration(str(found))
        except ValueError as error:
            raise wrong(name, found, str(error)) from None
        if not 0 < value <= 86_400:
            raise wrong(name, found, "use more than 0 and at most a day")
        return value

    def choice(self, name: str, allowed: Sequence[str], default: Any = MISSING) -> str:
        found = self.text(name, default)
        for one in allowed:
            if one.lower() == found.lower():
                return one
        raise wrong(name, found, f"use one of {', '.join(allowed)}")

    def _get(self, name: str, default: Any) -> Any:
        found = self._values.get(name)
        if found is not None:
            return found
        if default is MISSING:
            raise TaskFailedError(f"config.{name} is missing", "InvalidConfig", retryable=False)
        return default


def camel(name: str) -> str:
    """`max_tokens` as `maxTokens`."""
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
