"""Durations: parsing and printing agree with each other and with plain arithmetic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_schemas.durations import format_duration, parse_duration

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@given(st.lists(st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(SECONDS))), min_size=1, max_size=5))
def test_a_duration_is_the_sum_of_its_parts(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{count}{unit}" for count, unit in parts)

    assert parse_duration(text) == pytest.approx(sum(count * SECONDS[unit] for count, unit in parts))


@given(st.integers(0, 10**13))
def test_printing_and_parsing_keep_every_microsecond(micros: int) -> None:
    assert round(parse_duration(format_duration(micros / 1e6)) * 1e6) == micros


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("0s", 0), ("30s", 30), ("1m30s", 90), ("1.5h", 5400), ("500ms", 0.5), ("7d", 604800), ("250us", 0.00025)],
)
def test_people_write_durations_like_this(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1 s", "1w", "1m 30s", "1.s", "1e3s", "1s\n", "\u0661s"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (90, "1m30s"), (0.25, "250ms"), (3600, "1h"), (90061, "1d1h1m1s")])
def test_the_shortest_text_is_printed(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_a_negative_span_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        format_duration(-1)
