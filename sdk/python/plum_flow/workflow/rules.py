"""Trigger rules: whether a node starts, by how the nodes before it ended.

    Tally(total=3, succeeded=1, failed=0, upstream=0, skipped=1) --judge("all_success")--> wait

Rules that wait for all are judged once every node before is terminal; `one_*` start as soon as they hold. A node that can
no longer start is UpstreamFailed when a failure is why, else Skipped. `always` waits for nothing. The table is Airflow's.
"""

from __future__ import annotations

from typing import NamedTuple

from plum_flow.workflow.phases import SKIPPED, UPSTREAM_FAILED

START = "Start"
WAIT = "Wait"
WAIT_FOR_ALL = frozenset({
    "all_success", "all_failed", "all_done", "none_failed", "all_skipped", "none_skipped", "none_failed_min_one_success",
    "all_done_min_one_success",
})  # fmt: skip


class Tally(NamedTuple):
    """How the nodes before one ended, as its edges see them: an edge from an outcome that was not taken is skipped."""

    total: int
    succeeded: int = 0
    failed: int = 0
    """Failed or cancelled."""
    upstream: int = 0
    """Never ran because of a failure further up."""
    skipped: int = 0


def judge(rule: str, tally: Tally) -> str:
    """`Start`, `Wait`, `Skipped` or `UpstreamFailed`. A node that waits for nothing starts, whatever its rule."""
    total, succeeded, failed, upstream, skipped = tally
    if rule == "always" or not total:
        return START
    ended = succeeded + failed + upstream + skipped == total
    if not ended and rule in WAIT_FOR_ALL:
        return WAIT
    bad = failed + upstream
    stopped = UPSTREAM_FAILED if bad else SKIPPED
    match rule:
        case "all_success":
            return START if succeeded == total else stopped
        case "all_failed":
            return START if bad == total else SKIPPED
        case "all_done":
            return START
        case "none_failed":
            return START if not bad else UPSTREAM_FAILED
        case "all_skipped":
            return START if skipped == total else SKIPPED
        case "none_skipped":
            return START if not skipped else SKIPPED
        case "none_failed_min_one_success":
            return START if succeeded and not bad else stopped
        case "all_done_min_one_success":
            return START if succeeded else stopped
        case "one_success":
            return START if succeeded else stopped if ended else WAIT
        case "one_failed":
            return START if bad else SKIPPED if ended else WAIT
        case "one_done":
            return START if succeeded or failed else SKIPPED if ended else WAIT
    raise ValueError(f"{rule!r} is no trigger rule")
