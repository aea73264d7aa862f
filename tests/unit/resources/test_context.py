from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

from plum_controller.resources.context import Context
from plum_controller.resources.registry import Registry
from plum_controller.store.cache import WatchCache
from plum_controller.store.memory import MemoryStore


class Clock:
    def __init__(self) -> None:
        self.moment = datetime(2026, 1, 31, 8, 0, 0, 999_999, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment


def make(clock: Clock, seed: int = 1) -> Context:
    store, registry = MemoryStore(), Registry([])
    return Context(store, WatchCache(store, registry.index), registry, clock, random.Random(seed).randbytes)


def test_times_are_whole_seconds_in_utc_also_when_the_clock_steps_back() -> None:
    clock = Clock()
    context = make(clock)
    shown = [context.now()]
    for step in (timedelta(microseconds=1), timedelta(milliseconds=999), timedelta(seconds=1), timedelta(hours=-1)):
        clock.moment += step
        shown.append(context.now())

    assert [text[11:] for text in shown] == ["08:00:00Z", "08:00:01Z", "08:00:01Z", "08:00:02Z", "07:00:02Z"]


def test_uids_are_random_uuids_of_version_4() -> None:
    context = make(Clock())
    found = [uuid.UUID(context.new_uid()) for _ in range(500)]

    assert {one.version for one in found} == {4}
    assert {one.variant for one in found} == {uuid.RFC_4122}
    assert len(set(found)) == 500


def test_a_seeded_source_gives_the_same_uids_and_names_again() -> None:
    first, second = make(Clock(), 7), make(Clock(), 7)

    assert first.new_uid() == second.new_uid()
    assert first.generate_name("web-") == second.generate_name("web-")


def test_generated_names_differ_in_every_letter() -> None:
    context = make(Clock())
    suffixes = [context.generate_name("")[-5:] for _ in range(300)]

    assert all(len({suffix[place] for suffix in suffixes}) > 20 for place in range(5))
