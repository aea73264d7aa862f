"""Cron expressions as times: when a schedule fires, in the clock of its time zone.

    "30 2 * * *", Europe/Berlin --parse--> Schedule --after(moment)--> the next time, in UTC

`cronsim` knows the rules (those of Debian's cron, daylight saving included); this module adds what it leaves to its caller:
aliases, a zone by name, times that only ever grow, and a refusal of schedules that never fire.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
FIRST_WINDOW = timedelta(hours=1)
"""How far `latest` looks back at first; it doubles until it has found enough."""
_PROBE = datetime(2024, 1, 1, tzinfo=UTC)
"""From here on a schedule must have a time: fixed, so that the same text is always accepted or always refused."""


class CronError(ValueError):
    """A schedule or time zone that cannot be used. The message says what is expected."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something fires. All times that go in and come out are aware; those that come out are UTC, and on whole minutes."""

    expression: str
    """Five fields."""
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment; None if there is none within 50 years."""
        return next(self.times(moment), None)

    def times(self, moment: datetime) -> Iterator[datetime]:
        """All times after a moment, each once, in order."""
        last = moment.astimezone(UTC)
        for local in CronSim(self.expression, last.astimezone(self.zone)):
            found = local.astimezone(UTC)
            # In the hour that autumn repeats cronsim names the first of both, which may have been; in the gap of spring several
            # local times are the same moment.
            if found > last:
                last = found
                yield found

    def between(self, start: datetime, end: datetime, limit: int) -> list[datetime]:
        """The first `limit` times after `start`, up to and including `end`."""
        found: list[datetime] = []
        for time in self.times(start):
            if time > end or len(found) >= limit:
                break
            found.append(time)
        return found

    def latest(self, start: datetime, end: datetime, limit: int) -> list[datetime]:
        """The last `limit` times after `start`, up to and including `end`; oldest first. The cost follows what is found, not the
        length of the span."""
        window = FIRST_WINDOW
        while True:
            begin = max(start, end - window)
            found = [time for time in self.between(begin, end, 1_000_000) if time > start]
            if len(found) >= limit or begin <= start:
                return found[-limit:] if limit else []
            window *= 2


@lru_cache(maxsize=4096)
def parse(schedule: str, timezone: str = "UTC") -> Schedule:
    """Raises `CronError`."""
    zone = _zone(timezone)
    expression = ALIASES.get(schedule.strip().lower(), schedule.strip())
    if expression.startswith("@"):
        raise CronError(f"there is no alias {schedule}; there are {', '.join(sorted(ALIASES))}")
    fields = expression.split()
    if len(fields) != 5:
        raise CronError("use five fields, minute, hour, day of month, month, day of week, or an alias such as @daily")
    expression = " ".join(fields)
    try:
        next(CronSim(expression, _PROBE))
    except CronSimError as error:
        raise CronError(f"{str(error)[:1].lower()}{str(error)[1:]}: no such time, or a value that cannot be read") from error
    except StopIteration:
        raise CronError("no day ever matches") from None
    return Schedule(expression, zone)


def _zone(name: str) -> ZoneInfo:
    # `ZoneInfo` reads files: no name may lead elsewhere, and some names are folders.
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        raise CronError(f"there is no time zone {name!r}; use a name such as Europe/Berlin or UTC") from error
