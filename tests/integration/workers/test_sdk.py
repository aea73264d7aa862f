"""The Python SDK against a real controller: typed payloads, both kinds of functions, failures, cancellation, capacity."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from plum_schemas.base import ObjectMeta
from plum_schemas.taskrun import TaskRun, TaskRunSpec
from plum_worker import Context, TaskError, Worker
from plum_worker.connection import WorkerRefusedError

from tests.integration.tasks.support import Tasks
from tests.support.proxy import proxy
from tests.support.server import RunningServer

_NUMBERS = itertools.count(1)


@dataclass
class Size:
    width: int
    height: int = 2


class Point(msgspec.Struct):
    x: float


class Order(pydantic.BaseModel):
    item: str
    count: int = pydantic.Field(gt=0)


class Area(pydantic.BaseModel):
    area: int


def make_worker(server: RunningServer, tasks: Tasks, **more: Any) -> Worker:
    return Worker(more.pop("address", server.workers), worker_id=f"sdk-{next(_NUMBERS)}", namespace=tasks.namespace, **more)


@contextlib.asynccontextmanager
async def serving(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.serve())
    try:
        async with asyncio.timeout(20):
            await worker.wait_registered()
        yield
    finally:
        worker.stop()
        async with asyncio.timeout(20):
            await task


async def start(tasks: Tasks, task: str, payload: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    spec = {"task": {"executor": "embedded", "task": task, **more}, "payload": payload or {}}
    name = f"run-{next(_NUMBERS)}"
    return await tasks.api.create(
        TaskRun(metadata=ObjectMeta(name=name, namespace=tasks.namespace), spec=msgspec.convert(spec, TaskRunSpec))
    )


async def run(tasks: Tasks, task: str, payload: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    return await tasks.wait(await start(tasks, task, payload, **more))


async def test_functions_get_what_their_signatures_ask_for(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks, capacity=4)

    @worker.task("area")
    def area(size: Size) -> Area:
        return Area(area=size.width * size.height)

    @worker.task("point")
    async def point(at: Point, context: Context) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"x": at.x, "attempt": context.attempt, "run": context.run_name}

    @worker.task()
    def order(order: Order) -> Order:
        return order

    @worker.task("nothing")
    def nothing() -> None:
        return None

    assert worker.tasks == ["area", "nothing", "order", "point"]
    async with serving(worker):
        assert (await run(tasks, "area", {"width": 3})).status.output == {"area": 6}
        found = await run(tasks, "point", {"x": 1.5})
        assert found.status.output == {"x": 1.5, "attempt": 1, "run": found.metadata.name}
        assert (await run(tasks, "order", {"item": "rope", "count": 2})).status.output == {"item": "rope", "count": 2}
        assert (await run(tasks, "nothing")).status.output is None

        for task, payload, words in (("area", {"width": "3"}, "width"), ("order", {"item": "rope", "count": 0}, "count")):
            bad = await run(tasks, task, payload, retry={"limit": 5})
            assert (bad.status.phase, bad.status.reason, bad.status.attempt) == ("Failed", "InvalidPayload", 1)
            assert words in bad.status.error


async def test_failures_say_what_went_wrong_and_are_tried_again_as_they_ask(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks)

    @worker.task("fails")
    def fails(payload: dict[str, Any], context: Context) -> str:
        context.logger.info("trying %s", payload["how"])
        if payload["how"] == "once" and context.attempt > 1:
            return "in the end"
        if payload["how"] == "permanent":
            raise TaskError("the device is gone", "DeviceGone", permanent=True)
        if payload["how"] == "unwritable":
            return object()  # type: ignore[return-value]
        raise ConnectionError("no answer")

    async with serving(worker):
        policy = {"limit": 2, "initial": "10ms", "on": ["ConnectionError"]}
        once = await run(tasks, "fails", {"how": "once"}, retry=policy)
        permanent = await run(tasks, "fails", {"how": "permanent"}, retry=policy)
        unwritable = await run(tasks, "fails", {"how": "unwritable"}, retry=policy)
        always = await run(tasks, "fails", {"how": "always"}, retry=policy)

    assert (once.status.output, once.status.attempt) == ("in the end", 2)
    assert (permanent.status.reason, permanent.status.error) == ("DeviceGone", "the device is gone")
    assert (unwritable.status.reason, unwritable.status.attempt) == ("InvalidOutput", 1)
    assert (always.status.reason, always.status.error, always.status.attempt) == ("ConnectionError", "no answer", 3)
    assert "info: trying always" in always.status.stdout
    assert "Traceback" in always.status.stdout


async def test_cancellation_and_timeouts_reach_both_kinds_of_functions(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks, capacity=4)
    began: list[str] = []
    stopped: list[str] = []

    @worker.task("thread")
    def thread(payload: dict[str, Any], context: Context) -> None:
        began.append("thread")
        while True:
            context.progress(0.5, "at it")
            if context.cancellation.wait(0.01):
                stopped.append(f"thread {context.cancellation.is_timeout}")

    @worker.task("coroutine")
    async def coroutine(payload: dict[str, Any], context: Context) -> None:
        began.append("coroutine")
        try:
            await asyncio.sleep(60)
        finally:
            stopped.append(f"coroutine {context.cancellation.is_timeout}")

    async with serving(worker):
        for task in ("thread", "coroutine"):
            running = await start(tasks, task)
            async with asyncio.timeout(40):
                while task not in began:  # the run is Running when it is given to the worker, which begins it a moment later
                    await asyncio.sleep(0.01)
            await tasks.cancel(running)
            assert (await tasks.wait(running)).status.phase == "Canceled"
            late = await run(tasks, task, timeout="1s")
            assert late.status.phase == "Timeout"
        async with asyncio.timeout(40):  # a thread notices its end a moment after the run has ended
            while len(stopped) < len(began):
                await asyncio.sleep(0.01)

    assert {"thread False", "coroutine False"} <= set(stopped)
    assert sorted(began) == sorted(line.split()[0] for line in stopped)


async def test_no_more_than_its_capacity_runs_at_once(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks, capacity=3)
    lock, now, most = threading.Lock(), 0, 0

    @worker.task("count")
    def count(payload: dict[str, Any]) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    async with serving(worker):
        runs = [await start(tasks, "count", {"n": n}) for n in range(30)]
        for one in runs:
            assert (await tasks.wait(one)).status.phase == "Succeeded"

    assert most == 3


async def test_a_blocked_event_loop_costs_no_lease(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks)

    @worker.task("rude")
    async def rude(payload: dict[str, Any]) -> str:
        time.sleep(4)  # longer than a lease
        return "done"

    async with serving(worker):
        ended = await run(tasks, "rude")

    assert (ended.status.phase, ended.status.attempt) == ("Succeeded", 1)


async def test_it_connects_again_and_hands_in_what_it_did_meanwhile(server: RunningServer, tasks: Tasks) -> None:
    with proxy(f"http://{server.workers}") as cable:
        worker = make_worker(server, tasks, address=cable.url)
        go = threading.Event()

        @worker.task("wait")
        def wait(payload: dict[str, Any]) -> str:
            go.wait(20)
            return "done meanwhile"

        async with serving(worker):
            running = await start(tasks, "wait")
            await tasks.wait(running, lambda found: found.status.phase == "Running")
            cable.cut("reset")
            go.set()
            await asyncio.sleep(0.3)
            cable.heal()
            ended = await tasks.wait(running)

    assert (ended.status.output, ended.status.attempt) == ("done meanwhile", 1)


async def test_at_most_once_runs_once(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks)

    @worker.task("once")
    def once(payload: dict[str, Any], context: Context) -> str:
        return context.idempotency_key

    async with serving(worker):
        ended = await run(tasks, "once", execution="AtMostOnce")

    assert ended.status.output == ended.status.idempotency_key != ""


async def test_a_worker_that_is_refused_says_why(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks, token="plum_wrong")
    worker.task("t")(lambda: None)

    with pytest.raises(WorkerRefusedError, match="token"):
        async with asyncio.timeout(20):
            await worker.serve()


async def test_a_worker_without_tasks_and_doubled_ones_are_mistakes(server: RunningServer, tasks: Tasks) -> None:
    worker = make_worker(server, tasks)
    with pytest.raises(ValueError, match="no tasks"):
        await worker.serve()
    worker.task("t")(lambda: None)
    with pytest.raises(ValueError, match="there already"):
        worker.task("t")(lambda: None)
