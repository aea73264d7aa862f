"""The states of a node in a run.

    Pending -> Running | Waiting -> Succeeded | Failed | Canceled
            -> Skipped | UpstreamFailed                              without having run

Waiting is for time, an event, a condition, a person, or the next attempt. What is terminal never changes, unless a person
asks for a node to be run again.
"""

from __future__ import annotations

PENDING = "Pending"
RUNNING = "Running"
WAITING = "Waiting"
SUCCEEDED = "Succeeded"
FAILED = "Failed"
SKIPPED = "Skipped"
UPSTREAM_FAILED = "UpstreamFailed"
CANCELED = "Canceled"

TERMINAL = frozenset({SUCCEEDED, FAILED, SKIPPED, UPSTREAM_FAILED, CANCELED})
ACTIVE = frozenset({RUNNING, WAITING})
ALL = (PENDING, RUNNING, WAITING, SUCCEEDED, FAILED, SKIPPED, UPSTREAM_FAILED, CANCELED)
