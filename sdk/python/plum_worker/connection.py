r"""The worker's side of plum.worker.v1: one stream, opened again whenever it ends, and the leases that outlive it.

    Register (with what is held) -> Registered
    Assignment -> Acknowledge -> Execution -> Result, kept and repeated until Recorded
    Heartbeat every third of a lease          Cancel, lost -> the attempt is told to stop

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
from dataclasses import dataclass
from queue import SimpleQueue
from random import Random
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from plum_proto.generated.plum.worker.v1 import worker_pb2 as pb
from plum_proto.generated.plum.worker.v1 import worker_pb2_grpc

from plum_worker.attempts import Ending, Execution, stopped
from plum_worker.context import Context
from plum_worker.environment import WorkerOptions
from plum_worker.functions import TaskFunction

logger = logging.getLogger("plum_worker")

VERSION = 1
SDK = "plum-sdk-python/0.1.0"
RECONNECT_SECONDS, MAX_RECONNECT_SECONDS = 0.1, 5.0
"""Before the first new attempt, doubling; half of it is chance, so that many workers do not return at once."""
REGISTER_SECONDS = 15.0
STOP_SECONDS = 5.0
"""For a function to return after its time was over; the attempt ends then without it."""
PROGRESS_SECONDS = 0.2
"""Between two messages about the progress of one attempt."""
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

Pair = tuple[str, int]
make_stub: Any = worker_pb2_grpc.WorkerServiceStub


class WorkerRefusedError(Exception):
    """The controller does not take this worker. The message is the controller's."""


@dataclass(slots=True, eq=False)
class Held:
    """One attempt that this worker holds."""

    assignment: pb.Assignment
    context: Context
    execution: Execution
    started: bool = False
    result: pb.Result | None = None
    """What is handed in until it is recorded."""
    timer: asyncio.TimerHandle | None = None
    progress: tuple[float, str] | None = None
    progress_timer: asyncio.TimerHandle | None = None

    @property
    def pair(self) -> Pair:
        return self.assignment.lease.run_uid, self.assignment.lease.fencing_token


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
        self._user_loop = user_loop
        self._on_registered = on_registered
        self._random = Random()  # noqa: S311  spreads reconnects
        self._held: dict[str, Held] = {}
        """By uid of the run."""
        self._busy = 0
        """Functions that have not returned, also those whose attempt is over."""
        self._session = ""
        self._outbox: SimpleQueue[pb.WorkerMessage | None] | None = None
        """What gRPC sends; None in it ends our half of the stream. None while there is no stream."""
        self._stream_over = asyncio.Event()
        self._draining = False
        self._settled = asyncio.Event()
        """Nothing is held."""
        self._ending: asyncio.Future[None] | None = None
        self._heartbeat_seconds = 5.0
        self._reconnect_after = 0.0

    # ---- life

    async def run(self) -> None:
        """Serve until `stop`. Raises `WorkerRefusedError`."""
        self._ending = asyncio.get_running_loop().create_future()
        self._settled.set()
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
        if self._draining:
            return
        self._draining = True
        logger.info("worker stops", extra={"holds": len(self._held)})
        self._send(drain=pb.Drain(reason="the worker stops"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.grace_seconds):
                await self._settled.wait()
        for held in list(self._held.values()):
            if held.result is None:
                held.context.cancellation.cancel("the worker stops")
        if self._held:
            await asyncio.sleep(0.2)  # coroutines end at once
        for held in list(self._held.values()):
            if held.result is None or held.result.outcome == pb.OUTCOME_CANCELED:
                self._send(release=pb.Release(lease=held.assignment.lease, reason="WorkerStopped"))
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
            held=[pb.HeldLease(lease=held.assignment.lease, finished=held.result is not None) for held in self._held.values()],
        )

    def _registered(self, registered: pb.Registered) -> None:
        self._session = registered.session_id
        self._heartbeat_seconds = max(0.05, _seconds(registered.heartbeat_interval) or 5.0)
        for lease in registered.lost:
            self._lost(lease)
        for held in list(self._held.values()):
            if held.result is not None:
                self._send(result=held.result)
        logger.info("worker connected", extra={"address": self._options.address, "session": self._session})
        if self._draining:
            self._send(drain=pb.Drain(reason="the worker stops"))
        self._on_registered()

    async def _beat(self) -> None:
        while True:
            self._send(heartbeat=pb.Heartbeat(held=[held.assignment.lease for held in self._held.values()]))
            await asyncio.sleep(self._heartbeat_seconds)

    def _send(self, **message: Any) -> None:
        """Lost when there is no stream: what matters is said again with the next one."""
        if self._outbox is not None:
            self._outbox.put(pb.WorkerMessage(**message))

    def _handle(self, message: pb.ControllerMessage) -> None:
        match message.WhichOneof("message"):
            case "assignment":
                self._assigned(message.assignment)
            case "renewed":
                for lease in message.renewed.held:
                    self._confirmed(lease)
                for lease in message.renewed.lost:
                    self._lost(lease)
            case "cancel":
                held = self._find(message.cancel.lease)
                if held is not None:
                    held.context.cancellation.cancel(message.cancel.reason or "cancelled")
                    if not held.started:
                        self._finished(held, stopped(held.context), ran=False)
            case "recorded":
                held = self._find(message.recorded.lease)
                if held is not None:
                    self._drop(held)
                    if not message.recorded.accepted:
                        extra = {"run": held.assignment.run_name, "why": message.recorded.message}
                        logger.warning("result was not taken", extra=extra)
            case "go_away":
                self._reconnect_after = _seconds(message.go_away.reconnect_after) * (0.5 + self._random.random())
            case _:
                pass  # a later version of the protocol

    # ---- attempts

    def _assigned(self, assignment: pb.Assignment) -> None:
        function = self._functions.get(assignment.task)
        if function is None or self._draining or self._busy >= self._options.capacity:
            reason = "UnknownTask" if function is None else "Draining" if self._draining else "NoPlace"
            self._send(release=pb.Release(lease=assignment.lease, reason=reason))
            return
        uid = assignment.lease.run_uid
        if uid in self._held:  # an earlier lease of the same run, which this one ends
            self._lost(self._held[uid].assignment.lease)
        timeout = _seconds(assignment.timeout) if assignment.HasField("timeout") else None
        context = Context(
            task=assignment.task,
            run_name=assignment.run_name,
            namespace=assignment.namespace,
            attempt=assignment.attempt,
            idempotency_key=assignment.idempotency_key,
            timeout=timeout,
            priority=assignment.priority,
            labels=assignment.labels,
            traceparent=assignment.traceparent,
            report=lambda fraction, text: self._from_outside(self._progressed, held, fraction, text),
        )
        execution = Execution(
            function, assignment.payload, context, lambda ending: self._from_outside(self._finished, held, ending)
        )
        held = Held(assignment, context, execution)
        self._held[uid] = held
        self._settled.clear()
        self._loop = asyncio.get_running_loop()
        if timeout is not None:
            held.timer = self._loop.call_later(timeout, self._timed_out, held)
        self._send(acknowledge=pb.Acknowledge(lease=assignment.lease))
        if not assignment.at_most_once:
            self._start(held)

    def _from_outside(self, method: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the connection has ended
            self._loop.call_soon_threadsafe(method, *arguments)

    def _start(self, held: Held) -> None:
        held.started = True
        self._busy += 1
        held.execution.start(self._user_loop)

    def _confirmed(self, lease: pb.LeaseKey) -> None:
        """The controller knows that we hold it: an at-most-once attempt may begin."""
        held = self._find(lease)
        if held is not None and not held.started and held.result is None:
            self._start(held)

    def _finished(self, held: Held, ending: Ending, ran: bool = True) -> None:
        if ran:
            self._busy -= 1
        if self._held.get(held.pair[0]) is not held or held.result is not None:
            return  # it was over before
        held.result = _result(held, ending)
        if self._draining and ending.outcome == "CANCELED" and held.context.cancellation.reason == "the worker stops":
            return  # given back, by `stop`
        self._send(result=held.result)

    def _timed_out(self, held: Held) -> None:
        if self._held.get(held.pair[0]) is not held or held.result is not None:
            return
        limit = _seconds(held.assignment.timeout)
        held.context.cancellation.cancel(f"attempt {held.assignment.attempt} took longer than {limit:g} s", is_timeout=True)
        if not held.started:
            self._finished(held, stopped(held.context), ran=False)
            return
        held.timer = self._loop.call_later(STOP_SECONDS, self._give_up, held)

    def _give_up(self, held: Held) -> None:
        if self._held.get(held.pair[0]) is held and held.result is None:
            logger.warning("task does not stop, its place stays taken", extra={"run": held.assignment.run_name})
            self._finished(held, stopped(held.context), ran=False)

    def _progressed(self, held: Held, fraction: float, text: str) -> None:
        held.progress = (fraction, text)
        if held.progress_timer is None:
            self._send_progress(held)
            held.progress_timer = self._loop.call_later(PROGRESS_SECONDS, self._progress_again, held)

    def _progress_again(self, held: Held) -> None:
        held.progress_timer = None
        if held.progress is not None and held.result is None:
            self._progressed(held, *held.progress)

    def _send_progress(self, held: Held) -> None:
        if held.progress is not None and held.result is None:
            fraction, text = held.progress
            held.progress = None
            self._send(progress=pb.Progress(lease=held.assignment.lease, fraction=fraction, message=text))

    def _lost(self, lease: pb.LeaseKey) -> None:
        """Another worker has it, or the run has ended: stop, and hand nothing in."""
        held = self._find(lease)
        if held is not None:
            self._drop(held)
            held.context.cancellation.cancel("the lease was lost")
            logger.warning("lease was lost", extra={"run": held.assignment.run_name, "attempt": held.assignment.attempt})

    def _drop(self, held: Held) -> None:
        self._held.pop(held.pair[0], None)
        for timer in (held.timer, held.progress_timer):
            if timer is not None:
                timer.cancel()
        if not self._held:
            self._settled.set()

    def _find(self, lease: pb.LeaseKey) -> Held | None:
        held = self._held.get(lease.run_uid)
        return held if held is not None and held.pair[1] == lease.fencing_token else None


def _result(held: Held, ending: Ending) -> pb.Result:
    result = pb.Result(
        lease=held.assignment.lease,
        outcome=pb.Outcome.Value(f"OUTCOME_{ending.outcome}"),
        output=ending.output,
        log_tail=held.context.logger.tail,
    )
    if ending.outcome != "SUCCEEDED":
        failure = pb.Failure(reason=ending.reason, message=ending.message, permanent=ending.permanent)
        if ending.retry_after is not None:
            failure.retry_after.CopyFrom(_duration(ending.retry_after))
        result.failure.CopyFrom(failure)
    return result


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


def _seconds(duration: Duration) -> float:
    return float(duration.seconds + duration.nanos / 1e9)


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))
