"""A run in memory: what its rows say, with the counts that make the next decision cheap.

    Run -> Scope of the main graph -> Body of a loop or map -> Scope of each iteration that goes on

Finished iterations are not here any more: a run of 100,000 iterations is as small as one of two.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from datetime import datetime
from typing import Any

from plum_flow.workflow.graph import DefinitionPlan, GraphPlan, NodePlan
from plum_flow.workflow.messages import Changes
from plum_flow.workflow.phases import ACTIVE, PENDING
from plum_flow.workflow.rows import NodeRow, RunRow, iteration_key

SPARE_TIMERS = 1000
"""Timers of nodes that have ended, before they are looked for and removed."""


class Scope:
    """A graph that is being run: the main one, a handler, or one iteration."""

    __slots__ = (
        "attempts", "bad", "bodies", "failed_message", "failed_name", "folded", "graph", "groups", "index", "loop", "open",
        "opened", "outcome", "output", "parent", "phase", "prefix", "queued", "rows", "tally",
    )  # fmt: skip

    def __init__(self, graph: GraphPlan, prefix: str, parent: Scope | None = None, index: int = 0) -> None:
        count = len(graph.nodes)
        self.graph = graph
        self.prefix = prefix
        """Of the keys of its nodes."""
        self.parent = parent
        self.index = index
        """Of the iteration."""
        self.phase = [PENDING] * count
        self.queued = bytearray(count)
        """1 once a node was found to start: it must not be found twice."""
        self.tally: list[list[int] | None] = [None] * count
        """How the nodes before each ended: succeeded, failed, upstream, skipped."""
        self.open = count
        """Nodes that are not terminal."""
        self.bad = 0
        """Failures that fail this scope."""
        self.failed_name = ""
        self.failed_message = ""
        """Of the first failure that fails this scope."""
        self.attempts: dict[int, int] = {}
        """Of nodes that have ended, for when they are run again."""
        self.folded: dict[int, dict[str, int]] = {}
        """Loops and maps that have ended: phases of the nodes inside."""
        self.rows: dict[int, NodeRow] = {}
        """Rows of nodes that are active, and messages of those that failed."""
        self.outcome: dict[int, str] = {}
        self.output: dict[int, Any] = {}
        """Of nodes whose output some expression reads."""
        self.bodies: dict[int, Body] = {}
        self.groups: dict[int, Group] = {}
        self.opened: dict[int, int] = {}
        """Nodes of type parallel that go on: how many nodes after each have not ended."""
        self.loop: dict[str, Any] = {} if parent is None else dict(parent.loop)

    def key_of(self, index: int) -> str:
        return self.prefix + self.graph.nodes[index].name

    def chain(self) -> list[Scope]:
        """This scope and those around it, inside first."""
        found, scope = [], self
        while True:
            found.append(scope)
            if scope.parent is None:
                return found
            scope = scope.parent


class Group:
    """The nodes after a node of type parallel that has a limit."""

    __slots__ = ("held", "running")

    def __init__(self) -> None:
        self.running = 0
        self.held: deque[int] = deque()


class Body:
    """The iterations of one loop or map node."""

    __slots__ = (
        "allowed", "done", "ending", "failures", "folded", "items", "last", "message", "next", "results", "results_bytes",
        "running", "total",
    )  # fmt: skip

    def __init__(self) -> None:
        self.next = 0
        """Index of the next iteration to start."""
        self.total: int | None = None
        self.running: dict[int, Scope] = {}
        self.done = 0
        self.failures = 0
        self.allowed = 0
        """Bodies that may fail."""
        self.folded: Counter[str] = Counter()
        self.items: list[Any] = []
        self.results: dict[int, Any] = {}
        self.results_bytes = 0
        self.last: Any = None
        self.ending = ""
        """Why no further iteration starts: `Failed`, `Canceled` or `Done`."""
        self.message = ""
        """What failed it."""


class Run:
    """One run. Changed only by `decide`."""

    def __init__(self, plan: DefinitionPlan, uid: str, name: str, row: RunRow, facts: dict[str, Any] | None = None) -> None:
        self.plan = plan
        self.uid = uid
        self.name = name
        self.row = row
        self.facts = {"id": uid, "name": name, **(facts or {})}
        """What `run` stands for in expressions."""
        self.scopes: dict[str, Scope] = {}
        """By stage."""
        self.active: dict[str, tuple[Scope, int]] = {}
        """Nodes that run or wait, by key."""
        self.counts: Counter[str] = Counter()
        self.executing = 0
        """Nodes that somebody else carries out now."""
        self.ready: deque[tuple[Scope, int]] = deque()
        """Nodes to start that somebody else carries out, oldest first: there may be a limit."""
        self.quick: deque[tuple[Scope, int]] = deque()
        """Nodes to start that take no place."""
        self.check: deque[tuple[Scope, int]] = deque()
        """Nodes whose rule may hold now."""
        self.ended: deque[Scope] = deque()
        self.timers: list[tuple[datetime, int, str, int, str]] = []
        self._timer_number = 0
        self.changes = Changes()

    # ---- places

    def scope_at(self, prefix: str) -> Scope | None:
        """The scope of a prefix of keys, if it goes on."""
        for scope in self.scopes.values():
            if scope.prefix == prefix:
                return scope
        owner_key, _, index = prefix[:-1].rstrip("]").rpartition("[")
        found = self.active.get(owner_key)
        if found is None or not index.isdigit():
            return None
        body = found[0].bodies.get(found[1])
        return body.running.get(int(index)) if body is not None else None

    def find(self, key: str) -> tuple[Scope, int] | None:
        """A node of a scope that goes on."""
        found = self.active.get(key)
        if found is not None:
            return found
        cut = max(key.rfind("."), key.rfind(":")) + 1
        scope = self.scope_at(key[:cut])
        node = scope.graph.by_name.get(key[cut:]) if scope is not None else None
        return (scope, node.index) if scope is not None and node is not None else None

    # ---- changes that are to be stored

    def put(self, key: str, row: NodeRow) -> None:
        self.changes.rows[key] = row

    def put_run(self) -> None:
        self.changes.rows["!run"] = self.row

    def take(self) -> Changes:
        """What has changed since the last call."""
        found, self.changes = self.changes, Changes()
        return found

    # ---- phases

    def enter(self, scope: Scope, index: int, phase: str) -> None:
        """Count a node's new phase, and know which nodes are active."""
        before = scope.phase[index]
        if before == phase:
            return
        scope.phase[index] = phase
        self.counts[before] -= 1
        self.counts[phase] += 1
        if phase in ACTIVE:
            self.active[scope.key_of(index)] = (scope, index)
        elif before in ACTIVE:
            del self.active[scope.key_of(index)]

    def open_scope(self, scope: Scope) -> None:
        """Count the nodes of a new scope, and look at those that wait for nothing."""
        self.counts[PENDING] += len(scope.graph.nodes)
        self.check.extend((scope, node.index) for node in scope.graph.nodes if not node.preds or node.rule == "always")
        if not scope.graph.nodes:
            self.ended.append(scope)

    def queue(self, scope: Scope, index: int) -> None:
        """A node is to be started."""
        (self.ready if scope.graph.nodes[index].is_executed else self.quick).append((scope, index))

    def set_timer(self, when: datetime, key: str, attempt: int, purpose: str) -> None:
        if len(self.timers) > 2 * len(self.active) + SPARE_TIMERS:
            self.timers = [timer for timer in self.timers if timer[2] in self.active or not timer[2]]
            heapq.heapify(self.timers)
        self._timer_number += 1
        heapq.heappush(self.timers, (when, self._timer_number, key, attempt, purpose))

    @property
    def next_due(self) -> datetime | None:
        """When a `Tick` is needed."""
        return self.timers[0][0] if self.timers else None

    @property
    def is_done(self) -> bool:
        return self.row.stage == "done"

    @property
    def paused(self) -> bool:
        return self.row.paused

    def body_prefix(self, scope: Scope, node: NodePlan, index: int) -> str:
        return iteration_key(scope.key_of(node.index), index) + "."
