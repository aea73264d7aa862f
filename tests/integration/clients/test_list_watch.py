"""The protocol of lists and watches as every client relies on it: no gap, consistent reads, pages, 410, initial events."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.kubernetes_clients import Cluster
from tests.support.server import HttpAnswer, RunningServer

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> RunningServer:
    return cluster.server


async def create(server: RunningServer, name: str, **labels: str) -> Any:
    answer = await server.request("POST", CONFIGMAPS, {"metadata": {"name": name, "labels": labels}})
    assert answer.status == 201, answer.body
    return answer.json()


def revision_of(value: Any) -> int:
    return int(value["metadata"]["resourceVersion"])


class Replica:
    """A client's copy of a collection, kept by list and watch as an informer keeps it, that loses its connection at random."""

    def __init__(self, server: RunningServer, label: str, seed: int) -> None:
        self._server = server
        self._label = label
        self._random = random.Random(seed)
        self.state: dict[str, Any] = {}
        self.revision = 0
        self.marks = 0

    async def run(self, until_revision: asyncio.Future[int]) -> None:
        listed = (await self._server.get(f"{CONFIGMAPS}?labelSelector={self._label}")).json()
        self.state = {item["metadata"]["name"]: item for item in listed["items"]}
        self.revision = revision_of(listed)
        while not (until_revision.done() and self.revision >= until_revision.result()):
            await self._watch(self._random.randint(1, 40), until_revision)

    async def _watch(self, events_left: int, until_revision: asyncio.Future[int]) -> None:
        path = f"{CONFIGMAPS}?watch=1&allowWatchBookmarks=1&labelSelector={self._label}&resourceVersion={self.revision}"
        async with self._server.watch(path) as events:
            while events_left and not (until_revision.done() and self.revision >= until_revision.result()):
                event = await events.get()
                assert event is not None and event["type"] != "ERROR", event
                value, name = event["object"], event["object"]["metadata"].get("name")
                if event["type"] == "BOOKMARK":
                    self.marks += 1
                    assert revision_of(value) >= self.revision
                else:
                    assert revision_of(value) > self.revision, "an event at or before a bookmark, or out of order"
                    assert (event["type"] == "ADDED") is (name not in self.state)
                    events_left -= 1
                self.revision = revision_of(value)
                if event["type"] == "DELETED":
                    del self.state[name]
                elif event["type"] != "BOOKMARK":
                    self.state[name] = value


async def test_list_then_watch_has_no_gap_under_load(server: RunningServer) -> None:
    async def write(number: int) -> None:
        chooser = random.Random(number)
        names = [f"load-{number}-{index}" for index in range(5)]
        there: set[str] = set()
        for step in range(60):
            name = chooser.choice(names)
            if name not in there:
                await create(server, name, load="yes")
                there.add(name)
            elif chooser.random() < 0.3:
                await server.request("DELETE", f"{CONFIGMAPS}/{name}")
                there.remove(name)
            else:
                patch = {"data": {"step": str(step)}, "metadata": {"labels": {"load": chooser.choice(["yes", "yes", "no"])}}}
                await server.request("PATCH", f"{CONFIGMAPS}/{name}", patch, content_type=MERGE)

    end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    replicas = [Replica(server, "load%3Dyes", seed) for seed in range(6)]
    async with asyncio.timeout(45):
        following = []
        writing = [asyncio.create_task(write(number)) for number in range(4)]
        for replica in replicas:
            following.append(asyncio.create_task(replica.run(end)))
            await asyncio.sleep(0.02)  # they begin at different moments of the load
        await asyncio.gather(*writing)
        listed = (await server.get(f"{CONFIGMAPS}?labelSelector=load%3Dyes")).json()
        end.set_result(revision_of(listed))
        await asyncio.gather(*following)

    expected = {item["metadata"]["name"]: item for item in listed["items"]}
    assert expected
    for replica in replicas:
        assert replica.state == expected
    assert any(replica.marks for replica in replicas)


async def test_pages_show_one_moment_whatever_is_written_meanwhile(server: RunningServer) -> None:
    made = [await create(server, f"page-{number}", page="yes") for number in range(7)]
    path = f"{CONFIGMAPS}?labelSelector=page&limit=3"

    first = (await server.get(path)).json()
    await server.request("DELETE", f"{CONFIGMAPS}/page-4")
    await create(server, "page-35", page="yes")
    await server.request("PATCH", f"{CONFIGMAPS}/page-5", {"data": {"k": "new"}}, content_type=MERGE)
    second = (await server.get(f"{path}&continue={first['metadata']['continue']}")).json()
    third = (await server.get(f"{path}&continue={second['metadata']['continue']}")).json()

    assert [*first["items"], *second["items"], *third["items"]] == made
    assert len({revision_of(page) for page in (first, second, third)}) == 1
    assert "continue" not in third["metadata"]


async def test_an_expired_page_names_a_token_that_goes_on_with_the_present(server: RunningServer) -> None:
    for number in range(4):
        await create(server, f"old-page-{number}", oldpage="yes")
    path = f"{CONFIGMAPS}?labelSelector=oldpage&limit=2"
    first = (await server.get(path)).json()
    await server.request("DELETE", f"{CONFIGMAPS}/old-page-2")
    await compact(server)

    refused = await server.get(f"{path}&continue={first['metadata']['continue']}")
    status = refused.json()
    assert (refused.status, status["reason"]) == (410, "Expired")
    rest = (await server.get(f"{path}&continue={status['metadata']['continue']}")).json()

    assert [item["metadata"]["name"] for item in rest["items"]] == ["old-page-3"]
    assert revision_of(rest) > revision_of(first)


async def compact(server: RunningServer) -> None:
    await create(server, f"before-compaction-{random.getrandbits(40):x}")
    assert (await server.request("POST", "/docs/store/compact", {})).status == 200


async def read(server: RunningServer, path: str, query: str) -> HttpAnswer:
    return await server.get(f"{path}?{query}")


def reasons(answer: HttpAnswer) -> Sequence[str]:
    return [cause["message"] for cause in answer.json()["details"]["causes"]]


async def test_reads_are_as_fresh_as_was_asked(server: RunningServer) -> None:
    made = await create(server, "fresh", fresh="yes")
    past = revision_of(made)
    changed = await server.request("PATCH", f"{CONFIGMAPS}/fresh", {"data": {"k": "v"}}, content_type=MERGE)
    now, future = changed.json(), 10**12

    for query in ("", "resourceVersion=0", f"resourceVersion={past}", f"resourceVersion={revision_of(now)}"):
        assert (await read(server, f"{CONFIGMAPS}/fresh", query)).json() == now
        listed = (await read(server, CONFIGMAPS, f"labelSelector=fresh&{query}")).json()
        assert listed["items"] == [now]
        assert revision_of(listed) >= revision_of(now)
    for query in (
        f"resourceVersion={past}&resourceVersionMatch=NotOlderThan",
        "resourceVersion=0&resourceVersionMatch=NotOlderThan",
    ):
        assert (await read(server, CONFIGMAPS, f"labelSelector=fresh&{query}")).json()["items"] == [now]
    exact = (await read(server, CONFIGMAPS, f"labelSelector=fresh&resourceVersion={past}&resourceVersionMatch=Exact")).json()
    assert (exact["items"], revision_of(exact)) == ([made], past)

    for path, query in (
        (f"{CONFIGMAPS}/fresh", f"resourceVersion={future}"),
        (CONFIGMAPS, f"resourceVersion={future}"),
        (CONFIGMAPS, f"resourceVersion={future}&resourceVersionMatch=NotOlderThan"),
        (CONFIGMAPS, f"resourceVersion={future}&resourceVersionMatch=Exact"),
    ):
        answer = await read(server, path, query)
        status = answer.json()
        assert (answer.status, status["reason"], answer.headers["retry-after"]) == (504, "Timeout", "1")
        assert status["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert status["message"].startswith(f"Timeout: Too large resource version: {future}, current: ")

    await compact(server)
    expired = await read(server, CONFIGMAPS, f"resourceVersion={past}&resourceVersionMatch=Exact")
    assert (expired.status, expired.json()["message"]) == (410, "The resourceVersion for the provided list is too old.")


@pytest.mark.parametrize(
    ("query", "code", "text"),
    [
        ("resourceVersionMatch=Exact", 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ("resourceVersion=0&resourceVersionMatch=Exact", 422, '"exact" is forbidden for resourceVersion "0"'),
        ("resourceVersion=1&resourceVersionMatch=Newest", 422, 'supported values: "Exact", "NotOlderThan"'),
        ("resourceVersion=1&resourceVersionMatch=Exact&continue=x", 422, "forbidden when continue is provided"),
        ("sendInitialEvents=true", 422, "sendInitialEvents is forbidden for list"),
        ("resourceVersion=1&continue=x", 400, "specifying resource version is not allowed when using continue"),
        ("continue=x", 400, "continue key is not valid"),
        ("resourceVersion=newest", 400, "resourceVersion"),
        ("limit=many", 400, "limit is 'many'"),
        ("watch=1&sendInitialEvents=true", 422, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
        ("watch=1&resourceVersion=1&resourceVersionMatch=NotOlderThan", 422, "forbidden for watch unless sendInitialEvents"),
        ("watch=1&continue=x", 422, "continue is forbidden for watch"),
        ("watch=maybe", 400, "watch is 'maybe'"),
    ],
)
async def test_options_that_make_no_sense_are_refused(server: RunningServer, query: str, code: int, text: str) -> None:
    answer = await read(server, CONFIGMAPS, query)

    assert answer.status == code, answer.body
    assert text in answer.json()["message"]


async def test_initial_events_are_sent_or_left_out_as_asked(server: RunningServer) -> None:
    made = await create(server, "initial", initial="yes")
    base = f"{CONFIGMAPS}?watch=1&labelSelector=initial&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

    for since in ("", "&resourceVersion=0", f"&resourceVersion={revision_of(made)}"):
        async with server.watch(f"{base}&sendInitialEvents=true{since}") as events, asyncio.timeout(10):
            added, mark = await events.get(), await events.get()
        assert added == {"type": "ADDED", "object": made}
        assert mark is not None and mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    for since in ("", "&resourceVersion=0"):
        async with server.watch(f"{base}&sendInitialEvents=false{since}") as events, asyncio.timeout(10):
            changed = await server.request("PATCH", f"{CONFIGMAPS}/initial", {"data": {"since": since}}, content_type=MERGE)
            while (event := await events.get()) is not None and event["type"] == "BOOKMARK":
                assert "annotations" not in event["object"]["metadata"]
        assert event == {"type": "MODIFIED", "object": changed.json()}


async def test_without_bookmarks_the_initial_events_have_no_mark(server: RunningServer) -> None:
    made = await create(server, "unmarked", unmarked="yes")
    query = "watch=1&labelSelector=unmarked&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeoutSeconds=1"

    async with server.watch(f"{CONFIGMAPS}?{query}") as events, asyncio.timeout(10):
        assert [await events.get(), await events.get()] == [{"type": "ADDED", "object": made}, None]


async def test_watch_of_one_name_is_a_read(server: RunningServer) -> None:
    made = await create(server, "single")

    assert (await read(server, f"{CONFIGMAPS}/single", "watch=1")).json() == made


async def test_a_watch_from_the_future_waits(server: RunningServer) -> None:
    now = revision_of(await create(server, "now", future="yes"))

    async with server.watch(f"{CONFIGMAPS}?watch=1&labelSelector=future&resourceVersion={now + 2}") as events:
        await create(server, "future-1", future="yes")
        await create(server, "future-2", future="yes")
        third = await create(server, "future-3", future="yes")
        async with asyncio.timeout(10):
            event = await events.get()

    assert event == {"type": "ADDED", "object": third}


async def test_the_old_watch_paths_serve_lists_and_names(server: RunningServer) -> None:
    made = await create(server, "old-path", oldpath="yes")

    for path in ("/api/v1/watch/configmaps?labelSelector=oldpath", "/api/v1/watch/namespaces/default/configmaps/old-path"):
        async with server.watch(path) as events, asyncio.timeout(10):
            assert await events.get() == {"type": "ADDED", "object": made}
