"""The instances of one Deployment as a rollout sees them: which count, which are available, which go first.

Instance --classify--> Member(state) --> counts, and the order in which surplus ones are deleted
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from plum_schemas.deployment import REVISION_LABEL
from plum_schemas.instance import Instance

from plum_controller.domain.drain import EVICT_ANNOTATION

HOME_NODE_ANNOTATION = "plum.dev/home-node"
"""On an instance that runs elsewhere because its node was lost: the node that `nodeReplicas` wants it on."""
REPLACES_ANNOTATION = "plum.dev/replaces"
"""On a replacement: name of the instance whose node was lost."""
SETTLE_SECONDS = 1.0
"""How long a run without probes must last to count as available: most programs that cannot work end sooner."""
CRASHED_SECONDS = 10.0
"""The same after a crash."""
CLOCK_SKEW = timedelta(seconds=2)
"""How far a node's clock may be ahead of ours before its times are not used."""
LOST_CONDITION = "Lost"
"""True: the node is gone and a replacement may start. For an exclusive instance only after its fence."""


class State(Enum):
    """Where an instance stands in the count of its Deployment."""

    ALIVE = "alive"
    """It runs or will; it counts."""
    STOPPING = "stopping"
    """It is being deleted; it may still hold ports and devices."""
    LOST = "lost"
    """Its node is gone; a replacement may start."""
    FAILED = "failed"
    """It ended for good and must be replaced."""
    GONE = "gone"
    """It is being deleted on a lost node; nobody will confirm it soon."""


@dataclass(frozen=True, slots=True)
class Member:
    """One instance."""

    instance: Instance
    state: State
    revision: str
    """Hash of its template."""
    group: str
    """Node that `nodeReplicas` wants it on; empty for Deployments that the scheduler places."""
    ready: bool
    available: bool
    available_in: timedelta | None
    """Time until it becomes available, if it stays ready."""
    evicting: bool = False
    """Its node is being emptied: it is replaced as if its template were old."""

    @property
    def name(self) -> str:
        return self.instance.metadata.name

    @property
    def alive(self) -> bool:
        return self.state is State.ALIVE


def classify(instance: Instance, by_node: bool, min_ready_seconds: int, may_replace: bool, now: datetime) -> Member:
    """How one instance counts. `may_replace` false: a lost one still counts, so that nothing starts in its place."""
    status = instance.status
    lost = any(c.type == LOST_CONDITION and c.status == "True" for c in status.conditions)
    deleting = instance.metadata.deletion_timestamp is not None
    if deleting:
        state = State.GONE if lost else State.STOPPING
    elif lost and may_replace:
        state = State.LOST
    elif status.phase == "Failed":
        state = State.FAILED
    else:
        state = State.ALIVE
    done = status.phase == "Succeeded"
    ready = status.ready and not lost and status.phase not in ("Unknown", "Stopped")
    wait = _until_available(instance, min_ready_seconds, now) if ready else None
    available = done or (wait is not None and wait <= timedelta(0))
    home = instance.metadata.annotations.get(HOME_NODE_ANNOTATION, instance.spec.node_name) if by_node else ""
    return Member(
        instance=instance,
        state=state,
        revision=instance.metadata.labels.get(REVISION_LABEL, ""),
        group=home,
        ready=ready,
        available=available and state is State.ALIVE,
        available_in=wait if ready and not available else None,
        evicting=instance.metadata.annotations.get(EVICT_ANNOTATION) == instance.spec.node_name != "",
    )


def _until_available(instance: Instance, min_ready_seconds: int, now: datetime) -> timedelta | None:
    """Time until a ready instance counts as available, None if it is not said since when it is ready.

    Without a probe, ready only means that it runs, and what is about to crash runs too: such an instance must have run for a
    moment, and for longer when it has crashed before.
    """
    status = instance.status
    ready_since = next((c.last_transition_time for c in status.conditions if c.type == "Ready" and c.status == "True"), None)
    if ready_since is None:
        return None
    probes = instance.spec.template.probes
    unproven = probes.readiness is None and probes.startup is None
    settle = (CRASHED_SECONDS if status.restarts else SETTLE_SECONDS) if unproven else 0.0
    since = max(ready_since, status.started_at) if status.started_at is not None else ready_since
    created = instance.metadata.creation_timestamp
    if since > now + CLOCK_SKEW and created is not None:
        since = created  # the node's clock is ahead; without this the instance would wait until ours has caught up
    return timedelta(seconds=max(settle, min_ready_seconds)) - (now - since)


def count_by_group(members: Iterable[Member]) -> dict[str, int]:
    """Members per group."""
    counts: dict[str, int] = {}
    for member in members:
        counts[member.group] = counts.get(member.group, 0) + 1
    return counts


_LIFE = {"Pending": 0, "Scheduled": 1, "Preparing": 2, "Starting": 3, "Unknown": 0, "Stopped": 1}


def least_valuable_first(members: Sequence[Member]) -> list[Member]:
    """The order of deletion: without a node, far from ready, on crowded nodes, young."""
    per_node: dict[str, int] = {}
    for member in members:
        per_node[member.instance.spec.node_name] = per_node.get(member.instance.spec.node_name, 0) + 1

    def value(member: Member) -> tuple[object, ...]:
        instance = member.instance
        created = instance.metadata.creation_timestamp
        return (
            bool(instance.spec.node_name),
            member.available,
            member.ready,
            _LIFE.get(instance.status.phase, 9),
            -per_node[instance.spec.node_name],
            -(created.timestamp() if created else 0.0),
            instance.metadata.name,
        )

    return sorted(members, key=value)
