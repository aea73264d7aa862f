"""What is known of connected workers: sessions, and the leases they hold.

    Session (one per worker) -- Lease (one attempt of one run) -- Link (how the worker is spoken to)

A lease begins as ASSIGNED, is RUNNING once acknowledged, RECORDING while its end is being written, and OVER when the run was
taken away and the worker has not let go yet: until then it fills a place of the worker. Times are monotonic seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from plum_flow.task_states import Claim, Holder
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun

from plum_controller.domain.task_dispatch import Offer

LABEL_WORKER, LABEL_APP, LABEL_NODE, LABEL_INSTANCE = (
    "plum.dev/worker",
    "plum.dev/app",
    "plum.dev/node",
    "plum.dev/instance",
)
"""Labels that every worker has, so that a selector can name it, its application, node or instance."""

UNREACHABLE_AFTER = 3
"""Calls of an http worker in a row that did not reach it."""
WorkerProtocol = Literal["grpc", "classic", "http"]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take. Everything follows from the lease."""

    lease_seconds: float = 15.0

    @property
    def heartbeat_seconds(self) -> float:
        return self.lease_seconds / 3

    @property
    def acknowledge_seconds(self) -> float:
        return self.lease_seconds / 3

    @property
    def tick_seconds(self) -> float:
        """Between two looks at what ran out."""
        return min(0.5, self.lease_seconds / 10)

    @property
    def written_seconds(self) -> float:
        """How far ahead `leaseExpiresAt` is written: far enough that a task of usual length needs no second write."""
        return max(60.0, 4 * self.lease_seconds)


class LeaseState(enum.Enum):
    """See the module."""

    ASSIGNED = "assigned"
    RUNNING = "running"
    RECORDING = "recording"
    OVER = "over"


@dataclass(slots=True, eq=False)
class Lease:
    """One attempt of one run that a worker holds."""

    key: ObjectKey
    uid: str
    claim: Claim
    at_most_once: bool
    state: LeaseState = LeaseState.ASSIGNED
    acknowledge_by: float = 0.0
    """When an assignment that nobody acknowledged is given to another."""
    release_by: float = 0.0
    """When the place of a lease that is over is free again, whatever the worker says; 0: when it lets go."""
    cancel_by: float = 0.0
    """When a cancelled attempt is written down as such without the worker; 0: it is not cancelled."""
    written_until: float = 0.0
    """`leaseExpiresAt` as it is in the store, monotonic."""
    progress: tuple[float, str] | None = None
    """Newest progress that is not written yet."""
    progress_at: float = 0.0
    """When progress was last written."""

    @property
    def fencing_token(self) -> int:
        return self.claim.fencing_token

    @property
    def is_held(self) -> bool:
        """The worker has the right to work on it."""
        return self.state is not LeaseState.OVER


class Link(Protocol):
    """How a worker is spoken to. Nothing here waits or raises; what cannot be delivered is lost with the connection."""

    def assign(self, lease: Lease, run: TaskRun) -> None: ...
    def cancel(self, lease: Lease, reason: str, grace_seconds: float) -> None: ...
    def renewed(self, held: Sequence[Lease], lost: Sequence[tuple[str, int]]) -> None: ...
    def recorded(self, uid: str, fencing_token: int, accepted: bool, message: str) -> None: ...
    def go_away(self, reason: str, reconnect_seconds: float) -> None: ...
    def close(self, reason: str, *, unauthenticated: bool = False) -> None: ...


class Caller(Protocol):
    """Who speaks, as far as the gateway wants to know."""

    @property
    def name(self) -> str: ...
    @property
    def credential(self) -> str: ...
    @property
    def expires(self) -> float: ...


class Doorkeeper(Protocol):
    """Who may connect. Raises `ApiStatusError` 401, 403, 429."""

    def identify(self, token: str, peer: str, *, secure: bool) -> Caller: ...
    def admit(self, caller: Any, namespace: str, worker: str, tasks: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Hello:
    """What a worker says about itself when it comes."""

    key: ObjectKey
    tasks: tuple[str, ...]
    capacity: int
    labels: Mapping[str, str]
    protocol: WorkerProtocol
    worker_id: str = ""
    """As it calls itself, where that is no name of an object."""
    session_id: str = ""
    node: str = ""
    instance: str = ""
    app: str = ""
    app_version: str = ""
    url: str = ""
    sdk: str = ""
    ttl: str = ""
    held: tuple[tuple[str, int, bool], ...] = ()
    """uid, fencing token, and whether its result is ready."""
    caller: Caller | None = None


@dataclass(slots=True, eq=False)
class Session:
    """One worker, from its registration until it is forgotten."""

    id: str
    hello: Hello
    link: Link | None
    """None while it is not connected."""
    connected_at: datetime
    heard_at: float
    leases: dict[str, Lease] = field(default_factory=dict)
    """By uid of the run."""
    reserved: int = 0
    """Places that are being filled right now."""
    completed: int = 0
    draining: bool = False
    lost: bool = False
    """It was not heard for a lease. It may come back."""
    unschedulable: bool = False
    resting_until: float = 0.0
    """It gets nothing new before: it did not take what it was given."""
    failures: int = 0
    """Assignments in a row that it did not take."""
    node_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> ObjectKey:
        return self.hello.key

    @property
    def holder(self) -> Holder:
        return Holder(worker=self.key.name)

    def free(self, now: float) -> int:
        """How many more runs it can take."""
        if self.link is None or self.draining or self.lost or self.unschedulable or now < self.resting_until:
            return 0
        return self.hello.capacity - len(self.leases) - self.reserved

    def offer(self) -> Offer:
        hello = self.hello
        own = {
            LABEL_WORKER: hello.key.name,
            LABEL_APP: hello.app,
            LABEL_NODE: hello.node,
            LABEL_INSTANCE: hello.instance,
        }
        labels = {**hello.labels, **self.node_labels, **{name: value for name, value in own.items() if value}}
        return Offer(hello.key.name, hello.key.namespace, frozenset(hello.tasks), labels, hello.node)

    @property
    def is_unreachable(self) -> bool:
        """An http worker that could not be called several times in a row."""
        return self.hello.protocol == "http" and self.failures >= UNREACHABLE_AFTER

    @property
    def phase(self) -> Literal["Ready", "Draining", "Lost"]:
        if self.lost or self.is_unreachable:
            return "Lost"
        return "Draining" if self.draining else "Ready"
