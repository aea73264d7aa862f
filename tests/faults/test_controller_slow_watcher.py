"""A watcher that does not read is cut with an error it can resume from; memory stays bounded and nobody else waits for it."""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap

from tests.support.programs import ControllerProgram, resident_mb, sandbox

SIZE = 100_000
CHANGES = 300
"""30 MB: much more than what sockets and the bound for unread events hold."""
MOST_GROWTH_MB = 60


class StuckWatcher:
    """Asks for a watch and then reads nothing, with a small receive buffer."""

    def __init__(self, controller: ControllerProgram, since: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        self.socket.connect(("127.0.0.1", controller.port))
        path = f"/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={since}"
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())

    def read_all(self) -> list[dict[str, object]]:
        """Now read, up to the end of the connection: the events it was given."""
        self.socket.settimeout(20)
        data = b""
        try:
            while piece := self.socket.recv(1 << 20):
                data += piece
        except ConnectionResetError:
            pass
        finally:
            self.socket.close()
        _, _, body = data.partition(b"\r\n\r\n")
        lines, rest = [], b""
        while body:
            size, _, body = body.partition(b"\r\n")
            if not size or not int(size, 16) or len(body) < int(size, 16):
                break
            *whole, rest = (rest + body[: int(size, 16)]).split(b"\n")
            lines += whole
            body = body[int(size, 16) + 2 :]
        return [json.loads(line) for line in lines]


@pytest.mark.slow
async def test_a_watcher_that_does_not_read_is_cut_and_can_resume(tmp_path: Path) -> None:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        api = box.api()
        one = ConfigMap(metadata=ObjectMeta(name="big", namespace="default"), data={"n": "0"})
        start = int((await api.create(one)).metadata.resource_version)
        stuck = [StuckWatcher(controller, str(start)) for _ in range(3)]
        reader = asyncio.create_task(_latencies(api, str(start)))
        before = resident_mb(controller.pid)
        most = before

        revisions = []
        for number in range(CHANGES):
            patch = {"data": {"n": str(number), "t": str(time.monotonic()), "load": "x" * SIZE}}
            done = await api.patch(ConfigMap, "big", patch)
            revisions.append(int(done.metadata.resource_version))
            if number % 20 == 0:
                most = max(most, resident_mb(controller.pid))
        latencies = await asyncio.wait_for(reader, 20)

        assert len(latencies) == CHANGES, "the watcher that reads got everything"
        assert statistics.quantiles(latencies, n=20)[-1] < 0.25, "and nothing late"
        assert most - before < MOST_GROWTH_MB, f"{before:.0f} MB grew to {most:.0f} MB"
        for watcher in stuck:
            events = await asyncio.to_thread(watcher.read_all)
            seen = [_revision(event) for event in events if event["type"] != "ERROR"]
            assert 0 < len(seen) < CHANGES, "it was cut"
            assert seen == revisions[: len(seen)], "what it got is in order and without a gap"
            if events[-1]["type"] == "ERROR":
                assert events[-1]["object"]["code"] == 429, events[-1]  # type: ignore[index]
            rest = await _read(api, str(seen[-1]), revisions[-1])
            assert [*seen, *rest] == revisions, "resumed after its last event, it has missed nothing"


async def _latencies(api: ApiClient, since: str) -> list[float]:
    """How late each change came to a watcher that reads."""
    late: list[float] = []
    async with aclosing(api.watch(ConfigMap, "default", since=since)) as events:
        async for event in events:
            late.append(time.monotonic() - float(event.object.data["t"]))
            if len(late) == CHANGES:
                break
    return late


async def _read(api: ApiClient, since: str, until: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(20), aclosing(api.watch(ConfigMap, "default", since=since)) as events:
        async for event in events:
            found.append(int(event.revision))
            if found[-1] >= until:
                break
    return found


def _revision(event: dict[str, object]) -> int:
    return int(event["object"]["metadata"]["resourceVersion"])  # type: ignore[index]
