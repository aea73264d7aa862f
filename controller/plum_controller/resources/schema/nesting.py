"""How deep a value may be nested.

Everything that walks objects does so by recursion, as do the decoders of clients. Values deeper than the limit are
refused where they come in, so that no walk can exhaust the stack later.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 200
"""Containers inside containers. Real objects have fewer than 20; the recursion of Python ends near 1,000."""


def is_deeper(value: Any, levels: int) -> bool:
    """Whether a value has more than so many levels of containers."""
    kind = type(value)
    if kind is dict:
        return levels <= 0 or any(is_deeper(child, levels - 1) for child in value.values() if type(child) in (dict, list))
    if kind is list:
        return levels <= 0 or any(is_deeper(child, levels - 1) for child in value if type(child) in (dict, list))
    return False
