from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from plum_controller.domain.reported_values import (
    MAX_VALUE_BYTES,
    Bucket,
    Sample,
    bound_of,
    micros_of,
    moment_of,
    prefix_of,
    read_point,
    samples,
    split_key,
)

NOW = datetime(2026, 1, 31, 8, 0, 0, 250_000, tzinfo=UTC)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
moments = st.integers(0, 250_000_000_000_000_000).map(moment_of)


def rows(before: dict[str, Any], after: dict[str, Any], revision: int = 7) -> list[tuple[str, bytes]]:
    return list(samples(before, after, revision, NOW))


def test_a_value_that_was_reported_is_kept_with_its_time_and_quality() -> None:
    entry = {"value": 4.5, "time": "2026-01-31T08:00:00.125Z", "deviceTime": "2026-01-31T07:59:59Z", "quality": "uncertain"}

    [(key, value)] = rows({}, {"range": entry})

    point = read_point(key, value)
    assert (point.name, moment_of(point.micros)) == ("range", NOW.replace(microsecond=125_000))
    assert point.sample == Sample(4.5, "2026-01-31T07:59:59Z", "uncertain")


def test_what_was_not_reported_again_is_not_kept_again() -> None:
    before = {"a": {"value": 1, "time": "2026-01-31T08:00:00Z"}, "b": {"value": 1, "time": "2026-01-31T08:00:00Z"}}
    stale = {**before["a"], "quality": "stale"}

    assert rows(before, before) == []
    assert rows(before, {**before, "a": stale}) == []
    [(key, _)] = rows(before, {"a": before["a"], "b": {"value": 1, "time": "2026-01-31T08:00:01Z"}})
    assert split_key(key)[0] == "b"


def test_a_value_without_a_time_has_that_of_the_write() -> None:
    [(key, value)] = rows({}, {"a": {"value": True, "quality": "good"}})

    assert split_key(key) == ("a", micros_of(NOW))
    assert value == b'{"value":true}'


def test_a_value_too_large_to_be_kept_is_kept_as_its_size() -> None:
    [(key, value)] = rows({}, {"picture": {"value": "x" * MAX_VALUE_BYTES}})

    sample = read_point(key, value).sample
    assert sample.value is None
    assert sample.omitted_bytes > MAX_VALUE_BYTES


def test_two_writes_of_one_moment_keep_two_values() -> None:
    entry = {"value": 1, "time": "2026-01-31T08:00:00Z"}

    assert rows({}, {"a": entry}, 7)[0][0] != rows({}, {"a": {**entry, "value": 2}}, 8)[0][0]


@given(st.lists(st.tuples(names, moments, st.integers(1, 2**40)), max_size=20), names, moments)
def test_keys_sort_by_property_then_time(written: list[tuple[str, datetime, int]], name: str, since: datetime) -> None:
    keys = {}
    for written_name, moment, revision in written:
        entry = {"value": 1, "time": moment.isoformat()}
        [(key, _)] = list(samples({}, {written_name: entry}, revision, NOW))
        assert split_key(key) == (written_name, micros_of(moment))
        keys[key] = (written_name, moment)

    behind = {key for key in keys if key.startswith(prefix_of(name)) and key > bound_of(name, micros_of(since))}

    assert behind == {key for key, (found, moment) in keys.items() if found == name and moment >= since}
    ordered = [keys[key] for key in sorted(keys) if keys[key][0] == name]
    assert ordered == sorted(ordered, key=lambda pair: pair[1])


@given(st.lists(st.one_of(st.booleans(), st.integers(-1000, 1000), st.floats(-1e6, 1e6), st.text(max_size=3)), min_size=1))
def test_a_bucket_says_what_its_values_say(values: list[Any]) -> None:
    bucket = Bucket("a", 0)
    for value in values:
        bucket.add(Sample(msgspec.json.decode(msgspec.json.encode(value))))

    numbers = [float(value) for value in values if not isinstance(value, str)]
    assert (bucket.count, bucket.last, bucket.numbers) == (len(values), values[-1], len(numbers))
    if numbers:
        assert (bucket.lowest, bucket.highest) == (min(numbers), max(numbers))
        assert abs(bucket.mean - sum(numbers) / len(numbers)) < 1e-6


def test_the_worst_quality_of_a_bucket_counts() -> None:
    bucket = Bucket("a", 0)
    for quality in ("", "bad", "uncertain"):
        bucket.add(Sample(1, quality=quality))

    assert bucket.quality == "bad"


def test_times_are_exact_to_the_microsecond() -> None:
    for micros in (0, 1, 1_795_210_000_123_457):
        assert micros_of(moment_of(micros)) == micros
    assert moment_of(1) - moment_of(0) == timedelta(microseconds=1)
