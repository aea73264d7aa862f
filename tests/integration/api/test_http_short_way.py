"""Whole requests on hot paths skip ASGI; however their bytes arrive, the answers are those of the long way."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path

from plum_controller.api.protocol import Protocol
from plum_controller.api.server import ApiServer
from plum_controller.main import bind, build
from plum_controller.settings import Settings

from tests.support.server import RunningServer, running_server

NO_CONTROLLERS = {"PLUM_CONTROLLERS_ENABLED": "false"}
MAPS = "/api/v1/namespaces/default/configmaps"


def request(method: str, path: str, body: bytes = b"", lines: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}{length}\r\n".encode() + body


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Status, head and body of the next answer."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
    found = re.search(rb"content-length: (\d+)", head)
    body = await asyncio.wait_for(reader.readexactly(int(found[1])), 20) if found else b""
    return int(head[9:12]), head, body


async def test_requests_in_any_pieces_are_answered_in_order(server: RunningServer) -> None:
    """Many requests one behind the other, cut at random places: whole ones, parts of bodies, several at once."""
    chance = random.Random(2611)
    for number in range(12):
        key = f"/kv/default/piece-{number}"
        wanted: list[tuple[bytes, int, bytes]] = []
        for step in range(12):
            value = b"v%d-" % step + b"x" * chance.choice([0, 10, 3000])
            unusual = chance.choice(["", "", "Expect: 100-continue\r\n", "X-Step: %d\r\n" % step])  # noqa: UP031
            wanted.append(
                (request("PUT", key, value, unusual.replace("Expect: 100-continue\r\n", "")), 201 if step == 0 else 200, b"")
            )
            wanted.append((request("GET", key), 200, value))
            wanted.append((request("GET", f"{MAPS}/absent-{number}"), 404, b""))
            body = b'{"metadata":{"name":"piece-%d-%d"},"data":{"a":"%d"}}' % (number, step, step)
            wanted.append((request("POST", MAPS, body, "Content-Type: application/json\r\n"), 201, b""))
            wanted.append((request("GET", f"{MAPS}/piece-{number}-{step}"), 200, b""))
        reader, writer = await asyncio.open_connection(server.host, server.port)
        data = b"".join(sent for sent, _, _ in wanted)
        while data:
            size = chance.choice([1, 7, 60, 200, 1000, 5000, 20_000])
            writer.write(data[:size])
            data = data[size:]
            if chance.random() < 0.5:
                await asyncio.sleep(0)
        for sent, status, body in wanted:
            found = await read_answer(reader)
            assert (found[0], body in found[2]) == (status, True), (sent[:80], found)
        writer.close()


class Wire(asyncio.Transport):
    """A connection of which a test decides when bytes arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = self.paused = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def get_extra_info(self, name: str, default: object = None) -> object:
        return {"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)}.get(name, default)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


async def test_what_comes_while_a_put_is_on_its_way_to_the_disk_waits_for_it() -> None:
    settings = Settings(store="memory:")
    async with build(settings) as api:
        server = ApiServer(api, settings, bind("127.0.0.1", 0))
        await server.start()
        wire, protocol = Wire(), server._make_protocol()
        protocol.connection_made(wire)
        assert isinstance(protocol, Protocol)

        protocol.data_received(request("PUT", "/kv/default/first", b"made"))  # the namespace is there, the disk is slow
        later = request("GET", "/kv/default/first") + request("PUT", "/kv/default/second", b"2")
        for at in range(0, len(later), 7):
            protocol.data_received(later[at : at + 7])
        before, paused = wire.sent, wire.paused
        async with asyncio.timeout(20):
            while wire.sent.count(b"HTTP/1.1 ") < 3:
                await asyncio.sleep(0)
        protocol.data_received(request("PUT", "/kv/default/last", b"3"))
        protocol.shutdown()  # a server that stops finishes what it took
        held = wire.closed
        async with asyncio.timeout(20):
            while not wire.closed:
                await asyncio.sleep(0)
        last = api.service.entries.find("default", "last")
        protocol.connection_lost(None)
        await server.close()

    assert (before, paused, wire.paused, held) == (b"", True, False, False)
    statuses = [int(part[:3]) for part in wire.sent.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [201, 200, 201, 201] and b"made" in wire.sent and b"connection: close" in wire.sent
    assert last is not None


async def test_both_ways_give_the_same_answers(server: RunningServer) -> None:
    """The same requests, once more with a header that makes them take the long way."""
    asked = [
        ("PUT", "/kv/default/both?type=int", b"5", ""), ("PUT", "/kv/default/both", b"five", ""),
        ("PUT", "/kv/default/both", b"5", ""),
        ("PUT", "/kv/default/both", b"6", 'If-Match: "1"\r\n'), ("PUT", "/kv/default/both", b"6", "If-None-Match: *\r\n"),
        ("GET", "/kv/default/both", b"", ""), ("GET", "/kv/default/none", b"", ""), ("PUT", "/kv/UPPER/a", b"1", ""),
        ("PUT", "/kv/default/both?type=odd", b"1", ""), ("PUT", "/kv/default/a%00b", b"1", ""),
        ("POST", MAPS, b"{}", "Content-Type: application/json\r\n"), ("POST", MAPS, b"{", "Content-Type: application/json\r\n"),
        ("PATCH", f"{MAPS}/none", b"{}", "Content-Type: application/merge-patch+json\r\n"), ("DELETE", f"{MAPS}/none", b"", ""),
        ("GET", "/apis/none/v1/nothing", b"", ""), ("PUT", "/apis/none/v1/nothing/x", b"{}", ""), ("POST", "/api", b"", ""),
        ("GET", "/kv/default/both", b"", "Host: evil.example\r\n"), ("PUT", "/kv/default/both", b"1", "Origin: https://evil.example\r\n"),
        ("PUT", "/kv/default/both", b"\x1f\x8b", "Content-Encoding: gzip\r\n"), ("PUT", "/kv/default/both", b"", ""),
    ]  # fmt: skip

    async def ask(lines: str) -> list[tuple[int, bytes, bytes]]:
        answers = []
        await server.raw(request("DELETE", "/kv/default/both", b"", "Connection: close\r\n"))
        for method, path, body, more in asked:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(request(method, path, body, lines + more))
            status, head, content = await read_answer(reader)
            head = re.sub(rb"(date|etag|x-plum-revision|connection): [^\r]*\r\n", b"", head)
            content = re.sub(rb'"revision":"\d+"|at revision \d+|"retryAfterSeconds":\d+', b"", content)
            answers.append((status, b"\r\n".join(sorted(head.split(b"\r\n"))), content))
            writer.close()
        return answers

    short, long = await ask(""), await ask("Connection: close\r\n")

    for what, one, other in zip(asked, short, long, strict=True):
        assert one == other, what


async def test_a_body_that_does_not_come_is_in_flight_and_ends_with_408(tmp_path: Path) -> None:
    env = {**NO_CONTROLLERS, "PLUM_WRITES_IN_FLIGHT": "1", "PLUM_READ_TIMEOUT_SECONDS": "1"}
    async with running_server(tmp_path, env=env) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(request("PUT", "/kv/default/slow", b"12345")[:-3])
        async with asyncio.timeout(20):
            while (await server.request("PUT", "/kv/default/other", {})).status != 429:
                await asyncio.sleep(0.01)
        status = (await read_answer(reader))[0]
        writer.close()
        async with asyncio.timeout(20):
            while (await server.request("PUT", "/kv/default/other", {})).status == 429:
                await asyncio.sleep(0.05)
        gone = (await server.get("/kv/default/slow")).status
        # A client that goes away in the middle of a body leaves its place, too.
        for _ in range(3):
            _, leaving = await asyncio.open_connection(server.host, server.port)
            leaving.write(request("PUT", "/kv/default/slow", b"12345")[:-3])
            await leaving.drain()
            leaving.close()
        async with asyncio.timeout(20):
            while (await server.request("PUT", "/kv/default/other", {})).status == 429:
                await asyncio.sleep(0.05)

    assert (status, gone) == (408, 404)


async def test_idle_connections_are_closed_and_busy_ones_are_not(tmp_path: Path) -> None:
    async with running_server(tmp_path, env={**NO_CONTROLLERS, "PLUM_IDLE_TIMEOUT_SECONDS": "2"}) as server:
        reader, writer = await asyncio.open_connection(server.host, server.port)
        loop = asyncio.get_running_loop()
        started = loop.time()
        while loop.time() - started < 4:
            writer.write(request("PUT", "/kv/default/busy", b"%f" % loop.time()))
            assert (await read_answer(reader))[0] in (200, 201)
            await asyncio.sleep(0.2)
        closed = await asyncio.wait_for(reader.read(), 20)
        writer.close()

    assert closed == b""
