"""Emptying a node: which instances are asked to move, which are removed, and when it is done.

    Node.spec.drain, instances on the node, now --> Eviction(ask, remove, left, wake_after)

An instance that is asked to move carries an annotation. Its Deployment then treats it like one of an old template: it makes
the replacement first where the strategy says so, and never goes below what must be available. At the deadline the rest goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from plum_schemas.instance import Instance
from plum_schemas.node import Node

EVICT_ANNOTATION = "plum.dev/evict"
"""On an instance that is to move: name of the node it is to leave."""


@dataclass(slots=True)
class Eviction:
    """What a drain does next."""

    ask: list[Instance] = field(default_factory=list)
    """Instances to annotate: their owner replaces them."""
    remove: list[Instance] = field(default_factory=list)
    """Instances to delete: nobody replaces them, or the time is up."""
    left: int = 0
    """Instances that still have to go."""
    wake_after: float | None = None
    """Seconds until the deadline."""


def plan_drain(node: Node, instances: Sequence[Instance], pinned: Sequence[str], now: datetime) -> Eviction:
    """The next step of a drain. `pinned`: names of instances that their owner wants on this node and nowhere else."""
    drain = node.spec.drain
    todo = Eviction()
    if drain is None:
        return todo
    going = [i for i in instances if i.status.phase not in ("Succeeded", "Failed")]
    if drain.ignore_pinned:
        going = [i for i in going if i.metadata.name not in pinned]
    todo.left = len(going)
    since = (now - drain.requested_at).total_seconds() if drain.requested_at is not None else 0.0
    over = drain.deadline_seconds > 0 and since >= drain.deadline_seconds
    if drain.deadline_seconds > 0 and not over and going:
        todo.wake_after = drain.deadline_seconds - since
    for instance in going:
        if instance.metadata.deletion_timestamp is not None:
            continue
        owned = any(owner.controller for owner in instance.metadata.owner_references)
        if over or not owned or instance.metadata.name in pinned:
            todo.remove.append(instance)
        elif EVICT_ANNOTATION not in instance.metadata.annotations:
            todo.ask.append(instance)
    return todo
