"""Which worker gets which run next: highest priority first, then the oldest, and nothing beyond a worker's capacity.

    put, remove (runs)        \\
    set_worker, set_free,      +-> lines -> ready lines by their first run -> take() -> (uid of the run, name of the worker)
    remove_worker (workers)   /

Runs that the same workers may execute wait in one line. What one step costs follows the lines that the worker concerned
serves, never the number of runs or workers: thousands of runs may wait for a hundred busy workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import NamedTuple

from plum_flow.task_retry import order
from plum_flow.task_states import move
from plum_schemas.taskdefinition import BUILTIN_PREFIX
from plum_schemas.taskrun import TaskRun, TaskRunStatus

IDLE_LINES = 256
"""Lines without runs that are remembered, so that who serves them need not be found again for the next run."""


class Place(NamedTuple):
    """What a run asks of a worker."""

    namespace: str
    task: str
    node: str = ""
    """The one node; empty for any."""
    selector: frozenset[tuple[str, str]] = frozenset()
    """Labels that the worker or its node must have."""


class Order(NamedTuple):
    """Smaller is sooner."""

    priority: int
    """Negated."""
    since: datetime
    uid: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that waits for a worker."""

    uid: str
    place: Place
    priority: int
    since: datetime
    """When it was accepted; a retry keeps it."""
    avoid: str = ""
    """Worker that had it last and did not bring it to an end: others are preferred."""

    @property
    def order(self) -> Order:
        return Order(-self.priority, self.since, self.uid)


@dataclass(frozen=True, slots=True)
class Offer:
    """What a worker can do."""

    name: str
    namespace: str
    tasks: frozenset[str]
    labels: Mapping[str, str]
    """Its own, and those of its node."""
    node: str = ""

    def serves(self, place: Place) -> bool:
        return (
            self.namespace == place.namespace
            and place.task in self.tasks
            and (not place.node or place.node == self.node)
            and all(self.labels.get(label) == value for label, value in place.selector)
        )


@dataclass(slots=True, eq=False)
class _Worker:
    offer: Offer
    free: int = 0
    lines: dict[_Line, None] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Line:
    place: Place
    heap: list[tuple[Order, str]] = field(default_factory=list)
    """Runs, and some that have gone."""
    count: int = 0
    """Runs that wait."""
    workers: dict[_Worker, None] = field(default_factory=dict)
    free: dict[_Worker, None] = field(default_factory=dict)
    """Those with a free place, whose turn it is first."""
    ready: Order | None = None
    """Under which it stands among the ready lines, if it does."""


class Dispatcher:
    """Runs that wait, and workers with free places. Decides; whoever asks acts."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Waiting, _Line]] = {}
        self._workers: dict[tuple[str, str], _Worker] = {}
        self._by_task: dict[tuple[str, str], dict[_Worker, None]] = {}
        self._lines: dict[Place, _Line] = {}
        self._lines_of: dict[tuple[str, str], dict[_Line, None]] = {}
        self._idle: dict[_Line, None] = {}
        """Lines without runs, the longest idle first."""
        self._ready: list[tuple[Order, int, _Line]] = []
        self._pushes = 0

    def __len__(self) -> int:
        return len(self._runs)

    def __contains__(self, uid: str) -> bool:
        return uid in self._runs

    # ---- runs

    def put(self, run: Waiting) -> None:
        """A run waits; what was known of it before is replaced."""
        known = self._runs.get(run.uid)
        if known is not None:
            if known[0] == run:
                return
            self.remove(run.uid)
        line = self._line(run.place)
        self._runs[run.uid] = (run, line)
        heappush(line.heap, (run.order, run.uid))
        line.count += 1
        self._idle.pop(line, None)
        if line.free:
            self._make_ready(line)

    def remove(self, uid: str) -> None:
        """A run waits no more. One that is not known is fine."""
        known = self._runs.pop(uid, None)
        if known is not None:
            self._left(known[1])

    def served(self, uid: str) -> int:
        """How many workers could execute a run that waits, busy or not."""
        known = self._runs.get(uid)
        return len(known[1].workers) if known is not None else 0

    # ---- workers

    def set_worker(self, offer: Offer, free: int) -> None:
        """A worker is there, or has changed, and can take `free` more runs."""
        key = (offer.namespace, offer.name)
        known = self._workers.get(key)
        if known is None or known.offer != offer:
            self.remove_worker(*key)
            known = self._workers[key] = _Worker(offer)
            for task in offer.tasks:
                self._by_task.setdefault((offer.namespace, task), {})[known] = None
                for line in self._lines_of.get((offer.namespace, task), ()):
                    if offer.serves(line.place):
                        self._join(known, line)
        self._free(known, free)

    def set_free(self, namespace: str, name: str, free: int) -> None:
        """How many more runs a worker can take; 0 or less: none. One that is not known is fine."""
        worker = self._workers.get((namespace, name))
        if worker is not None:
            self._free(worker, free)

    def remove_worker(self, namespace: str, name: str) -> None:
        """A worker is gone. One that is not known is fine."""
        worker = self._workers.pop((namespace, name), None)
        if worker is None:
            return
        for task in worker.offer.tasks:
            members = self._by_task[(namespace, task)]
            del members[worker]
            if not members:
                del self._by_task[(namespace, task)]
        for line in worker.lines:
            line.workers.pop(worker, None)
            line.free.pop(worker, None)

    # ---- deciding

    def take(self) -> tuple[str, str] | None:
        """The next run and its worker, which has one place less now; None when nothing fits. Call it until then."""
        while self._ready:
            order, _, line = heappop(self._ready)
            if order != line.ready:
                continue  # it stood here twice, and was looked at
            line.ready = None
            first = self._first(line)
            if first is None or not line.free:
                continue
            if first.order != order:  # this one went
                self._make_ready(line)
                continue
            worker = _choose(line, first.avoid)
            heappop(line.heap)
            del self._runs[first.uid]
            self._left(line)
            self._free(worker, worker.free - 1)
            if worker in line.free:  # the others first
                del line.free[worker]
                line.free[worker] = None
            if line.count and line.free:
                self._make_ready(line)
            return first.uid, worker.offer.name
        return None

    def assignments(self) -> Iterator[tuple[str, str]]:
        """`take` until nothing fits."""
        while (found := self.take()) is not None:
            yield found

    # ---- inside

    def _line(self, place: Place) -> _Line:
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = _Line(place)
            key = (place.namespace, place.task)
            self._lines_of.setdefault(key, {})[line] = None
            self._idle[line] = None
            for worker in self._by_task.get(key, ()):
                if worker.offer.serves(place):
                    self._join(worker, line)
        return line

    @staticmethod
    def _join(worker: _Worker, line: _Line) -> None:
        worker.lines[line] = None
        line.workers[worker] = None
        if worker.free > 0:
            line.free[worker] = None

    def _free(self, worker: _Worker, free: int) -> None:
        was_free, worker.free = worker.free > 0, free
        if free > 0 and not was_free:
            for line in worker.lines:
                line.free[worker] = None
                if line.count:
                    self._make_ready(line)
        elif free <= 0 and was_free:
            for line in worker.lines:
                line.free.pop(worker, None)

    def _make_ready(self, line: _Line) -> None:
        first = self._first(line)
        if first is None or (line.ready is not None and line.ready <= first.order):
            return
        self._pushes += 1
        line.ready = first.order
        heappush(self._ready, (first.order, self._pushes, line))

    def _first(self, line: _Line) -> Waiting | None:
        """The run at the head of a line. Forgets those before it that have gone."""
        while line.heap:
            order, uid = line.heap[0]
            known = self._runs.get(uid)
            if known is not None and known[1] is line and known[0].order == order:
                return known[0]
            heappop(line.heap)
        return None

    def _left(self, line: _Line) -> None:
        line.count -= 1
        if line.count:
            return
        line.heap.clear()
        self._idle[line] = None
        while len(self._idle) > IDLE_LINES:
            self._forget(next(iter(self._idle)))

    def _forget(self, line: _Line) -> None:
        del self._idle[line]
        del self._lines[line.place]
        key = (line.place.namespace, line.place.task)
        members = self._lines_of[key]
        del members[line]
        if not members:
            del self._lines_of[key]
        for worker in line.workers:
            worker.lines.pop(line, None)


def _choose(line: _Line, avoid: str) -> _Worker:
    """The one whose turn it is, or the next if that is the one to avoid."""
    turn = iter(line.free)
    first = next(turn)
    return next(turn, first) if avoid and first.offer.name == avoid else first


def place_of(run: TaskRun) -> Place | None:
    """What a run asks of a worker; None for one that workers do not execute."""
    task = run.status.task or run.spec.task
    if task is None or task.executor != "embedded":
        return None
    name = task.task or run.spec.task_ref
    if not name or name.startswith(BUILTIN_PREFIX):
        return None
    selector = {**task.node_selector, **run.spec.node_selector}
    return Place(run.metadata.namespace, name, run.spec.node_name or task.node_name, frozenset(selector.items()))


def waiting_of(run: TaskRun, avoid: str = "") -> Waiting | None:
    """The run as one that waits for a worker; None when it does not."""
    if run.status.phase != "Pending" or run.spec.canceled or run.metadata.deletion_timestamp is not None:
        return None
    place = place_of(run)
    if place is None:
        return None
    priority, _, _ = order(run)
    since = run.status.queued_at or run.metadata.creation_timestamp or datetime.min.replace(tzinfo=UTC)
    return Waiting(run.metadata.uid, place, -priority, since, avoid)


def hand_back(status: TaskRunStatus, reason: str, message: str, now: datetime) -> TaskRunStatus:
    """Running -> Pending for an attempt that was not begun: it keeps its number, and the next holder gets a new token."""
    return move(status, "Pending", now, worker="", node="", lease_expires_at=None, reason=reason, error=message)
