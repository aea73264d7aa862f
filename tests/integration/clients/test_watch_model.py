"""Watches against a model: random writes, watchers with random selectors that begin, break off and resume anywhere.

random schedule -> HTTP writes -> answers -> model: what each selector must see, event by event
                               -> real watches, cut and resumed -> the same, or the test fails
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.kubernetes_clients import Cluster
from tests.support.server import RunningServer, started_server

NAMESPACES = ("default", "kube-public")
NAMES = ("a", "b", "c")
_runs = count()


@dataclass(frozen=True)
class Change:
    """One committed write as its answer showed it. A deletion has no revision: its answer names none."""

    revision: int
    namespace: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True)
class Follower:
    """What one watcher selects, where it begins (an index of the schedule), and after how many events it breaks off."""

    namespace: str
    labels: str
    name: str
    begin: int
    cuts: tuple[int, ...] = field(default=())

    def sees(self, found: dict[str, Any] | None) -> bool:
        if found is None:
            return False
        metadata = found["metadata"]
        tier = metadata["labels"].get("tier")
        by_label = {
            "": True,
            "tier=web": tier == "web",
            "tier!=web": tier != "web",
            "tier in (web,db)": tier in ("web", "db"),
            "!tier": tier is None,
        }[self.labels]
        in_namespace = self.namespace in ("", metadata["namespace"])
        return by_label and in_namespace and (not self.name or metadata["name"].endswith(f"-{self.name}"))


steps = st.tuples(
    st.sampled_from(NAMESPACES),
    st.sampled_from(NAMES),
    st.sampled_from(["put", "put", "put", "delete"]),
    st.sampled_from(["web", "db", None]),
)
followers = st.builds(
    Follower,
    namespace=st.sampled_from(["", *NAMESPACES]),
    labels=st.sampled_from(["", "tier=web", "tier!=web", "tier in (web,db)", "!tier"]),
    name=st.sampled_from(["", "", *NAMES]),
    begin=st.integers(0, 30),
    cuts=st.lists(st.integers(1, 5), max_size=3).map(tuple),
)


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Iterator[RunningServer]:
    yield cluster.server


BOUNDED = settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@BOUNDED
@given(schedule=st.lists(steps, min_size=3, max_size=25), watchers=st.lists(followers, min_size=1, max_size=5))
def test_every_watcher_sees_exactly_what_the_model_says(
    server: RunningServer, schedule: list[Any], watchers: list[Follower]
) -> None:
    asyncio.run(_compare(server, schedule, watchers))


@pytest.mark.soak
@settings(BOUNDED, max_examples=3000, derandomize=False)
@given(schedule=st.lists(steps, min_size=3, max_size=80), watchers=st.lists(followers, min_size=1, max_size=12))
def test_every_watcher_sees_exactly_what_the_model_says_for_long(
    server: RunningServer, schedule: list[Any], watchers: list[Follower]
) -> None:
    asyncio.run(_compare(server, schedule, watchers))


def test_history_from_before_a_restart_is_seen_exactly_too(tmp_path: Path) -> None:
    """After a restart no change is in memory: watches replay from the store, and go over to what happens now."""
    choose = random.Random(11)
    schedule = [
        (
            choose.choice(NAMESPACES),
            choose.choice(NAMES),
            choose.choice(["put", "put", "delete"]),
            choose.choice(["web", "db", None]),
        )
        for _ in range(60)
    ]
    selections = [(namespace, labels) for namespace in ("", NAMESPACES[0]) for labels in ("", "tier=web", "!tier")]
    watchers = [
        Follower(*selection, choose.choice(["", "a"]), choose.randint(0, 50), (choose.randint(1, 9),)) for selection in selections
    ]
    env = {"PLUM_BOOKMARK_SECONDS": "0.5", "PLUM_CONTROLLERS_ENABLED": "false"}
    with started_server(tmp_path, env=env) as server:
        past = asyncio.run(_prepare(server, schedule))
        server.process.kill()
        server.process.wait()
    with started_server(tmp_path, env=env) as server:
        asyncio.run(_follow_all(server, past, watchers))


@dataclass(frozen=True)
class Past:
    """What was written by one run, and the revision before it."""

    run: str
    start: int
    history: list[Change]


async def _compare(server: RunningServer, schedule: Sequence[Any], watchers: Sequence[Follower]) -> None:
    past = await _prepare(server, schedule)
    await _follow_all(server, past, watchers)
    for change in past.history[-6:]:
        await server.request("DELETE", _path(change.namespace, change.name))


async def _prepare(server: RunningServer, schedule: Sequence[Any]) -> Past:
    run = f"m{next(_runs)}"
    start = int((await server.get("/api/v1/configmaps?limit=1")).json()["metadata"]["resourceVersion"])
    # At the end every object is there and has been in every selection, so each watcher has a last event to wait for.
    ending = [(namespace, name, "put", tier) for tier in ("web", None) for namespace in NAMESPACES for name in NAMES]
    return Past(run, start, await _write(server, run, [*schedule, *ending]))


async def _follow_all(server: RunningServer, past: Past, watchers: Sequence[Follower]) -> None:
    history = past.history
    for follower in watchers:
        begin = min(follower.begin, len(history) - 1)
        while begin and history[begin - 1].after is None:
            begin -= 1  # a deletion names no revision to begin after
        since = history[begin - 1].revision if begin else past.start
        expected = _expected(history[begin:], follower)
        assert await _follow(server, past.run, follower, since, len(expected)) == expected, follower


async def _write(server: RunningServer, run: str, schedule: Sequence[Any]) -> list[Change]:
    history: list[Change] = []
    live: dict[tuple[str, str], dict[str, Any] | None] = {}
    for number, (namespace, short, what, tier) in enumerate(schedule):
        name = f"{run}-{short}"
        before = live.get((namespace, name))
        if what == "delete":
            if before is None:
                continue
            assert (await server.request("DELETE", _path(namespace, name))).status == 200
            history.append(Change(0, namespace, name, before, None))
            live[namespace, name] = None
            continue
        labels = {"run": run, **({"tier": tier} if tier else {})}
        body = {"metadata": {"name": name, "labels": labels}, "data": {"step": f"{len(history)}.{number}"}}
        if before is None:
            answer = await server.request("POST", _path(namespace), body)
        else:
            answer = await server.request("PUT", _path(namespace, name), body)
        assert answer.status in (200, 201), answer.body
        after = live[namespace, name] = answer.json()
        history.append(Change(int(after["metadata"]["resourceVersion"]), namespace, name, before, after))
    return history


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps" + (f"/{name}" if name else "")


def _expected(history: Sequence[Change], follower: Follower) -> list[tuple[str, str, str, Any]]:
    """What the follower must see: type, namespace, name and data of each event."""
    events = []
    for change in history:
        was, is_ = follower.sees(change.before), follower.sees(change.after)
        if not was and not is_:
            continue
        type_ = "MODIFIED" if was and is_ else "ADDED" if is_ else "DELETED"
        shown = change.after if is_ else change.before
        assert shown is not None
        events.append((type_, change.namespace, change.name, shown["data"]["step"]))
    return events


async def _follow(
    server: RunningServer, run: str, follower: Follower, since: int, wanted: int
) -> list[tuple[str, str, str, Any]]:
    """Watch until `wanted` events are there; break off as the follower says, and resume after the last event or bookmark."""
    seen: list[tuple[str, str, str, Any]] = []
    cuts = list(follower.cuts)
    revision = since
    while len(seen) < wanted:
        until_cut = cuts.pop() if cuts else wanted
        query = {
            "watch": "1",
            "resourceVersion": str(revision),
            "allowWatchBookmarks": "true",
            "labelSelector": ",".join(filter(None, [f"run={run}", follower.labels])),
            "fieldSelector": f"metadata.name={run}-{follower.name}" if follower.name else "",
        }
        base = _path(follower.namespace) if follower.namespace else "/api/v1/configmaps"
        async with server.watch(f"{base}?{urlencode(query)}") as events, asyncio.timeout(20):
            while len(seen) < wanted and until_cut:
                event = await events.get()
                assert event is not None and event["type"] in ("ADDED", "MODIFIED", "DELETED", "BOOKMARK"), event
                metadata = event["object"]["metadata"]
                assert int(metadata["resourceVersion"]) >= revision, "order"
                revision = int(metadata["resourceVersion"])
                if event["type"] != "BOOKMARK":
                    seen.append((event["type"], metadata["namespace"], metadata["name"], event["object"]["data"]["step"]))
                    until_cut -= 1
    return seen
