"""Cron schedules against an oracle that looks at every minute of the clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from plum_controller.domain.cron import ALIASES, CronError, Schedule, parse

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Shanghai", "America/Sao_Paulo", "Asia/Kolkata"]
CHANGES = [
    datetime(2026, 3, 29, tzinfo=UTC),
    datetime(2026, 10, 25, tzinfo=UTC),
    datetime(2026, 3, 8, tzinfo=UTC),
    datetime(2026, 11, 1, tzinfo=UTC),
    datetime(2026, 4, 5, tzinfo=UTC),
]
"""Days around which clocks are changed somewhere, and one on which they are not."""


def local(schedule: str, zone: str, start: datetime, days: int) -> list[str]:
    times = parse(schedule, zone).between(start, start + timedelta(days=days), 1000)
    return [str(time.astimezone(ZoneInfo(zone)))[5:] for time in times]


@pytest.mark.parametrize(
    ("schedule", "zone", "start", "times"),
    [
        ("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, tzinfo=UTC), ["03-28 02:30:00+01:00", "03-29 03:00:00+02:00"]),
        (
            "30 1 * * *",
            "America/New_York",
            datetime(2026, 10, 31, 6, tzinfo=UTC),
            ["11-01 01:30:00-04:00", "11-02 01:30:00-05:00"],
        ),
        (
            "0,30 2 * * *",
            "Europe/Berlin",
            datetime(2026, 3, 28, 12, tzinfo=UTC),
            ["03-29 03:00:00+02:00", "03-30 02:00:00+02:00"],
        ),
        ("0 2 * * *", "Australia/Lord_Howe", datetime(2026, 10, 3, tzinfo=UTC), ["10-04 02:30:00+11:00", "10-05 02:00:00+11:00"]),
    ],
)
def test_a_daily_time_fires_once_on_the_days_on_which_clocks_change(
    schedule: str, zone: str, start: datetime, times: list[str]
) -> None:
    assert local(schedule, zone, start, 3)[:2] == times


def test_every_half_hour_follows_the_time_that_passes() -> None:
    assert local("*/30 * * * *", "Europe/Berlin", datetime(2026, 10, 24, 23, 59, tzinfo=UTC), 1)[:5] == [
        "10-25 02:00:00+02:00",
        "10-25 02:30:00+02:00",
        "10-25 02:00:00+01:00",
        "10-25 02:30:00+01:00",
        "10-25 03:00:00+01:00",
    ]


def test_a_time_in_the_repeated_hour_is_not_named_again_in_its_second_half() -> None:
    second = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)  # 02:10 for the second time

    found = parse("30 2 * * *", "Europe/Berlin").after(second)

    assert str(found) == "2026-10-26 01:30:00+00:00"


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_alias_is_its_expression(alias: str) -> None:
    assert parse(alias) == parse(ALIASES[alias])
    assert parse(alias.upper()) == parse(alias)


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("0 0 31 2 *", "bad day-of-month"),
        ("0 0 31 4,6 *", "bad day-of-month"),
        ("60 * * * *", "bad minute"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@reboot", "no alias"),
        ("* * * * MOX", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("\u0661 * * * *", "bad minute"),
        ("5-1 * * * *", "bad minute"),
        ("1,L * * * *", "bad minute"),
        ("", "five fields"),
    ],
)
def test_a_schedule_that_cannot_be_used_is_refused(schedule: str, said: str) -> None:
    with pytest.raises(CronError, match=said):
        parse(schedule)


@pytest.mark.parametrize("zone", ["Nowhere", "", "../UTC", "/etc/localtime", "Europe", "Europe/Berlin\0"])
def test_a_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(CronError, match="no time zone"):
        parse("@daily", zone)


@given(text=st.text(alphabet="0123456789*/,-#L @W MONJAN", max_size=24))
@settings(max_examples=300, deadline=None)
def test_any_text_is_a_schedule_with_a_time_or_is_refused(text: str) -> None:
    try:
        schedule = parse(text)
    except CronError:
        return
    assert schedule.after(datetime(2024, 1, 1, tzinfo=UTC)) is not None


def field(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """The text of a field and the values it stands for."""
    whole = range(low, high + 1)
    number = st.integers(low, high).map(lambda n: (str(n), frozenset({n})))
    listed = st.frozensets(st.integers(low, high), min_size=1, max_size=3).map(lambda s: (",".join(map(str, sorted(s))), s))
    spans = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    ranged = spans.map(lambda s: (f"{s[0]}-{s[1]}", frozenset(range(s[0], s[1] + 1))))
    steps = st.integers(2, 7).map(lambda n: (f"*/{n}", frozenset(whole[::n])))
    return st.one_of(st.just(("*", frozenset(whole))), number, listed, ranged, steps)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, list[frozenset[int]]]:
    bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    parts = [draw(field(*bound)) for bound in bounds]
    if draw(st.booleans()):  # mostly every day: else few of the days looked at have a time
        parts[2:] = [("*", frozenset(range(1, 32))), ("*", frozenset(range(1, 13))), ("*", frozenset(range(7)))]
    return " ".join(text for text, _ in parts), [values for _, values in parts]


def expected(text: str, values: list[frozenset[int]], zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Minute by minute. With a star in minute or hour real minutes are looked at; otherwise those on the wall, of which one that
    does not exist becomes the first that does."""
    minutes, hours, days, months, weekdays = values
    parts = text.split()

    def fits(wall: datetime) -> bool:
        in_month, in_week = wall.day in days, (wall.weekday() + 1) % 7 in weekdays
        day = in_month and in_week if parts[2].startswith("*") or parts[4].startswith("*") else in_month or in_week
        return wall.minute in minutes and wall.hour in hours and wall.month in months and day

    found = set()
    step = timedelta(minutes=1)
    if parts[0].startswith("*") or parts[1].startswith("*") or zone.key == "UTC":
        moment = start.replace(second=0, microsecond=0)
        while moment <= end:
            if fits(moment.astimezone(zone).replace(tzinfo=None)):
                found.add(moment)
            moment += step
    else:
        wall = (start - timedelta(days=1)).astimezone(zone).replace(tzinfo=None, second=0, microsecond=0)
        while wall <= (end + timedelta(days=1)).astimezone(zone).replace(tzinfo=None):
            if fits(wall):
                real = wall
                while real.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != real:
                    real += step
                found.add(real.replace(tzinfo=zone, fold=0).astimezone(UTC))
            wall += step
    return sorted(time for time in found if start < time <= end)


@given(
    schedule=schedules(),
    zone=st.sampled_from(ZONES),
    day=st.sampled_from(CHANGES),
    offset=st.integers(-90_000, 90_000),
    span=st.integers(0, 2 * 86_400),
)
@settings(max_examples=120, deadline=None)
def test_times_are_those_that_a_clock_on_the_wall_shows(
    schedule: tuple[str, list[frozenset[int]]], zone: str, day: datetime, offset: int, span: int
) -> None:
    text, values = schedule
    start = day + timedelta(seconds=offset)
    end = start + timedelta(seconds=span)
    try:
        parsed: Schedule = parse(text, zone)
    except CronError:  # 31 February
        reject()

    times = parsed.between(start, end, 10_000)

    assert times == expected(text, values, parsed.zone, start, end)
    for limit in (0, 1, 5):
        assert parsed.latest(start, end, limit) == (times[-limit:] if limit else [])


def test_the_newest_times_of_ten_years_of_minutes_are_found_at_once() -> None:
    schedule = parse("* * * * *")
    end = datetime(2026, 1, 1, tzinfo=UTC)
    steps = 0
    plain = Schedule.times

    class Counted(Schedule):
        def times(self, moment: datetime):  # type: ignore[no-untyped-def]
            nonlocal steps
            for time in plain(self, moment):
                steps += 1
                yield time

    found = Counted(schedule.expression, schedule.zone).latest(end - timedelta(days=3650), end, 100)

    assert len(found) == 100
    assert found[-1] == end
    assert steps < 1000
