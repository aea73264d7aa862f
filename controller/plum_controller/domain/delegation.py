"""Runs that nodes carry out by themselves: which node gets one, and when a node that does not answer is given up.

nodes + Delegate -> choose -> name of a node, or why none fits
since when it is away, lostAfter -> seconds_left
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from plum_flow.delegable import Site
from plum_schemas.durations import parse_duration
from plum_schemas.node import Node
from plum_schemas.node_types import Delegate


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
