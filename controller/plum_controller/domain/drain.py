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
    left: list[str] = field(default_factory=list)
    """Instances that still have to go, as `namespace/name`."""
    staying: list[str] = field(default_factory=list)
    """Instances that run here, and that the drain leaves."""
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
        todo.staying = [str(i.key) for i in going if i.metadata.name in pinned]
        going = [i for i in going if i.metadata.name not in pinned]
    todo.left = [str(i.key) for i in going]
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


NAMED = 3
"""Names in a message; more are counted."""


def say_drain(todo: Eviction) -> str:
    """Where a drain is, for people: what still has to go, and what will stay."""
    words = f"still here: {_some(todo.left)}" if todo.left else "no instance is left that has to go"
    if todo.staying:
        words += (
            f"; {_some(todo.staying)} may run only here and {'stays' if len(todo.staying) == 1 else 'stay'} (--delete-pinned)"
        )
    return words


def _some(names: Sequence[str]) -> str:
    named = ", ".join(sorted(names)[:NAMED])
    return f"{named} and {len(names) - NAMED} more" if len(names) > NAMED else named
