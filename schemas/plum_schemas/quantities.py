"""Quantities: amounts as Kubernetes writes them, `500m`, `2`, `64Mi`, `1.5G`, `1e3`. Parsed and printed only here.

Amounts are rounded up to the unit asked for, so a request is never taken for less than it said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil

from plum_schemas.scalars import Quantity

__all__ = ["Quantity", "format_bytes", "format_cpu", "parse_amount", "parse_bytes", "parse_cpu", "parse_quantity"]

_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_SCALE: Mapping[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{unit: Fraction(1000**power) for power, unit in enumerate(("k", "M", "G", "T", "P", "E"), 1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(_BINARY, 1)},
}
_MAX_EXPONENT = 30
"""Larger exponents name no amount a machine has, and would make numbers of any length."""
_match = re.compile(
    r"([+-]?)([0-9]{0,40})(?:\.([0-9]{0,40}))?(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?[0-9]{1,3}))?", re.ASCII
).fullmatch


@lru_cache(maxsize=4096)
def parse_quantity(value: str | int) -> Fraction:
    """The exact amount in units. Raises ValueError."""
    if isinstance(value, int):
        return Fraction(value)
    found = _match(value)
    if found is None or not (found[2] or found[3]):
        raise ValueError(f"{value!r} is not a quantity; write a number with or without a unit, such as 500m, 2 or 64Mi")
    sign, whole, fraction, unit, exponent = found.groups()
    amount = Fraction(int((whole or "0") + (fraction or "")), 10 ** len(fraction or ""))
    if exponent:
        power = int(exponent)
        if abs(power) > _MAX_EXPONENT:
            raise ValueError(f"{value!r} is out of range")
        amount *= Fraction(10) ** power
    else:
        amount *= _SCALE[unit or ""]
    return -amount if sign == "-" else amount


@lru_cache(maxsize=4096)
def parse_cpu(value: str | int) -> int:
    """Thousandths of a processor, rounded up. Raises ValueError, also for less than 0."""
    return ceil(_not_negative(value) * 1000)


@lru_cache(maxsize=4096)
def parse_bytes(value: str | int) -> int:
    """Bytes, rounded up. Raises ValueError, also for less than 0."""
    return ceil(_not_negative(value))


def parse_amount(resource: str, value: str | int) -> int:
    """The amount of a named resource in the unit it is counted in: thousandths for `cpu`, whole units for all others."""
    return parse_cpu(value) if resource == "cpu" else parse_bytes(value)


def format_cpu(millicores: int) -> str:
    """`2` or `1500m`."""
    return f"{millicores}m" if millicores % 1000 else str(millicores // 1000)


def format_bytes(size_bytes: int) -> str:
    """The largest binary unit that is exact: 67108864 is `64Mi`."""
    unit = ""
    for candidate in _BINARY:
        if not size_bytes or size_bytes % 1024:
            break
        size_bytes //= 1024
        unit = candidate
    return f"{size_bytes}{unit}"


def _not_negative(value: str | int) -> Fraction:
    amount = parse_quantity(value)
    if amount < 0:
        raise ValueError("must be greater than or equal to 0")
    return amount
