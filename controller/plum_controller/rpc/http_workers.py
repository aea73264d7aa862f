"""HTTP workers: the controller sends the task to them, and their answer is its result.

    POST <url>  {"taskId": ..., "name": ..., "payload": {...}}   -> 2xx: the result; anything else: a failure

They are made from Worker objects with `protocol: http`, registered over `/v1/workers/register` or applied by people. One with
a `ttl` is lost without a heartbeat for so long. Closing the connection is all that a cancellation can say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

import msgspec
from plum_client.outgoing import OutgoingAnswer, OutgoingClient, OutgoingError
from plum_flow.task_states import Outcome
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.taskrun import TaskRun
from plum_schemas.worker import Worker

from plum_controller.resources.service import ResourceService
from plum_controller.rpc.gateway import Gateway
from plum_controller.rpc.sessions import Hello, Lease, LeaseState, Session
from plum_controller.rpc.worker_objects import WORKERS, decode_worker
from plum_controller.store.cache import Watcher, WatchEvent

logger = logging.getLogger(__name__)

MAX_SECONDS = 86_400.0
"""For an answer, where the task has no timeout."""
MAX_OUTPUT_BYTES = 1024 * 1024
NOT_SENT = frozenset({"NotAllowed", "BadUrl", "Unresolvable", "Unreachable"})
"""Reasons of a call that the worker never saw."""


class HttpLink:
    """Speaks to one worker, one request per task."""

    def __init__(self, client: OutgoingClient, gateway: Gateway) -> None:
        self._client = client
        self._gateway = gateway
        self._calls: dict[Lease, asyncio.Task[None]] = {}
        self.session: Session | None = None

    def assign(self, lease: Lease, run: TaskRun) -> None:
        task = asyncio.create_task(self._call(lease, run), name=f"http-worker-{lease.key}")
        self._calls[lease] = task
        task.add_done_callback(lambda done: self._calls.pop(lease, None))

    def cancel(self, lease: Lease, reason: str, grace_seconds: float) -> None:
        call = self._calls.get(lease)
        if call is not None and not lease.is_held and self.session is not None:
            call.cancel()
            self._gateway.leases.drop(self.session, lease)

    def renewed(self, held: Sequence[Lease], lost: Sequence[tuple[str, int]]) -> None: ...

    def recorded(self, uid: str, fencing_token: int, accepted: bool, message: str) -> None: ...

    def go_away(self, reason: str, reconnect_seconds: float) -> None: ...

    def close(self, reason: str, *, unauthenticated: bool = False) -> None:
        for call in list(self._calls.values()):
            call.cancel()

    async def _call(self, lease: Lease, run: TaskRun) -> None:
        session, leases = self.session, self._gateway.leases
        assert session is not None  # noqa: S101  set before it gets work
        task = run.status.task
        url = session.hello.url
        seconds = parse_duration(task.timeout) if task is not None and task.timeout is not None else MAX_SECONDS
        body = {
            "taskId": lease.uid.replace("-", ""),
            "name": (task.task if task is not None else "") or run.spec.task_ref,
            "payload": run.input,
        }
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": run.status.idempotency_key or lease.uid,
            "X-Plum-Attempt": str(run.status.attempt),
        }
        try:
            answer = await self._client.request(
                "POST", url, headers, msgspec.json.encode(body), timeout=seconds, max_bytes=MAX_OUTPUT_BYTES
            )
        except OutgoingError as error:
            self._failed(session, lease, error)
            return
        if session.failures:
            session.failures = 0
            self._gateway.objects.touch(session)
        leases.result(session, lease.uid, lease.fencing_token, outcome_of(answer))

    def _failed(self, session: Session, lease: Lease, error: OutgoingError) -> None:
        leases = self._gateway.leases
        if lease.state is not LeaseState.RUNNING:
            return
        if error.reason in NOT_SENT:
            leases.return_unbegun(session, lease, error.reason, f"worker {session.key.name}: {error.message}")
            self._gateway.objects.touch(session)
        elif error.reason == "Timeout":
            leases.result(session, lease.uid, lease.fencing_token, Outcome("Timeout", "Timeout", error.message))
        elif error.reason == "TooLarge":
            outcome = Outcome("Failed", "OutputTooLarge", error.message, retryable=False)
            leases.result(session, lease.uid, lease.fencing_token, outcome)
        else:
            leases.lose(session, lease, "WorkerLost", f"worker {session.key.name}: {error.message}")


class HttpWorkers:
    """Keeps a session for every Worker object with `protocol: http`."""

    def __init__(self, service: ResourceService, gateway: Gateway, client: OutgoingClient) -> None:
        self._service = service
        self._gateway = gateway
        self._client = client
        self._watcher: Watcher | None = None

    def start(self) -> None:
        """After the gateway has started."""
        self._watcher = self._service.cache.watch(WORKERS, "", None, None, None, self._changed)

    def stop(self) -> None:
        """Safe to repeat."""
        if self._watcher is not None:
            self._watcher.close()

    def _changed(self, events: Sequence[WatchEvent]) -> None:
        for event in events:
            if event.type == "DELETED":
                continue  # the gateway forgets it
            worker = decode_worker(event.entry.value)
            session = self._gateway.sessions.get(worker.key)
            is_http = session is not None and isinstance(session.link, HttpLink)
            if worker.spec.protocol != "http" or not worker.spec.url:
                if is_http:
                    self._gateway.forget(worker.key, "WorkerChanged", "is no longer sent tasks over HTTP")
                continue
            hello = hello_of(worker)
            if session is None or not is_http:
                if session is not None:  # what an earlier controller sent it: nobody will tell how that ended
                    self._gateway.forget(worker.key, "ControllerRestarted", "was asked by a controller that has ended since")
                link = HttpLink(self._client, self._gateway)
                link.session = self._gateway.attach(hello, link, unschedulable=worker.spec.unschedulable)
            elif session.hello != hello:
                self._gateway.change(session, hello)


def hello_of(worker: Worker) -> Hello:
    """A worker that is known by its object, as if it had come itself."""
    spec = worker.spec
    return Hello(
        key=ObjectKey(worker.metadata.namespace, worker.metadata.name),
        tasks=tuple(spec.tasks),
        capacity=spec.capacity,
        labels=worker.metadata.labels,
        protocol="http",
        node=spec.node_name,
        instance=spec.instance_name,
        app=spec.app_name,
        app_version=spec.app_version,
        url=spec.url,
        ttl=spec.ttl or "",
    )


def outcome_of(answer: OutgoingAnswer) -> Outcome:
    """A 2xx is a result: JSON, or else text."""
    if not 200 <= answer.status < 300:
        text = answer.body[:1000].decode(errors="replace").strip()
        message = f"{answer.url} answered {answer.status}{': ' if text else ''}{text}"
        return Outcome("Failed", "HttpStatus", message, code=str(answer.status))
    if not answer.body:
        return Outcome("Succeeded")
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        return Outcome("Succeeded", output=msgspec.json.decode(answer.body))
    return Outcome("Succeeded", output=answer.body.decode(errors="replace"))
