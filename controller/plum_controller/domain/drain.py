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


def plan_drain(
    node: Node, instances: Sequence[Instance], pinned: Sequence[str], now: datetime, tasks: Sequence[str] = (),
    runs: Sequence[str] = (),
) -> Eviction:  # fmt: skip
    """The next step of a drain. `pinned`: names of instances that their owner wants on this node and nowhere else. `tasks`: those
    under way here, which end or are given to other nodes at the deadline (`seconds_until_moved`). `runs`: those that this node
    carries out by itself; they are waited for, and stay when the time is up."""
    drain = node.spec.drain
    todo = Eviction()
    if drain is None:
        return todo
    going = [i for i in instances if i.status.phase not in ("Succeeded", "Failed")]
    if drain.ignore_pinned:
        todo.staying = [str(i.key) for i in going if i.metadata.name in pinned]
        going = [i for i in going if i.metadata.name not in pinned]
    left = seconds_until_moved(node, now)
    over = left is not None and left <= 0
    if over:
        todo.staying += [f"run {name}" for name in runs]
    else:
        todo.left += [f"run {name}" for name in runs]
    todo.left += [*(str(i.key) for i in going), *(f"task {name}" for name in tasks)]
    if left is not None and not over and todo.left:
        todo.wake_after = left
    for instance in going:
        if instance.metadata.deletion_timestamp is not None:
            continue
        owned = any(owner.controller for owner in instance.metadata.owner_references)
        if over or not owned or instance.metadata.name in pinned:
            todo.remove.append(instance)
        elif EVICT_ANNOTATION not in instance.metadata.annotations:
            todo.ask.append(instance)
    return todo


def seconds_until_moved(node: Node | None, now: datetime) -> float | None:
    """Until a drain waits no more for what runs on the node; None: it is not drained, or waits for however long that takes."""
    drain = node.spec.drain if node is not None else None
    if drain is None or not drain.deadline_seconds:
        return None
    since = (now - drain.requested_at).total_seconds() if drain.requested_at is not None else 0.0
    return drain.deadline_seconds - since


NAMED = 3
"""Names in a message; more are counted."""


def say_drain(todo: Eviction) -> str:
    """Where a drain is, for people: what still has to go, and what will stay."""
    words = f"still here: {_some(todo.left)}" if todo.left else "nothing is left that has to go"
    runs = [name for name in todo.staying if name.startswith("run ")]
    pinned = [name for name in todo.staying if name not in runs]
    if pinned:
        words += f"; {_some(pinned)} may run only here and {'stays' if len(pinned) == 1 else 'stay'} (--delete-pinned)"
    if runs:
        words += f"; {_some(runs)} {'was' if len(runs) == 1 else 'were'} delegated to this node and cannot move"
    return words


def _some(names: Sequence[str]) -> str:
    named = ", ".join(sorted(names)[:NAMED])
    return f"{named} and {len(names) - NAMED} more" if len(names) > NAMED else named
