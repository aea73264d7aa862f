"""The named scalar types that kinds share: durations, quantities, ports, names. Parsers are in the module of each.

A type here carries only what a schema can say (pattern, bounds); `Object.validate` says the rest.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from plum_schemas.markers import INT_OR_STRING

DURATION_PATTERN = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d))+)$"
QUANTITY_PATTERN = r"^[+-]?([0-9]+|[0-9]+\.[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$"

Duration = Annotated[str, Meta(pattern=DURATION_PATTERN)]
"""A span of time such as `500ms`, `30s`, `1m30s`, `2h`, `7d`."""

Quantity = Annotated[Annotated[str, Meta(pattern=QUANTITY_PATTERN)] | int, INT_OR_STRING]
"""An amount such as `500m`, `2`, `64Mi`, `1.5G`."""

IntOrPercent = Annotated[int | str, INT_OR_STRING]
"""A count, or a share of the whole such as `25%`."""

PortNumber = Annotated[int, Meta(ge=1, le=65535)]
PortRef = Annotated[int | str, INT_OR_STRING]
"""A port number, or the name of a port of the template."""

Name = Annotated[str, Meta(min_length=1, max_length=253)]
"""The name of an object: lower case letters, digits, `-` and `.`."""

Label = Annotated[str, Meta(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
"""A short name inside an object: lower case letters, digits and `-`."""

NonNegative = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
