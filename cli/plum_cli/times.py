"""Times and durations as people write them on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from plum_cli.errors import UsageError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def parse_seconds(text: str) -> float:
    """`90`, `90s`, `1m30s`, `2h`, `1d` in seconds. Raises `UsageError`."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not text or _PART.sub("", text):
        raise UsageError(f"{text!r} is no duration; write for example 30s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_moment(text: str, now: datetime) -> str:
    """A moment that a person names (`10m` ago, `14:30` today, a date, RFC 3339), as RFC 3339 in UTC. Raises `UsageError`."""
    if _PART.match(text) and not _PART.sub("", text):
        return format_time(now - timedelta(seconds=parse_seconds(text)))
    if clock := re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?", text):
        local = now.astimezone()
        hour, minute, second = (int(part or 0) for part in clock.groups())
        if hour > 23 or minute > 59 or second > 59:
            raise UsageError(f"{text!r} is no time of day")
        return format_time(local.replace(hour=hour, minute=minute, second=second, microsecond=0))
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no time; write 10m (ago), 14:30, 2025-01-31T14:30 or 2025-01-31T14:30:00Z") from error
    return format_time(found if found.tzinfo else found.astimezone())


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC; whole seconds without a fraction."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")
