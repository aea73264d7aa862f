"""Annotations for what a schema says beyond types: how lists and maps merge, and which values are free.

    ports: Annotated[list[Port], ListMap("name")]  --generate-->  x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name]

msgspec ignores them; `plum_schemas.generate` reads them. Constraints on values are `msgspec.Meta`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, slots=True)
class Marker:
    """Schema properties to add to the annotated type."""

    properties: tuple[tuple[str, Any], ...]


def ListMap(*keys: str) -> Marker:  # noqa: N802 - used like a type inside Annotated
    """Items are objects told apart by these fields: two writers may each own their items."""
    return Marker((("x-kubernetes-list-type", "map"), ("x-kubernetes-list-map-keys", keys)))


SET = Marker((("x-kubernetes-list-type", "set"),))
"""A list without duplicates whose items have separate owners. A list without a marker is replaced as a whole."""

ATOMIC = Marker((("x-kubernetes-map-type", "atomic"),))
"""An object that is replaced as a whole, never merged field by field."""

FREE = Marker((("x-kubernetes-preserve-unknown-fields", True),))
"""Any JSON below this point is kept as it is."""

INT_OR_STRING = Marker((("x-kubernetes-int-or-string", True),))
"""An integer or a string."""

EMBEDDED = Marker((("x-kubernetes-embedded-resource", True), ("x-kubernetes-preserve-unknown-fields", True)))
"""A complete object of some kind."""

AnyJson = Annotated[Any, FREE]
"""Any JSON value."""

FreeMap = Annotated[dict[str, Any], FREE]
"""A JSON object whose fields Plum does not know."""

MICRO_TIME = Marker((("format", "date-time"),))
"""A time with microseconds, as Leases and Events have it."""
