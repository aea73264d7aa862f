"""What tasks, workflow nodes and runs share: retries, limits on how many run at once, and how often they run."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from plum_schemas.base import Struct
from plum_schemas.scalars import Duration, NonNegative, Positive

Execution = Literal["AtLeastOnce", "AtMostOnce"]
"""AtLeastOnce repeats an attempt whose end nobody saw. AtMostOnce never does, and such a run ends as Unknown."""


class RetryPolicy(Struct):
    """When a failed attempt is tried again."""

    limit: NonNegative = 0
    """Attempts after the first."""
    initial: Duration = "1s"
    """Wait before the first retry."""
    factor: Annotated[float, Meta(ge=1)] = 2.0
    """Each wait is this many times the one before."""
    max: Duration = "5m"
    """Longest wait."""
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Random share by which each wait is shortened or lengthened."""
    on: list[str] = []
    """Reasons, exit codes or HTTP status codes that are tried again; all failures if empty."""


class Concurrency(Struct):
    """How many runs with the same key go on at once."""

    key: str = ""
    """Runs whose key is the same share the limit, such as `${{ payload.customer }}`; all runs of the definition if empty."""
    limit: Positive = 1
    """Runs at once."""
    on_limit: Literal["Queue", "Reject", "Replace"] = "Queue"
    """Wait for a place, fail at once, or cancel the oldest."""
