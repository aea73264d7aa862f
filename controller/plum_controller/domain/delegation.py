"""Runs that nodes carry out by themselves: which node gets one, and when a node that does not answer is given up.

nodes + Delegate -> choose -> name of a node, or why none fits
since when it is away, lostAfter -> seconds_left
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from plum_flow.delegable import Site
from plum_flow.delegation import NODE_LOST
from plum_flow.running.names import CARRIED_ANNOTATION, MAX_DEPTH
from plum_flow.workflow import phases
from plum_flow.workflow.graph import EXECUTED
from plum_flow.workflow.messages import Told
from plum_flow.workflow.rows import RUN_KEY, NodeRow, RunRow, decode_node, decode_run
from plum_schemas.durations import parse_duration
from plum_schemas.node import Node
from plum_schemas.node_types import Delegate
from plum_schemas.workflowrun import WorkflowRun


def answers(node: Node | None) -> bool:
    """Whether the agent of a node is there, as far as anybody knows."""
    return node is not None and any(one.type == "Ready" and one.status == "True" for one in node.status.conditions)


def away_since(node: Node | None, now: datetime) -> datetime | None:
    """Since when the node does not answer; None if it does."""
    if answers(node):
        return None
    ready = next((one for one in node.status.conditions if one.type == "Ready"), None) if node is not None else None
    return (ready.last_transition_time if ready is not None else None) or now


def choose(delegate: Delegate, nodes: Iterable[Node], load: Mapping[str, int]) -> tuple[str, str]:
    """The name of a node, or an empty one and the reason. `load`: runs that each node has already."""
    known = sorted(nodes, key=lambda node: node.metadata.name)
    if delegate.node_name:
        named = next((node for node in known if node.metadata.name == delegate.node_name), None)
        return (delegate.node_name, "") if named is not None else ("", f"node {delegate.node_name} does not exist")
    fitting = [node for node in known if delegate.node_selector.items() <= node.metadata.labels.items()]
    wanted = ",".join(f"{name}={value}" for name, value in delegate.node_selector.items())
    if not fitting:
        return "", f"no node has the labels {wanted}"
    free = [node for node in fitting if answers(node) and not node.spec.unschedulable]
    if not free:
        names = ", ".join(node.metadata.name for node in fitting[:5])
        return "", f"of the nodes with the labels {wanted} none takes runs now: {names} do not answer or are cordoned"
    return min(free, key=lambda node: (load.get(node.metadata.name, 0), node.metadata.name)).metadata.name, ""


def seconds_left(delegate: Delegate, since: datetime, now: datetime) -> float | None:
    """Until the node is given up; None: it is waited for."""
    if delegate.lost_after is None:
        return None
    return (since + timedelta(seconds=parse_duration(delegate.lost_after)) - now).total_seconds()


def site_of(node: Node) -> Site:
    """What a definition has to fit."""
    return Site(name=node.metadata.name, labels=dict(node.metadata.labels))


def given_up(find: Callable[[str], WorkflowRun | None], run: WorkflowRun) -> str:
    """The run around this one that was given up, so that nothing of this one counts; empty if there is none. `find`: by name."""
    for _ in range(MAX_DEPTH):
        if CARRIED_ANNOTATION not in run.metadata.annotations:
            return ""
        owner = next((one for one in run.metadata.owner_references if one.kind == "WorkflowRun"), None)
        outer = find(owner.name) if owner is not None else None
        if owner is None or outer is None or outer.metadata.uid != owner.uid:
            return ""
        if outer.status.reason == NODE_LOST:
            return outer.metadata.name
        run = outer
    return ""


class Telling(NamedTuple):
    """What hooks are told of a row that a node has sent."""

    told: Told
    row: NodeRow | None
    """None: of the run as a whole."""
    at: datetime | None


def tellings(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[Telling]:
    """What became of a run between two states of its rows, `after` in the order in which they changed. Of attempts that were over
    when the rows were sent only the last one is known."""
    begun: list[Telling] = []
    ended: list[Telling] = []
    nodes: list[Telling] = []
    for key, value in after.items():
        if key == RUN_KEY:
            known, run = decode_run(before[key]) if key in before else RunRow(), decode_run(value)
            if run.started_at is not None and known.started_at is None:
                begun.append(Telling(Told("RunStarted"), None, run.started_at))
            if run.stage == "done" and known.stage != "done":
                ended.append(Telling(Told("RunFinished", phase=run.phase), None, run.finished_at))
            continue
        row, old = decode_node(value), decode_node(before[key]) if key in before else NodeRow()
        if row.type not in EXECUTED or row.reused:
            continue
        if row.attempt > old.attempt:
            nodes.append(Telling(Told("NodeStarted", key, phases.RUNNING), row, row.started_at))
        if row.phase in phases.TERMINAL and (old.phase, old.attempt) != (row.phase, row.attempt):
            nodes.append(Telling(Told("NodeFinished", key, row.phase), row, row.finished_at))
    return [*begun, *nodes, *ended]
