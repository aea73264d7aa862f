"""The watch cache on every engine: reads by index, and watchers that see each change exactly once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from plum_controller.store.base import Key, Store
from plum_controller.store.cache import WatchCache, Watcher, WatchEvent
from plum_controller.store.errors import CompactedError, FutureRevisionError, StoreError
from plum_schemas.selectors import LabelSelector, parse_field_selector, parse_label_selector

from tests.support.store import (
    ENGINES,
    RESOURCE,
    Clock,
    Engine,
    data_of,
    delete,
    index,
    key,
    names,
    opened,
    put,
    revision_in,
    transaction,
    until,
)


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param]


@pytest.fixture
async def store(engine: Engine, tmp_path: Path) -> AsyncIterator[Store]:
    async with opened(engine.make(tmp_path, Clock())) as store:
        yield store


@pytest.fixture
async def cache(store: Store) -> WatchCache:
    cache = WatchCache(store, index)
    await cache.load()
    return cache


class Seen:
    """A watcher's callback that remembers."""

    def __init__(self) -> None:
        self.events: list[WatchEvent] = []
        self.calls = 0
        self.errors: list[StoreError] = []

    def __call__(self, events: Sequence[WatchEvent]) -> None:
        self.events += events
        self.calls += 1

    @property
    def short(self) -> list[tuple[str, str, int]]:
        return [(event.type, event.entry.key.name, event.revision) for event in self.events]


def watch(
    cache: WatchCache, seen: Seen, since: int | None = 0, *, labels: str = "", fields: str = "", namespace: str = ""
) -> Watcher:
    return cache.watch(
        RESOURCE, namespace, parse_label_selector(labels), parse_field_selector(fields), since, seen, seen.errors.append
    )


# Reads


async def test_a_write_is_in_the_cache_before_its_caller_knows(store: Store, cache: WatchCache) -> None:
    async def write(number: int) -> None:
        revision = await store.commit(transaction(put(f"a{number}", number)))
        entry = cache.get(key(f"a{number}"))
        assert entry is not None
        assert entry.revision == revision == revision_in(entry.value)
        assert cache.revision >= revision

    await asyncio.gather(*(write(number) for number in range(50)))


async def test_load_takes_what_is_there_and_what_is_committed_meanwhile(store: Store) -> None:
    for start in range(0, 1500, 100):
        await store.commit(transaction(*(put(f"a{number:04}") for number in range(start, start + 100))))
    cache = WatchCache(store, index)
    loading = asyncio.create_task(cache.load())
    while not loading.done():
        await store.commit(transaction(put("a0000", "new"), put("zzz")))
        await asyncio.sleep(0)
    await loading

    assert cache.revision == store.revision
    assert cache.count(RESOURCE) == 1501
    entry = cache.get(key("a0000"))
    assert entry is not None
    assert entry.revision == store.revision


async def test_lists_are_in_key_order_and_select(store: Store, cache: WatchCache) -> None:
    await store.commit(
        transaction(
            put("c", labels={"app": "web", "tier": "1"}, node="n1"),
            put("a", labels={"app": "web", "tier": "2"}, node="n2"),
            put("b", labels={"app": "db"}, node="n1"),
            put(key("a", "other"), labels={"app": "web"}),
            put(key("a", "default", "others.plum.dev"), labels={"app": "web"}),
        )
    )

    def found(namespace: str = "", labels: str = "", fields: str = "") -> list[str]:
        entries = cache.list(RESOURCE, namespace, parse_label_selector(labels), parse_field_selector(fields))
        return [f"{entry.key.namespace}/{entry.key.name}" for entry in entries]

    assert found() == ["default/a", "default/b", "default/c", "other/a"]
    assert found("default") == ["default/a", "default/b", "default/c"]
    assert found("def") == []
    assert found(labels="app=web") == ["default/a", "default/c", "other/a"]
    assert found("default", "app=web") == ["default/a", "default/c"]
    assert found(labels="app=web,tier!=1") == ["default/a", "other/a"]
    assert found(labels="app in (web,db),tier") == ["default/a", "default/c"]
    assert found(fields="spec.node=n1") == ["default/b", "default/c"]
    assert found(fields="spec.node=n1", labels="app=web") == ["default/c"]
    assert found(fields="spec.node!=n1") == ["default/a", "other/a"]
    assert found(fields="spec.node=") == ["other/a"]
    assert found(fields="metadata.name=a") == ["default/a", "other/a"]
    assert found(fields="metadata.namespace=other") == ["other/a"]
    assert found(fields="metadata.name=a,metadata.namespace=other") == ["other/a"]


async def test_pages_of_a_list_join_to_the_whole(store: Store, cache: WatchCache) -> None:
    await store.commit(transaction(*(put(f"a{number:02}", labels={"odd": str(number % 2)}) for number in range(25))))

    for labels in ("", "odd=1", "odd!=1"):
        selector = parse_label_selector(labels)
        found = []
        after: Key | None = None
        while page := cache.list(RESOURCE, labels=selector, after=after, limit=4):
            assert len(page) <= 4
            found += page
            after = page[-1].key
        assert found == cache.list(RESOURCE, labels=selector)


async def test_indexes_follow_changes_of_labels_and_deletions(store: Store, cache: WatchCache) -> None:
    await store.commit(transaction(put("a", labels={"app": "x"}, node="n1", owner="u1"), put("b", labels={"app": "x"})))
    x, y = parse_label_selector("app=x"), parse_label_selector("app=y")
    n1, n2 = parse_field_selector("spec.node=n1"), parse_field_selector("spec.node=n2")
    assert names(cache.list(RESOURCE, labels=x)) == ["a", "b"]  # the indexes exist from here on
    assert names(cache.list(RESOURCE, fields=n1)) == ["a"]
    assert names(cache.by_owner("u1")) == ["a"]

    await store.commit(transaction(put("a", labels={"app": "y"}, node="n2", owner="u2")))

    assert names(cache.list(RESOURCE, labels=x)) == ["b"]
    assert names(cache.list(RESOURCE, labels=y)) == names(cache.list(RESOURCE, fields=n2)) == ["a"]
    assert cache.list(RESOURCE, fields=n1) == []
    assert cache.by_owner("u1") == []
    assert names(cache.by_owner("u2")) == ["a"]

    await store.commit(transaction(delete("a", labels={"app": "y"}, node="n2", owner="u2")))

    assert cache.list(RESOURCE, labels=y) == cache.list(RESOURCE, fields=n2) == cache.by_owner("u2") == []
    assert cache.keys(RESOURCE) == [key("b")]


async def test_at_answers_from_memory_and_from_the_store_alike(store: Store) -> None:
    small, large = WatchCache(store, index, window_changes=2), WatchCache(store, index)
    await small.load()
    await large.load()
    for write in (put("a", 1), put("b", 2, labels={"x": "1"}), delete("a"), put("c", 4), put("b", 5), put(key("a", "other"), 6)):
        await store.commit(transaction(write))

    for revision in range(7):
        for labels in (None, parse_label_selector("x=1")):
            near = await large.at(revision, RESOURCE, "default", labels)
            far = await small.at(revision, RESOURCE, "default", labels)
            assert near == far
    assert names(await large.at(2, RESOURCE)) == ["a", "b"]
    assert names(await large.at(4, RESOURCE, limit=1)) == ["b"]
    assert names(await large.at(4, RESOURCE, after=key("b"))) == ["c"]
    with pytest.raises(FutureRevisionError):
        await large.at(7, RESOURCE)
    await store.compact(4)
    for cache in (small, large):
        with pytest.raises(CompactedError):
            await cache.at(3, RESOURCE)


async def test_reindex_finds_objects_by_a_field_declared_later(store: Store) -> None:
    declared = False

    def growing(where: Key, value: bytes):
        found = index(where, value)
        return found if declared else found._replace(fields={})

    cache = WatchCache(store, growing)
    await cache.load()
    await store.commit(transaction(put("a", node="n1", owner="u"), put("b")))
    n1 = parse_field_selector("spec.node=n1")
    assert cache.list(RESOURCE, fields=n1) == []

    declared = True
    cache.reindex(RESOURCE)

    assert names(cache.list(RESOURCE, fields=n1)) == ["a"]
    assert names(cache.list(RESOURCE)) == ["a", "b"]
    assert names(cache.by_owner("u")) == ["a"]


# Watches


async def test_a_watch_without_a_revision_begins_with_what_is_there(store: Store, cache: WatchCache) -> None:
    await store.commit(transaction(put("b"), put("a")))
    seen = Seen()

    watcher = watch(cache, seen, None)

    assert seen.short == [("ADDED", "a", 1), ("ADDED", "b", 1)]
    await store.commit(transaction(put("a")))
    assert seen.short[2:] == [("MODIFIED", "a", 2)]
    assert watcher.revision == 2


async def test_a_change_is_pushed_before_the_writer_gets_its_answer(store: Store, cache: WatchCache) -> None:
    seen = Seen()
    watch(cache, seen)

    async def write(number: int) -> None:
        revision = await store.commit(transaction(put(f"a{number}")))
        assert ("ADDED", f"a{number}", revision) in seen.short

    await asyncio.gather(*(write(number) for number in range(20)))

    assert [event.revision for event in seen.events] == list(range(1, 21))


async def test_a_change_of_labels_adds_and_deletes_for_those_who_select(store: Store, cache: WatchCache) -> None:
    seen = Seen()
    watch(cache, seen, labels="app=web")

    await store.commit(transaction(put("a", 1, labels={"app": "db"})))
    await store.commit(transaction(put("a", 2, labels={"app": "web"})))
    await store.commit(transaction(put("a", 3, labels={"app": "web"})))
    await store.commit(transaction(put("a", 4, labels={"app": "db"})))
    await store.commit(transaction(delete("a", 4, labels={"app": "db"})))

    assert seen.short == [("ADDED", "a", 2), ("MODIFIED", "a", 3), ("DELETED", "a", 4)]
    gone = json.loads(seen.events[-1].line())
    assert gone["type"] == "DELETED"
    assert gone["object"]["data"] == 3  # the state that was selected, under the revision to resume from
    assert gone["object"]["metadata"]["resourceVersion"] == "4"


async def test_a_deletion_carries_the_last_state(store: Store, cache: WatchCache) -> None:
    seen = Seen()
    watch(cache, seen, labels="app=web")
    await store.commit(transaction(put("a", 1, labels={"app": "web"})))

    await store.commit(transaction(delete("a", "last", labels={"app": "web"})))

    assert [(event.type, data_of(event.entry.value)) for event in seen.events] == [("ADDED", 1), ("DELETED", "last")]
    assert revision_in(seen.events[1].entry.value) == 2


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ({}, "abcd"),
        ({"namespace": "default"}, "abc"),
        ({"labels": "app=web"}, "ad"),
        ({"labels": "app=web", "namespace": "default"}, "a"),
        ({"labels": "app in (web,db)"}, "abd"),
        ({"labels": "!app"}, "c"),
        ({"fields": "spec.node=n1"}, "ab"),
        ({"fields": "spec.node=n1", "labels": "app=db"}, "b"),
        ({"fields": "spec.node="}, "cd"),
        ({"fields": "metadata.name=c"}, "c"),
        ({"fields": "metadata.namespace=other"}, "d"),
    ],
)
async def test_every_kind_of_selection_is_found_by_its_index(
    store: Store, cache: WatchCache, selection: dict[str, str], expected: str
) -> None:
    live, replayed = Seen(), Seen()
    watch(cache, live, **selection)

    await store.commit(transaction(put("a", labels={"app": "web"}, node="n1")))
    await store.commit(transaction(put("b", labels={"app": "db"}, node="n1"), put("c")))
    await store.commit(transaction(put(key("d", "other"), labels={"app": "web"})))
    watch(cache, replayed, **selection)

    assert "".join(names([event.entry for event in live.events])) == expected
    assert replayed.short == live.short


async def test_watchers_share_one_event_and_its_bytes(store: Store, cache: WatchCache) -> None:
    seen = [Seen() for _ in range(10)]
    for number, one in enumerate(seen):
        watch(cache, one, labels="app=web" if number % 2 else "", namespace="default" if number % 3 else "")

    await store.commit(transaction(put("a", labels={"app": "web"})))

    lines = {id(one.events[0].line()) for one in seen}
    assert len(lines) == 1
    entry = cache.get(key("a"))
    assert entry is not None
    assert seen[0].events[0].entry.value is entry.value


async def test_a_batch_reaches_a_watcher_in_one_call(store: Store, cache: WatchCache) -> None:
    seen = Seen()
    watch(cache, seen)

    await store.commit(transaction(*(put(f"a{number}") for number in range(30))))

    assert seen.calls == 1
    assert len(seen.events) == 30


async def test_a_watcher_only_costs_where_it_may_match(store: Store, cache: WatchCache) -> None:
    asked = 0

    class Counting(LabelSelector):
        def matches(self, labels):
            nonlocal asked
            asked += 1
            return super().matches(labels)

    for number in range(500):
        selector = Counting(parse_label_selector(f"app=a{number}").requirements)
        cache.watch(RESOURCE, "", selector, None, cache.revision, Seen())

    await store.commit(transaction(put("a", labels={"app": "a7"})))

    assert asked == 1


async def test_closing_and_opening_watches_inside_a_delivery_is_exact(store: Store, cache: WatchCache) -> None:
    first, second, late = Seen(), Seen(), Seen()
    watchers: list[Watcher] = []

    def closes_the_others(events: Sequence[WatchEvent]) -> None:
        first(events)
        if first.calls == 1:
            watchers[0].close()
            watchers[1].close()
            watch(cache, late, 0)

    watchers.append(cache.watch(RESOURCE, "", None, None, 0, closes_the_others))
    watchers.append(watch(cache, second))

    await store.commit(transaction(put("a"), put("b")))
    await store.commit(transaction(put("c")))

    assert first.short == [("ADDED", "a", 1), ("ADDED", "b", 1)]
    assert second.events == []
    assert [watcher.revision for watcher in watchers] == [1, 0]  # each resumes behind what it got
    assert late.short == [("ADDED", "a", 1), ("ADDED", "b", 1), ("ADDED", "c", 2)]


async def test_a_watcher_that_fails_is_closed_and_the_others_go_on(
    store: Store, cache: WatchCache, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen()

    def broken(_events: Sequence[WatchEvent]) -> None:
        raise RuntimeError("broken")

    watcher = cache.watch(RESOURCE, "", None, None, 0, broken)
    watch(cache, seen)

    await store.commit(transaction(put("a")))

    assert watcher.closed
    assert watcher.revision == 0
    assert seen.short == [("ADDED", "a", 1)]
    assert "watcher failed" in caplog.text


async def test_a_watch_from_the_future_waits_for_it(store: Store, cache: WatchCache) -> None:
    seen = Seen()
    watcher = watch(cache, seen, 2)

    await store.commit(transaction(put("a")))
    await store.commit(transaction(put("b")))
    assert (seen.events, watcher.revision) == ([], 2)
    await store.commit(transaction(put("c")))

    assert seen.short == [("ADDED", "c", 3)]


async def test_a_replay_beyond_memory_comes_from_the_store_and_joins_without_a_gap(store: Store) -> None:
    cache = WatchCache(store, index, window_changes=10)
    await cache.load()
    for number in range(1200):
        await store.commit(transaction(put(f"a{number % 7}", labels={"third": str(number % 3)})))
    plain, selective = Seen(), Seen()

    watchers = [watch(cache, plain, 3), watch(cache, selective, 3, labels="third=1")]
    while any(watcher.revision < store.revision for watcher in watchers) or store.revision < 1210:
        await store.commit(transaction(put("a0", labels={"third": str(store.revision % 3)})))
        await asyncio.sleep(0)

    assert [event.revision for event in plain.events] == list(range(4, store.revision + 1))
    assert all(watcher.attached for watcher in watchers)
    state = {"a1": 2}  # what was selected at the revision that it resumed from
    for kind, name, revision in selective.short:
        assert (name in state) is (kind != "ADDED")
        if kind == "DELETED":
            del state[name]
        else:
            state[name] = revision
    now = cache.list(RESOURCE, labels=parse_label_selector("third=1"))
    assert state == {entry.key.name: entry.revision for entry in now}


async def test_a_watch_from_before_the_kept_history_is_refused(store: Store, cache: WatchCache) -> None:
    for _ in range(5):
        await store.commit(transaction(put("a")))
    await store.compact(3)

    with pytest.raises(CompactedError):
        watch(cache, Seen(), 2)

    seen = Seen()
    watch(cache, seen, 3)
    await until(lambda: len(seen.events) == 2)
    assert [event.revision for event in seen.events] == [4, 5]


async def test_a_replay_that_compaction_overtakes_ends_with_an_error(store: Store) -> None:
    cache = WatchCache(store, index, window_changes=10)
    await cache.load()
    for number in range(2000):
        await store.commit(transaction(put("a", number)))
    seen = Seen()

    watcher = watch(cache, seen, 0)
    await store.compact(1900)
    await until(lambda: watcher.closed or watcher.attached)

    revisions = [event.revision for event in seen.events]
    assert revisions == list(range(1, len(revisions) + 1))  # no gap in what it got
    if not watcher.attached:
        assert isinstance(watcher.error, CompactedError)
        assert seen.errors == [watcher.error]
        assert watcher.revision == len(revisions)


async def test_a_closed_watcher_hears_nothing(store: Store) -> None:
    cache = WatchCache(store, index, window_changes=2)
    await cache.load()
    for _ in range(10):
        await store.commit(transaction(put("a")))
    near, far = Seen(), Seen()
    watchers = [watch(cache, near, cache.revision), watch(cache, far, 0)]

    for watcher in watchers:
        watcher.close()
        watcher.close()
    await store.commit(transaction(put("a")))
    await asyncio.sleep(0.01)

    assert near.events == far.events == []
