"""Event expiry: deletes Events an hour after they were last seen, so that telling people things never fills the store."""

from __future__ import annotations

from datetime import datetime, timedelta

from plum_client.controller import Controller
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey
from plum_schemas.core import Event

KEPT = timedelta(hours=1)
"""As in Kubernetes."""


def add_to(manager: Manager) -> None:
    """Register the controller."""
    manager.add(Controller("event-expiry", EventExpiry(manager), Event, workers=2))


def last_seen(event: Event) -> datetime | None:
    """The newest of the times an Event carries."""
    series = event.series.last_observed_time if event.series is not None else None
    times = (event.last_timestamp, event.first_timestamp, event.event_time, series, event.metadata.creation_timestamp)
    return max((time for time in times if time is not None), default=None)


class EventExpiry:
    """Deletes one Event when its time has come."""

    def __init__(self, manager: Manager) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._events = manager.informer(Event)

    async def reconcile(self, key: ObjectKey) -> Result:
        """Wait until the Event is old enough, then delete it."""
        event = self._events.get(key)
        seen = last_seen(event) if event is not None else None
        if event is None or seen is None:
            return Result.wait_for_change()
        left = (seen + KEPT - self._clock.now()).total_seconds()
        if left > 0:
            return Result.requeue(after=left)
        await self._api.delete(Event, key)
        return Result.wait_for_change()
