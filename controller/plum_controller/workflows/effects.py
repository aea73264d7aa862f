"""Carries out what decisions ask for.

builtins that only compute      at once, in this process
task                            a TaskRun named after run, node and attempt: asking twice makes one
subworkflow                     a WorkflowRun, in the same way
steps                           a `StepRunner`, as a task of this process
waits for events, conditions    a `Waiter`
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import (
    AlreadyExistsError,
    ApiError,
    ApiUnavailableError,
    BadRequestError,
    ForbiddenError,
    InvalidObjectError,
    NotFoundError,
    TooManyRequestsError,
)
from plum_client.informer import Informer
from plum_flow.calls import Call, Surroundings, TaskFailedError, without_waiting
from plum_flow.expressions import UnresolvedError
from plum_flow.running.actor import Actor
from plum_flow.running.made import metadata_of, place_of, task_run_of
from plum_flow.running.names import DEPTH_LABEL, MAX_DEPTH
from plum_flow.workflow import phases
from plum_flow.workflow.graph import NodePlan
from plum_flow.workflow.messages import Abort, Await, Effect, Execute, Refused
from plum_schemas.base import ObjectKey
from plum_schemas.taskdefinition import TaskDefinition, TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, SecretMark, TaskRun
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun, WorkflowRunSpec

from plum_controller.tasks.builtins import run_builtin
from plum_controller.workflows.given import Given
from plum_controller.workflows.stage_control import StageControl
from plum_controller.workflows.steps import Step, StepRunner
from plum_controller.workflows.waiting import Waiter

logger = logging.getLogger(__name__)

STOP = "/stop"
"""Behind the key of a node: the work of ending what was made for it."""
RETRY_SECONDS = 0.5
"""Before the API is asked again that did not answer."""


class Effects:
    """One for all runs."""

    def __init__(
        self,
        api: ApiClient,
        clock: Clock,
        tasks: Informer[TaskRun],
        runs: Informer[WorkflowRun],
        steps: Mapping[str, StepRunner],
        refused: Callable[[Actor, Refused], None],
    ) -> None:
        self._api = api
        self._clock = clock
        self._tasks = tasks
        self._runs = runs
        self._steps = steps
        self._refused = refused
        self._around = Surroundings(api, clock.now)
        self._waiter = Waiter(api)
        self.given = Given(api)
        self.stages: StageControl | None = None
        self._aborted: set[tuple[str, str, int]] = set()
        """Steps under way whose end is not wanted any more: uid of the run, node, attempt."""

    def carry_out(self, actor: Actor, effect: Effect) -> None:
        """Start one effect. Its end is told to the actor."""
        match effect:
            case Execute():
                self._execute(actor, effect)
            case Await():
                fresh = effect.since is None or (self._clock.now() - effect.since).total_seconds() < 1.0
                self._spawn(actor, effect.key, effect.attempt, self._wait(actor, effect, fresh))
            case Abort():
                self._abort(actor, effect)
            case Refused():
                self._refused(actor, effect)

    # ---- starting

    def _execute(self, actor: Actor, effect: Execute) -> None:
        if effect.node.inline and not effect.node.reads.paths_of("secrets") and not actor.run.row.secrets:
            try:
                payload = with_own(actor, effect.node.payload.evaluate(effect.values)["payload"])
            except UnresolvedError as error:
                actor.done(effect.key, effect.attempt, phases.FAILED, None, "ExpressionFailed", str(error), retryable=False)
                return
            self._compute(actor, effect, payload)
            return
        self._spawn(actor, effect.key, effect.attempt, self._carry(actor, effect))

    def _compute(self, actor: Actor, effect: Execute, payload: Mapping[str, Any]) -> None:
        """A builtin that waits for nothing."""
        name = effect.node.node.task_ref
        if name == "builtin.echo":
            actor.done(effect.key, effect.attempt, phases.SUCCEEDED, payload)
            return
        call = Call(effect.key, actor.key.namespace, TaskDefinitionSpec(task=name), payload, attempt=effect.attempt)
        try:
            output = without_waiting(run_builtin(name, payload, call, self._around))
        except TaskFailedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, error.reason, error.message, retryable=error.retryable)
        else:
            actor.done(effect.key, effect.attempt, phases.SUCCEEDED, output)

    async def _carry(self, actor: Actor, effect: Execute) -> None:
        """Fill in the expressions, then hand the node to whoever carries it out."""
        try:
            given, marks = await self.given.of(actor, effect)
        except UnresolvedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, "ExpressionFailed", str(error), retryable=False)
            return
        except TaskFailedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, error.reason, error.message, retryable=error.retryable)
            return
        if effect.node.inline:
            self._compute(actor, effect, with_own(actor, given["payload"]))
        elif effect.node.type == "task":
            await self._make_task_run(actor, effect, with_own(actor, given["payload"]), marks)
        elif effect.node.type == "subworkflow":
            await self._make_run(actor, effect, given["params"], marks)
        else:
            await self._step(actor, effect, given, marks)

    # ---- task runs

    async def _make_task_run(
        self, actor: Actor, effect: Execute, payload: Mapping[str, Any], marks: Sequence[SecretMark]
    ) -> None:
        key = ObjectKey(actor.key.namespace, effect.name)
        found = self._tasks.get(key) if effect.again else None
        stage = await self._stage_of(actor, effect)
        if stage and self.stages is not None and found is not None:
            self.stages.know(actor, effect.key, stage)
        elif stage and self.stages is not None:
            try:
                fed = await self.stages.begin(actor, effect.key, stage, payload)
            except TaskFailedError as error:
                actor.done(effect.key, effect.attempt, phases.FAILED, None, error.reason, error.message)
                return
            if fed is None:
                actor.done(effect.key, effect.attempt, phases.SKIPPED, None, "StageSkipped", "main control skips this stage")
                return
            payload = fed
        if found is None:
            run = task_run_of(actor, effect, payload, marks)
            made = await self._create(actor, effect, run)
            if not made:
                return
            found = self._tasks.get(key)
        if found is not None:
            self.task_moved(actor, found)

    async def _stage_of(self, actor: Actor, effect: Execute) -> str:
        """The name of the stage that a node is, under a main control; empty without one."""
        if self.stages is None or not self.stages.applies(actor):
            return ""
        name = effect.node.node.task_ref
        definition = await self._api.get(TaskDefinition, name, actor.key.namespace)
        return definition.metadata.annotations.get("plum.dev/classic-name", name) if definition is not None else name

    def task_moved(self, actor: Actor, run: TaskRun) -> None:
        """A TaskRun of this run changed: tell how it ended, if it has."""
        status = run.status
        place = place_of(run)
        if status.phase not in TERMINAL_PHASES or place is None:
            return
        key, attempt = place
        if status.phase == "Succeeded":
            actor.done(key, attempt, phases.SUCCEEDED, status.output)
        elif status.phase == "Canceled":
            actor.done(key, attempt, phases.CANCELED, None, status.reason or "Canceled", status.error)
        else:
            actor.done(key, attempt, phases.FAILED, status.output, status.reason or status.phase, status.error, retryable=False)

    # ---- runs inside of runs

    async def _make_run(self, actor: Actor, effect: Execute, params: Mapping[str, Any], marks: Sequence[SecretMark]) -> None:
        key = ObjectKey(actor.key.namespace, effect.name)
        found = self._runs.get(key) if effect.again else None
        if found is None:
            depth = int(actor.run.facts.get("depth") or 0) + 1
            if depth > MAX_DEPTH:
                text = f"workflows are nested more than {MAX_DEPTH} deep: does {effect.node.node.workflow_ref} call itself?"
                actor.done(effect.key, effect.attempt, phases.FAILED, None, "NestedTooDeep", text, retryable=False)
                return
            metadata = metadata_of(actor, effect)
            metadata.labels[DEPTH_LABEL] = str(depth)
            spec = WorkflowRunSpec(
                workflow_ref=effect.node.node.workflow_ref, params=dict(params), secrets=list(marks),
                timeout=effect.node.node.timeout, priority=actor.spec.priority,
                triggered_by=f"run/{actor.key.name}", delegate=effect.node.node.delegate,
            )  # fmt: skip
            if not await self._create(actor, effect, WorkflowRun(metadata=metadata, spec=spec)):
                return
            found = self._runs.get(key)
        if found is not None:
            self.run_moved(actor, found)

    def run_moved(self, actor: Actor, run: WorkflowRun) -> None:
        """A run inside of this one changed: tell how it ended, if it has."""
        place = place_of(run)
        if run.status.phase not in TERMINAL_RUN_PHASES or place is None:
            return
        key, attempt = place
        message = f"run {run.metadata.name}: {run.status.message or run.status.phase}"
        if run.status.phase == "Succeeded":
            actor.done(key, attempt, phases.SUCCEEDED, run.status.outputs)
        elif run.status.phase == "Canceled":
            actor.done(key, attempt, phases.CANCELED, None, "Canceled", message)
        else:
            actor.done(key, attempt, phases.FAILED, None, run.status.reason or run.status.phase, message)

    async def _create(self, actor: Actor, effect: Execute, made: TaskRun | WorkflowRun) -> bool:
        """Create an object that may be there already. False: it can never be made, and the actor was told."""
        while True:
            try:
                await self._api.create(made)
                return True
            except AlreadyExistsError:
                found = await self._api.get(type(made), made.key)
                if found is not None and any(owner.uid == actor.run.uid for owner in found.metadata.owner_references):
                    if isinstance(found, TaskRun):
                        self.task_moved(actor, found)
                    else:
                        self.run_moved(actor, found)
                    return True
                if found is not None:
                    text = f"{made.kind} {made.metadata.name} is there and belongs to something else"
                    actor.done(effect.key, effect.attempt, phases.FAILED, None, "NameTaken", text, retryable=False)
                    return False
            except (InvalidObjectError, NotFoundError, ForbiddenError, BadRequestError) as error:
                actor.done(effect.key, effect.attempt, phases.FAILED, None, "Refused", error.message, retryable=False)
                return False
            except (ApiUnavailableError, TooManyRequestsError) as error:
                logger.info("object cannot be made now", extra={"key": str(made.key), "error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)

    # ---- steps and waits

    async def _step(self, actor: Actor, effect: Execute, given: Mapping[str, Any], marks: Sequence[SecretMark]) -> None:
        node = effect.node
        runner = self._steps.get(node.type)
        if runner is None:
            text = f"nothing here carries out nodes of type {node.type}; use a task"
            actor.done(effect.key, effect.attempt, phases.FAILED, None, "NoRunner", text, retryable=False)
            return
        place = (actor.run.uid, effect.key, effect.attempt)
        step = Step(
            node.type, given["config"], given["payload"], actor.key.namespace, actor.key.name, actor.run.uid, effect.key,
            effect.attempt, f"{actor.run.uid}/{effect.key}", node.timeout, marks, lambda: place in self._aborted,
        )  # fmt: skip
        await self._tell(actor, effect.key, effect.attempt, runner.run(step))

    async def _wait(self, actor: Actor, effect: Await, fresh: bool) -> None:
        waits = self._waiter.wait(actor.key.namespace, effect.node, effect.values, effect.since, fresh)
        await self._tell(actor, effect.key, effect.attempt, waits)

    async def _tell(self, actor: Actor, key: str, attempt: int, work: Coroutine[Any, Any, Any]) -> None:
        try:
            output = await work
        except TaskFailedError as error:
            actor.done(key, attempt, phases.FAILED, None, error.reason, error.message, retryable=error.retryable)
        except ExceptionGroup as group:
            failed = next((one for one in group.exceptions if isinstance(one, TaskFailedError)), None)
            reason = failed.reason if failed is not None else "Error"
            actor.done(key, attempt, phases.FAILED, None, reason, str(failed or group.exceptions[0]))
        else:
            actor.done(key, attempt, phases.SUCCEEDED, output)

    def _spawn(self, actor: Actor, key: str, attempt: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(self._guarded(actor, key, attempt, work))
        actor.under_way[key, attempt] = task
        task.add_done_callback(lambda done: _forget(actor, key, attempt, done))

    async def _guarded(self, actor: Actor, key: str, attempt: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except (ApiError, UnresolvedError) as error:
            node = key.removesuffix(STOP)
            actor.done(node, attempt, phases.FAILED, None, type(error).__name__.removesuffix("Error"), str(error))

    # ---- stopping

    def _abort(self, actor: Actor, effect: Abort) -> None:
        task = actor.under_way.get((effect.key, effect.attempt))
        found = actor.run.find(effect.key)
        node: NodePlan | None = found[0].graph.nodes[found[1]] if found is not None else None
        made = node is None or (not node.inline and node.type in ("task", "subworkflow"))
        if task is not None and not made:
            if node is not None and node.type in self._steps:
                place = (actor.run.uid, effect.key, effect.attempt)
                self._aborted.add(place)
                task.add_done_callback(lambda _: self._aborted.discard(place))
            task.cancel()
        if made:
            self._spawn(actor, effect.key + STOP, effect.attempt, self._stop_made(actor, effect))
        elif effect.told:
            actor.done(effect.key, effect.attempt, phases.CANCELED, None, "Canceled", "")

    async def _stop_made(self, actor: Actor, effect: Abort) -> None:
        """Ask the TaskRun or WorkflowRun of an attempt to stop. Its end is told by its last status."""
        stopped = False
        for info in (TaskRun, WorkflowRun):
            informer = self._tasks if info is TaskRun else self._runs
            for key in informer.index_keys("workflow-run", actor.run.uid):
                found: Any = informer.get(key)
                if found is None or place_of(found) != (effect.key, effect.attempt):
                    continue
                stopped = True
                stopped = await self._cancel(info, key)
        if not stopped and effect.told:
            waiting = actor.under_way.get((effect.key, effect.attempt))
            if waiting is not None:  # it is being made now
                waiting.cancel()
            actor.done(effect.key, effect.attempt, phases.CANCELED, None, "Canceled", "")

    async def _cancel(self, info: type[TaskRun] | type[WorkflowRun], key: ObjectKey) -> bool:
        """Whether it is there to be stopped."""
        patch = {"spec": {"canceled": True}} if info is TaskRun else {"spec": {"state": "Canceled"}}
        while True:
            try:
                await self._api.patch(info, key, patch)
                return True
            except NotFoundError:
                return False
            except (ApiUnavailableError, TooManyRequestsError) as error:
                logger.warning("object cannot be cancelled yet", extra={"key": str(key), "error": error.message})
                await asyncio.sleep(RETRY_SECONDS)


def with_own(actor: Actor, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The payload of a task, with what the run says for all of them."""
    return {**payload, **actor.spec.task_payload} if actor.spec.task_payload else payload


def _forget(actor: Actor, key: str, attempt: int, task: asyncio.Task[None]) -> None:
    if actor.under_way.get((key, attempt)) is task:
        del actor.under_way[key, attempt]
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("node broke off in the controller", extra={"key": str(actor.key), "node": key}, exc_info=error)
        actor.done(key.removesuffix(STOP), attempt, phases.FAILED, None, "Error", f"{type(error).__name__}: {error}")
