"""Worker objects: what registered workers look like to everybody else.

    Session changes -> touch -> one task per worker -> apply the spec (registration only), write the status if it differs

The status is written when the phase changes, and after work was done at most every few seconds: heartbeats cost no write.
`spec.unschedulable` belongs to people and is left alone. A lost worker is remembered for a while, then its object goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Any

import msgspec
from plum_client.clock import Clock
from plum_schemas.base import Condition, ObjectKey, OwnerReference
from plum_schemas.instance import Instance
from plum_schemas.worker import Worker, WorkerStatus

from plum_controller.domain.worker_names import WORKER_ID, label_problem
from plum_controller.logs import fields
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.rpc.runs import MANAGER
from plum_controller.rpc.sessions import LABEL_APP, LABEL_INSTANCE, LABEL_NODE, Session
from plum_controller.store.base import Key

logger = logging.getLogger(__name__)

WORKERS, INSTANCES = "workers.plum.dev", "instances.plum.dev"
COUNT_SECONDS = 5.0
"""Between two writes of how much a worker does and did."""
FORGET_SECONDS = 600.0
"""After which the object of a lost worker goes."""
_decode_worker = msgspec.json.Decoder(Worker).decode
_decode_instance = msgspec.json.Decoder(Instance).decode


def decode_worker(value: bytes) -> Worker:
    """A stored Worker, typed."""
    return _decode_worker(value)


class WorkerObjects:
    """Writes them, in the background and in order for each worker."""

    def __init__(self, service: ResourceService, clock: Clock) -> None:
        self._service = service
        self._kind = service.registry.require(WORKERS)
        self._clock = clock
        self._tasks: dict[ObjectKey, asyncio.Task[None]] = {}
        self._now: dict[ObjectKey, asyncio.Event] = {}
        """Ends the wait of a task."""
        self._dirty: set[ObjectKey] = set()
        self._count_at: dict[ObjectKey, float] = {}

    def get(self, key: ObjectKey) -> Worker | None:
        entry = self._service.cache.get(Key(WORKERS, key.namespace, key.name))
        return _decode_worker(entry.value) if entry is not None else None

    async def register(self, session: Session) -> None:
        """Create or change the object as the worker describes itself. Raises `ApiStatusError`."""
        if session.hello.protocol != "http":  # those are made from their object
            options = WriteOptions(field_manager=MANAGER, force=True, user=_user(session))
            await self._service.patch(self._kind, session.key, "apply", self._manifest(session), options)
        await self._write_status(session)

    def touch(self, session: Session, *, at_once: bool = True) -> None:
        """Have the status written: at once for a change of phase, or with what has come together for counts."""
        key = session.key
        self._dirty.add(key)
        if key in self._tasks:
            if at_once:
                self._now[key].set()
            return
        loop = asyncio.get_running_loop()
        wait = 0.0 if at_once else max(0.0, self._count_at.get(key, 0.0) - loop.time())
        self._now[key] = asyncio.Event()
        self._tasks[key] = asyncio.create_task(self._write_soon(session, wait), name=f"worker-{key}")

    async def forget(self, key: ObjectKey) -> None:
        """Delete the object of a worker that is not coming back. A missing one is fine."""
        self._count_at.pop(key, None)
        try:
            await self._service.delete(self._kind, key, DeleteOptions())
        except ApiStatusError as error:
            if error.code != 404:
                logger.warning("worker object was not deleted", extra=fields(key=str(key), error=error.message))

    async def close(self) -> None:
        """Let the writes under way finish."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write_soon(self, session: Session, wait: float) -> None:
        key = session.key
        try:
            if wait:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._now[key].wait()
            while key in self._dirty:
                self._dirty.discard(key)
                try:
                    await self._write_status(session)
                except ApiStatusError as error:
                    level = logging.INFO if error.code == 404 else logging.WARNING
                    logger.log(level, "worker status was not written", extra=fields(key=str(key), error=error.message))
        finally:
            self._tasks.pop(key, None)
            self._now.pop(key, None)

    def _manifest(self, session: Session) -> dict[str, Any]:
        hello = session.hello
        marks = {LABEL_APP: hello.app, LABEL_NODE: hello.node, LABEL_INSTANCE: hello.instance}
        labels = {
            name: value for name, value in (*hello.labels.items(), *marks.items()) if value and not label_problem(name, value)
        }
        metadata: dict[str, Any] = {"name": hello.key.name, "namespace": hello.key.namespace, "labels": labels}
        if hello.worker_id and hello.worker_id != hello.key.name:
            metadata["annotations"] = {WORKER_ID: hello.worker_id}
        owner = self._owner(session)
        if owner is not None:
            metadata["ownerReferences"] = [msgspec.to_builtins(owner)]
        spec = {
            "tasks": sorted(hello.tasks),
            "capacity": hello.capacity,
            "nodeName": hello.node,
            "instanceName": hello.instance,
            "appName": hello.app,
            "appVersion": hello.app_version,
            "protocol": hello.protocol,
        }
        return {"apiVersion": "plum.dev/v1", "kind": "Worker", "metadata": metadata, "spec": spec}

    def _owner(self, session: Session) -> OwnerReference | None:
        """The instance it runs in: the object goes with it."""
        hello = session.hello
        entry = self._service.cache.get(Key(INSTANCES, hello.key.namespace, hello.instance)) if hello.instance else None
        if entry is None:
            return None
        instance = _decode_instance(entry.value)
        metadata = instance.metadata
        return OwnerReference(api_version=instance.api_version, kind="Instance", name=metadata.name, uid=metadata.uid)

    async def _write_status(self, session: Session) -> None:
        worker = self.get(session.key)
        if worker is None:
            return
        now = self._clock.now()
        self._count_at[session.key] = asyncio.get_running_loop().time() + COUNT_SECONDS
        status = _status_of(session, worker, now)
        if status == worker.status:
            return
        if status.phase == worker.status.phase and status.session == worker.status.session:
            status = msgspec.structs.replace(status, last_seen=worker.status.last_seen)
            if status == worker.status:
                return
        patch = {"status": {**_cleared(worker.status), **msgspec.to_builtins(status)}}
        options = WriteOptions(field_manager=MANAGER, subresource="status", user="system:plum-controller")
        await self._service.patch(self._kind, session.key, "merge", patch, options)


def _status_of(session: Session, worker: Worker, now: datetime) -> WorkerStatus:
    reason, message = "Connected", ""
    if session.is_unreachable:
        reason, message = "Unreachable", "its url does not answer; it is tried again"
    elif session.lost:
        reason, message = "NotHeard", "it was not heard for a whole lease, or has gone; what it held was given to others"
    elif session.draining:
        reason, message = "Draining", "it asked for nothing new and finishes what it holds"
    elif worker.spec.unschedulable:
        reason, message = "Unschedulable", "spec.unschedulable: it gets nothing new and finishes what it holds"
    verdict = "True" if reason == "Connected" else "False"
    before = next((one for one in worker.status.conditions if one.type == "Ready"), None)
    since = before.last_transition_time if before is not None and before.status == verdict else now
    ready = Condition(
        type="Ready",
        status=verdict,
        reason=reason,
        message=message,
        last_transition_time=since,
        observed_generation=worker.metadata.generation,
    )
    return WorkerStatus(
        observed_generation=worker.metadata.generation,
        phase=session.phase,
        session=session.id,
        connected_at=session.connected_at,
        last_seen=now,
        running=sum(1 for lease in session.leases.values() if lease.is_held),
        completed=session.completed,
        conditions=[ready],
    )


def _cleared(status: WorkerStatus) -> dict[str, None]:
    """Fields that are there now: a merge patch takes away those that the next status leaves out."""
    return dict.fromkeys(msgspec.to_builtins(status))


def _user(session: Session) -> str:
    return session.hello.caller.name if session.hello.caller is not None else ""
