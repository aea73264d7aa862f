"""plum.task: the stream that existing C++ and Go workers speak, over the same gateway.

It knows no leases, so the connection stands for them: a worker is there while its stream is open (HTTP/2 pings find dead
ones), and has a lease to come back with its result after a cut. It gets one task at a time unless its label `capacity` says more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import grpc
import msgspec
from plum_flow.task_states import Outcome
from plum_proto.generated.plum.task import task_service_pb2 as pb
from plum_proto.generated.plum.task import task_service_pb2_grpc
from plum_schemas.base import ObjectKey
from plum_schemas.taskrun import TaskRun

from plum_controller.domain.worker_names import worker_name
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError
from plum_controller.rpc.gateway import Gateway
from plum_controller.rpc.sessions import Doorkeeper, Hello, Lease, Session
from plum_controller.rpc.streams import EndOfStreamError, Outbox, end_of, peer_of, serve, token_in

logger = logging.getLogger(__name__)

CAPACITY_LABEL = "capacity"
MAX_OUTPUT_BYTES = 1024 * 1024
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def task_id(uid: str) -> str:
    """A run as this protocol and the `/v1` routes call it: 32 hexadecimal digits."""
    return uid.replace("-", "")


class ClassicLink:
    """Speaks to one worker. What the protocol has no word for is not said."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def assign(self, lease: Lease, run: TaskRun) -> None:
        task = run.status.task
        name = (task.task if task is not None else "") or run.spec.task_ref
        self._outbox.put(pb.TaskRequest(task_id=task_id(lease.uid), name=name, payload=_encode(run.input).decode()))

    def cancel(self, lease: Lease, reason: str, grace_seconds: float) -> None: ...

    def renewed(self, held: Sequence[Lease], lost: Sequence[tuple[str, int]]) -> None: ...

    def recorded(self, uid: str, fencing_token: int, accepted: bool, message: str) -> None: ...

    def go_away(self, reason: str, reconnect_seconds: float) -> None: ...

    def close(self, reason: str, *, unauthenticated: bool = False) -> None:
        self._outbox.end(grpc.StatusCode.UNAUTHENTICATED if unauthenticated else grpc.StatusCode.UNAVAILABLE, reason)


class TaskService(task_service_pb2_grpc.TaskServiceServicer):
    """Serves classic workers. ExecuteTask and HealthCheck answer UNIMPLEMENTED, as they always did."""

    def __init__(self, gateway: Gateway, door: Doorkeeper, *, secure: bool) -> None:
        self._gateway = gateway
        self._door = door
        self._secure = secure

    async def TaskStream(self, request_iterator: Any, context: Any) -> None:  # noqa: N802  named by the protocol
        """One stream, from its registration to its end."""
        try:
            await self._stream(context)
        except EndOfStreamError as error:
            await context.abort(error.code, error.message)

    async def _stream(self, context: Any) -> None:
        first = await context.read()
        if first is grpc.aio.EOF:
            return
        if first.WhichOneof("message") != "register" or not first.register.worker_id:
            raise EndOfStreamError(grpc.StatusCode.FAILED_PRECONDITION, "the first message must be register, with a worker_id")
        outbox = Outbox()
        link = ClassicLink(outbox)
        try:
            hello = self._hello(first.register, context)
            welcome = await self._gateway.register(hello, link)
        except ApiStatusError as error:
            logger.warning("worker refused", extra=fields(worker=first.register.worker_id, error=error.message))
            raise end_of(error) from error
        session = welcome.session
        try:
            self._gateway.activate(session)
            await serve(context, outbox, lambda message: self._handle(session, message))
        finally:
            self._gateway.disconnect(session, link)

    def _hello(self, register: pb.WorkerRegister, context: Any) -> Hello:
        caller = self._door.identify(token_in(context), peer_of(context), secure=self._secure)
        key = ObjectKey(register.labels.get("namespace") or "default", worker_name(register.worker_id))
        self._door.admit(caller, key.namespace, key.name, register.tasks)
        return Hello(
            key=key,
            tasks=tuple(dict.fromkeys(task for task in register.tasks if task and not task.startswith("builtin."))),
            capacity=_capacity(register.labels.get(CAPACITY_LABEL, "")),
            labels=dict(register.labels),
            protocol="classic",
            worker_id=register.worker_id,
            node=register.node_id,
            instance=register.instance_id,
            app=register.app_name,
            app_version=register.app_version,
            caller=caller,
        )

    def _handle(self, session: Session, message: pb.TaskAck) -> None:
        self._gateway.heard(session)
        if message.WhichOneof("message") != "result":
            return
        response = message.result
        for lease in session.leases.values():
            if response.task_id in (task_id(lease.uid), lease.uid):
                self._gateway.leases.result(session, lease.uid, lease.fencing_token, outcome_of(response))
                return
        logger.info("result refused", extra=fields(worker=str(session.key), task=response.task_id))


def outcome_of(response: pb.TaskResponse) -> Outcome:
    """A result that is no JSON is taken as text."""
    if response.error:
        return Outcome("Failed", "Error", response.error[:10_000])
    if len(response.result) > MAX_OUTPUT_BYTES:
        text = f"the result has {len(response.result)} bytes, at most {MAX_OUTPUT_BYTES} are kept"
        return Outcome("Failed", "OutputTooLarge", text, retryable=False)
    try:
        return Outcome("Succeeded", output=_decode(response.result) if response.result else None)
    except (msgspec.DecodeError, RecursionError):
        return Outcome("Succeeded", output=response.result)


def _capacity(text: str) -> int:
    return min(int(text), 10_000) if text.isascii() and text.isdigit() and int(text) else 1
