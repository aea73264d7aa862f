"""Streams of entries: what was, what happens, each change once, across reconnections."""

from __future__ import annotations

import asyncio
from random import Random

from tests.support.kv import Event, Kv
from tests.support.server import RunningServer


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.name, event.data["key"]) for event in events]


async def test_a_stream_tells_what_is_there_and_then_what_happens(server: RunningServer) -> None:
    kv = Kv(server, "stream-now")
    await kv.put("a", "1", "type=int")

    async with kv.watch() as events:
        before = await events.until_sync()
        await kv.put("b c", "x")
        await kv.delete("a")

        made, gone = await events.next(), await events.next()

    assert b"text/event-stream" in events.head
    assert told(before) == [("put", "a")]
    assert (made.name, made.data["key"], made.data["type"], made.data["value"]) == ("put", "b c", "string", "x")
    assert (gone.name, gone.data["key"]) == ("delete", "a")
    assert int(gone.data["revision"]) > int(made.data["revision"])


async def test_a_stream_may_be_of_a_prefix_or_of_one_key(server: RunningServer) -> None:
    kv = Kv(server, "stream-some")
    await kv.put("a/1", "1")
    async with kv.watch("prefix=a/") as some, kv.watch(key="b/1") as one:
        assert told(await some.until_sync()) == [("put", "a/1")]
        assert await one.until_sync() == []

        await kv.post("batch", {"put": [{"key": "b/1", "value": 1}, {"key": "a/2", "value": 1}, {"key": "b/12", "value": 1}]})
        await kv.post("batch", {"put": [{"key": "b/1", "value": 2}, {"key": "a/3", "value": 1}]})

        assert [(await some.next()).data["key"] for _ in range(2)] == ["a/2", "a/3"]
        assert [(await one.next()).data["value"] for _ in range(2)] == [1, 2]


async def test_a_transaction_that_was_cut_in_the_middle_goes_on_there(server: RunningServer) -> None:
    kv = Kv(server, "stream-cut")
    await kv.put("start", "1")
    async with kv.watch() as events:
        await events.until_sync()
        await kv.post("batch", {"put": [{"key": key, "value": 1} for key in "abcd"]})
        first = [await events.next() for _ in range(2)]
    await kv.put("e", "1")

    async with kv.watch(last_event_id=first[-1].id) as events:
        rest = [await events.next() for _ in range(3)]

    assert told(first + rest) == [("put", key) for key in "abcde"]
    assert len({event.id for event in first + rest}) == 5


async def test_a_revision_is_gone_on_from_and_one_that_is_none_is_refused(server: RunningServer) -> None:
    kv = Kv(server, "stream-since")
    revision = (await kv.put("a", "1")).json()["revision"]
    await kv.put("b", "1")

    async with kv.watch(f"since={revision}") as events:
        assert told([await events.next()]) == [("put", "b")]
    async with kv.watch("since=yesterday") as refused:
        assert refused.status == 400


async def test_changes_are_told_once_over_many_reconnections(server: RunningServer) -> None:
    """A reader that breaks off at random and comes back with the last id sees every change, in order, once."""
    kv, random = Kv(server, "stream-often"), Random(7)
    await kv.put("begin", "0")
    seen: list[Event] = []
    total = 150

    async def write() -> None:
        written = 0
        while written < total:
            count = min(random.randint(1, 5), total - written)
            await kv.post("batch", {"put": [{"key": f"k{number}", "value": written + number} for number in range(count)]})
            written += count

    async with kv.watch() as events:
        await events.until_sync()
        last = ""
        writer = asyncio.create_task(write())
        seen.append(await events.next())
        last = seen[-1].id
    while len(seen) < total:
        async with kv.watch(last_event_id=last) as events:
            for _ in range(min(random.randint(1, 12), total - len(seen))):
                event = await events.next()
                seen.append(event)
                last = event.id
    await writer

    assert [event.data["value"] for event in seen] == list(range(total))


async def test_a_kubernetes_watch_sees_the_same_changes(server: RunningServer) -> None:
    kv = Kv(server, "stream-objects")
    revision = (await kv.put("a", "1")).json()["revision"]
    path = f"/apis/plum.dev/v1/namespaces/{kv.namespace}/kvs?watch=true&resourceVersion={revision}"

    async with server.watch(path) as events:
        await kv.put("b c", "2", "type=int")
        await kv.delete("a")
        made, gone = [await asyncio.wait_for(events.get(), 20) for _ in range(2)]

    assert made is not None and gone is not None
    assert (made["type"], made["object"]["spec"]) == ("ADDED", {"key": "b c", "type": "int", "value": 2})
    assert (gone["type"], gone["object"]["metadata"]["name"]) == ("DELETED", "a")
