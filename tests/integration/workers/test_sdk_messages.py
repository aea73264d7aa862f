"""The Python SDK against a controller that says exactly what a test wants, over real gRPC."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb
from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc
from plum_worker import Context, Worker

base: Any = worker_pb2_grpc.WorkerServiceServicer


class Controller(base):  # type: ignore[misc]
    """Answers registrations; everything else is up to the test."""

    def __init__(self) -> None:
        self.registrations: list[pb.Register] = []
        self.said: asyncio.Queue[Any] = asyncio.Queue()
        self.context: Any = None
        self.end = asyncio.Event()
        """Ends the stream."""
        self._writing = asyncio.Lock()

    async def Connect(self, request_iterator: Any, context: Any) -> None:
        first = await context.read()
        self.registrations.append(first.register)
        self.context = context
        self.end.clear()
        held = [one.lease for one in first.register.held]
        registered = pb.Registered(
            version=1,
            session_id="s1",
            heartbeat_interval=Duration(nanos=100_000_000),
            lease_duration=Duration(seconds=1),
            resumed=held,
        )
        await self.tell(registered=registered)
        tasks = [asyncio.create_task(self._read(context)), asyncio.create_task(self.end.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()

    async def _read(self, context: Any) -> None:
        while (message := await context.read()) is not grpc.aio.EOF:
            if message.WhichOneof("message") != "heartbeat":
                self.said.put_nowait(message)

    async def tell(self, **message: Any) -> None:
        async with self._writing:
            await self.context.write(pb.ControllerMessage(**message))

    async def hear(self, kind: str) -> Any:
        async with asyncio.timeout(20):
            while True:
                message = await self.said.get()
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)

    async def silent(self, kind: str, seconds: float = 0.3) -> None:
        await asyncio.sleep(seconds)
        kinds = [self.said.get_nowait().WhichOneof("message") for _ in range(self.said.qsize())]
        assert kind not in kinds


@contextlib.asynccontextmanager
async def connected(worker: Worker, port: int) -> AsyncIterator[None]:
    serving = asyncio.create_task(worker.serve())
    try:
        async with asyncio.timeout(20):
            await worker.wait_registered()
        yield
    finally:
        worker.stop()
        async with asyncio.timeout(20):
            await serving


@pytest.fixture
async def controller() -> AsyncIterator[tuple[Controller, int]]:
    made = Controller()
    server = grpc.aio.server()
    generated: Any = worker_pb2_grpc
    generated.add_WorkerServiceServicer_to_server(made, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield made, port
    await server.stop(0)


def assignment(task: str, uid: str = "u1", token: int = 1, **more: Any) -> pb.Assignment:
    return pb.Assignment(lease=pb.LeaseKey(run_uid=uid, fencing_token=token), task=task, run_name=uid, attempt=1, **more)


async def test_at_most_once_waits_for_the_confirmation(controller: tuple[Controller, int]) -> None:
    said, port = controller
    worker = Worker(f"127.0.0.1:{port}", grace_seconds=0.1)
    begun = threading.Event()

    @worker.task("once")
    def once() -> None:
        begun.set()

    async with connected(worker, port):
        given = assignment("once", at_most_once=True)
        await said.tell(assignment=given)
        assert (await said.hear("acknowledge")).lease == given.lease
        await said.silent("result")
        assert not begun.is_set()

        await said.tell(renewed=pb.Renewed(held=[given.lease]))
        result = await said.hear("result")
        assert (result.outcome, begun.is_set()) == (pb.OUTCOME_SUCCEEDED, True)
        await said.tell(recorded=pb.Recorded(lease=given.lease, accepted=True))


async def test_what_it_has_no_place_or_no_function_for_goes_back(controller: tuple[Controller, int]) -> None:
    said, port = controller
    worker = Worker(f"127.0.0.1:{port}", capacity=1, grace_seconds=0.1)
    go = threading.Event()
    worker.task("wait")(lambda: go.wait(20) and None)

    async with connected(worker, port):
        await said.tell(assignment=assignment("wait", "u1"))
        await said.hear("acknowledge")
        await said.tell(assignment=assignment("wait", "u2"))
        assert (await said.hear("release")).reason == "NoPlace"
        await said.tell(assignment=assignment("else", "u3"))
        assert (await said.hear("release")).reason == "UnknownTask"
        go.set()
        await said.hear("result")
        await said.tell(recorded=pb.Recorded(lease=assignment("wait").lease, accepted=True))


async def test_a_lost_lease_stops_the_task_and_hands_nothing_in(controller: tuple[Controller, int]) -> None:
    said, port = controller
    worker = Worker(f"127.0.0.1:{port}")
    stopped = threading.Event()

    @worker.task("wait")
    def wait(payload: Any, context: Context) -> None:
        context.cancellation.wait(20)
        stopped.set()

    async with connected(worker, port):
        given = assignment("wait")
        await said.tell(assignment=given)
        await said.hear("acknowledge")
        await said.tell(renewed=pb.Renewed(lost=[given.lease]))
        assert await asyncio.to_thread(stopped.wait, 10)
        await said.silent("result")


async def test_a_result_is_repeated_until_it_is_recorded_and_names_itself_when_it_registers(
    controller: tuple[Controller, int],
) -> None:
    said, port = controller
    worker = Worker(f"127.0.0.1:{port}")
    worker.task("quick")(lambda: "done")

    async with connected(worker, port):
        given = assignment("quick")
        await said.tell(assignment=given)
        first = await said.hear("result")
        await said.tell(go_away=pb.GoAway(reconnect_after=Duration(nanos=50_000_000)))
        said.end.set()
        again = await said.hear("result")
        await said.tell(recorded=pb.Recorded(lease=given.lease, accepted=True))

        assert first == again
        second = said.registrations[1]
        assert (second.session_id, [(one.lease, one.finished) for one in second.held]) == ("s1", [(given.lease, True)])


async def test_a_newer_lease_of_the_same_run_replaces_the_older(controller: tuple[Controller, int]) -> None:
    said, port = controller
    worker = Worker(f"127.0.0.1:{port}", capacity=3)

    @worker.task("wait")
    async def wait(payload: Any, context: Context) -> int:
        await asyncio.sleep(0.2)
        return context.attempt

    async with connected(worker, port):
        await said.tell(assignment=assignment("wait", token=1))
        newer = assignment("wait", token=2)
        newer.attempt = 2
        await said.tell(assignment=newer)
        result = await said.hear("result")
        assert (result.lease.fencing_token, result.output) == (2, b"2")
        await said.tell(recorded=pb.Recorded(lease=newer.lease, accepted=True))
        await said.silent("result", 0.1)
