"""plum.task as existing workers speak it: the generated stub, the stream, and nothing that the protocol does not have."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest
from plum_proto.generated.plum.task import task_service_pb2 as pb
from plum_proto.generated.plum.task import task_service_pb2_grpc
from plum_schemas.base import ObjectMeta
from plum_schemas.taskrun import TaskRun, TaskRunSpec
from plum_schemas.worker import Worker

from tests.integration.tasks.support import Tasks
from tests.support.server import RunningServer

_NUMBERS = itertools.count(1)
make_stub: Any = task_service_pb2_grpc.TaskServiceStub


class ClassicWorker:
    """What such a worker does, with one reader."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.requests: asyncio.Queue[Any] = asyncio.Queue()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(grpc.RpcError):
            while (request := await self.call.read()) is not grpc.aio.EOF:
                self.requests.put_nowait(request)

    async def answer(self, task_id: str, result: str = "", error: str = "") -> None:
        await self.call.write(pb.TaskAck(result=pb.TaskResponse(task_id=task_id, result=result, error=error)))

    async def next(self) -> pb.TaskRequest:
        async with asyncio.timeout(20):
            return await self.requests.get()


@contextlib.asynccontextmanager
async def classic(server: RunningServer, tasks: Tasks, name: str, *names: str, **labels: str) -> AsyncIterator[ClassicWorker]:
    async with grpc.aio.insecure_channel(server.workers, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = make_stub(channel).TaskStream(wait_for_ready=True)
        register = pb.WorkerRegister(
            worker_id=name,
            node_id="boat1",
            instance_id="",
            app_name="Sonar",
            app_version="2.1.0",
            tasks=list(names),
            labels={"namespace": tasks.namespace, **labels},
        )
        await call.write(pb.TaskAck(register=register))
        worker = ClassicWorker(call)
        await call.write(pb.TaskAck(heartbeat=pb.Heartbeat(worker_id=name)))
        try:
            yield worker
        finally:
            call.cancel()
            await asyncio.gather(worker.reader, return_exceptions=True)


async def start(tasks: Tasks, task: str, payload: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    spec = {"task": {"executor": "embedded", "task": task, **more}, "payload": payload or {}}
    name = f"run-{next(_NUMBERS)}"
    return await tasks.api.create(
        TaskRun(metadata=ObjectMeta(name=name, namespace=tasks.namespace), spec=msgspec.convert(spec, TaskRunSpec))
    )


async def test_tasks_come_over_the_stream_and_results_end_them(server: RunningServer, tasks: Tasks) -> None:
    async with classic(server, tasks, "Sonar_Worker.1", "detect") as worker:
        run = await start(tasks, "detect", {"zone": 4})
        request = await worker.next()
        assert request.task_id == run.metadata.uid.replace("-", "")
        assert (request.name, msgspec.json.decode(request.payload)) == ("detect", {"zone": 4})
        await worker.answer(request.task_id, '{"contacts": 2}')
        assert (await tasks.wait(run)).status.output == {"contacts": 2}

        text = await start(tasks, "detect")
        await worker.answer((await worker.next()).task_id, "just text")
        assert (await tasks.wait(text)).status.output == "just text"

        failing = await start(tasks, "detect")
        await worker.answer((await worker.next()).task_id, error="sonar is off")
        ended = await tasks.wait(failing)
        assert (ended.status.phase, ended.status.error) == ("Failed", "sonar is off")

        (shown,) = await tasks.api.list(Worker, tasks.namespace)
        assert (shown.spec.protocol, shown.spec.node_name, shown.spec.app_name) == ("classic", "boat1", "Sonar")
        assert shown.metadata.annotations == {"plum.dev/worker-id": "Sonar_Worker.1"}


async def test_it_gets_one_task_at_a_time_unless_it_says_more(server: RunningServer, tasks: Tasks) -> None:
    async with classic(server, tasks, "one", "single") as worker:
        first, second = await start(tasks, "single"), await start(tasks, "single")
        request = await worker.next()
        await asyncio.sleep(0.2)
        assert worker.requests.empty()
        await worker.answer(request.task_id)
        await worker.answer((await worker.next()).task_id)
        await tasks.wait(first)
        await tasks.wait(second)

    async with classic(server, tasks, "two", "double", capacity="2") as worker:
        for _ in range(2):
            await start(tasks, "double")
        assert (await worker.next()).task_id != (await worker.next()).task_id


async def test_a_result_after_a_reconnection_counts_and_one_after_the_lease_does_not(server: RunningServer, tasks: Tasks) -> None:
    run = await start(tasks, "detect")
    async with classic(server, tasks, "w1", "detect") as worker:
        request = await worker.next()
    async with classic(server, tasks, "w1", "detect") as worker:
        await worker.answer(request.task_id, '"after the cut"')
        ended = await tasks.wait(run)
        assert (ended.status.output, ended.status.attempt) == ("after the cut", 1)
        late = await start(tasks, "detect")
        request = await worker.next()

    async with classic(server, tasks, "w2", "detect") as other:
        again = await other.next()
        assert again.task_id == request.task_id
        async with classic(server, tasks, "w1", "detect") as worker:
            await worker.answer(request.task_id, '"too late"')
            await asyncio.sleep(0.1)
            await other.answer(again.task_id, '"in time"')
            ended = await tasks.wait(late)

    assert (ended.status.output, ended.status.worker, ended.status.attempt) == ("in time", "w2", 2)


async def test_both_protocols_are_served_side_by_side_and_the_rest_is_unimplemented(server: RunningServer, tasks: Tasks) -> None:
    async with grpc.aio.insecure_channel(server.workers) as channel:
        stub = make_stub(channel)
        for method, message in ((stub.ExecuteTask, pb.TaskRequest()), (stub.HealthCheck, pb.HealthRequest())):
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await method(message, wait_for_ready=True)
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
        call = stub.TaskStream()
        await call.write(pb.TaskAck(heartbeat=pb.Heartbeat(worker_id="w1")))
        assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
