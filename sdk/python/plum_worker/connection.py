r"""The worker's side of plum.worker.v1: one stream, opened again whenever it ends, and the leases that outlive it.

    Register (with what is held) -> Registered
    Assignment, Cancel, Recorded, lost leases -> Holding
    Heartbeat every third of a lease

Runs in a thread of its own with its own event loop, so that nothing a task does delays a heartbeat. gRPC itself is used through
its threads, so that an application may use gRPC with asyncio beside it. While the controller is away, tasks go on; their
results are handed in when it is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from random import Random
from typing import Any

import grpc
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb
from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc

from plum_worker.environment import WorkerOptions
from plum_worker.functions import TaskFunction
from plum_worker.holding import STOPS, Holding, seconds_of

logger = logging.getLogger("plum_worker")

VERSION = 1
SDK = "plum-sdk-python/0.1.0"
RECONNECT_SECONDS, MAX_RECONNECT_SECONDS = 0.1, 5.0
"""Before the first new attempt, doubling; half of it is chance, so that many workers do not return at once."""
REGISTER_SECONDS = 15.0
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
REFUSED = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""Trying again changes nothing; a person must act."""

make_stub: Any = worker_pb2_grpc.WorkerServiceStub


class WorkerRefusedError(Exception):
    """The controller does not take this worker. The message is the controller's."""


class Connection:
    """From `run` to `stop`. All other methods are for its own event loop."""

    def __init__(
        self,
        options: WorkerOptions,
        functions: Mapping[str, TaskFunction],
        user_loop: asyncio.AbstractEventLoop,
        on_registered: Callable[[], None] = lambda: None,
    ) -> None:
        """`user_loop` is where coroutine functions run. `on_registered` is called from the connection's thread."""
        self._options = options
        self._functions = functions
        self._on_registered = on_registered
        self._random = Random()  # noqa: S311  spreads reconnects
        self._holding = Holding(functions, options.capacity, user_loop, self._send)
        self._session = ""
        self._outbox: SimpleQueue[pb.WorkerMessage | None] | None = None
        """What gRPC sends; None in it ends our half of the stream. None while there is no stream."""
        self._stream_over = asyncio.Event()
        self._ending: asyncio.Future[None] | None = None
        self._heartbeat_seconds = 5.0
        self._reconnect_after = 0.0

    # ---- life

    async def run(self) -> None:
        """Serve until `stop`. Raises `WorkerRefusedError`."""
        self._ending = asyncio.get_running_loop().create_future()
        connecting = asyncio.create_task(self._stay_connected())
        try:
            await asyncio.wait([connecting, self._ending], return_when=asyncio.FIRST_COMPLETED)
            if connecting.done():
                connecting.result()
        finally:
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)

    async def stop(self) -> None:
        """Take nothing new, finish within the grace, give back the rest, and end `run`."""
        holding = self._holding
        if holding.draining:
            return
        holding.draining = True
        logger.info("worker stops", extra={"holds": len(holding)})
        self._send(drain=pb.Drain(reason=STOPS))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace_seconds):
                await holding.settled.wait()
        await holding.break_off()
        await self._flush()
        if self._ending is not None and not self._ending.done():
            self._ending.set_result(None)

    async def _flush(self) -> None:
        """Half-close the stream after everything was written, and wait a moment for the controller to end it."""
        outbox = self._outbox
        if outbox is None:
            return
        outbox.put(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self._stream_over.wait()

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            try:
                with self._channel() as channel:
                    await self._stream(channel)
                failures = 1
            except grpc.RpcError as error:
                failures = 1 if self._outbox is not None else failures + 1
                self._report(error, failures)
            finally:
                self._outbox = None
            longest = min(MAX_RECONNECT_SECONDS, self._heartbeat_seconds)
            wait = min(longest, RECONNECT_SECONDS * 2 ** min(failures, 10)) * (0.5 + self._random.random() / 2)
            delay = max(self._reconnect_after, wait)
            self._reconnect_after = 0.0
            await asyncio.sleep(delay)

    def _report(self, error: Any, failures: int) -> None:
        """Raises `WorkerRefusedError` for what only a person can mend."""
        code, details = error.code(), error.details() or ""
        if code in REFUSED:
            raise WorkerRefusedError(f"the controller at {self._options.address} refuses this worker: {details}") from error
        level = logging.WARNING if code is grpc.StatusCode.ALREADY_EXISTS or failures in (3, 10) else logging.INFO
        logger.log(level, "worker is not connected, trying again", extra={"address": self._options.address, "error": details})

    def _channel(self) -> Any:
        options = [
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2000),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_timeout_ms", 5_000),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
        ]
        if not self._options.tls:
            return grpc.insecure_channel(self._options.address, options=options)
        credentials = grpc.ssl_channel_credentials(self._options.ca or None)
        return grpc.secure_channel(self._options.address, credentials, options=options)

    # ---- one stream

    async def _stream(self, channel: Any) -> None:
        """Raises `grpc.RpcError` as the stream ended with."""
        token = self._options.token
        outbox: SimpleQueue[pb.WorkerMessage | None] = SimpleQueue()
        outbox.put(pb.WorkerMessage(register=self._registration()))
        incoming: asyncio.Queue[pb.ControllerMessage | BaseException | None] = asyncio.Queue()
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        call = make_stub(channel).Connect(iter(outbox.get, None), metadata=metadata)
        threading.Thread(target=_read, args=(call, asyncio.get_running_loop(), incoming), name="plum-reader", daemon=True).start()
        beating: asyncio.Task[None] | None = None
        self._stream_over.clear()
        try:
            async with asyncio.timeout(REGISTER_SECONDS):
                first = _message(await incoming.get())
            if first is None:
                return
            self._outbox = outbox
            self._registered(first.registered)
            beating = asyncio.create_task(self._beat())
            while (message := _message(await incoming.get())) is not None:
                self._handle(message)
        except TimeoutError:
            logger.warning("the controller does not answer", extra={"address": self._options.address})
        finally:
            self._stream_over.set()
            call.cancel()
            outbox.put(None)  # the thread that sends waits for it
            if beating is not None:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)

    def _registration(self) -> pb.Register:
        options = self._options
        return pb.Register(
            version=VERSION,
            worker_id=options.worker_id,
            namespace=options.namespace,
            token=options.token,
            session_id=self._session,
            tasks=sorted(self._functions),
            capacity=options.capacity,
            labels=dict(options.labels),
            node_name=options.node,
            instance_name=options.instance,
            app_name=options.app,
            app_version=options.app_version,
            sdk=SDK,
            held=[pb.HeldLease(lease=held.assignment.lease, finished=held.result is not None) for held in self._holding],
        )

    def _registered(self, registered: pb.Registered) -> None:
        self._session = registered.session_id
        self._heartbeat_seconds = max(0.05, seconds_of(registered.heartbeat_interval) or 5.0)
        for lease in registered.lost:
            self._holding.lost(lease)
        for held in self._holding:
            if held.result is not None:
                self._send(result=held.result)
        logger.info("worker connected", extra={"address": self._options.address, "session": self._session})
        if self._holding.draining:
            self._send(drain=pb.Drain(reason=STOPS))
        self._on_registered()

    async def _beat(self) -> None:
        while True:
            self._send(heartbeat=pb.Heartbeat(held=[held.assignment.lease for held in self._holding]))
            await asyncio.sleep(self._heartbeat_seconds)

    def _send(self, **message: Any) -> None:
        """Lost when there is no stream: what matters is said again with the next one."""
        if self._outbox is not None:
            self._outbox.put(pb.WorkerMessage(**message))

    def _handle(self, message: pb.ControllerMessage) -> None:
        match message.WhichOneof("message"):
            case "assignment":
                self._holding.assigned(message.assignment)
            case "renewed":
                for lease in message.renewed.held:
                    self._holding.confirmed(lease)
                for lease in message.renewed.lost:
                    self._holding.lost(lease)
            case "cancel":
                self._holding.canceled(message.cancel)
            case "recorded":
                self._holding.recorded(message.recorded)
            case "go_away":
                self._reconnect_after = seconds_of(message.go_away.reconnect_after) * (0.5 + self._random.random())
            case _:
                pass  # a later version of the protocol


def _read(call: Any, loop: asyncio.AbstractEventLoop, incoming: asyncio.Queue[Any]) -> None:
    """In a thread of its own: gRPC's messages, then None or the error that the stream ended with."""
    end: BaseException | None = None
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
        try:
            for message in call:
                loop.call_soon_threadsafe(incoming.put_nowait, message)
        except grpc.RpcError as error:
            end = error
        loop.call_soon_threadsafe(incoming.put_nowait, end)


def _message(item: Any) -> Any:
    if isinstance(item, BaseException):
        raise item
    return item
