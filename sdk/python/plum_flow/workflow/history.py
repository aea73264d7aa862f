"""What a workflow's runs were like, and which of those that have ended are forgotten."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.workflow import KeepRuns, RunStatistics


class Ended(NamedTuple):
    """A run that has ended."""

    finished_at: datetime
    key: ObjectKey
    uid: str
    phase: str
    seconds: float | None
    owned: bool
    """It belongs to another run and goes with that one."""


def statistics(runs: Collection[Ended], before: RunStatistics) -> RunStatistics:
    """Counts over all runs, durations over those that are kept."""
    succeeded = sum(run.phase == "Succeeded" for run in runs)
    seconds = sorted(run.seconds for run in runs if run.seconds is not None)
    failed = len(runs) - succeeded
    return RunStatistics(
        runs=len(runs) + before.forgotten_succeeded + before.forgotten_failed,
        succeeded=succeeded + before.forgotten_succeeded,
        failed=failed + before.forgotten_failed,
        forgotten_succeeded=before.forgotten_succeeded,
        forgotten_failed=before.forgotten_failed,
        p50_seconds=percentile(seconds, 0.5),
        p95_seconds=percentile(seconds, 0.95),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of all do not exceed."""
    if not ordered:
        return None
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)


def forgettable(runs: Collection[Ended], keep: KeepRuns, now: datetime) -> tuple[list[Ended], float | None]:
    """Runs to delete now, oldest first, and in how many seconds the next one gets too old."""
    ordered = sorted((run for run in runs if not run.owned), reverse=True)
    age = timedelta(seconds=parse_duration(keep.max_age))
    kept = {True: 0, False: 0}
    limits = {True: keep.succeeded, False: keep.failed}
    going: list[Ended] = []
    following: float | None = None
    for run in ordered:
        good = run.phase == "Succeeded"
        left = (run.finished_at + age - now).total_seconds()
        if kept[good] >= limits[good] or left <= 0:
            going.append(run)
            continue
        kept[good] += 1
        following = left if following is None else min(following, left)
    return going[::-1], following
