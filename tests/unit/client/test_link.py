"""The way to a server: its breaker, its timeouts, its figures, and what a transport does with them."""

from __future__ import annotations

import asyncio
import gzip
import struct
from random import Random

import pytest
from plum_client.errors import ApiUnavailableError, LinkOpenError, NotConnectedError
from plum_client.http_transport import HttpTransport
from plum_client.link import FAILURES, LEAST_TIMEOUT, PROBES, TCP_INFO_BYTES, Breaker, Link, Segments
from plum_client.transport import Request
from plum_schemas.instance import Instance

from tests.support.api_server import Call, scripted_server

GET = Request("GET", Instance.info, "default", "web")


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def make_link() -> tuple[Link, Clock]:
    clock = Clock()
    return Link(clock, Random(1)), clock


def fail(link: Link, times: int = FAILURES) -> None:
    for _ in range(times):
        link.enter()
        link.failed()


def test_after_some_failures_in_a_row_nothing_is_sent() -> None:
    link, _ = make_link()

    fail(link, FAILURES - 1)
    link.answered(0.01)
    fail(link, FAILURES - 1)
    assert link.breaker is Breaker.CLOSED, "an answer between them"
    fail(link, 1)

    assert link.breaker is Breaker.OPEN
    with pytest.raises(LinkOpenError):
        link.enter()
    with pytest.raises(LinkOpenError):
        link.check()
    assert (link.counters.refused, link.counters.outages) == (2, 1)


def test_one_probe_goes_and_its_answer_lets_everybody_go() -> None:
    link, clock = make_link()
    returned: list[float] = []
    link.on_return.append(returned.append)
    fail(link)

    clock.seconds += PROBES.initial
    link.enter()
    assert link.breaker is Breaker.PROBING
    with pytest.raises(LinkOpenError):
        link.enter()
    link.answered(0.01)

    assert link.breaker is Breaker.CLOSED
    assert returned == [PROBES.initial]
    link.enter()


def test_pauses_between_probes_grow_up_to_a_bound_and_differ() -> None:
    def pauses(seed: int) -> list[float]:
        clock = Clock()
        link = Link(clock, Random(seed))
        fail(link)
        found = []
        for _ in range(10):
            began = clock.seconds
            while link.breaker is Breaker.OPEN:
                try:
                    link.enter()
                except LinkOpenError as error:
                    clock.seconds += error.seconds
            found.append(clock.seconds - began)
            link.failed()
        return found

    first, second = pauses(1), pauses(2)

    assert all(0 < pause <= PROBES.maximum for pause in first)
    assert min(first[-3:]) > 4 * first[0]
    assert first != second, "two agents that lost the same server do not come back together"


def test_a_probe_whose_caller_went_away_is_given_to_the_next() -> None:
    link, clock = make_link()
    fail(link)
    clock.seconds += PROBES.maximum

    link.enter()
    link.left()

    link.enter()
    assert link.breaker is Breaker.PROBING


def test_what_was_sent_before_the_breaker_opened_does_not_lengthen_the_pause() -> None:
    link, clock = make_link()
    for _ in range(20):
        link.enter()
    for _ in range(20):
        link.failed()

    clock.seconds += PROBES.initial

    link.enter()
    assert link.counters.outages == 1


def test_the_timeout_follows_what_was_measured() -> None:
    link, _ = make_link()
    assert link.timeout == 30.0, "nothing is known yet"

    for _ in range(50):
        link.answered(0.005)
    assert link.timeout == LEAST_TIMEOUT

    for _ in range(50):
        link.answered(3.0)
    steady = link.timeout
    assert LEAST_TIMEOUT < steady < 20

    for number in range(50):
        link.answered(1.0 if number % 5 else 12.0)
    assert link.timeout > steady, "a link whose times vary gets more time"

    link.failed(timed_out=True)
    link.failed(timed_out=True)
    assert link.timeout == 30.0, "never more than what was asked for"


def test_losses_are_those_the_kernel_counted() -> None:
    link, _ = make_link()
    one, other = Segments(), Segments()

    def info(rtt_us: int, again: int, sent: int) -> bytes:
        data = bytearray(TCP_INFO_BYTES)
        struct.pack_into("=I", data, 68, rtt_us)
        struct.pack_into("=I", data, 100, again)
        struct.pack_into("=I", data, 156, sent)
        return bytes(data)

    link.measure(info(300_000, 2, 100), one)
    link.measure(info(300_000, 5, 100), other)
    link.measure(info(300_000, 10, 200), one)

    assert link.network_seconds == pytest.approx(0.3)
    assert link.loss == pytest.approx(15 / 300)


# ---- in a transport


async def test_a_transport_measures_and_stops_asking_a_server_that_is_away() -> None:
    async with scripted_server(lambda call: call.answer()) as server:
        link = Link(asyncio.get_running_loop().time, Random(1))
        transport = HttpTransport(server.url, link=link)
        for _ in range(3):
            await transport.send(GET)
    counters = link.counters
    assert (counters.requests, counters.failures) == (3, 0)
    assert counters.bytes_sent > 100
    assert counters.bytes_received > 100
    assert 0 < link.answer_seconds < 1
    assert 0 < link.network_seconds < link.answer_seconds
    assert counters.segments >= 3

    errors = []
    for _ in range(FAILURES + 2):
        with pytest.raises(NotConnectedError) as caught:
            await transport.send(GET)
        errors.append(type(caught.value) is LinkOpenError)
    assert errors == [False] * FAILURES + [True] * 2
    with pytest.raises(LinkOpenError):
        await transport.open_websocket("/agent/v1/connect")
    await transport.close()


async def test_a_slow_answer_is_awaited_and_a_silent_one_is_not() -> None:
    async def trickle(call: Call) -> None:
        call.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            await asyncio.sleep(0.05)
            call.writer.write(b"x")

    async with scripted_server(trickle) as server:
        transport = HttpTransport(server.url, timeout=0.2)
        assert (await transport.send(GET)).body == b"x" * 10, "half a second in all, and never silent for long"
        await transport.close()


async def test_a_server_that_took_the_request_and_is_busy_gets_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plum_client.link.LEAST_TIMEOUT", 0.1)

    async def busy(call: Call) -> None:
        await asyncio.sleep(0.6 if len(server.calls) > 1 else 0)
        call.answer()

    async with scripted_server(busy) as server:
        link = Link(asyncio.get_running_loop().time, Random(1))
        transport = HttpTransport(server.url, link=link, timeout=3.0)
        await transport.send(GET)
        assert link.timeout < 0.6

        await transport.send(GET)

        assert (len(server.calls), link.counters.failures) == (2, 0), "asked once: again would only make it busier"
        await transport.close()


async def test_bodies_go_compressed_until_a_server_says_that_it_reads_none() -> None:
    bodies: list[tuple[str, bytes]] = []

    def script(call: Call) -> None:
        encoding = call.headers.get("content-encoding", "")
        bodies.append((encoding, gzip.decompress(call.body) if encoding else call.body))
        assert call.headers["save-data"] == "on"
        call.answer(415 if encoding and len(bodies) > 2 else 200)

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url, saves_data=True)
        long, short = b'{"x":"' + b"a" * 2000 + b'"}', b"{}"
        for body in (long, short, long, long):
            answer = await transport.send(Request("PATCH", Instance.info, "default", "web", body=body))
            assert answer.status == 200
        await transport.close()

    assert bodies == [("gzip", long), ("", short), ("gzip", long), ("", long), ("", long)]


async def test_quiet_streams_are_ended_and_others_are_not() -> None:
    async def script(call: Call) -> None:
        call.begin()
        for _ in range(200):
            if "/talks" in call.line:
                call.chunk(b"\n")
            await asyncio.sleep(0.02)

    async with scripted_server(script) as server:
        transport = HttpTransport(server.url)
        async with transport.stream_path("GET", "/quiet") as quiet, transport.stream_path("GET", "/talks") as talking:
            await asyncio.sleep(0.3)
            assert transport.drop_quiet_streams(0.2) == 1
            with pytest.raises(ApiUnavailableError):
                async for _ in quiet.chunks:
                    pass
            assert await anext(aiter(talking.chunks))
        await transport.close()
