"""Random transactions, compactions, restarts and watches on every engine, compared with a model after every step.

Watchers begin anywhere in the kept history, with and without selectors, break off and resume. What each received must be
what the log says a watcher of that selection has to see: each change once, in order, with the right type.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from plum_controller.store.base import ABSENT, ANY, Check, Key, Store, Transaction, Write
from plum_controller.store.cache import Entry, WatchCache, Watcher, WatchEvent
from plum_controller.store.errors import CompactedError, FutureRevisionError, PreconditionError
from plum_controller.store.index import selecting
from plum_schemas.selectors import parse_field_selector, parse_label_selector

from tests.support.store import ENGINES, RESOURCE, Clock, Engine, Model, collect, delete, entry_of, index, key, put, until

T = TypeVar("T")

KEYS = [key(name, namespace) for namespace in ("default", "other") for name in ("a", "b", "c")] + [key("a", "", "nodes.plum.dev")]
LABELS = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["x", "y"]), max_size=2)
FIELDS = st.sampled_from([{}, {"node": "n1"}, {"node": "n2"}])
SELECTIONS = st.tuples(
    st.sampled_from(["", "default", "other"]),
    st.sampled_from(["", "app=x", "app=y", "app!=x", "app in (x,y)", "!app", "app=x,tier=y", "tier"]),
    st.sampled_from(["", "spec.node=n1", "spec.node=", "spec.node!=n1", "metadata.name=a", "metadata.namespace=other"]),
)


class Follower:
    """A client that watches, breaks off and resumes."""

    def __init__(self, since: int, selection: tuple[str, str, str]) -> None:
        self.since = since
        self.namespace, labels, fields = selection
        self.labels, self.fields = parse_label_selector(labels), parse_field_selector(fields)
        self.seen: list[tuple[str, Key, int]] = []
        self.watcher: Watcher | None = None

    def selects(self, entry: Entry) -> bool:
        test = selecting(self.namespace, self.labels, self.fields)
        return entry.key.resource == RESOURCE and (test is None or test(entry))

    def deliver(self, events: Sequence[WatchEvent]) -> None:
        self.seen += [(event.type, event.entry.key, event.revision) for event in events]
        for event in events:
            assert b'"resourceVersion":"%d"' % event.revision in event.line()


class StoreMachine(RuleBasedStateMachine):
    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="plum-store-"))
        self.clock = Clock(1000.0)
        self.model = Model()
        self.followers: list[Follower] = []

    @initialize()
    def start(self) -> None:
        self.store: Store = self.engine.make(self.folder, self.clock)
        self.run(self.store.open())
        self.load()
        self.follow([("", "app=x", ""), ("default", "", ""), ("", "", "spec.node=n1"), ("", "!app", "spec.node!=n1")], 0)

    def teardown(self) -> None:
        if hasattr(self, "cache"):
            self.settle()
            self.agrees()
        self.run(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    def load(self) -> None:
        self.cache = WatchCache(self.store, index, window_changes=5)
        self.run(self.cache.load())

    @rule(data=st.data(), count=st.integers(1, 6), tick=st.sampled_from([0.0, 1.0, 5.0]))
    def commit(self, data: st.DataObject, count: int, tick: float) -> None:
        self.clock.now += tick
        for _ in range(count):
            self.commit_all([self.draw(data, data.draw(st.integers(1, 3)))])

    @rule(data=st.data(), count=st.integers(2, 6))
    def commit_at_once(self, data: st.DataObject, count: int) -> None:
        self.commit_all([self.draw(data, data.draw(st.integers(1, 3))) for _ in range(count)])

    def draw(self, data: st.DataObject, size: int) -> Transaction:
        keys = data.draw(st.lists(st.sampled_from(KEYS), min_size=size, max_size=size, unique=True))
        writes = [self.draw_write(data, where) for where in keys]
        others = [where for where in KEYS if where not in keys]
        checks = [
            Check(where, data.draw(st.sampled_from([self.model.current(where)] * 6 + [ANY, ABSENT])))
            for where in data.draw(st.lists(st.sampled_from(others), max_size=1))
        ]
        return Transaction(writes, checks)

    def draw_write(self, data: st.DataObject, where: Key) -> Write:
        current = self.model.current(where)
        expect = data.draw(st.sampled_from([current, ANY] * 8 + [ABSENT, current + 1]))
        make = delete if current and data.draw(st.integers(0, 3)) == 0 else put
        return make(where, data.draw(st.integers(0, 9)), expect, labels=data.draw(LABELS), **data.draw(FIELDS))

    def commit_all(self, wanted: Sequence[Transaction]) -> None:
        async def commit() -> list[int | BaseException]:
            return await asyncio.gather(*(self.store.commit(one) for one in wanted), return_exceptions=True)

        answers = self.run(commit())

        for one, answer in zip(wanted, answers, strict=True):
            if self.model.accepts(one):
                self.model.apply(one, self.clock.now)
                assert answer == self.model.revision
            else:
                assert isinstance(answer, PreconditionError)

    @rule(back=st.integers(0, 10))
    def compact(self, back: int) -> None:
        upto = self.model.revision - back
        self.run(self.store.compact(upto))
        self.model.compacted = max(self.model.compacted, upto)

    @precondition(lambda self: self.engine.durable)
    @rule()
    def restart(self) -> None:
        self.settle()
        self.run(self.close(self.followers))
        self.run(self.store.close())
        self.store = self.engine.make(self.folder, self.clock)
        self.run(self.store.open())
        self.load()
        self.resume()

    @rule(selections=st.lists(SELECTIONS, min_size=1, max_size=4), back=st.integers(0, 20))
    def follow(self, selections: list[tuple[str, str, str]], back: int) -> None:
        since = max(self.model.revision - back, self.model.compacted)
        self.followers = self.followers[-8:] + [Follower(since, selection) for selection in selections]
        self.resume()

    @rule(which=st.integers(0, 3))
    def break_off(self, which: int) -> None:
        self.run(self.close(self.followers[which::4]))

    async def close(self, followers: Sequence[Follower]) -> None:
        for follower in followers:
            assert follower.watcher is not None
            follower.watcher.close()

    def resume(self) -> None:
        """Every follower that stands still goes on where it was, or begins anew if that is gone."""

        async def watch(follower: Follower, since: int) -> Watcher:
            return self.cache.watch(RESOURCE, follower.namespace, follower.labels, follower.fields, since, follower.deliver)

        for follower in self.followers:
            if follower.watcher is None or follower.watcher.closed:
                since = follower.since if follower.watcher is None else follower.watcher.revision
                try:
                    follower.watcher = self.run(watch(follower, since))
                except CompactedError:
                    assert since < self.model.compacted
                    follower.since, follower.seen = self.model.revision, []
                    follower.watcher = self.run(watch(follower, self.model.revision))

    def settle(self) -> None:
        def caught_up() -> bool:
            return all(
                follower.watcher is None or follower.watcher.revision >= self.model.revision for follower in self.followers
            )

        self.resume()
        self.run(until(caught_up))

    @rule()
    def check_followers(self) -> None:
        """Those that broke off resume, those that replay catch up; the invariant compares."""
        self.settle()

    @rule(data=st.data())
    def check_the_past(self, data: st.DataObject) -> None:
        revision = data.draw(st.integers(0, self.model.revision + 1))
        namespace = data.draw(st.sampled_from(["", "default"]))
        expected = [
            entry
            for entry in self.model.live(revision).values()
            if entry.key.resource == RESOURCE and namespace in ("", entry.key.namespace)
        ]

        try:
            found = self.run(self.store.read_at(revision, RESOURCE, namespace))
            cached = self.run(self.cache.at(revision, RESOURCE, namespace))
        except CompactedError:
            assert revision < self.model.compacted
        except FutureRevisionError:
            assert revision > self.model.revision
        else:
            assert self.model.compacted <= revision <= self.model.revision
            assert list(found) == expected
            assert cached == [entry_of(entry) for entry in expected]

    @rule(where=st.sampled_from(KEYS), limit=st.integers(1, 20))
    def check_history(self, where: Key, limit: int) -> None:
        assert list(self.run(self.store.history(where, limit))) == self.model.kept_history(where)[:limit]

    @rule(limit=st.integers(1, 10), back=st.integers(0, 10))
    def check_log(self, limit: int, back: int) -> None:
        since = max(self.model.compacted, self.model.revision - back)
        expected = self.model.since(since)

        found = list(self.run(self.store.read(since, limit)))

        assert found == expected[: len(found)]
        assert bool(found) == bool(expected)
        assert len(found) == len(expected) or found[-1].revision != expected[len(found)].revision

    @rule(time=st.integers(990, 1100))
    def check_time(self, time: int) -> None:
        expected = max((entry.revision for entry in self.model.log if entry.time <= time), default=0)
        try:
            assert self.run(self.store.revision_at(time)) == expected
        except CompactedError:
            assert expected < self.model.compacted

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "cache"):
            return
        live = list(self.model.live().values())
        assert self.store.revision == self.cache.revision == self.model.revision
        assert self.store.compacted == self.model.compacted
        assert self.run(collect(self.store)) == live
        assert self.cache.list(RESOURCE) == [entry_of(entry) for entry in live if entry.key.resource == RESOURCE]
        for follower in self.followers:
            if follower.watcher is not None and follower.watcher.attached and not follower.watcher.closed:
                assert follower.seen == self.model.expected_events(follower.since, follower.selects)

    @rule(selection=SELECTIONS)
    def check_list(self, selection: tuple[str, str, str]) -> None:
        follower = Follower(0, selection)
        found = self.cache.list(RESOURCE, follower.namespace, follower.labels, follower.fields)
        assert found == [entry for entry in map(entry_of, self.model.live().values()) if follower.selects(entry)]


def run(engine: str, examples: int, steps: int) -> None:
    machine = type(f"{engine.title()}Machine", (StoreMachine,), {"engine": ENGINES[engine]})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


@pytest.mark.parametrize("engine", list(ENGINES))
def test_an_engine_agrees_with_the_model(engine: str) -> None:
    run(engine, examples=25, steps=30)


@pytest.mark.soak
@pytest.mark.parametrize("engine", list(ENGINES))
def test_an_engine_agrees_with_the_model_for_long(engine: str) -> None:
    run(engine, examples=2000, steps=60)
