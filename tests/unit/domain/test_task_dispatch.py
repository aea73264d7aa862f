"""Runs to workers: the dispatcher against a plain description of what it should do, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from plum_controller.domain.task_dispatch import IDLE_LINES, Dispatcher, Offer, Place, Waiting

START = datetime(2026, 1, 1, tzinfo=UTC)
TASKS = ("resize", "scan", "report")
NODES = ("", "boat1", "boat2")
LABELS: tuple[Mapping[str, str], ...] = ({}, {"gpu": "yes"}, {"gpu": "yes", "zone": "a"})
NAMES = [f"w{number}" for number in range(5)]


def run(uid: str, task: str = "resize", priority: int = 0, at: int = 0, **more: object) -> Waiting:
    place = Place("default", task, str(more.get("node", "")), frozenset(dict(more.get("selector", {})).items()))  # type: ignore[call-overload]
    return Waiting(uid, place, priority, START + timedelta(seconds=at), str(more.get("avoid", "")))


def offer(name: str, *tasks: str, labels: Mapping[str, str] | None = None, node: str = "", namespace: str = "default") -> Offer:
    return Offer(name, namespace, frozenset(tasks or ("resize",)), labels or {}, node)


def test_the_highest_priority_goes_first_and_then_the_oldest() -> None:
    dispatcher = Dispatcher()
    for waiting in (run("c", at=3), run("a", at=1), run("urgent", priority=5, at=9), run("b", at=2)):
        dispatcher.put(waiting)

    dispatcher.set_worker(offer("w1"), 10)

    assert [uid for uid, _ in dispatcher.assignments()] == ["urgent", "a", "b", "c"]


def test_priority_holds_across_tasks_of_one_worker() -> None:
    dispatcher = Dispatcher()
    dispatcher.put(run("old", task="scan", at=1))
    dispatcher.put(run("urgent", task="report", priority=1, at=2))

    dispatcher.set_worker(offer("w1", *TASKS), 1)

    assert list(dispatcher.assignments()) == [("urgent", "w1")]
    dispatcher.set_free("default", "w1", 1)
    assert list(dispatcher.assignments()) == [("old", "w1")]


def test_only_workers_with_the_task_the_labels_the_node_and_the_namespace_get_a_run() -> None:
    dispatcher = Dispatcher()
    dispatcher.set_worker(offer("task", "scan"), 1)
    dispatcher.set_worker(offer("label"), 1)
    dispatcher.set_worker(offer("node", labels={"gpu": "yes"}, node="boat1"), 1)
    dispatcher.set_worker(offer("namespace", labels={"gpu": "yes"}, node="boat2", namespace="other"), 1)
    dispatcher.put(run("r", selector={"gpu": "yes"}, node="boat2"))

    assert dispatcher.take() is None
    assert dispatcher.served("r") == 0

    dispatcher.set_worker(offer("fits", labels={"gpu": "yes"}, node="boat2"), 1)

    assert dispatcher.served("r") == 1
    assert dispatcher.take() == ("r", "fits")


def test_work_is_spread_and_the_worker_that_gave_a_run_back_comes_last() -> None:
    dispatcher = Dispatcher()
    for name in ("w1", "w2"):
        dispatcher.set_worker(offer(name), 3)
    for number in range(4):
        dispatcher.put(run(f"r{number}", at=number))
    assert [worker for _, worker in dispatcher.assignments()] == ["w1", "w2", "w1", "w2"]

    dispatcher.put(run("again", avoid="w1"))
    assert dispatcher.take() == ("again", "w2")

    dispatcher.put(run("alone", avoid="w1"))
    assert dispatcher.take() == ("alone", "w1")


def test_lines_that_nobody_waits_in_are_forgotten() -> None:
    dispatcher = Dispatcher()
    dispatcher.set_worker(offer("w1", labels={"n": "1"}), 1)
    for number in range(3 * IDLE_LINES):
        dispatcher.put(run(str(number), selector={"n": str(number)}))
        dispatcher.remove(str(number))

    assert len(dispatcher._lines) <= IDLE_LINES + 1
    dispatcher.put(run("r", selector={"n": "1"}))
    assert dispatcher.take() == ("r", "w1")


def test_thousands_of_runs_and_a_hundred_workers_are_no_square() -> None:
    """Counted in looks at the ready lines and comparisons of places, not in time."""
    counted = {"serves": 0}

    class Counting(Offer):
        __slots__ = ()

        def serves(self, place: Place) -> bool:
            counted["serves"] += 1
            return Offer.serves(self, place)

    runs, workers, tasks = 5000, 100, [f"t{number}" for number in range(20)]
    dispatcher = Dispatcher()
    for number in range(workers):
        dispatcher.set_worker(Counting(f"w{number}", "default", frozenset(tasks), {}), 1)
    done = 0
    for number in range(runs):
        dispatcher.put(run(str(number), task=tasks[number % len(tasks)], priority=number % 7, at=number))
    while found := list(dispatcher.assignments()):
        done += len(found)
        for _, worker in found:
            dispatcher.set_free("default", worker, 1)

    assert done == runs
    assert counted["serves"] <= workers * len(tasks)
    assert dispatcher._pushes <= runs * (len(tasks) + 2)


class Model(RuleBasedStateMachine):
    """Everything is looked at for every decision."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher()
        self.runs: dict[str, Waiting] = {}
        self.workers: dict[str, tuple[Offer, int]] = {}
        self.count = 0

    @rule(
        task=st.sampled_from(TASKS),
        node=st.sampled_from(NODES),
        selector=st.sampled_from(LABELS),
        priority=st.integers(-2, 2),
        at=st.integers(0, 3),
        avoid=st.sampled_from(["", *NAMES]),
    )
    def put(self, task: str, node: str, selector: Mapping[str, str], priority: int, at: int, avoid: str) -> None:
        self.count += 1
        made = run(f"r{self.count:04}", task, priority, at, node=node, selector=selector, avoid=avoid)
        self.runs[made.uid] = made
        self.dispatcher.put(made)

    @rule(data=st.data(), priority=st.integers(-2, 2))
    def change(self, data: st.DataObject, priority: int) -> None:
        if self.runs:
            old = self.runs[data.draw(st.sampled_from(sorted(self.runs)))]
            self.runs[old.uid] = Waiting(old.uid, old.place, priority, old.since)
            self.dispatcher.put(self.runs[old.uid])

    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        uid = data.draw(st.sampled_from([*sorted(self.runs), "unknown"]))
        self.runs.pop(uid, None)
        self.dispatcher.remove(uid)

    @rule(
        name=st.sampled_from(NAMES),
        tasks=st.sets(st.sampled_from(TASKS)),
        labels=st.sampled_from(LABELS),
        node=st.sampled_from(NODES),
        free=st.integers(0, 3),
    )
    def worker(self, name: str, tasks: set[str], labels: Mapping[str, str], node: str, free: int) -> None:
        made = Offer(name, "default", frozenset(tasks), labels, node)
        self.workers[name] = (made, free)
        self.dispatcher.set_worker(made, free)

    @rule(name=st.sampled_from(NAMES), free=st.integers(-1, 3))
    def free(self, name: str, free: int) -> None:
        if name in self.workers:
            self.workers[name] = (self.workers[name][0], free)
        self.dispatcher.set_free("default", name, free)

    @rule(name=st.sampled_from(NAMES))
    def gone(self, name: str) -> None:
        self.workers.pop(name, None)
        self.dispatcher.remove_worker("default", name)

    @rule()
    def decide(self) -> None:
        able = [waiting for waiting in self.runs.values() if self._takers(waiting)]
        found = self.dispatcher.take()
        if not able:
            assert found is None
            return
        assert found is not None
        uid, name = found
        wanted = min(able, key=lambda waiting: waiting.order)
        assert uid == wanted.uid
        takers = self._takers(wanted)
        assert name in takers
        assert name != wanted.avoid or takers == [wanted.avoid]
        del self.runs[uid]
        made, free = self.workers[name]
        self.workers[name] = (made, free - 1)

    def _takers(self, waiting: Waiting) -> list[str]:
        return [name for name, (made, free) in self.workers.items() if free > 0 and made.serves(waiting.place)]

    @invariant()
    def agrees(self) -> None:
        assert len(self.dispatcher) == len(self.runs)
        for uid, waiting in self.runs.items():
            assert self.dispatcher.served(uid) == sum(made.serves(waiting.place) for made, _ in self.workers.values())


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 5)), max_size=30))
@settings(max_examples=40, deadline=None)
def test_one_worker_takes_all_runs_in_their_order(given: list[tuple[int, int]]) -> None:
    dispatcher = Dispatcher()
    runs = [run(f"r{number:02}", priority=priority, at=at) for number, (priority, at) in enumerate(given)]
    for waiting in runs:
        dispatcher.put(waiting)

    dispatcher.set_worker(offer("w1"), len(runs) + 1)

    assert [uid for uid, _ in dispatcher.assignments()] == [w.uid for w in sorted(runs, key=lambda waiting: waiting.order)]
