"""The HTTP transport against a server that does whatever servers, proxies and networks do."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest
from plum_client import http_transport
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError, BadRequestError, InvalidObjectError, NotFoundError
from plum_client.http_connection import HIGH_WATER
from plum_client.http_transport import STALE_SECONDS, HttpTransport
from plum_client.transport import Request
from plum_schemas.base import KindInfo

from tests.support.api import settle
from tests.support.api_server import Call, scripted_server

INFO = KindInfo(kind="Greeter", plural="greeters", group="example.com")
GET = Request("GET", INFO, "default", "a")
POST = Request("POST", INFO, "default", body=b'{"a":1}')
WATCH = Request("GET", INFO, query={"watch": "true", "labelSelector": "a in (b,c)"})


async def test_a_request_and_its_answer() -> None:
    def script(call: Call) -> None:
        call.answer(
            201, b'{"x":1}', 'X-Plum-Revision: 12\r\nWarning: 299 - "unknown field \\"spec.zz\\""\r\nWarning: 299 - "b"\r\n'
        )

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url + "/proxy/", "secret", user_agent="me")
        request = Request("POST", INFO, "default", query={"fieldManager": "a b&c"}, body=b'{"a":1}')
        response = await transport.send(request)
        await transport.close()

    assert (response.status, response.body, response.revision) == (201, b'{"x":1}', 12)
    assert response.warnings == ('unknown field "spec.zz"', "b")
    call = server.calls[0]
    assert call.line == "POST /proxy/apis/example.com/v1/namespaces/default/greeters?fieldManager=a%20b%26c HTTP/1.1"
    assert call.headers["authorization"] == "Bearer secret"
    assert call.headers["user-agent"] == "me"
    assert call.headers["content-type"] == "application/json"
    assert call.body == b'{"a":1}'


async def test_connections_are_kept_and_bounded() -> None:
    async def script(call: Call) -> None:
        await asyncio.sleep(0.001)
        call.answer()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url, max_connections=3)
        await asyncio.gather(*(transport.send(GET) for _ in range(30)))
        await transport.send(GET)

        assert server.connections == 3
        assert len(server.calls) == 31
        await transport.close()
        await settle(lambda: server.open == 0)


async def test_connections_that_nobody_needs_any_more_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_transport, "IDLE_SECONDS", 0.2)

    async def script(call: Call) -> None:
        await asyncio.sleep(0.01)
        call.answer()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url, max_connections=8)
        await asyncio.gather(*(transport.send(GET) for _ in range(16)))
        assert server.connections == 8
        deadline = time.monotonic() + 5
        while server.open > 1:  # one is used again and again, and stays
            await transport.send(GET)
            assert time.monotonic() < deadline
        assert server.connections == 8
        await settle(lambda: server.open == 0)
        await transport.close()


async def test_an_idempotent_request_is_repeated_when_the_kept_connection_was_closed() -> None:
    def script(call: Call) -> None:
        if call.connection == 1 and len(server.calls) > 1:
            call.hang_up()  # as a server does whose idle time ran out in this moment
        else:
            call.answer()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        await transport.send(GET)
        response = await transport.send(GET)

        assert response.status == 200
        assert [call.connection for call in server.calls] == [1, 1, 2]
        await transport.close()


async def test_another_request_is_not_repeated() -> None:
    def script(call: Call) -> None:
        if call.line.startswith("POST"):
            call.hang_up()
        else:
            call.answer()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        await transport.send(GET)
        with pytest.raises(ApiUnavailableError):
            await transport.send(POST)

        assert sum(call.line.startswith("POST") for call in server.calls) == 1
        await transport.close()


async def test_a_connection_closed_while_idle_is_not_used() -> None:
    def script(call: Call) -> None:
        call.answer()
        call.hang_up()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        await transport.send(POST)
        await settle(lambda: server.open == 0)
        await asyncio.sleep(2 * STALE_SECONDS)
        await transport.send(POST)

        assert server.connections == 2
        await transport.close()


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"SSH-2.0-OpenSSH\r\n\r\n"],
)
async def test_half_an_answer_is_no_answer(answer: bytes) -> None:
    def script(call: Call) -> None:
        call.writer.write(answer)
        call.hang_up()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        with pytest.raises(ApiUnavailableError):
            await transport.send(GET)
        await transport.close()


async def test_a_body_without_length_ends_with_the_connection() -> None:
    def script(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nwhole")
        call.hang_up()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        assert (await transport.send(GET)).body == b"whole"
        await transport.close()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async with scripted_server(lambda call: None) as server:
        transport = HttpTransport(server.url, timeout=0.05)
        began = time.monotonic()
        with pytest.raises(ApiUnavailableError, match="in time"):
            await transport.send(GET)

        assert time.monotonic() - began < 5
        await settle(lambda: server.open == 0)
        await transport.close()


async def test_a_refused_connection() -> None:
    async with scripted_server(lambda call: None) as server:
        url = server.url
    transport = HttpTransport(url)

    with pytest.raises(ApiUnavailableError, match=url):
        await transport.send(GET)
    await transport.close()


async def test_a_cancelled_request_frees_its_place_and_spoils_no_other() -> None:
    async def script(call: Call) -> None:
        if call.line.startswith("POST"):
            await asyncio.sleep(0.05)
        call.answer(body=call.line.encode())

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url, max_connections=1)
        slow = asyncio.create_task(transport.send(POST))
        await settle(lambda: len(server.calls) == 1)
        waiting = [asyncio.create_task(transport.send(GET)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        slow.cancel()

        answers = await asyncio.gather(*waiting[1:])
        assert all(answer.body.startswith(b"GET") for answer in answers)
        await transport.close()


async def test_a_compressed_answer() -> None:
    def script(call: Call) -> None:
        assert call.headers["accept-encoding"] == "gzip"
        call.answer(body=gzip.compress(b'{"x":1}'), headers="Content-Encoding: gzip\r\n")

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url, gzip=True)
        assert (await transport.send(GET)).body == b'{"x":1}'
        await transport.close()


async def test_header_values_cannot_smuggle_headers() -> None:
    with pytest.raises(ValueError, match="line break"):
        HttpTransport("http://127.0.0.1:1", "a\r\nX-Evil: 1")
    transport = HttpTransport("http://127.0.0.1:1")
    with pytest.raises(ValueError, match="line break"):
        await transport.request("GET", "/", {"X": "a\nb"})
    with pytest.raises(ValueError, match="path"):
        await transport.request("GET", "/ HTTP/1.1\r\nX-Evil: 1")
    with pytest.raises(ValueError, match="server address"):
        HttpTransport("ftp://example.com")


# ---- streams


async def test_a_watch_gives_lines_however_they_are_cut() -> None:
    lines = [b'{"n":%d}' % number for number in range(50)]
    data = b"\n".join(lines) + b"\n"

    async def script(call: Call) -> None:
        call.begin()
        for start in range(0, len(data), 7):
            call.chunk(data[start : start + 7])
            if start % 5 == 0:
                await call.writer.drain()
        call.writer.write(b"0\r\n\r\n")

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        async with transport.stream(WATCH) as stream:
            assert stream.status == 200
            assert [line async for line in stream.chunks] == lines
        assert "labelSelector=a%20in%20%28b%2Cc%29" in server.calls[0].line
        await transport.close()


async def test_a_watch_that_breaks_says_so_after_what_came() -> None:
    async def script(call: Call) -> None:
        call.begin()
        call.chunk(b"1\n2\n")
        await call.writer.drain()
        call.hang_up()

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        lines = []
        with pytest.raises(ApiUnavailableError):
            async with transport.stream(WATCH) as stream:
                async for line in stream.chunks:
                    lines.append(line)  # noqa: PERF401  what came before the error counts
        assert lines == [b"1", b"2"]
        await transport.close()


async def test_leaving_a_stream_closes_its_connection() -> None:
    async def script(call: Call) -> None:
        call.begin()
        call.chunk(b"1\n")

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        async with transport.stream(WATCH) as stream:
            assert await anext(stream.chunks) == b"1"
            assert server.open == 1
        await settle(lambda: server.open == 0)
        await transport.close()


async def test_a_refused_watch_has_its_error_in_one_piece() -> None:
    body = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'
    async with scripted_server(lambda call: call.answer(403, body)) as server:
        transport = HttpTransport(server.url)
        async with transport.stream(WATCH) as stream:
            assert stream.status == 403
            assert [chunk async for chunk in stream.chunks] == [body]
        await transport.close()


async def test_a_reader_that_is_slow_holds_the_server_back() -> None:
    sent = 0

    async def script(call: Call) -> None:
        nonlocal sent
        call.begin()
        for _ in range(600):
            call.chunk(b"x" * 65_536)
            await call.writer.drain()
            sent += 65_536
        call.writer.write(b"0\r\n\r\n")

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        async with transport.stream(Request("GET", INFO, "default", "a", "log")) as stream:
            before = -1
            while sent != before:  # until the server can send no more
                before = sent
                await asyncio.sleep(0.1)
            assert sent < 600 * 65_536
            received = 0
            async for piece in stream.chunks:
                received += len(piece)
                assert len(piece) <= HIGH_WATER + 1024 * 1024
            assert received == sent == 600 * 65_536
        await transport.close()


async def test_closing_the_transport_ends_its_streams() -> None:
    async def script(call: Call) -> None:
        call.begin()
        call.chunk(b"1\n")

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        with pytest.raises(ApiUnavailableError):
            async with transport.stream(WATCH) as stream:
                await anext(stream.chunks)
                await transport.close()
                await anext(stream.chunks)
        await transport.close()
        with pytest.raises(ApiUnavailableError, match="closed"):
            await transport.send(GET)


# ---- errors


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (
            422,
            b'{"kind":"Status","reason":"Invalid","message":"bad spec","details":{"causes":[{"field":"spec.x"}]}}',
            InvalidObjectError,
            "bad",
        ),
        (404, b"404 page not found", NotFoundError, "page not found"),
        (502, b"<html>bad gateway</html>", ApiUnavailableError, "502"),
        (405, b"", BadRequestError, "405"),
        (408, b"", ApiUnavailableError, "408"),
    ],
)
async def test_status_codes_become_errors(status: int, body: bytes, kind: type[Exception], message: str) -> None:
    async with scripted_server(lambda call: call.answer(status, body)) as server:
        api = ApiClient(HttpTransport(server.url))
        with pytest.raises(kind, match=message):
            await api.list(INFO)
        await api.close()
