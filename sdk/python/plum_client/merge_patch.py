"""Typed values as merge patches (RFC 7386) that leave nothing of what was there before.

    Exit(code=3) -> replacing -> {"code": 3, "signal": None, "message": None, ...}

What is left out of a merge patch stays as it is, and encoded values leave out every field at its default. So an exit code
would keep the signal of the run before, and a queue that is empty again the number that was told last.
"""

from __future__ import annotations

from typing import Any

import msgspec


def replacing(value: msgspec.Struct) -> dict[str, Any]:
    """A merge patch after which the object has exactly these fields. Lists are replaced whole, as always."""
    given = msgspec.to_builtins(value)
    patch = {}
    for field in msgspec.structs.fields(value):
        name, inner = field.encode_name, getattr(value, field.name)
        patch[name] = replacing(inner) if isinstance(inner, msgspec.Struct) else given.get(name)
    return patch
