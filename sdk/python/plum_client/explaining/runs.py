"""Why a run of a workflow has not ended: what it waits for, node by node, and since when.

run + rows --explain_run--> Finding("WorkflowRun inspect-1 is running since 3m.", because=[...])
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from plum_client.explaining.findings import Finding, Object, name_of
from plum_client.explaining.times import age

SHOWN = 20
"""Nodes explained one by one; the rest is counted."""
_ENDED = frozenset({"Succeeded", "Failed", "Canceled", "Timeout"})


def whereabouts(run: Object, now: datetime) -> str:
    """The node that carries out a run by itself, and since when it does not answer; empty for a run of the controller."""
    status = run.get("status") or {}
    if not status.get("node") or status.get("phase") in _ENDED:
        return ""
    if status.get("phase") == "Pending":
        return f"offered to node {status['node']}"
    away = status.get("outOfContactSince")
    return f"on node {status['node']}" + (f", out of contact since {age(away, now)}" if away else "")


def explain_run(
    run: Object, rows: Sequence[Mapping[str, Any]], now: datetime, inner: Mapping[str, Object] | None = None
) -> Finding:
    """What waits for what, since when. `inner`: runs that were made for nodes, by name."""
    status, metadata = run.get("status") or {}, run["metadata"]
    phase = str(status.get("phase") or "Queued")
    because = [finding for row in rows if (finding := _node(row, now, phase, inner or {})) is not None]
    shown = tuple(because[:SHOWN])
    if len(because) > SHOWN:
        shown += (Finding(f"... and {len(because) - SHOWN} more nodes."),)
    if phase == "Succeeded":
        return Finding(f"{name_of(run)} succeeded.", settled=True)
    if phase in _ENDED:
        return Finding(
            f"{name_of(run)} ended as {phase}: {status.get('message') or status.get('reason') or ''}".rstrip(": "), shown
        )
    since = status.get("startedAt") or metadata.get("creationTimestamp") or ""
    text = f"{name_of(run)} is {phase.lower()} since {age(since, now)}"
    if phase == "Queued":
        text += f": {status.get('message') or 'no controller has taken it up'}"
    elif phase == "Paused":
        text += ": nothing new starts until `plum runs resume`"
    place = whereabouts(run, now)
    if place:
        text += f", {place}"
    if status.get("outOfContactSince"):
        shown = (_away(run, now), *shown)
    return Finding(text + ".", shown)


def _away(run: Object, now: datetime) -> Finding:
    status, after = run["status"], ((run.get("spec") or {}).get("delegate") or {}).get("lostAfter")
    text = f"node {status['node']} has not answered since {age(status['outOfContactSince'], now)}; the run goes on there"
    waits = f"it is given up after {after}" if after else "it is waited for, however long that takes"
    return Finding(f"{text}, what is shown was heard last, and {waits}.")


def _node(row: Mapping[str, Any], now: datetime, run_phase: str, inner: Mapping[str, Object]) -> Finding | None:
    phase, name = row.get("phase"), row.get("name") or row.get("key")
    if phase == "Running":
        below = inner.get(str(row.get("made") or "").partition("/")[2])
        place = whereabouts(below, now) if below is not None else ""
        made = f" ({row['made']}{', ' if place else ''}{place})" if row.get("made") else ""
        return Finding(f"{name} runs since {age(row.get('startedAt') or '', now)}{made}, attempt {row.get('attempt', 1)}.")
    if phase == "Waiting":
        until = f" until {row['dueAt']}" if row.get("dueAt") else ""
        last = f"; the last attempt failed: {row['message']}" if row.get("message") else ""
        since, wanted = age(row.get("startedAt") or "", now), row.get("waitsFor") or "its turn"
        return Finding(f"{name} waits since {since} for {_plain(wanted)}{until}{last}.")
    if phase == "Pending" and run_phase not in _ENDED:
        return Finding(f"{name} waits for {_plain(row.get('waitsFor') or 'its turn')}.")
    if phase == "Failed":
        attempts, why = int(row.get("attempt") or 1), _plain(row.get("message") or row.get("reason") or "no reason was given")
        return Finding(f"{name} failed after {attempts} attempts: {why}." if attempts > 1 else f"{name} failed: {why}.")
    return None


def _plain(text: str) -> str:
    """Without the mark at its end: what people ask in approvals becomes part of a sentence."""
    return text.rstrip(".?!\u3002\uff1f\uff01")
