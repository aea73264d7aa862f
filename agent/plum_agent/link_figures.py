"""What is told about the way to the controller: figures for `Node.status.link`, and when they are worth a write.

    Link (SDK) + delivery queue -> figures -> worth_telling(told before, now) -> Node.status.link

A fleet at rest must not write, and counters move all the time. So figures are told when something changed that a person
would act on, and at most once an hour for the rest.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from plum_client.link import Link, Outage
from plum_schemas import node

LOOK_SECONDS = 15.0
"""Between two looks at the figures."""
HOURLY = timedelta(hours=1)
SLOWER_MILLISECONDS = 50.0
"""An answer time that moved by this much, and by half of what was told, is news."""
LEAST_SECONDS = 5.0
"""Between two writes of figures alone: each comes back as an event, and a mistake here would never come to rest."""
LEAST_SEGMENTS = 100
"""Packets with data before losses are told. The kernel repeats a first packet on a whim, and one of twenty is no 5 %."""
LOSS_POINTS = 1.0
"""Percentage points of losses that are news."""


def figures(link: Link, queued: int, now: datetime, monotonic: float) -> node.Link:
    """The link as it is now. Times of outages are by the wall clock of this node, as it stands now."""
    counted = link.counters
    return node.Link(
        measured_at=now.replace(microsecond=0),
        answer_milliseconds=round(link.answer_seconds * 1000, 1),
        round_trip_milliseconds=round(link.network_seconds * 1000, 1),
        loss_percent=round(link.loss * 100, 1) if counted.segments >= LEAST_SEGMENTS else 0.0,
        timeout_seconds=round(link.timeout, 1),
        breaker=link.breaker.value,
        requests=counted.requests,
        failures=counted.failures,
        retries=counted.retries,
        bytes_sent=counted.bytes_sent,
        bytes_received=counted.bytes_received,
        queued=queued,
        outages=counted.outages,
        last_outage=_outage(link.outage, now, monotonic) if link.outage is not None else None,
    )


def worth_telling(told: node.Link | None, now: node.Link) -> bool:
    """Whether a person would look differently at the node with the new figures."""
    if told is None or told.outages != now.outages or told.breaker != now.breaker:
        return True
    if now.measured_at - told.measured_at < timedelta(seconds=LEAST_SECONDS) and now.requests >= told.requests:
        return False
    if now.requests < told.requests or (told.queued and not now.queued):
        return True  # another agent, or what waited is delivered
    slower = abs(now.answer_milliseconds - told.answer_milliseconds)
    if slower >= SLOWER_MILLISECONDS and slower >= told.answer_milliseconds / 2:
        return True
    if abs(now.loss_percent - told.loss_percent) >= LOSS_POINTS:
        return True
    return now.requests != told.requests and now.measured_at - told.measured_at >= HOURLY


def _outage(outage: Outage, now: datetime, monotonic: float) -> node.LinkOutage:
    ended = outage.ended if outage.ended is not None else monotonic
    began = now - timedelta(seconds=monotonic - outage.began)
    return node.LinkOutage(began=began.replace(microsecond=0), seconds=round(ended - outage.began))
