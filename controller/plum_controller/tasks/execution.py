"""Executes the attempts that the controller itself does: highest priority first, then oldest, so many at once.

    watch TaskRun -> Pending, for us -> waiting (sorted) -> take: guarded write -> execute -> settle: guarded write
                  -> cancelled, ended -> the attempt is cancelled
                  -> held by a process of this controller that is gone -> lost

The result of an attempt is kept until it is written or its claim is gone: a store that does not answer delays it, nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Protocol

import msgspec
from plum_client.backoff import Backoff
from plum_client.controller import Controller
from plum_client.errors import ApiError, BadRequestError, ConflictError, InvalidObjectError, NotFoundError
from plum_client.manager import Manager
from plum_client.outgoing import OutgoingClient
from plum_client.reconciler import Result
from plum_flow import secret_marks, task_retry, task_states
from plum_flow.calls import Call, Surroundings, TaskFailedError, result_of
from plum_flow.http_call import HttpExecutor
from plum_flow.task_admission import is_builtin, is_in_controller
from plum_flow.task_states import Claim, Holder, Outcome, TransitionError, claim_of, is_final
from plum_schemas.base import ObjectKey
from plum_schemas.core import Secret
from plum_schemas.durations import parse_duration
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun
from sortedcontainers import SortedList

from plum_controller.tasks.builtins import run_builtin
from plum_controller.tasks.plugins import Plugins
from plum_controller.tasks.service_call import ServiceExecutor

logger = logging.getLogger(__name__)

WORKER_PREFIX = "controller/"
"""Holders in this process are called so, with something that differs for every start of it."""
RETRY = Backoff(initial=0.05, maximum=5.0)
PROGRESS_SECONDS = 1.0
"""Between two writes of an attempt's progress."""


class ExecutionSettings(Protocol):
    """What execution needs of the settings."""

    @property
    def tasks_in_flight(self) -> int:
        """Attempts at once."""


def add_to(
    manager: Manager,
    settings: ExecutionSettings,
    outgoing: OutgoingClient,
    plugins: Plugins | None = None,
    random: Random | None = None,
) -> TaskExecution:
    """Register what executes tasks in this process. Close what it answers with at the end."""
    execution = TaskExecution(manager, settings, outgoing, plugins or Plugins(), random or Random())  # noqa: S311  jitter
    execution.controller = Controller("task-execution", execution, TaskRun, workers=16)
    manager.add(execution.controller)
    return execution


@dataclass(slots=True)
class _Attempt:
    """One that waits (no task) or is under way."""

    task: asyncio.Task[None]
    claim: Claim | None = None
    canceled: bool = False


class TaskExecution:
    """Takes and executes attempts."""

    controller: Controller

    def __init__(
        self, manager: Manager, settings: ExecutionSettings, outgoing: OutgoingClient, plugins: Plugins, random: Random
    ) -> None:
        self.id = WORKER_PREFIX + (secrets.token_hex(4) if random is None else f"{random.getrandbits(32):08x}")
        self._api = manager.api
        self._clock = manager.clock
        self._random = random
        self._at_once = max(1, settings.tasks_in_flight)
        self._recorder = manager.recorder("task")
        self._services = ServiceExecutor(OutgoingClient("*", outgoing.own_ports), manager.api)
        self._http = HttpExecutor(outgoing, manager.api)
        self._plugins = plugins
        self._around = Surroundings(manager.api, manager.clock.now)
        self._waiting: SortedList[tuple[tuple[int, float, str], ObjectKey]] = SortedList()
        self._turns: dict[ObjectKey, tuple[int, float, str]] = {}
        self._attempts: dict[ObjectKey, _Attempt] = {}
        self._runs = manager.informer(TaskRun)

    async def close(self) -> None:
        """End what is under way; its claims are found without a holder by the next start."""
        tasks = [attempt.task for attempt in self._attempts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._services.close()

    # ---- what is to be done

    async def reconcile(self, key: ObjectKey) -> Result:
        """See whether there is something to start, to end, or to give up for another process."""
        run = self._runs.get(key)
        if run is None or run.status.task is None or is_final(run.status.phase) or not is_in_controller(run.status.task):
            self._leave(key)
            return Result.wait_for_change()
        status = run.status
        if status.phase == "Pending" and not run.spec.canceled:
            if status.next_attempt_at is not None:
                left = (status.next_attempt_at - self._clock.now()).total_seconds()
                if left > 0:
                    return Result.requeue(left)
            self._enter(key, task_retry.order(run))
        elif status.phase == "Running" and status.worker == self.id:
            attempt = self._attempts.get(key)
            if attempt is None:  # the answer to the write that took it was lost
                self._start(key, claim_of(status))
            elif run.spec.canceled and attempt.claim == claim_of(status):
                attempt.canceled = True
                attempt.task.cancel()
        elif status.phase == "Running" and status.worker.startswith(WORKER_PREFIX):
            await self._give_up(run)
        return Result.wait_for_change()

    async def _give_up(self, run: TaskRun) -> None:
        """A process of this controller that ended held it, and nobody knows how far it came."""
        try:
            text = "the controller that executed it was restarted"
            status = task_retry.lose(run, "ControllerRestarted", text, self._clock.now())
        except TransitionError:
            return
        await self._api.write_status(msgspec.structs.replace(run, status=status))
        if is_final(status.phase):
            self._recorder.event(run, "Warning", status.reason, status.error)

    def _enter(self, key: ObjectKey, turn: tuple[int, float, str]) -> None:
        if key in self._attempts:
            return
        known = self._turns.get(key)
        if known != turn:
            if known is not None:
                self._waiting.remove((known, key))
            self._turns[key] = turn
            self._waiting.add((turn, key))
        self._pump()

    def _leave(self, key: ObjectKey) -> None:
        known = self._turns.pop(key, None)
        if known is not None:
            self._waiting.remove((known, key))
        attempt = self._attempts.get(key)
        if attempt is not None and attempt.claim is not None:
            attempt.task.cancel()

    def _pump(self) -> None:
        while self._waiting and len(self._attempts) < self._at_once:
            _, key = self._waiting.pop(0)
            del self._turns[key]
            self._start(key, None)

    def _start(self, key: ObjectKey, claim: Claim | None) -> None:
        attempt = _Attempt(asyncio.get_running_loop().create_task(self._attempt(key, claim), name=f"task {key}"), claim)
        self._attempts[key] = attempt
        attempt.task.add_done_callback(lambda task: self._ended(key, attempt))

    def _ended(self, key: ObjectKey, attempt: _Attempt) -> None:
        if self._attempts.get(key) is attempt:
            del self._attempts[key]
        if not attempt.task.cancelled() and (error := attempt.task.exception()) is not None:
            logger.error("attempt broke off", extra={"key": str(key), "error": str(error)}, exc_info=error)
            self.controller.queue.retry(key)
        self.controller.enqueue(key)  # it may be another attempt's turn
        self._pump()

    # ---- one attempt

    async def _attempt(self, key: ObjectKey, claim: Claim | None) -> None:
        run = await self._take(key) if claim is None else await self._api.get(TaskRun, key)
        if run is None or run.status.phase != "Running" or (claim is not None and claim_of(run.status) != claim):
            return
        claim = claim_of(run.status)
        attempt = self._attempts[key]
        attempt.claim = claim
        try:
            outcome = await self._execute_hidden(run, claim)
        except asyncio.CancelledError:
            if not attempt.canceled:
                raise
            outcome = Outcome("Canceled", "Canceled", "cancelled while it was running")
        await self._settle(key, run, claim, outcome)

    async def _take(self, key: ObjectKey) -> TaskRun | None:
        """The run, taken; None when it is not there to be taken any more."""
        run = self._runs.get(key)
        if run is None or run.spec.canceled:
            return None
        try:
            status = task_states.take(run.status, Holder(worker=self.id), self._clock.now())
            return await self._api.write_status(msgspec.structs.replace(run, status=status))
        except (TransitionError, ConflictError, NotFoundError):
            return None
        except ApiError as error:
            logger.info("attempt could not be taken, trying again", extra={"key": str(key), "error": str(error)})
            self.controller.queue.retry(key)
            return None

    async def _execute_hidden(self, run: TaskRun, claim: Claim) -> Outcome:
        """Execute with the values of the run's secrets, and keep them out of what comes back."""
        if not run.spec.secrets:
            return await self._execute(run, claim)
        try:
            secrets = {name: await self._api.get(Secret, name, run.metadata.namespace) for name in secret_marks.names_of(run)}
            values = secret_marks.values_of(run, secrets)
        except TaskFailedError as error:
            return Outcome("Failed", error.reason, error.message, retryable=error.retryable)
        except ApiError as error:
            return Outcome("Failed", type(error).__name__.removesuffix("Error"), error.message)
        outcome = await self._execute(secret_marks.revealed(run, values), claim)
        hide = secret_marks.redactor_of(values)
        return replace(outcome, output=hide(outcome.output), error=hide(outcome.error))

    async def _execute(self, run: TaskRun, claim: Claim) -> Outcome:
        task = run.status.task
        assert task is not None  # noqa: S101  only admitted runs are taken
        limit = parse_duration(task.timeout) if task.timeout is not None else None
        try:
            async with asyncio.timeout(limit) as timer:
                output = await self._executor_of(task)(self._call(run, task, claim))
        except TimeoutError:
            if timer.expired():
                return task_retry.timed_out(run.status)
            return Outcome("Failed", "Error", "the task raised a TimeoutError of its own")
        except TaskFailedError as error:
            return Outcome("Failed", error.reason, error.message, code=error.code, retryable=error.retryable)
        except ApiError as error:
            return Outcome("Failed", type(error).__name__.removesuffix("Error"), error.message)
        except Exception as error:
            logger.warning("task raised an error", extra={"key": str(run.key), "error": str(error)}, exc_info=error)
            return Outcome("Failed", "Error", f"{type(error).__name__}: {error}")
        return result_of(output)

    def _executor_of(self, task: TaskDefinitionSpec) -> Callable[[Call], Awaitable[Any]]:
        if is_builtin(task):
            return lambda call: run_builtin(task.task, call.payload, call, self._around)
        executors = {"service": self._services.execute, "http": self._http.execute, "plugin": self._plugins.execute}
        return executors[task.executor]

    def _call(self, run: TaskRun, task: TaskDefinitionSpec, claim: Claim) -> Call:
        labels = {**run.metadata.labels, "plum.dev/task": run.spec.task_ref} if run.spec.task_ref else run.metadata.labels
        return Call(
            name=run.metadata.name,
            namespace=run.metadata.namespace,
            task=task,
            payload=run.input,
            uid=run.metadata.uid,
            idempotency_key=run.status.idempotency_key,
            attempt=run.status.attempt,
            started_at=run.status.started_at,
            labels=labels,
            progress=_Progress(self, run.key, claim).tell,
        )

    async def _settle(self, key: ObjectKey, run: TaskRun | None, claim: Claim, outcome: Outcome) -> None:
        """Record it, however long that takes, unless the claim is gone."""
        outcome = replace(outcome, finished_at=outcome.finished_at or self._clock.now())
        chance, failures = self._random.random(), 0
        while run is not None:
            try:
                status = task_retry.settle(run, claim, outcome, self._clock.now(), chance)
                await self._api.write_status(msgspec.structs.replace(run, status=status))
                self._tell(run, status)
                return
            except TransitionError as error:
                logger.info("result came too late", extra={"key": str(key), "error": error.message})
                return
            except NotFoundError:
                return
            except ApiError as error:
                if isinstance(error, InvalidObjectError | BadRequestError):
                    text = f"the result could not be stored: {error.message}"
                    outcome = Outcome("Failed", "OutputRefused", text, finished_at=outcome.finished_at, retryable=False)
                failures += 0 if isinstance(error, ConflictError) else 1
                if failures:
                    await asyncio.sleep(RETRY.delay(failures, self._random))
            run = await self._read(key)

    async def _read(self, key: ObjectKey) -> TaskRun | None:
        failures = 0
        while True:
            try:
                return await self._api.get(TaskRun, key)
            except ApiError:
                failures += 1
                await asyncio.sleep(RETRY.delay(failures, self._random))

    def _tell(self, run: TaskRun, status: Any) -> None:
        if status.phase == "Pending":
            self._recorder.event(run, "Warning", status.reason or "Retry", f"attempt {run.status.attempt}: {status.error}")
        elif status.phase != "Succeeded":
            kind = "Normal" if status.phase == "Canceled" else "Warning"
            self._recorder.event(run, kind, status.reason or status.phase, status.error)

    async def report(self, key: ObjectKey, claim: Claim, share: float, message: str) -> None:
        """Write how far an attempt is. What cannot be written now is not worth a second try."""
        run = self._runs.get(key)
        if run is None:
            return
        try:
            status = task_states.renew(run.status, claim, None, min(1.0, max(0.0, share)), message)
            await self._api.write_status(msgspec.structs.replace(run, status=status))
        except (TransitionError, ApiError) as error:
            logger.debug("progress was not written", extra={"key": str(key), "error": str(error)})


class _Progress:
    """Passes on what an attempt says of its progress, about once a second."""

    def __init__(self, execution: TaskExecution, key: ObjectKey, claim: Claim) -> None:
        self._execution, self._key, self._claim = execution, key, claim
        self._told = float("-inf")

    async def tell(self, share: float, message: str = "") -> None:
        now = asyncio.get_running_loop().time()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            await self._execution.report(self._key, self._claim, share, message)
