"""Rows of a run's nodes as they change: listed, watched, resumed, and what is told when they cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from plum_client.errors import ApiError
from plum_client.transport import Request
from plum_controller.api.local import LocalTransport
from plum_controller.api.requests import parse_query
from plum_controller.workflows.feeds import KEPT_CHANGES, Feeds, PositionUnknownError
from plum_schemas.workflowrun import WorkflowRun

from tests.support.workflows import Json, Site, echo, on_site


class Lines:
    """What a watch has told."""

    def __init__(self, lines: AsyncIterator[bytes]) -> None:
        self._lines = lines
        self.seen: list[Json] = []

    async def until(self, node: str, phase: str) -> Json:
        """Read until a node is told in a phase."""
        async with asyncio.timeout(600):
            async for line in self._lines:
                event: Json = msgspec.json.decode(line)
                self.seen.append(event)
                row = event["object"]
                if row.get("name") == node and row.get("phase") == phase:
                    return row
        raise AssertionError(f"{node} was never told as {phase}: {self.seen}")

    async def next(self, kind: str) -> Json:
        """Read until an event of a type."""
        async with asyncio.timeout(600):
            async for line in self._lines:
                event: Json = msgspec.json.decode(line)
                self.seen.append(event)
                if event["type"] == kind:
                    return event
        raise AssertionError(f"there was no {kind}: {self.seen}")

    def rows(self) -> dict[str, Json]:
        """What follows from all that was told."""
        return {event["object"]["key"]: event["object"] for event in self.seen if event["type"] in ("ADDED", "MODIFIED")}


@asynccontextmanager
async def watching(site: Site, name: str, query: str = "") -> AsyncIterator[Lines]:
    values = dict(parse_query(f"watch=true{query}".encode()))
    request = Request("GET", WorkflowRun.info, "default", name, "nodes", values)
    assert isinstance(site.api.transport, LocalTransport)
    async with site.api.transport.stream(request) as stream:
        assert stream.status == 200
        yield Lines(stream.chunks)


def told(row: Json) -> Json:
    return {name: value for name, value in row.items() if name not in ("metadata", "waitsFor")}


SLOW = {"name": "slow", "taskRef": "builtin.delay", "payload": {"seconds": 30}}
LOOP = {
    "name": "again",
    "type": "loop",
    "count": 3,
    "dependsOn": ["slow"],
    "body": [echo("sweep", payload={"n": "${{ loop.i }}"})],
}


def test_a_list_and_the_watch_behind_it_tell_every_change() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("flow", nodes=[SLOW, LOOP, echo("close", "again")])
        name = await site.run("flow")
        listed = await site.until(
            lambda: site.ask("GET", f"workflowruns/{name}/nodes"),
            lambda found: [row["phase"] for row in found["items"]] == ["Pending", "Pending", "Running"],
        )

        async with watching(site, name, f"&resourceVersion={listed['metadata']['resourceVersion']}") as lines:
            await lines.until("close", "Succeeded")
            changes = [event for event in lines.seen if event["type"] == "MODIFIED"]
            positions = [event["object"]["metadata"]["resourceVersion"] for event in changes]
            seen = {row["key"]: row for row in listed["items"]} | lines.rows()

        await site.ended(name)
        finally_listed = (await site.ask("GET", f"workflowruns/{name}/nodes"))["items"]
        assert {row["key"]: told(row) for row in finally_listed} == {key: told(row) for key, row in seen.items()}
        assert seen["again[00000002].sweep"]["output"] == {"n": 2}
        assert len(set(positions)) == len(positions)
        assert [event["object"]["phase"] for event in changes if event["object"]["key"] == "slow"] == ["Succeeded"]

        # From any place in between, exactly the rest is told.
        middle = len(positions) // 2
        async with watching(site, name, f"&resourceVersion={positions[middle]}") as rest:
            await rest.until("close", "Succeeded")
        assert [event["object"] for event in rest.seen if event["type"] == "MODIFIED"] == [
            event["object"] for event in changes[middle + 1 :]
        ]

    on_site(scenario)


def test_a_watch_without_a_position_begins_with_what_is_there() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("flow", nodes=[echo("first"), {**SLOW, "dependsOn": ["first"]}, LOOP])
        name = await site.run("flow")
        await site.until(lambda: site.rows(name), lambda rows: rows.get("slow", {}).get("phase") == "Running")

        async with watching(site, name, "&iterations=false") as lines:
            mark = await lines.next("BOOKMARK")
            there = {event["object"]["name"]: event["object"]["phase"] for event in lines.seen if event["type"] == "ADDED"}
            await lines.until("again", "Succeeded")

        assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert there == {"first": "Succeeded", "slow": "Running", "again": "Pending"}
        assert not [key for key in lines.rows() if "[" in key]
        async with watching(site, name, "&node=sweep[1]") as one:
            assert (await one.until("sweep[1]", "Succeeded"))["output"] == {"n": 1}
        assert {event["object"]["key"] for event in one.seen if event["type"] == "ADDED"} == {"again[00000001].sweep"}

    on_site(scenario)


def test_a_list_without_iterations_reads_none_of_them() -> None:
    async def scenario(site: Site) -> None:
        loop = {"name": "again", "type": "loop", "count": 40, "body": [echo("sweep"), echo("wipe", "sweep")]}
        await site.workflow("flow", nodes=[echo("a"), loop, echo("b", "again"), echo("zz", "b")])
        name = await site.run("flow")
        await site.ended(name)
        found: list[str] = []
        after = ""

        while True:
            page = await site.ask("GET", f"workflowruns/{name}/nodes?iterations=false&limit=2&continue={after}")
            found += [row["key"] for row in page["items"]]
            after = page["metadata"]["continue"]
            if not after:
                break

        assert found == ["a", "again", "b", "zz"]

    on_site(scenario)


def test_what_is_not_known_any_more_is_told_and_deletion_ends_the_watch() -> None:
    async def scenario(site: Site) -> None:
        await site.workflow("flow", nodes=[SLOW])
        name = await site.run("flow")
        await site.until(lambda: site.rows(name), lambda rows: rows.get("slow", {}).get("phase") == "Running")
        position = (await site.ask("GET", f"workflowruns/{name}/nodes"))["metadata"]["resourceVersion"]

        for unknown in ("0815-1-2", "abc", position.rpartition("-")[0] + "-99"):
            async with watching(site, name, f"&resourceVersion={unknown}") as lines:
                error = await lines.next("ERROR")
            assert (error["object"]["code"], error["object"]["reason"]) == (410, "Expired")
        with pytest.raises(ApiError, match="phase cannot be watched"):
            await site.ask("GET", f"workflowruns/{name}/nodes?watch=1&phase=Running")

        async with watching(site, name, f"&resourceVersion={position}") as lines:
            await site.api.delete(WorkflowRun, (await site.get(name)).key)
            error = await lines.next("ERROR")
        assert (error["object"]["code"], error["object"]["details"]["name"]) == (404, name)

        # A controller that comes back knows no positions of the one before.
        name = await site.run("flow", "later")
        await site.until(lambda: site.rows(name), lambda rows: rows.get("slow", {}).get("phase") == "Running")
        position = (await site.ask("GET", f"workflowruns/{name}/nodes"))["metadata"]["resourceVersion"]
        await site.crash()
        await site.run_controllers()
        async with watching(site, name, f"&resourceVersion={position}") as lines:
            assert (await lines.next("ERROR"))["object"]["code"] == 410

    on_site(scenario)


def test_feeds_keep_a_bounded_past_and_forget_who_is_not_read() -> None:
    feeds = Feeds()
    feed = feeds.of("run")
    begin = feed.text()
    for number in range(KEPT_CHANGES + 10):
        feeds.changed("run", {f"n{number}": b"{}"})

    with pytest.raises(PositionUnknownError):
        feed.after(begin)
    assert [change.key for change in feed.after(feed.text(12))][:2] == ["n12", "n13"]
    feeds.changed("run", {"large": b"x" * (5 << 20)})
    assert feed.after(feed.text()) == []
    heard: list[Any] = []
    feed.watchers[heard.append] = lambda: None
    for number in range(1000):
        feeds.of(f"other-{number}")
    assert feeds.follows("run")
    assert not feeds.follows("other-0")
    assert feeds.follows("other-999")
