"""A worker that says exactly what a test wants, over real gRPC.

async with raw_worker(server.workers, "w1", namespace, tasks=["t"]) as worker:
    assignment = await worker.expect("assignment")
    worker.send(result=succeeded(assignment, b"1"))
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb
from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc

SECONDS = 20.0
make_stub: Any = worker_pb2_grpc.WorkerServiceStub


class RawWorker:
    """One stream."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.registered = pb.Registered()
        self._early: list[pb.ControllerMessage] = []
        self._lock = asyncio.Lock()
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        """Giving up on a read would end the call, so somebody else reads."""
        with contextlib.suppress(grpc.RpcError):
            while (message := await self.call.read()) is not grpc.aio.EOF:
                self._incoming.put_nowait(message)
        self._incoming.put_nowait(None)

    async def say(self, **message: Any) -> None:
        """Send and wait until it is on its way."""
        async with self._lock:
            await self.call.write(pb.WorkerMessage(**message))

    async def beat(self, *leases: pb.LeaseKey) -> None:
        await self.say(heartbeat=pb.Heartbeat(held=leases))

    async def expect(self, kind: str, seconds: float = SECONDS) -> Any:
        """The next message of this kind. Others are kept."""
        for message in self._early:
            if message.WhichOneof("message") == kind:
                self._early.remove(message)
                return getattr(message, kind)
        async with asyncio.timeout(seconds):
            while True:
                message = await self._incoming.get()
                assert message is not None, f"the stream ended with {await self.call.code()}: {await self.call.details()}"
                if message.WhichOneof("message") == kind:
                    return getattr(message, kind)
                self._early.append(message)

    def drop(self, kind: str) -> int:
        """Forget the messages of this kind that have come. How many there were."""
        while not self._incoming.empty() and (message := self._incoming.get_nowait()) is not None:
            self._early.append(message)
        before = len(self._early)
        self._early = [message for message in self._early if message.WhichOneof("message") != kind]
        return before - len(self._early)

    async def nothing(self, kind: str, seconds: float = 0.3) -> None:
        """No message of this kind comes for a while."""
        with contextlib.suppress(TimeoutError):
            raise AssertionError(f"unexpected: {await self.expect(kind, seconds)}")

    async def end(self) -> tuple[grpc.StatusCode, str]:
        """How the controller ended the stream."""
        async with asyncio.timeout(SECONDS):
            return await self.call.code(), await self.call.details()


@contextlib.asynccontextmanager
async def connected(address: str, *, token: str = "", ca: bytes = b"") -> AsyncIterator[RawWorker]:
    """A stream on which nothing was said."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.enable_http_proxy", 0)]
    channel = (
        grpc.aio.secure_channel(address, grpc.ssl_channel_credentials(ca), options=options)
        if ca
        else grpc.aio.insecure_channel(address, options=options)
    )
    async with channel:
        call = make_stub(channel).Connect(metadata=metadata, wait_for_ready=True)
        worker = RawWorker(call)
        try:
            yield worker
        finally:
            call.cancel()
            await asyncio.gather(worker.reader, return_exceptions=True)


def register(name: str, namespace: str, tasks: Sequence[str], **more: Any) -> pb.Register:
    return pb.Register(**{"version": 1, "worker_id": name, "namespace": namespace, "tasks": tasks, "capacity": 1, **more})


@contextlib.asynccontextmanager
async def raw_worker(
    address: str, name: str, namespace: str, *, tasks: Sequence[str] = ("t",), token: str = "", ca: bytes = b"", **more: Any
) -> AsyncIterator[RawWorker]:
    """A registered one. Further fields are those of Register."""
    async with connected(address, token=token, ca=ca) as worker:
        await worker.say(register=register(name, namespace, tasks, **more))
        worker.registered = await worker.expect("registered")
        yield worker


def succeeded(assignment: pb.Assignment, output: bytes = b"") -> pb.Result:
    return pb.Result(lease=assignment.lease, outcome=pb.OUTCOME_SUCCEEDED, output=output)


def failed(assignment: pb.Assignment, reason: str = "Error", *, permanent: bool = False) -> pb.Result:
    failure = pb.Failure(reason=reason, message=f"it went wrong: {reason}", permanent=permanent)
    return pb.Result(lease=assignment.lease, outcome=pb.OUTCOME_FAILED, failure=failure)
