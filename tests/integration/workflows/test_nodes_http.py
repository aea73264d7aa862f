"""Following the nodes of a run over real HTTP: server-sent events through a link that is cut, resumed from the last one."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from plum_client.client import ApiClient
from plum_client.http_transport import HttpTransport
from plum_schemas.base import ObjectKey
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from tests.support.proxy import proxy
from tests.support.server import RunningServer, running_server
from tests.support.workflows import echo

Json = dict[str, Any]
BASE = "/apis/plum.dev/v1/namespaces/default"
NODES = f"{BASE}/workflowruns/flow-1/nodes"
SECONDS = 30.0


def gate(name: str, *after: str) -> Json:
    return {"name": name, "type": "wait", "wait": {"approval": {"message": "go?"}}, "dependsOn": list(after)}


LOOP = {"name": "again", "type": "loop", "count": 3, "dependsOn": ["one"], "body": [echo("turn", payload={"n": "${{ loop.i }}"})]}
DEFINITION = [echo("first"), gate("one", "first"), LOOP, gate("two", "again"), echo("last", "two")]


class EventStream:
    """What a browser's EventSource does: reads fields, remembers the last id."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._rest = b""
        self.seen: list[Json] = []
        self.last_id = ""

    async def next(self) -> Json | None:
        """The next event; None when the stream ended or broke."""
        while b"\n\n" not in self._rest:
            try:
                size = int((await self._reader.readuntil(b"\r\n")).strip(), 16)
                data = await self._reader.readexactly(size + 2)
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            if size == 0:
                return None
            self._rest += data[:-2]
        block, _, self._rest = self._rest.partition(b"\n\n")
        fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if ": " in line and not line.startswith(":"))
        if "data" not in fields:
            return await self.next()
        self.last_id = fields.get("id", self.last_id)
        event = {"type": fields["event"], "id": fields.get("id", ""), "object": json.loads(fields["data"])}
        self.seen.append(event)
        return event

    async def until(self, node: str, phase: str) -> Json:
        async with asyncio.timeout(SECONDS):
            while event := await self.next():
                if event["type"] != "BOOKMARK" and (event["object"].get("name"), event["object"].get("phase")) == (node, phase):
                    return event
        raise AssertionError(f"{node} was never told as {phase}: {self.seen}")

    def changes(self) -> list[tuple[str, str, str]]:
        return [
            (event["id"], event["object"]["key"], event["object"]["phase"]) for event in self.seen if event["type"] == "MODIFIED"
        ]


@contextlib.asynccontextmanager
async def event_stream(url: str, path: str, last_id: str = "") -> AsyncIterator[EventStream]:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    again = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.hostname}\r\nAccept: text/event-stream\r\n{again}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    assert head.startswith(b"http/1.1 200") and b"content-type: text/event-stream" in head, head
    try:
        yield EventStream(reader)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def approve(server: RunningServer, node: str) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            body = json.dumps({"action": "approve", "node": node}).encode()
            answer = await server.request("POST", f"{BASE}/workflowruns/flow-1/control", body=body)
            if answer.status in (200, 201):
                return
            await asyncio.sleep(0.05)


@pytest.mark.timeout(120)
async def test_a_stream_that_is_cut_goes_on_where_it_ended_and_tells_each_change_once(tmp_path: Path) -> None:
    async with running_server(tmp_path) as server:
        api = ApiClient(HttpTransport(server.url), field_manager="test")
        head = {"apiVersion": "plum.dev/v1", "metadata": {"name": "flow", "namespace": "default"}}
        await api.create({**head, "kind": "Workflow", "spec": {"nodes": DEFINITION}}, kind=Workflow.info)
        run = {**head, "kind": "WorkflowRun", "spec": {"workflowRef": "flow"}, "metadata": {**head["metadata"], "name": "flow-1"}}
        await api.create(run, kind=WorkflowRun.info)
        with proxy(server.url) as link:
            async with server.watch(f"{NODES}?watch=true") as whole:  # one connection from the beginning to the end
                async with event_stream(link.url, f"{NODES}?watch=true") as before:
                    while (await before.next() or {})["type"] != "BOOKMARK":
                        pass
                    if not any(one["object"].get("name") == "one" and one["object"]["phase"] == "Waiting" for one in before.seen):
                        await before.until("one", "Waiting")
                    await approve(server, "one")
                    await before.until("turn[1]", "Succeeded")
                    link.cut("reset")
                    async with asyncio.timeout(SECONDS):
                        while await before.next() is not None:
                            pass
                await approve(server, "two")
                link.heal()
                async with event_stream(link.url, f"{NODES}?watch=true", before.last_id) as after:
                    await after.until("last", "Succeeded")
                async with asyncio.timeout(SECONDS):
                    told = [await whole.get()]
                    while (told[-1]["object"].get("name"), told[-1]["object"].get("phase")) != ("last", "Succeeded"):
                        told.append(await whole.get())

        everything = [
            (event["object"]["metadata"]["resourceVersion"], event["object"]["key"], event["object"]["phase"])
            for event in told
            if event["type"] == "MODIFIED"
        ]
        joined = before.changes() + after.changes()
        assert not [event for event in after.seen if event["type"] == "ADDED"], "what was seen before is not told again"
        assert joined == everything[-len(joined) :]
        assert len({position for position, *_ in joined}) == len(joined)
        assert {key for _, key, phase in joined if phase == "Succeeded"} >= {"one", "again", "two", "last"}

        unknown = await server.request(
            "GET", f"{NODES}?watch=true", headers={"Accept": "text/event-stream", "Last-Event-ID": "no"}
        )
        assert (unknown.status, unknown.json()["reason"]) == (410, "Expired"), "list again"
        async with event_stream(server.url, f"{NODES}?watch=true", after.last_id) as rest:
            await api.delete(WorkflowRun, ObjectKey("default", "flow-1"))
            async with asyncio.timeout(SECONDS):
                while (event := await rest.next()) is not None:
                    assert event["type"] in ("BOOKMARK", "MODIFIED", "ERROR")
            assert rest.seen[-1]["type"] == "ERROR" and rest.seen[-1]["object"]["code"] == 404
        await api.close()
