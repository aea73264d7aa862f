"""Events of what triggers did."""

from __future__ import annotations

from collections.abc import Sequence

from plum_client.events import EventRecorder
from plum_schemas.trigger import Firing, Trigger

from plum_controller.triggering import Fired


def tell(recorder: EventRecorder, trigger: Trigger, done: Fired, told: Sequence[Firing] = ()) -> None:
    """Tell of the runs that were started, and of what else happened."""
    for run in done.runs:
        recorder.event(trigger, "Normal", "Fired", f"started run {run}")
    for firing in (*told, *done.refusals):
        if firing.result != "Queued":
            more = f" ({firing.count} times)" if firing.count > 1 else ""
            recorder.event(trigger, "Warning", firing.reason, firing.message + more)
