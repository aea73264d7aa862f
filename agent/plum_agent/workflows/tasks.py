"""Tasks of delegated runs: what the controller is for other tasks, done here, over the node's own store.

    create -> admit -> Pending -> taken by an `Attempt` (os_process, container) or a call in this process (http, builtins)
                          ^  |
      failed, tried again +--+-> settle: the same decisions as the controller's -> ended -> told

`LocalTasks` is both what `NodeTasks` watches and where its attempts write. Each state is on disk before anybody acts on it.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
from plum_client.clock import Clock
from plum_client.errors import ApiError, ApiUnavailableError, ConflictError
from plum_client.informer import Handler
from plum_flow import task_retry, task_states
from plum_flow.builtins import PURE
from plum_flow.calls import MAX_OUTPUT_BYTES, Call, Executor, TaskFailedError
from plum_flow.delegation import Bundle
from plum_flow.task_admission import Refused, prepare
from plum_flow.task_reports import outcome_of
from plum_flow.task_states import Holder, Outcome, claim_of
from plum_schemas.base import ObjectKey, ObjectMeta
from plum_schemas.core import Secret
from plum_schemas.durations import parse_duration
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunStatus

from plum_agent.workflows import places
from plum_agent.workflows.store import RunStore

logger = logging.getLogger(__name__)

ON_NODE = frozenset({"os_process", "container"})


class Watched:
    """What `NodeTasks` follows instead of the controller: tasks that have not ended."""

    def __init__(self, runs: Mapping[ObjectKey, TaskRun]) -> None:
        self._runs = runs
        self.handlers: list[Handler[TaskRun]] = []

    def add_handler(self, handler: Handler[TaskRun]) -> None:
        """Told of every change, beginning with what is there."""
        self.handlers.append(handler)
        for run in list(self._runs.values()):
            if run.status.task is not None and run.status.task.executor in ON_NODE:
                handler(None, run)

    async def run(self) -> None:
        """Nothing comes from anywhere else."""
        await asyncio.Event().wait()

    async def wait_synced(self) -> None:
        """It always is."""

    def __contains__(self, key: ObjectKey) -> bool:
        return key in self._runs

    def get(self, key: ObjectKey) -> TaskRun | None:
        return self._runs.get(key)

    def try_now(self) -> None:
        """Nothing waits for the controller."""


class LocalTasks:
    """All tasks of all delegated runs of a node."""

    def __init__(
        self,
        node: str,
        store: RunStore,
        clock: Clock,
        random: Random,
        http: Callable[[str], Executor],
        secrets: Callable[[str, str], Awaitable[Secret | None]],
    ) -> None:
        """`http` makes what carries out http tasks of a run, by its uid. `secrets` gives a Secret by namespace and name."""
        self._secrets = secrets
        self.node = node
        self._store = store
        self._clock = clock
        self._random = random
        self._http = http
        self._runs: dict[ObjectKey, TaskRun] = {}
        """Tasks that have not ended."""
        self.watched = Watched(self._runs)
        self._calls: dict[ObjectKey, asyncio.Task[None]] = {}
        self._timers: dict[ObjectKey, asyncio.TimerHandle] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._revision = 0
        self._locks: dict[ObjectKey, asyncio.Lock] = {}
        self.on_ended: Callable[[TaskRun], None] = lambda run: None
        """Told once a task has ended, which is on disk then."""

    async def load(self) -> None:
        """Take in what an agent before this one left: calls that were under way are lost, processes are found by `NodeTasks`."""
        for run in await self._store.going_tasks():
            self._revision = max(self._revision, int(run.metadata.resource_version or 0))
            self._runs[run.key] = run
        for run in list(self._runs.values()):
            task = run.status.task
            if task is not None and task.executor not in ON_NODE:
                if run.status.phase == "Running":
                    text = "the agent of its node was restarted while it went on"
                    lost = Outcome("Unknown", "AgentRestarted", text)
                    status = task_retry.settle(run, claim_of(run.status), lost, self._clock.now(), 0.0)
                    run = await self._put(run, status)
                self._look(run)
        for run in list(self._runs.values()):
            if run.status.phase == "Queued":
                self._free(run)

    # ---- where attempts write

    async def get(self, kind: type[TaskRun], key: ObjectKey) -> TaskRun | None:
        """A task that has not ended."""
        return self._runs.get(key)

    async def write_status(self, run: TaskRun) -> TaskRun:
        """Raises `ConflictError` over a version that is old."""
        async with self._lock(run.key):
            known = self._runs.get(run.key)
            if known is None or known.metadata.resource_version != run.metadata.resource_version:
                raise ConflictError(f"task {run.key} was changed meanwhile")
            return await self._put(known, run.status)

    async def patch(self, kind: type[TaskRun], key: ObjectKey, patch: dict[str, Any], *, subresource: str) -> TaskRun:
        """What an attempt says of itself; with its report, what follows from that is in the same write."""
        async with self._lock(key):
            known = self._runs.get(key)
            if known is None or known.metadata.resource_version != patch["metadata"]["resourceVersion"]:
                raise ConflictError(f"task {key} was changed meanwhile")
            told = msgspec.convert(msgspec.to_builtins(known.status) | patch["status"], TaskRunStatus)
            run = msgspec.structs.replace(known, status=told)
            report = told.report
            if report is None:
                return await self._put(run, told)
            settled = task_retry.settle(run, claim_of(told), outcome_of(run, report), self._clock.now(), self._random.random())
            return await self._put(run, settled)

    # ---- what the engine asks for

    async def create(self, uid: str, run: TaskRun, bundle: Bundle) -> TaskRun:
        """The task of this name, made if there is none."""
        async with self._lock(run.key):
            known = self._runs.get(run.key) or await self._store.task(uid, run.metadata.name)
            if known is not None:
                return known
            metadata = msgspec.structs.replace(run.metadata, uid=f"{uid}-{run.metadata.name}", creation_timestamp=self._now())
            made = msgspec.structs.replace(run, metadata=metadata)
            definition = bundle.tasks.get(run.spec.task_ref)
            named = None
            if definition is not None:
                named = TaskDefinition(
                    metadata=ObjectMeta(name=run.spec.task_ref, namespace=run.metadata.namespace), spec=definition
                )
            try:
                prepared = prepare(made, named)
            except ModuleNotFoundError as error:  # agents do without the checker of schemas unless somebody installs it
                prepared = Refused("InvalidPayload", f"this node cannot check the payload against payloadSchema: {error}")
            if isinstance(prepared, Refused):
                status = task_states.end(made.status, Outcome("Failed", prepared.reason, prepared.message), self._clock.now())
            else:
                status = msgspec.structs.replace(
                    made.status, task=prepared.task, concurrency_key=prepared.group, queued_at=self._now()
                )
                return await self._put_placed(msgspec.structs.replace(made, status=status))
            return await self._put(made, status)

    # ---- concurrency keys

    async def _put_placed(self, made: TaskRun) -> TaskRun:
        """A new task with its definition: admitted, or what its key says while there is no place."""
        if not made.status.concurrency_key:
            return await self._put(made, places.admitted(made, self._clock.now()))
        async with self._places(made):
            status, older = places.placed(self._runs.values(), made, self.node, self._clock.now())
            for key in older:
                self._spawn(self._cancel_later(key))
            return await self._put(made, status)

    def _places(self, run: TaskRun) -> asyncio.Lock:
        """Held while somebody looks for a place of its key and takes it."""
        return self._lock(ObjectKey(run.metadata.namespace, f"/{run.status.concurrency_key}"))

    def _free(self, gone: TaskRun) -> None:
        """A place of its key may be free: the next ones have their turn."""
        if gone.status.concurrency_key and places.waiting(self._runs.values(), gone):
            self._spawn(self._admit_next(gone))

    async def _admit_next(self, gone: TaskRun) -> None:
        while True:
            async with self._places(gone):
                queued = places.waiting(self._runs.values(), gone)
                if not queued or not places.has_place(self._runs.values(), queued[0]):
                    return
                async with self._lock(queued[0].key):
                    known = self._runs.get(queued[0].key)
                    if known is None or known.status.phase != "Queued":
                        continue
                    try:
                        await self._put(known, places.admitted(known, self._clock.now()))
                        continue
                    except ApiUnavailableError as error:
                        logger.warning("queued task waits for the disk", extra={"key": str(known.key), "error": error.message})
            await asyncio.sleep(1.0)

    async def _cancel_later(self, key: ObjectKey) -> None:
        while True:
            try:
                await self.cancel(key)
                return
            except ApiUnavailableError:
                await asyncio.sleep(1.0)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _here(self, status: TaskRunStatus) -> TaskRunStatus:
        """Whoever waits to be taken is for this node."""
        task = status.task
        if status.phase == "Pending" and task is not None and task.executor in ON_NODE:
            return msgspec.structs.replace(status, node=self.node)
        return status

    async def cancel(self, key: ObjectKey) -> bool:
        """End a task. False: there is none that goes on."""
        async with self._lock(key):
            known = self._runs.get(key)
            if known is None:
                return False
            run = msgspec.structs.replace(known, spec=msgspec.structs.replace(known.spec, canceled=True))
            if known.status.phase in ("Queued", "Pending"):
                outcome = Outcome("Canceled", "Canceled", "cancelled before it was started")
                await self._put(run, task_states.end(known.status, outcome, self._clock.now()))
            elif not known.spec.canceled:
                await self._put(run, known.status)
                call = self._calls.get(key)
                if call is not None:
                    call.cancel()
            return True

    def of_run(self, uid: str) -> list[TaskRun]:
        """Tasks of a run that have not ended."""
        return [run for run in self._runs.values() if any(owner.uid == uid for owner in run.metadata.owner_references)]

    def forget(self, uid: str) -> None:
        """A run is not ours any more: nothing of it is told or tried again; its processes are ended by `NodeTasks`."""
        for run in self.of_run(uid):
            call = self._calls.pop(run.key, None)
            if call is not None:
                call.cancel()
            del self._runs[run.key]
            self._tell(run, None)
            self._free(run)

    def close(self) -> Iterable[asyncio.Task[None]]:
        """Leave everything as it is on disk."""
        for timer in self._timers.values():
            timer.cancel()
        calls = [*self._calls.values(), *self._background]
        for call in calls:
            call.cancel()
        return calls

    # ---- inside

    def _lock(self, key: ObjectKey) -> asyncio.Lock:
        return self._locks.setdefault(key, asyncio.Lock())

    def _now(self) -> Any:
        return self._clock.now().replace(microsecond=0)

    async def _put(self, run: TaskRun, status: TaskRunStatus) -> TaskRun:
        """On disk, then told. Raises `ApiUnavailableError` when the disk does not take it: attempts try again."""
        self._revision += 1
        metadata = msgspec.structs.replace(run.metadata, resource_version=str(self._revision))
        new = msgspec.structs.replace(run, metadata=metadata, status=self._here(status))
        uid = next((owner.uid for owner in run.metadata.owner_references if owner.kind == "WorkflowRun"), "")
        try:
            await self._store.put_task(uid, new)
        except sqlite3.Error as error:
            raise ApiUnavailableError(f"task {run.key} cannot be written down: {error}") from error
        old = self._runs.get(run.key)
        if new.status.phase in TERMINAL_PHASES:
            self._runs.pop(run.key, None)
            self._locks.pop(run.key, None)
            self._tell(old, None)
            self.on_ended(new)
            self._free(new)
        else:
            self._runs[run.key] = new
            self._tell(old, new)
            self._look(new)
        return new

    def _tell(self, old: TaskRun | None, new: TaskRun | None) -> None:
        run = new or old
        task = run.status.task if run is not None else None
        if task is not None and task.executor in ON_NODE:
            for handler in self.watched.handlers:
                handler(old, new)

    def _look(self, run: TaskRun) -> None:
        """Start a call that is due."""
        task, status = run.status.task, run.status
        if task is None or task.executor in ON_NODE or status.phase != "Pending" or run.key in self._calls:
            return
        wait = (status.next_attempt_at - self._clock.now()).total_seconds() if status.next_attempt_at is not None else 0.0
        timer = self._timers.pop(run.key, None)
        if timer is not None:
            timer.cancel()
        loop = asyncio.get_running_loop()
        if wait > 0:
            self._timers[run.key] = loop.call_later(wait, self._look_again, run.key)
            return
        call = self._calls[run.key] = loop.create_task(self._carry_out(run), name=f"call {run.key}")
        call.add_done_callback(lambda done: self._called(run.key, done))

    def _look_again(self, key: ObjectKey) -> None:
        self._timers.pop(key, None)
        run = self._runs.get(key)
        if run is not None:
            self._look(run)

    def _called(self, key: ObjectKey, done: asyncio.Task[None]) -> None:
        if self._calls.get(key) is done:
            del self._calls[key]
        if not done.cancelled() and (error := done.exception()) is not None:
            logger.error("call broke off", extra={"key": str(key), "error": str(error)}, exc_info=error)
        if not done.cancelled():
            self._look_again(key)

    async def _carry_out(self, run: TaskRun) -> None:
        taken = task_states.take(run.status, Holder(node=self.node), self._clock.now())
        run = await self.write_status(msgspec.structs.replace(run, status=taken))
        outcome = await self._hidden(run)
        while True:
            async with self._lock(run.key):
                known = self._runs.get(run.key)
                if known is None or claim_of(known.status) != claim_of(run.status):
                    return
                settled = task_retry.settle(known, claim_of(run.status), outcome, self._clock.now(), self._random.random())
                try:
                    await self._put(known, settled)
                    return
                except ApiUnavailableError as error:
                    logger.warning("end of a call waits", extra={"key": str(run.key), "error": error.message})
            await asyncio.sleep(1.0)

    async def _hidden(self, run: TaskRun) -> Outcome:
        """Carry it out with the values of its secrets, and keep them out of what comes back."""
        if not run.spec.secrets:
            return await self._outcome(run)
        from plum_flow import secret_marks

        try:
            found = {name: await self._secrets(run.metadata.namespace, name) for name in secret_marks.names_of(run)}
            values = secret_marks.values_of(run, found)
        except TaskFailedError as error:
            return Outcome("Failed", error.reason, error.message, retryable=error.retryable)
        except ApiError as error:
            return Outcome("Failed", type(error).__name__.removesuffix("Error"), error.message)
        outcome = await self._outcome(secret_marks.revealed(run, values))
        hide = secret_marks.redactor_of(values)
        return replace(outcome, output=hide(outcome.output), error=hide(outcome.error))

    async def _outcome(self, run: TaskRun) -> Outcome:
        task, status = run.status.task, run.status
        assert task is not None  # noqa: S101  admitted
        uid = next(owner.uid for owner in run.metadata.owner_references)
        call = Call(
            run.metadata.name, run.metadata.namespace, task, run.input, run.metadata.uid, status.idempotency_key, status.attempt,
            status.started_at, run.metadata.labels,
        )  # fmt: skip
        limit = parse_duration(task.timeout) if task.timeout else None
        try:
            async with asyncio.timeout(limit):
                if task.executor == "http":
                    output = await self._http(uid).execute(call)
                else:
                    output = await PURE[task.task or run.spec.task_ref](call.payload, call, self._clock.now)
        except TimeoutError:
            return task_retry.timed_out(status)
        except TaskFailedError as error:
            return Outcome("Failed", error.reason, error.message, code=error.code, retryable=error.retryable)
        except asyncio.CancelledError:
            known = self._runs.get(run.key)
            if known is None or not known.spec.canceled:
                raise
            return Outcome("Canceled", "Canceled", "cancelled while it was running")
        if len(msgspec.json.encode(output)) > MAX_OUTPUT_BYTES:
            text = f"the output has more than {MAX_OUTPUT_BYTES} bytes as JSON"
            return Outcome("Failed", "OutputTooLarge", text, retryable=False)
        return Outcome("Succeeded", output=output)
