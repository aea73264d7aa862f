"""What is told about the way to the controller, when, and how a person reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
import pytest
from plum_agent.link_figures import figures, worth_telling
from plum_agent.node import Facts, NodeReporter
from plum_cli.node_link import link as lines
from plum_client.fake import FakeApi
from plum_client.link import FAILURES, Link
from plum_schemas import node

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
FACTS = Facts("x86_64", "host", "Linux", "6.1", "2", "1000Ki", "10.0.0.1", "boot", "1", ("process",))
TOLD = node.Link(measured_at=NOW, answer_milliseconds=100.0, loss_percent=1.0, requests=50, queued=0)


def later(seconds: float, **changes: object) -> node.Link:
    return msgspec.structs.replace(TOLD, measured_at=NOW + timedelta(seconds=seconds), **changes)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (later(15), False),
        (later(15, requests=60, bytes_sent=10_000), False),
        (later(15, answer_milliseconds=140.0), False),
        (later(15, answer_milliseconds=160.0), True),
        (later(15, answer_milliseconds=40.0), True),
        (later(15, loss_percent=1.9), False),
        (later(15, loss_percent=2.1), True),
        (later(15, outages=1), True),
        (later(1, outages=1), True),
        (later(1, answer_milliseconds=1600.0), False),
        (later(1, requests=3), True),
        (later(15, breaker="Open"), True),
        (later(15, requests=3), True),
        (later(3601), False),
        (later(3601, requests=51), True),
    ],
)
def test_figures_are_told_when_they_matter(now: node.Link, told: bool) -> None:
    assert worth_telling(TOLD, now) is told


def test_the_first_figures_and_the_end_of_a_queue_are_told() -> None:
    assert worth_telling(None, TOLD)
    assert worth_telling(later(0, queued=3), later(15, queued=0))
    assert not worth_telling(later(0, queued=3), later(15, queued=2))


async def test_a_queue_that_was_told_and_is_empty_again_is_told_once_and_then_it_rests() -> None:
    api, queued, minutes = FakeApi(), [1], [0]

    def now() -> node.Link:
        return later(60 * minutes[0], requests=50 + minutes[0], queued=queued[0])

    reporter = NodeReporter(api.client(), "node-1", FACTS, lambda seconds: None, link=now)

    async def look() -> node.Link:
        minutes[0] += 1
        await reporter.ensure(await api.client().get(node.Node, "node-1"))
        found = await api.client().get(node.Node, "node-1")
        assert found is not None
        assert found.status.link is not None
        return found.status.link

    await look()
    assert (await look()).queued == 1
    queued[0] = 0
    assert (await look()).queued == 0
    writes = api.writes
    for _ in range(5):
        await look()

    assert api.writes == writes, "a fleet at rest does not write"


def test_losses_are_told_once_there_is_enough_to_lose() -> None:
    link = Link(lambda: 0.0, Random(1))
    link.counters.segments, link.counters.segments_again = 20, 1
    assert figures(link, 0, NOW, 0.0).loss_percent == 0.0
    link.counters.segments, link.counters.segments_again = 200, 10
    assert figures(link, 0, NOW, 0.0).loss_percent == 5.0


def test_an_outage_is_told_with_its_beginning_and_its_length() -> None:
    seconds = [500.0]
    link = Link(lambda: seconds[0], Random(1))
    for _ in range(FAILURES):
        link.enter()
        link.failed()
    seconds[0] += 90
    link.reached()

    told = figures(link, 2, NOW, seconds[0] + 30)

    assert told.last_outage == node.LinkOutage(began=NOW - timedelta(seconds=120), seconds=90)
    assert (told.outages, told.failures, told.queued, told.breaker) == (1, FAILURES, 2, "Closed")


def test_a_person_reads_sentences() -> None:
    told = later(
        0,
        answer_milliseconds=312.4,
        round_trip_milliseconds=301.0,
        loss_percent=4.8,
        timeout_seconds=6.4,
        bytes_received=3_500_000,
        outages=2,
        last_outage=node.LinkOutage(began=NOW - timedelta(minutes=5), seconds=42),
    )
    conditions = [{"type": "Ready", "status": "Unknown"}]
    status = {"link": msgspec.to_builtins(told), "lastSeen": "2026-11-21T11:58:00Z", "conditions": conditions}

    text = "\n".join(lines({"kind": "Node", "status": status}, NOW + timedelta(seconds=10)))

    for part in ("312.4 ms (301 ms of it", "4.8 %", "6.4 s", "3.3 MiB", "2 times", "42 s", "offline since 2026-11-21T11:58:00Z"):
        assert part in text, text
    assert not list(lines({"kind": "Node", "status": {}}, NOW))
    assert not list(lines({"kind": "Instance", "status": status}, NOW))
