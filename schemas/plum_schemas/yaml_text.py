"""Writes JSON values as YAML in block style: the same text everywhere, and without a YAML library. Used for generated files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

_plain = re.compile(r"[A-Za-z(][A-Za-z0-9_./()'+;,=<>\[\]-]*(?: [A-Za-z0-9_./()'+;,=<>\[\]`$*~|-]+)*", re.ASCII).fullmatch
"""Text that every YAML reader takes for itself: no `: `, no ` #`, nothing that begins like something else."""
_words = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})


def to_yaml(value: Any) -> str:
    """The document, with a line break at its end."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _entry(f"{_scalar(key)}:", item)
    else:
        for item in value:
            first, *rest = _lines(item) if _is_block(item) else [_scalar(item)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)


def _entry(head: str, value: Any) -> Iterator[str]:
    if not _is_block(value):
        yield f"{head} {_scalar(value)}"
        return
    yield head
    indent = "  " if isinstance(value, dict) else ""
    yield from (f"{indent}{line}" for line in _lines(value))


def _is_block(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and _plain(value) and value.lower() not in _words:
        return value
    return msgspec.json.encode(value).decode()
