"""Probes: each kind against a real server, thresholds, and that one that hangs delays nobody."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_agent.probe_actions import ask, check_host, port_of
from plum_agent.probes import Prober, Streak
from plum_schemas.probes import Probe, Probes


async def no_exec(command: tuple[str, ...], timeout_seconds: float) -> int:
    raise AssertionError("nothing is to be run")


def make_probe(**fields: Any) -> Probe:
    return msgspec.convert(fields, Probe)


async def with_server(answer: bytes, question: Callable[[int], Awaitable[str]]) -> str:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        return await question(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(("answer", "why"), [
    (b"HTTP/1.1 200 OK\r\n\r\n", ""), (b"HTTP/1.1 302 Found\r\n\r\n", ""), (b"HTTP/1.0 204 No Content\r\n\r\n", ""),
    (b"HTTP/1.1 503 Busy\r\n\r\n", "answered 503"), (b"HTTP/1.1 404 No\r\n\r\n", "answered 404"),
    (b"SSH-2.0\r\n", "does not speak HTTP"),
])  # fmt: skip
async def test_http(answer: bytes, why: str) -> None:
    async def question(port: int) -> str:
        probe = make_probe(http={"port": "web", "path": "/x?y=1", "headers": {"X-A": "1"}})
        return await ask(probe, {"web": port}, 2, no_exec)

    got = await with_server(answer, question)

    assert (why in got) if why else got == ""


async def test_a_silent_server_is_a_failure_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        why = await ask(make_probe(http={"port": port}), {}, 0.2, no_exec)

        assert "no answer within 0.2 s" in why
        assert time.monotonic() - began < 1
        assert await ask(make_probe(tcp={"port": port}), {}, 1, no_exec) == ""
    assert await ask(make_probe(tcp={"port": port}), {}, 1, no_exec) != ""


async def test_exec_reports_the_exit_code() -> None:
    async def execute(command: tuple[str, ...], timeout_seconds: float) -> int:
        return {"good": 0, "bad": 7}[command[0]]

    assert await ask(make_probe(exec={"command": ["good"]}), {}, 1, execute) == ""
    assert await ask(make_probe(exec={"command": ["bad"]}), {}, 1, execute) == "bad exited with 7"


@contextmanager
def health_server(states: dict[str, int]) -> Iterator[int]:
    """A real gRPC server with the standard health service."""

    def check(request: bytes, context: grpc.ServicerContext) -> bytes:
        header = 3 if len(request) > 129 else 2  # tag and length
        name = request[header:].decode()
        if name not in states:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown")
        return bytes([0x08, states[name]]) if states[name] else b""

    handlers = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("grpc.health.v1.Health", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


async def test_grpc_against_a_real_server() -> None:
    with health_server({"": 1, "up": 1, "down": 2, "unset": 0, "x" * 200: 1}) as port:
        for service, why in (
            ("", ""),
            ("up", ""),
            ("x" * 200, ""),
            ("down", "NOT_SERVING"),
            ("unset", "UNKNOWN"),
            ("none", "NOT_FOUND"),
        ):
            got = await ask(make_probe(grpc={"port": port, "service": service}), {}, 3, no_exec)
            assert (why in got) if why else got == "", service


async def test_grpc_on_a_port_that_speaks_something_else() -> None:
    async def question(port: int) -> str:
        return await ask(make_probe(grpc={"port": port}), {}, 1, no_exec)

    assert await with_server(b"HTTP/1.1 400 Bad\r\n\r\n", question) != ""


def test_addresses_around_the_machine_are_refused() -> None:
    for host in ("169.254.169.254", "fe80::1", "224.0.0.1"):
        with pytest.raises(ValueError, match="refused"):
            check_host(host)
    assert check_host("") == "127.0.0.1"
    assert check_host("10.0.0.1") == "10.0.0.1"


def test_ports_are_numbers_or_names() -> None:
    assert (port_of(80, {}), port_of("web", {"web": 81}), port_of("82", {})) == (80, 81, 82)
    with pytest.raises(ValueError, match="not one of the template's ports"):
        port_of("other", {"web": 81})


@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5), st.integers(1, 5))
def test_a_streak_decides_exactly_at_its_threshold(answers: list[bool], success: int, failure: int) -> None:
    streak, run = Streak(success, failure), 0
    for position, good in enumerate(answers):
        run = run + 1 if position and answers[position - 1] is good else 1
        assert streak.judge(good) is (good if run >= (success if good else failure) else None)


class Workload:
    """Answers exec probes as told."""

    def __init__(self, **codes: int) -> None:
        self.codes = codes
        self.asked: list[str] = []

    async def execute(self, command: tuple[str, ...], timeout_seconds: float) -> int:
        self.asked.append(command[0])
        if self.codes[command[0]] < 0:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.sleep(1000)
        return self.codes[command[0]]


def make_prober(workload: Workload, **probes: Any) -> tuple[Prober, asyncio.Event]:
    changed = asyncio.Event()
    return Prober(msgspec.convert(probes, Probes), {}, workload.execute, changed.set), changed


def question(name: str, **fields: Any) -> dict[str, Any]:
    return {"exec": {"command": [name]}, "period": "50ms", "timeout": "10s", **fields}


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_the_others_wait_for_the_startup_probe() -> None:
    workload = Workload(startup=1, ready=0, live=0)
    prober, _ = make_prober(
        workload, startup=question("startup", failureThreshold=100), readiness=question("ready"), liveness=question("live")
    )
    prober.start()
    await until(lambda: workload.asked.count("startup") >= 3)
    assert set(workload.asked) == {"startup"}
    assert not prober.state.ready

    workload.codes["startup"] = 0

    await until(lambda: prober.state.ready and "live" in workload.asked)
    assert prober.state.started
    prober.stop()


async def test_a_startup_probe_that_never_succeeds_ends_the_run() -> None:
    prober, changed = make_prober(Workload(startup=1), startup=question("startup", failureThreshold=2))
    prober.start()

    await until(lambda: prober.state.failed)

    assert "startup probe failed 2 times: startup exited with 1" in prober.state.failed
    assert changed.is_set()
    prober.stop()


async def test_readiness_comes_and_goes_by_its_thresholds() -> None:
    workload = Workload(ready=0)
    prober, _ = make_prober(workload, readiness=question("ready", successThreshold=2, failureThreshold=2))
    prober.start()
    await until(lambda: prober.state.ready)
    assert workload.asked.count("ready") >= 2

    workload.codes["ready"] = 1
    await until(lambda: prober.state.ready is False)
    workload.codes["ready"] = 0
    await until(lambda: prober.state.ready)
    assert not prober.state.failed
    prober.stop()


async def test_a_hung_liveness_probe_does_not_delay_readiness() -> None:
    prober, _ = make_prober(Workload(ready=0, live=-1), readiness=question("ready"), liveness=question("live"))
    began = time.monotonic()
    prober.start()

    await until(lambda: prober.state.ready)

    assert time.monotonic() - began < 1
    prober.stop()


async def test_a_slow_period_does_not_delay_the_first_success() -> None:
    workload = Workload(ready=1)
    prober, _ = make_prober(workload, readiness=question("ready", period="60s"))
    prober.start()
    await until(lambda: len(workload.asked) >= 3)
    workload.codes["ready"] = 0

    await until(lambda: prober.state.ready)
    prober.stop()
