"""Watches over real HTTP: order, resuming, selectors, bookmarks, limits of time and patience, WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from plum_client.http_transport import HttpTransport
from plum_client.websocket import WebSocketClosedError

from tests.support.server import RunningServer, running_server, started_server

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
BOOKMARK_SECONDS = 0.3


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    env = {
        "PLUM_CONTROLLERS_ENABLED": "false",
        "PLUM_BOOKMARK_SECONDS": str(BOOKMARK_SECONDS),
        "PLUM_WATCH_BUFFER_BYTES": "200000",
    }
    with started_server(tmp_path_factory.mktemp("watch"), env=env) as running:
        yield running


async def create(server: RunningServer, name: str, **labels: str) -> dict[str, Any]:
    answer = await server.request("POST", CONFIGMAPS, {"metadata": {"name": name, "labels": labels}})
    assert answer.status == 201, answer.body
    return answer.json()


async def patch(server: RunningServer, name: str, body: dict[str, Any]) -> dict[str, Any]:
    answer = await server.request("PATCH", f"{CONFIGMAPS}/{name}", body, content_type=MERGE)
    assert answer.status == 200, answer.body
    return answer.json()


async def take(events: asyncio.Queue[dict[str, Any] | None], count: int = 1, *, bookmarks: bool = False) -> list[Any]:
    """The next events; bookmarks are left out unless asked for."""
    found: list[Any] = []
    async with asyncio.timeout(15):
        while len(found) < count:
            event = await events.get()
            if event is not None and event["type"] == "BOOKMARK" and not bookmarks:
                continue
            found.append(event)
            if event is None:
                break
    return found


async def revision_now(server: RunningServer) -> str:
    revision: str = (await server.get(f"{CONFIGMAPS}?limit=1")).json()["metadata"]["resourceVersion"]
    return revision


async def test_a_watch_begins_with_what_is_there_and_goes_on_with_what_happens(server: RunningServer) -> None:
    there = await create(server, "begin-a", begin="yes")

    async with server.watch(f"{CONFIGMAPS}?watch=true&labelSelector=begin") as events:
        assert await take(events) == [{"type": "ADDED", "object": there}]
        added = await create(server, "begin-b", begin="yes")
        changed = await patch(server, "begin-b", {"data": {"a": "1"}})
        await server.request("DELETE", f"{CONFIGMAPS}/begin-b")

        later = await take(events, 3)

    assert [event["type"] for event in later] == ["ADDED", "MODIFIED", "DELETED"]
    assert [event["object"] for event in later[:2]] == [added, changed]
    assert later[2]["object"]["data"] == {"a": "1"}
    assert int(later[2]["object"]["metadata"]["resourceVersion"]) > int(changed["metadata"]["resourceVersion"])


async def test_a_watch_resumes_from_any_revision_without_gap_or_repetition(server: RunningServer) -> None:
    start = await revision_now(server)
    made = [await create(server, f"resume-{number}", resume="yes") for number in range(5)]

    for skipped in range(5):
        since = made[skipped - 1]["metadata"]["resourceVersion"] if skipped else start
        async with server.watch(f"{CONFIGMAPS}?watch=1&labelSelector=resume&resourceVersion={since}") as events:
            assert [event["object"] for event in await take(events, 5 - skipped)] == made[skipped:]


async def test_an_object_that_starts_or_stops_matching_is_added_or_deleted(server: RunningServer) -> None:
    since = await revision_now(server)
    await create(server, "transition", state="off")

    async with server.watch(f"{CONFIGMAPS}?watch=1&labelSelector=state%3Don&resourceVersion={since}") as events:
        on = await patch(server, "transition", {"metadata": {"labels": {"state": "on"}}})
        off = await patch(server, "transition", {"metadata": {"labels": {"state": "off"}}})
        added, deleted = await take(events, 2)

    assert added == {"type": "ADDED", "object": on}
    assert deleted["type"] == "DELETED"
    assert deleted["object"]["metadata"]["labels"] == {"state": "on"}
    assert deleted["object"]["metadata"]["resourceVersion"] == off["metadata"]["resourceVersion"]


async def test_bookmarks_tell_the_revision_and_never_run_ahead(server: RunningServer) -> None:
    since = await revision_now(server)
    path = f"{CONFIGMAPS}?watch=1&allowWatchBookmarks=true&labelSelector=mark&resourceVersion={since}"

    async with server.watch(path) as events:
        made = [await create(server, f"mark-{number}", mark="yes") for number in range(3)]
        other = await create(server, "unmarked")
        async with asyncio.timeout(15):
            seen: list[Any] = []
            while (
                not seen
                or seen[-1]["type"] != "BOOKMARK"
                or int(seen[-1]["object"]["metadata"]["resourceVersion"]) < int(other["metadata"]["resourceVersion"])
            ):
                seen.append(await events.get())

    delivered = 0
    for event in seen:
        revision = int(event["object"]["metadata"]["resourceVersion"])
        assert revision >= delivered
        delivered = revision
    assert [event["object"] for event in seen if event["type"] == "ADDED"] == made
    assert seen[-1]["object"]["kind"] == "ConfigMap"


async def test_no_bookmarks_without_asking(server: RunningServer) -> None:
    since = await revision_now(server)

    async with server.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={since}&timeoutSeconds=1") as events:
        assert await take(events, bookmarks=True) == [None]


async def test_a_streaming_list_ends_with_its_mark(server: RunningServer) -> None:
    made = await create(server, "stream", stream="yes")
    options = "watch=1&labelSelector=stream&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"

    async with server.watch(f"{CONFIGMAPS}?{options}") as events:
        added, mark = await take(events, 2, bookmarks=True)

    assert added == {"type": "ADDED", "object": made}
    assert mark["type"] == "BOOKMARK"
    assert mark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(mark["object"]["metadata"]["resourceVersion"]) >= int(made["metadata"]["resourceVersion"])


async def test_a_timeout_ends_the_watch_cleanly_with_a_last_bookmark(server: RunningServer) -> None:
    started = time.monotonic()

    async with server.watch(f"{CONFIGMAPS}?watch=1&labelSelector=none&allowWatchBookmarks=1&timeoutSeconds=1") as events:
        received = [event async for event in _until_end(events)]

    assert 0.8 < time.monotonic() - started < 10
    assert received and {event["type"] for event in received} == {"BOOKMARK"}


async def _until_end(events: asyncio.Queue[dict[str, Any] | None]) -> Any:
    async with asyncio.timeout(15):
        while (event := await events.get()) is not None:
            yield event


async def test_a_watch_of_one_name_sees_only_it(server: RunningServer) -> None:
    since = await revision_now(server)

    async with server.watch(f"{CONFIGMAPS}?watch=1&fieldSelector=metadata.name%3Dnamed&resourceVersion={since}") as events:
        await create(server, "not-named")
        named = await create(server, "named")
        assert await take(events) == [{"type": "ADDED", "object": named}]


async def test_the_old_watch_path_works(server: RunningServer) -> None:
    made = await create(server, "old-path")

    async with server.watch("/api/v1/watch/namespaces/default/configmaps/old-path") as events:
        assert await take(events) == [{"type": "ADDED", "object": made}]


async def test_table_watches_carry_the_columns_once(server: RunningServer) -> None:
    since = await revision_now(server)
    path = f"{CONFIGMAPS}?watch=1&labelSelector=tabled&resourceVersion={since}"

    async with server.watch(path, "application/json;as=Table;v=v1;g=meta.k8s.io") as events:
        await create(server, "tabled-a", tabled="yes")
        await create(server, "tabled-b", tabled="yes")
        first, second = await take(events, 2)

    assert [row["cells"][0] for event in (first, second) for row in event["object"]["rows"]] == ["tabled-a", "tabled-b"]
    assert first["object"]["columnDefinitions"][0]["name"] == "Name"
    assert second["object"]["columnDefinitions"] is None


async def test_a_watch_leaves_out_what_its_reader_does_not_need_and_others_get_it_all(server: RunningServer) -> None:
    since = await revision_now(server)
    path = f"{CONFIGMAPS}?watch=1&labelSelector=omit&resourceVersion={since}"
    async with server.watch(f"{path}&omit=/data,/metadata/managedFields") as short, server.watch(path) as whole:
        made = await create(server, "omit", omit="yes")
        changed = await patch(server, "omit", {"data": {"n": "1"}})
        shortened, all_of_it = await take(short, 2), await take(whole, 2)

    assert [event["object"] for event in all_of_it] == [made, changed]
    del made["metadata"]["managedFields"], changed["metadata"]["managedFields"], changed["data"]
    assert [event["object"] for event in shortened] == [made, changed]


async def test_a_revision_that_is_forgotten_is_told_inside_the_stream(server: RunningServer) -> None:
    old = (await create(server, "forgotten"))["metadata"]["resourceVersion"]
    await patch(server, "forgotten", {"data": {"a": "1"}})
    compacted = await server.request("POST", "/docs/store/compact", {})
    assert compacted.status == 200, compacted.body

    async with server.watch(f"{CONFIGMAPS}?watch=1&resourceVersion={old}") as events:
        error, end = await take(events, 2)

    assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
    assert error["object"]["message"].startswith(f"too old resource version: {old} (")
    assert end is None

    # A browser cannot see why a WebSocket is refused, so there it is told inside as well.
    transport = HttpTransport(server.url)
    socket = await transport.open_websocket(f"{CONFIGMAPS}?watch=1&resourceVersion={old}")
    told = json.loads(await asyncio.wait_for(socket.receive(), 15))
    with pytest.raises(WebSocketClosedError):
        await asyncio.wait_for(socket.receive(), 15)
    await transport.close()
    assert told == error


async def test_a_watch_that_is_asked_wrongly_is_refused_before_it_begins(server: RunningServer) -> None:
    for query, status in (
        ("labelSelector=%3D", 400),
        ("sendInitialEvents=true", 422),
        ("fieldSelector=spec.x%3D1", 400),
        ("resourceVersion=x", 400),
    ):
        answer = await server.get(f"{CONFIGMAPS}?watch=1&{query}")
        assert (query, answer.status) == (query, status)


async def test_a_slow_watcher_is_cut_with_an_error_it_can_resume_from(server: RunningServer) -> None:
    since = await revision_now(server)
    reader, writer = await asyncio.open_connection(server.host, server.port, limit=2**26)
    transport: Any = writer.transport
    transport.pause_reading()
    writer.write(
        f"GET {CONFIGMAPS}?watch=1&labelSelector=slow&resourceVersion={since} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    )
    await writer.drain()
    await _until_metric(server, "plum_watches", 1)

    written = []
    async with asyncio.timeout(40):
        await create(server, "slow", slow="yes")
        while not await _metric(server, "plum_watches_cut_total"):
            made = await asyncio.gather(
                *(patch(server, "slow", {"data": {"n": f"{number}", "text": "x" * 300_000}}) for number in range(4))
            )
            written += [item["metadata"]["resourceVersion"] for item in made]
    transport.resume_reading()
    data = b""
    while b"0\r\n\r\n" not in data[-20:] and (piece := await reader.read(1 << 20)):
        data += piece
    writer.close()

    lines = [json.loads(line) for line in data.split(b"\r\n") if line.startswith(b'{"type"')]
    assert (lines[-1]["type"], lines[-1]["object"]["code"]) == ("ERROR", 429)
    last = lines[-2]["object"]["metadata"]["resourceVersion"]
    async with server.watch(f"{CONFIGMAPS}?watch=1&labelSelector=slow&resourceVersion={last}") as events:
        rest = [revision for revision in sorted(map(int, written)) if revision > int(last)]
        resumed = await take(events, len(rest)) if rest else []
    assert [int(event["object"]["metadata"]["resourceVersion"]) for event in resumed] == rest


async def _metric(server: RunningServer, name: str) -> float:
    for line in (await server.get("/metrics")).body.decode().splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"no metric {name}")


async def _until_metric(server: RunningServer, name: str, value: float) -> None:
    async with asyncio.timeout(15):
        while await _metric(server, name) < value:
            await asyncio.sleep(0.02)


async def test_two_hundred_watchers_all_see_every_event_in_order(server: RunningServer) -> None:
    since = await revision_now(server)
    async with contextlib.AsyncExitStack() as stack:
        path = f"{CONFIGMAPS}?watch=1&labelSelector=crowd&resourceVersion={since}"
        watchers = [await stack.enter_async_context(server.watch(path)) for _ in range(200)]
        made = await asyncio.gather(*(create(server, f"crowd-{number:02}", crowd="yes") for number in range(20)))
        expected = sorted(int(item["metadata"]["resourceVersion"]) for item in made)
        for events in watchers:
            seen = [int(event["object"]["metadata"]["resourceVersion"]) for event in await take(events, 20)]
            assert seen == expected


async def test_a_watch_that_its_client_left_is_forgotten(server: RunningServer) -> None:
    before = await _metric(server, "plum_watches")

    async with server.watch(f"{CONFIGMAPS}?watch=1&labelSelector=left"):
        await _until_metric(server, "plum_watches", before + 1)

    async with asyncio.timeout(15):
        while await _metric(server, "plum_watches") > before:
            await asyncio.sleep(0.02)


async def test_browsers_can_watch_over_websocket(server: RunningServer) -> None:
    since = await revision_now(server)
    transport = HttpTransport(server.url)

    socket = await transport.open_websocket(f"{CONFIGMAPS}?watch=1&labelSelector=socket&resourceVersion={since}")
    made = await create(server, "socket", socket="yes")
    message = await asyncio.wait_for(socket.receive(), 15)
    await socket.close()
    await transport.close()

    assert json.loads(message) == {"type": "ADDED", "object": made}


async def test_the_audit_log_is_followed_from_any_record_without_gap_or_repetition(server: RunningServer) -> None:
    audit = "/apis/plum.dev/v1/audit?resource=configmaps&verb=create"
    for number in range(3):
        await create(server, f"audited-{number}")
    known = (await server.get(f"{audit}&limit=3")).json()["items"]

    async with server.watch(f"{audit}&watch=true&resourceVersion={known[-1]['seq']}") as events:
        await create(server, "audited-3")
        await patch(server, "audited-3", {"data": {"n": "1"}})
        await create(server, "audited-4")
        told = [event["object"] for event in await take(events, 4)]

    assert [record["name"] for record in told] == ["audited-1", "audited-2", "audited-3", "audited-4"]
    assert [{**known[0], "kind": "AuditRecord"}, {**known[1], "kind": "AuditRecord"}] == [
        {name: value for name, value in record.items() if name not in ("apiVersion", "metadata")} for record in (told[1], told[0])
    ]
    assert [record["metadata"]["resourceVersion"] for record in told] == [str(record["seq"]) for record in told]
    assert (await server.get(f"{audit}&watch=true&limit=3")).status == 400


async def test_stopping_the_server_ends_watches_cleanly(tmp_path: Any) -> None:
    async with running_server(tmp_path, env={"PLUM_CONTROLLERS_ENABLED": "false"}) as server:
        async with server.watch(f"{CONFIGMAPS}?watch=1&allowWatchBookmarks=1") as events:
            await server.get("/version")
            stopped = asyncio.create_task(server.stop())
            received = [event async for event in _until_end(events)]
            assert await stopped == 0

    assert "BROKEN" not in {event["type"] for event in received}
    assert received[-1]["type"] == "BOOKMARK"
