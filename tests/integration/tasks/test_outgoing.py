"""The client for calls to the outside, against a real server and its misbehaviour."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from plum_client.outgoing import OutgoingClient, OutgoingError

Handler = Callable[[bytes], bytes]


@asynccontextmanager
async def serve(answer: bytes | Handler, *, hold: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that answers every request with these bytes, or holds the connection; its port and what it was sent."""
    seen: list[bytes] = []

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        seen.append(head + await reader.readexactly(length))
        if hold:
            await reader.read()
        else:
            writer.write(answer if isinstance(answer, bytes) else answer(head))
        writer.close()

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


async def test_a_request_arrives_whole_and_its_answer_comes_back() -> None:
    async with serve(b"HTTP/1.1 201 Created\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n") as (
        port,
        seen,
    ):
        answer = await OutgoingClient().request("POST", f"http://localhost:{port}/p?q=1", {"X-Key": "k"}, b"body")

    assert (answer.status, answer.body, answer.headers["x-a"]) == (201, b"abcde", "1")
    assert seen[0].startswith(b"POST /p?q=1 HTTP/1.1\r\nHost: localhost:%d\r\n" % port)
    assert b"\r\nX-Key: k\r\n" in seen[0]
    assert seen[0].endswith(b"\r\n\r\nbody")


async def reason_of(url: str, client: OutgoingClient | None = None, **options: object) -> str:
    with pytest.raises(OutgoingError) as caught:
        await (client or OutgoingClient()).request("GET", url, **options)  # type: ignore[arg-type]
    return caught.value.reason


async def test_what_is_not_allowed_is_never_connected_to() -> None:
    async with serve(b"HTTP/1.1 200 OK\r\n\r\n") as (port, seen):
        assert await reason_of(f"http://localhost:{port}/", OutgoingClient("*.example.com")) == "NotAllowed"
        assert await reason_of(f"http://localhost:{port}/", OutgoingClient(own_ports={port})) == "NotAllowed"
        assert await reason_of("http://169.254.169.254/latest/meta-data/") == "NotAllowed"

        assert seen == []


async def test_a_redirect_is_checked_like_a_first_call_and_carries_no_secrets_to_another_host() -> None:
    async with serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (other, seen):
        move = b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: http://localhost:%d/there\r\n\r\n" % other
        async with serve(move) as (port, _):
            headers = {"Authorization": "Bearer s", "X-Kept": "1"}
            stays = await OutgoingClient().request("GET", f"http://127.0.0.1:{port}/", headers)
            answer = await OutgoingClient().request("GET", f"http://127.0.0.1:{port}/", headers, redirects=1)
            refused = await reason_of(f"http://127.0.0.1:{port}/", OutgoingClient(f"127.0.0.1:{port}"), redirects=1)

    assert stays.status == 307
    assert answer.url.endswith("/there")
    assert b"X-Kept" in seen[0]
    assert b"Bearer" not in seen[0]
    assert refused == "NotAllowed"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100, "TooLarge"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx", "BadAnswer"),
        (b"SSH-2.0-OpenSSH_9\r\n", "BadAnswer"),
        (b"", "BadAnswer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n", "TooLarge"),
    ],
)
async def test_an_answer_is_bounded_and_whole_or_an_error(answer: bytes, reason: str) -> None:
    async with serve(answer) as (port, _):
        assert await reason_of(f"http://127.0.0.1:{port}/", max_bytes=50) == reason


async def test_silence_ends_with_a_timeout_and_nobody_there_is_unreachable() -> None:
    async with serve(b"", hold=True) as (port, _):
        assert await reason_of(f"http://127.0.0.1:{port}/", timeout=0.1) == "Timeout"
    assert await reason_of(f"http://127.0.0.1:{port}/") == "Unreachable"
    assert await reason_of("http://no-such-name.invalid/") == "Unresolvable"


@pytest.mark.parametrize(
    "url", ["ftp://x/", "http:///path", "http://a:b@host/", "http://host/a b", "http://host:0/", "file:///etc/passwd"]
)
async def test_what_is_no_address_is_refused(url: str) -> None:
    assert await reason_of(url) == "BadUrl"


async def test_a_header_cannot_smuggle_another() -> None:
    with pytest.raises(OutgoingError, match="ends headers"):
        await OutgoingClient().request("GET", "http://127.0.0.1:1/", {"X-A": "1\r\nX-B: 2"})
