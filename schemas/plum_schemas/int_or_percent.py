"""Counts that may be a share of a whole: `3` or `25%`."""

from __future__ import annotations

import re

_percent = re.compile(r"([0-9]{1,9})%", re.ASCII).fullmatch


def parse_percent(text: str) -> int:
    """The number before the `%`. Raises ValueError."""
    found = _percent(text)
    if found is None:
        raise ValueError("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%')")
    return int(found[1])


def resolve(value: int | str, total: int, round_up: bool) -> int:
    """The count `value` stands for when the whole is `total`. Raises ValueError for text that is not a percentage."""
    if isinstance(value, int):
        return value
    share = parse_percent(value) * total
    return -(-share // 100) if round_up else share // 100


def check(value: int | str) -> None:
    """Raise ValueError unless `value` is 0 or more, or a percentage."""
    if isinstance(value, str):
        parse_percent(value)
    elif value < 0:
        raise ValueError("must be greater than or equal to 0")
