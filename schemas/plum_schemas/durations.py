"""Durations: spans of time as people write them, `500ms`, `30s`, `1m30s`, `2h`, `7d`. Parsed and printed only here."""

from __future__ import annotations

import re
from functools import lru_cache

from plum_schemas.scalars import DURATION_PATTERN, Duration

__all__ = ["Duration", "format_duration", "parse_duration"]

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
_whole = re.compile(DURATION_PATTERN).match
_part = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ns|us|µs|ms|s|m|h|d)", re.ASCII)


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError for anything that is not a duration."""
    if _whole(text) is None or text.endswith("\n"):
        raise ValueError(f"{text!r} is not a duration; write 500ms, 30s, 1m30s, 2h or 7d")
    nanoseconds = 0
    for whole, fraction, unit in _part.findall(text):
        size = _NANOSECONDS[unit]
        nanoseconds += int(whole) * size
        if fraction:
            nanoseconds += int(fraction) * size // 10 ** len(fraction)
    return nanoseconds / 1e9


def format_duration(seconds: float) -> str:
    """The shortest text for a span, exact to the microsecond: 90 is `1m30s`, 0.25 is `250ms`."""
    if seconds < 0:
        raise ValueError(f"{seconds} seconds is negative; a duration is 0 or more")
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    parts = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count}{unit}")
    for unit, size in (("ms", 1_000), ("us", 1)):
        count, micros = divmod(micros, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
