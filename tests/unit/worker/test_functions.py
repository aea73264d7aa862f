"""Task functions: signatures, payloads, outputs; the context; the environment."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plum_worker import CancellationToken, Context, TaskCanceledError, TaskError, Worker
from plum_worker.attempts import Execution, ending_of
from plum_worker.environment import WorkerConfigError, load, split_address
from plum_worker.functions import inspect_task, read_payload, write_output


@dataclass
class Size:
    width: int
    height: int = 1


class Point(msgspec.Struct):
    x: float


class Named(TypedDict):
    name: str


class Order(pydantic.BaseModel):
    item: str


def context() -> Context:
    return Context(task="t", run_name="r")


# ---- signatures and payloads


@pytest.mark.parametrize(
    ("kind", "payload", "value"),
    [
        (Size, b'{"width":3}', Size(3)),
        (Point, b'{"x":1}', Point(1.0)),
        (Named, b'{"name":"n"}', {"name": "n"}),
        (Order, b'{"item":"rope"}', Order(item="rope")),
        (Any, b"[1,2]", [1, 2]),
        (dict[str, int], b'{"a":1}', {"a": 1}),
    ],
    ids=["dataclass", "struct", "typeddict", "pydantic", "any", "dict"],
)
def test_a_payload_becomes_what_the_function_asks_for(kind: Any, payload: bytes, value: Any) -> None:
    assert read_payload(payload, kind) == value


@pytest.mark.parametrize(("kind", "word"), [(Size, "width"), (Point, "x"), (Order, "item")])
def test_one_that_does_not_fit_is_a_permanent_failure_that_names_the_field(kind: Any, word: str) -> None:
    with pytest.raises(TaskError, match=word) as raised:
        read_payload(b"{}", kind)

    assert (raised.value.reason, raised.value.permanent) == ("InvalidPayload", True)


def test_context_and_payload_are_found_in_any_order() -> None:
    def both(where: Context, size: Size) -> None: ...
    def by_name(payload, context): ...  # type: ignore[no-untyped-def]
    def neither() -> None: ...
    def optional(size: Size, factor: int = 2) -> None: ...

    found = [inspect_task("t", function) for function in (both, by_name, neither, optional)]

    assert [(one.payload_name, one.context_name) for one in found] == [
        ("size", "where"),
        ("payload", "context"),
        ("", ""),
        ("size", ""),
    ]


def test_functions_that_cannot_be_called_are_refused_when_they_are_decorated() -> None:
    def two(a: int, b: int) -> None: ...
    def positional(a: int, /) -> None: ...

    for function in (two, positional):
        with pytest.raises(TypeError, match="'t'"):
            inspect_task("t", function)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=10,
    )
)
def test_outputs_that_are_json_come_back_the_same(value: Any) -> None:
    assert msgspec.json.decode(write_output(value)) == value


def test_typed_outputs_are_written_and_others_refused() -> None:
    assert write_output([Size(1), Point(2.0), Order(item="rope")]) == b'[{"width":1,"height":1},{"x":2.0},{"item":"rope"}]'
    with pytest.raises(TaskError, match="no JSON"):
        write_output(object())


# ---- attempts


async def test_an_attempt_ends_once_whatever_the_function_does() -> None:
    def good(payload: dict[str, int]) -> int:
        return payload["n"]

    def bad() -> None:
        raise LookupError("gone")

    async def slow() -> None:
        await asyncio.sleep(60)

    def thread_exits() -> None:
        raise SystemExit(3)

    loop = asyncio.get_running_loop()
    endings = []
    for function in (good, bad, thread_exits, slow):
        done: asyncio.Future[Any] = loop.create_future()
        where = context()

        def finished(ending: Any, done: asyncio.Future[Any] = done) -> None:
            loop.call_soon_threadsafe(done.set_result, ending)

        Execution(inspect_task("t", function), b'{"n":4}', where, finished).start(loop)
        if function is slow:
            await asyncio.sleep(0.01)
            where.cancellation.cancel("enough")
        async with asyncio.timeout(10):
            endings.append(await done)

    assert [(one.outcome, one.reason) for one in endings] == [
        ("SUCCEEDED", ""),
        ("FAILED", "LookupError"),
        ("FAILED", "SystemExit"),
        ("CANCELED", "Canceled"),
    ]
    assert endings[0].output == b"4"


def test_a_timeout_is_told_from_a_cancellation_and_from_a_failure() -> None:
    late, canceled, failed = context(), context(), context()
    late.cancellation.cancel("too long", is_timeout=True)
    canceled.cancellation.cancel("not wanted")

    assert ending_of(TaskCanceledError(), late).outcome == "TIMEOUT"
    assert ending_of(TaskCanceledError(), canceled).outcome == "CANCELED"
    assert ending_of(TaskCanceledError("on its own"), failed).outcome == "FAILED"
    assert ending_of(TaskError("x", "Busy", retry_after=3), failed).retry_after == 3


# ---- context


def test_progress_is_checked_and_stops_what_is_cancelled() -> None:
    said: list[tuple[float, str]] = []
    where = Context(task="t", run_name="r", report=lambda fraction, text: said.append((fraction, text)))

    where.progress(0.5, "half")
    with pytest.raises(ValueError, match="0 to 1"):
        where.progress(2)
    where.cancellation.cancel("enough")
    with pytest.raises(TaskCanceledError, match="enough"):
        where.progress(0.6)

    assert said == [(0.5, "half")]


async def test_a_token_wakes_threads_and_coroutines_and_tells_only_once() -> None:
    token = CancellationToken()
    called: list[str] = []
    token.on_cancel(lambda: called.append("before"))
    waiting = asyncio.create_task(token.wait_async())
    await asyncio.sleep(0)
    threading.Timer(0.01, token.cancel, ["first"]).start()

    assert await asyncio.to_thread(token.wait, 10)
    async with asyncio.timeout(10):
        await waiting
    token.cancel("second")
    token.on_cancel(lambda: called.append("after"))

    assert (called, token.reason, bool(token)) == (["before", "after"], "first", True)


def test_the_deadline_counts_down_and_the_log_keeps_its_end() -> None:
    where = Context(task="t", run_name="r", timeout=10)
    assert where.remaining is not None
    assert 9 < where.remaining <= 10
    assert where.deadline is not None
    assert where.deadline > time.monotonic()

    for number in range(5000):
        where.logger.info("line %d", number)
    where.logger.log(logging.DEBUG, "not kept")

    lines = where.logger.tail.splitlines()
    assert lines[-1] == "info: line 4999"
    assert len(where.logger.tail) <= 33_000


# ---- environment


def test_a_worker_in_an_application_needs_no_arguments() -> None:
    env = {
        "CONTROLLER_GRPC_ADDR": "plum.example:9090",
        "CONTROLLER_BASE": "http://other:8080",
        "PLUM_INSTANCE_ID": "web-0",
        "PLUM_APP_NAME": "web",
        "PLUM_APP_VERSION": "1.2",
        "PLUM_NAMESPACE": "site",
        "WORKER_NODE_ID": "boat1",
        "PLUM_TOKEN": "plum_x",
    }

    options = load(environ=env)

    assert (options.address, options.tls, options.worker_id, options.namespace) == ("plum.example:9090", True, "web-0", "site")
    assert (options.node, options.instance, options.app, options.app_version) == ("boat1", "web-0", "web", "1.2")
    assert load(environ={**env, "WORKER_ID": "mine"}).worker_id == "mine"
    assert load(worker_id="given", environ={**env, "WORKER_ID": "mine"}).worker_id == "given"


def test_the_address_follows_from_the_api_and_defaults_to_this_machine() -> None:
    assert load(environ={"CONTROLLER_BASE": "http://10.0.0.5:8080"}).address == "10.0.0.5:9090"
    assert load(environ={"CONTROLLER_BASE": "https://[fd00::1]:8443"}).address == "[fd00::1]:9090"
    nowhere = load(environ={})
    assert (nowhere.address, nowhere.tls) == ("127.0.0.1:9090", False)
    assert nowhere.worker_id


@pytest.mark.parametrize(
    ("text", "target", "tls"),
    [
        ("localhost:9090", "localhost:9090", False),
        (":9090", "127.0.0.1:9090", False),
        ("10.0.0.5:9090", "10.0.0.5:9090", True),
        ("http://10.0.0.5:9090", "10.0.0.5:9090", False),
        ("https://127.0.0.1:9090/", "127.0.0.1:9090", True),
        ("plum.example", "plum.example:9090", True),
    ],
)
def test_tls_is_spoken_everywhere_but_on_this_machine(text: str, target: str, tls: bool) -> None:
    assert split_address(text) == (target, tls)


@pytest.mark.parametrize(
    "env",
    [
        {"CONTROLLER_GRPC_ADDR": "host:port"},
        {"CONTROLLER_GRPC_ADDR": "ftp://host:9090"},
        {"PLUM_WORKER_CAPACITY": "many"},
        {"PLUM_WORKER_CAPACITY": "0"},
        {"PLUM_WORKER_GRACE_SECONDS": "soon"},
        {"CONTROLLER_GRPC_ADDR": "10.0.0.5:9090", "PLUM_CA_FILE": "/nowhere/ca.crt"},
    ],
)
def test_what_cannot_be_used_is_named(env: dict[str, str]) -> None:
    with pytest.raises(WorkerConfigError) as raised:
        load(environ=env)

    assert list(env.values())[-1] in str(raised.value)


def test_names_of_builtins_belong_to_the_controller() -> None:
    with pytest.raises(ValueError, match="builtin"):
        Worker().task("builtin.echo")(lambda: None)
