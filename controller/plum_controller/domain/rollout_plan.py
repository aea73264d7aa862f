"""What a rollout decision consists of: what it needs to know of a node, an instance to create, and the whole plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from plum_schemas.deployment import RolloutStatus
from plum_schemas.instance import Instance
from plum_schemas.template import Template

from plum_controller.domain.members import Member


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a rollout needs to know of a node."""

    usable: bool
    """Ready, or only briefly silent: instances may be made for it."""
    ready_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewInstance:
    """An instance to create."""

    revision: str
    node: str
    """Node it is bound to; empty: the scheduler chooses."""
    home_node: str = ""
    """Node that `nodeReplicas` wants it on, while that one is lost."""
    replaces: str = ""
    """Name of the instance on a lost node that it stands in for."""


@dataclass(slots=True)
class Plan:
    """What to do now, and when to look again."""

    revision: str
    """Hash of the template that instances are made from."""
    template: Template
    create: list[NewInstance] = field(default_factory=list)
    delete: list[Instance] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    wanted: int = 0
    min_available: int = 0
    halted: str = ""
    """Why nothing moves: `Paused`, `Failed`, or empty."""
    missing_nodes: list[str] = field(default_factory=list)
    """Nodes named in `nodeReplicas` that do not exist or are lost without a way to fail over."""
    rollout: RolloutStatus = field(default_factory=RolloutStatus)
    rolled_back: bool = False
    """The template of the spec failed and instances are made from the last one that was available."""
    wake_after: float | None = None
    """Seconds until time alone changes the answer."""

    def wake(self, seconds: float) -> None:
        """Look again after this long at the latest."""
        seconds = max(0.01, seconds)
        self.wake_after = seconds if self.wake_after is None else min(self.wake_after, seconds)

    @property
    def updated(self) -> list[Member]:
        """Instances that are to stay."""
        return [m for m in self.members if m.alive and m.revision == self.revision and not m.evicting]

    @property
    def old(self) -> list[Member]:
        """Instances that are to be replaced: of another template, or on a node that is being emptied."""
        return [m for m in self.members if m.alive and (m.revision != self.revision or m.evicting)]
