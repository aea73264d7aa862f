"""The history of what a device reported: which values are new, how they are kept in order, and how many become one.

    status before, status after --samples--> key in time order, value      (one row each, in the transaction of the status)
    values in time order --Bucket.add--> min, max, avg, last of each span

A key is the property, then the time in microseconds, so the values of a span are neighbours and the oldest come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, unquote

import msgspec

SPACE = "reported/"
MAX_VALUE_BYTES = 16 * 1024
"""Of one value as JSON. A larger one is kept as its size: 10,000 pictures are no history of a property."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Sample(msgspec.Struct, rename="camel", omit_defaults=True):
    """What a row holds. Its time is in its key."""

    value: Any = None
    device_time: str = ""
    quality: str = ""
    """Empty: good."""
    omitted_bytes: int = 0
    """Size of a value that was too large to be kept."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value as it is read."""

    key: str
    name: str
    micros: int
    sample: Sample


@dataclass(slots=True)
class Bucket:
    """All values of one span of time."""

    name: str
    start: int
    """Microseconds since 1970, a multiple of the step."""
    count: int = 0
    numbers: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    total: float = 0.0
    last: Any = None
    quality: str = ""
    """The worst of its values: bad, then uncertain, then good (empty)."""

    def add(self, sample: Sample) -> None:
        self.count += 1
        self.last = sample.value
        if _RANK.get(sample.quality, 0) > _RANK.get(self.quality, 0):
            self.quality = sample.quality
        if not isinstance(sample.value, int | float):  # true counts as 1: the mean is the share of the time it was on
            return
        number = float(sample.value)
        self.lowest = min(self.lowest, number) if self.numbers else number
        self.highest = max(self.highest, number) if self.numbers else number
        self.total += number
        self.numbers += 1

    @property
    def mean(self) -> float:
        return self.total / self.numbers


_RANK = {"": 0, "good": 0, "uncertain": 1, "stale": 1, "bad": 2}


def space_of(uid: str) -> str:
    """Whose rows: those of one Resource. One of the same name that is made later has its own."""
    return SPACE + uid


def prefix_of(name: str) -> str:
    """What all keys of a property begin with."""
    return quote(name, safe="") + "/"


def bound_of(name: str, micros: int) -> str:
    """Sorts before every key of a property at or after a time, and behind all before."""
    return f"{prefix_of(name)}{max(0, micros):018d}"


def split_key(key: str) -> tuple[str, int]:
    """Property and time of a key. Raises `ValueError`."""
    name, _, rest = key.partition("/")
    return unquote(name), int(rest.partition("-")[0])


def micros_of(moment: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (moment - EPOCH) // MICROSECOND


def moment_of(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def samples(before: Mapping[str, Any], after: Mapping[str, Any], revision: int, now: datetime) -> Iterator[tuple[str, bytes]]:
    """Rows for what is new in `status.reported`. `revision` is that of the object before: two writes of one object differ in it,
    so no value takes the place of another. A value whose quality alone changed (it became stale) was not reported again."""
    for name, entry in after.items():
        if not isinstance(entry, Mapping):
            continue
        known = before.get(name)
        if isinstance(known, Mapping) and all(known.get(field) == entry.get(field) for field in ("value", "time", "deviceTime")):
            continue
        text = entry.get("time")
        micros = max(0, micros_of(datetime.fromisoformat(text) if isinstance(text, str) and text else now))
        quality = str(entry.get("quality") or "")
        sample = Sample(entry.get("value"), str(entry.get("deviceTime") or ""), "" if quality == "good" else quality)
        encoded = msgspec.json.encode(sample)
        if len(encoded) > MAX_VALUE_BYTES:
            encoded = msgspec.json.encode(Sample(None, sample.device_time, sample.quality, len(encoded)))
        yield f"{bound_of(name, micros)}-{revision:x}", encoded


def read_point(key: str, value: bytes) -> Point:
    """A row, as it was written."""
    name, micros = split_key(key)
    return Point(key, name, micros, _decode(value))


_decode = msgspec.json.Decoder(Sample).decode
