"""What is made of two samples."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import msgspec
from plum_agent import usage
from plum_agent.usage import Sample, compare
from plum_schemas.base import ObjectKey

WEB = ObjectKey("default", "web")


def sample(at: float, processes: dict[int, float], memory: int = 0, node_cpu: float = 0.0) -> Sample:
    return Sample(at, node_cpu, 1000, {WEB: {(pid, 1): cpu for pid, cpu in processes.items()}}, {WEB: memory})


def test_cpu_is_what_was_used_in_the_window_and_memory_what_is_used_at_its_end() -> None:
    found = compare(sample(10.0, {1: 5.0, 2: 1.0}, 7, 100.0), sample(12.0, {1: 6.0, 2: 1.5}, 9, 103.0))

    assert found["window"] == 2.0
    assert found["node"] == {"cpu": 1.5, "memory": 1000}
    assert found["instances"] == [{"namespace": "default", "name": "web", "cpu": 0.75, "memory": 9}]


def test_processes_that_came_count_from_their_beginning_and_those_that_went_take_nothing_back() -> None:
    found = compare(sample(0.0, {1: 5.0, 2: 40.0}), sample(1.0, {1: 5.0, 3: 0.25}))

    assert found["instances"][0]["cpu"] == 0.25


def test_an_instance_that_is_new_or_gone_has_no_use_to_tell() -> None:
    empty = Sample(0.0, 0.0, 0)

    assert compare(empty, sample(1.0, {1: 1.0}))["instances"] == []
    assert compare(sample(0.0, {1: 1.0}), sample(1.0, {}))["instances"] == []


async def test_the_machine_is_measured_as_it_is() -> None:
    handle = SimpleNamespace(pid=os.getpid())
    unit: Any = SimpleNamespace(
        alive=True, run=SimpleNamespace(marker="nobody/1"), record=SimpleNamespace(run=SimpleNamespace(handle=handle))
    )
    measuring = usage.Usage({WEB: unit})

    found = msgspec.json.decode(await measuring.measure())

    assert 0.9 <= found["window"] <= 5
    assert 0 < found["node"]["memory"] < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    own = found["instances"][0]
    assert own["memory"] > 20_000_000  # an interpreter with a test runner
    assert 0 <= own["cpu"] < len(os.sched_getaffinity(0)) * 1.5


def test_what_is_gone_uses_nothing() -> None:
    assert usage.cpu_seconds(2**22 + 1) == 0.0
    assert usage.memory_bytes(2**22 + 1) == 0
