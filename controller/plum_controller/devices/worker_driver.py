"""Devices that a registered worker speaks to: `spec.driver.worker`. Without one they are offline, and nothing is begun.

    operation -> TaskRun `op-UID-ATTEMPT` {resource, method, arguments, idempotencyKey, attempt} -> its output is the result
    desired   -> TaskRun {resource, method: "desired", arguments: values}

The name of a run follows from its operation, so a controller that comes back finds the run that it began, and its end.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from plum_client.client import ApiClient
from plum_client.devices.drivers import CallError, NobodyThereError, TooLateError
from plum_client.errors import AlreadyExistsError, ApiError
from plum_client.informer import Informer
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.resource import Resource, WorkerDriver
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunSpec
from plum_schemas.worker import Worker

KEEP_FOR = "1h"
TASK_INDEX = "namespace-task"


class RunEnds:
    """Tells who waits for it when a run has ended."""

    def __init__(self, api: ApiClient, runs: Informer[TaskRun]) -> None:
        self._api = api
        self._waiting: dict[ObjectKey, list[asyncio.Future[TaskRun]]] = {}
        runs.add_handler(self._changed)

    async def wait(self, key: ObjectKey) -> TaskRun:
        """The run, ended. Raises `CallError` when it is deleted before, and API errors."""
        future: asyncio.Future[TaskRun] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append(future)
        try:
            known = await self._api.get(TaskRun, key)
            if known is not None and known.status.phase in TERMINAL_PHASES:
                return known
            return await future
        finally:
            waiting = self._waiting.get(key, [])
            if future in waiting:
                waiting.remove(future)
            if not waiting:
                self._waiting.pop(key, None)

    def _changed(self, old: TaskRun | None, new: TaskRun | None) -> None:
        run = new or old
        if run is None or run.key not in self._waiting or (new is not None and new.status.phase not in TERMINAL_PHASES):
            return
        for future in self._waiting[run.key]:
            if not future.done() and new is not None:
                future.set_result(new)
            elif not future.done():
                future.set_exception(CallError(f"task {run.metadata.name} was deleted", None))


class ConnectedWorkers:
    """Knows for which tasks there is a worker, and tells when that may have changed."""

    def __init__(self, workers: Informer[Worker], on_change: Callable[[str, str], None]) -> None:
        """`on_change` is called with a namespace and a task."""
        self._workers = workers
        self._on_change = on_change
        workers.add_indexers({TASK_INDEX: lambda one: [_place(one.metadata.namespace, task) for task in one.spec.tasks]})
        workers.add_handler(self._changed)

    @property
    def are_known(self) -> bool:
        return self._workers.is_synced

    def serve(self, namespace: str, task: str) -> bool:
        """Whether a worker of the namespace is connected that runs the task; the controller itself runs its builtins."""
        if task.startswith(BUILTIN_PREFIX):
            return True
        keys = self._workers.index_keys(TASK_INDEX, _place(namespace, task))
        found = (self._workers.get(key) for key in keys)
        return any(_is_there(worker) for worker in found)

    def _changed(self, old: Worker | None, new: Worker | None) -> None:
        if _is_there(old) == _is_there(new) and (old is None or new is None or old.spec.tasks == new.spec.tasks):
            return
        for worker in (old, new):
            for task in worker.spec.tasks if worker is not None else ():
                self._on_change(worker.metadata.namespace if worker is not None else "", task)


def _place(namespace: str, task: str) -> str:
    return f"{namespace}/{task}"


def _is_there(worker: Worker | None) -> bool:
    return worker is not None and bool(worker.status.session) and worker.status.phase != "Lost"


class WorkerDevice:
    """One of them."""

    def __init__(
        self, resource: Resource, driver: WorkerDriver, api: ApiClient, ends: RunEnds, workers: ConnectedWorkers
    ) -> None:
        self.session = f"worker-{resource.metadata.uid}"
        self._driver = driver
        self._api = api
        self._ends = ends
        self._workers = workers

    async def operate(self, key: ObjectKey, command: Mapping[str, Any]) -> Any:
        payload = {name: command[name] for name in ("method", "arguments", "idempotencyKey", "attempt")}
        deadline = msgspec.convert(command["notAfter"], datetime | None)
        run = await self._run(key, f"op-{command['id']}-{command['attempt']}", payload, deadline)
        if run.status.phase == "Succeeded":
            return run.status.output
        if run.status.reason == "DeadlineExceeded":
            raise TooLateError("notAfter passed before a worker took it")
        text = run.status.error or run.status.reason or run.status.phase
        happened = None if run.status.phase == "Unknown" else True
        raise CallError(f"task {run.metadata.name} ended as {run.status.phase}: {text}", happened)

    async def stop(self, key: ObjectKey, command: Mapping[str, Any]) -> None:
        await self._cancel(ObjectKey(key.namespace, f"op-{command['id']}-{command['attempt']}"))

    async def _cancel(self, run: ObjectKey) -> None:
        try:
            await self._api.patch(TaskRun, run, {"spec": {"canceled": True}})
        except ApiError:
            pass  # it ended meanwhile, or nobody answers; the worker ends it by itself then

    async def desire(self, key: ObjectKey, values: Mapping[str, Any]) -> None:
        payload = {"method": "desired", "arguments": dict(values)}
        digest = hashlib.sha256(msgspec.json.encode([key, payload, asyncio.get_running_loop().time()])).hexdigest()[:16]
        name = f"desired-{digest}"
        try:
            run = await self._run(key, name, payload)
        except asyncio.CancelledError:
            await asyncio.shield(self._cancel(ObjectKey(key.namespace, name)))  # other values may be wanted by then
            raise
        if run.status.phase != "Succeeded":
            raise CallError(f"task {run.metadata.name} ended as {run.status.phase}: {run.status.error}", True)

    async def read(self, key: ObjectKey) -> dict[str, Any] | None:
        if not self._workers.are_known:
            raise CallError("workers are not known yet", False)
        if not self._workers.serve(key.namespace, self._driver.task):
            raise NobodyThereError(f"no worker that runs the task {self._driver.task} is connected", "NoWorker")
        return None  # the worker reports by itself, if at all

    async def _run(self, key: ObjectKey, name: str, payload: Mapping[str, Any], deadline: datetime | None = None) -> TaskRun:
        task = TaskDefinitionSpec(executor="embedded", task=self._driver.task, execution="AtMostOnce")
        made = TaskRun(
            metadata=ObjectMeta(name=name, namespace=key.namespace, labels={"plum.dev/resource": key.name[:63]}),
            spec=TaskRunSpec(task=task, payload={"resource": key.name, **payload}, deadline=deadline, keep_for=KEEP_FOR),
        )
        try:
            try:
                await self._api.create(made)
            except AlreadyExistsError:
                pass  # begun before
            return await self._ends.wait(ObjectKey(key.namespace, name))
        except ApiError as error:
            raise CallError(f"task {name} could not be made or followed: {error.message}", None) from error
