"""Payloads against the JSON Schema of their task, and those schemas themselves.

    schema_problem(schema)           when the definition is stored
    payload_problem(schema, payload) when a run is admitted -> "spec.payload.width: ..."

References stay inside the schema: none is fetched from anywhere. Patterns are matched in linear time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

MAX_SHOWN = 5
"""Problems of one payload that are told."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Problem(NamedTuple):
    """What is wrong, and where."""

    path: str
    """Below the value: `.width`, `.items[0]`; empty for all of it."""
    message: str


def schema_problem(schema: Mapping[str, Any]) -> Problem | None:
    """Why this is no schema that payloads can be checked with; None when it is one."""
    for path, reference in _references(schema, ""):
        if not str(reference).startswith("#"):
            return Problem(
                path, f"{reference!r} leads outside of the schema; put what it means under $defs, and use #/$defs/NAME"
            )
    try:
        _compile(msgspec.json.encode(schema))
    except ValueError as error:
        return Problem(_path(getattr(error, "instance_path", ())), str(error).partition("\n")[0])
    return None


def payload_problems(schema: Mapping[str, Any], payload: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a payload, at most `MAX_SHOWN` things. Raises `ValueError` for a schema that is none."""
    validator = _compile(msgspec.json.encode(schema))
    if validator.is_valid(payload):
        return []
    found = []
    for error in validator.iter_errors(payload):
        found.append(Problem(_path(error.instance_path), str(error.message)))
        if len(found) == MAX_SHOWN:
            break
    return found


@lru_cache(maxsize=256)
def _compile(schema: bytes) -> Any:
    import jsonschema_rs  # 8 MB and tens of milliseconds: not before a schema is there

    def refuse(uri: str) -> Any:
        raise ValueError(f"{uri} is not fetched; put it under $defs")

    return jsonschema_rs.validator_for(
        msgspec.json.decode(schema), pattern_options=jsonschema_rs.RegexOptions(), retriever=refuse, validate_formats=True
    )


def _references(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    pending = [(value, path)]
    while pending:
        current, where = pending.pop()
        if isinstance(current, dict):
            for key, inner in current.items():
                if key in _REFERENCES and isinstance(inner, str):
                    yield f"{where}.{key}", inner
                elif key not in ("const", "enum", "default", "examples"):
                    pending.append((inner, f"{where}.{key}"))
        elif isinstance(current, list):
            pending.extend((inner, f"{where}[{index}]") for index, inner in enumerate(current))


def _path(parts: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
