"""Carries out what the decisions of a delegated run ask for, on this node alone.

builtins that only compute     at once
task                           a task of `LocalTasks`, named after run, node and attempt: asking twice makes one
waits                          timers of the run itself; those for objects and people are refused when the run is delegated
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from plum_client.clock import Clock
from plum_client.errors import ApiUnavailableError
from plum_flow.builtins import PURE
from plum_flow.calls import Call, TaskFailedError, without_waiting
from plum_flow.delegation import Bundle
from plum_flow.expressions import Redactor, UnresolvedError, secret_values
from plum_flow.expressions.expression import References
from plum_flow.running.actor import Actor
from plum_flow.running.made import place_of, task_run_of
from plum_flow.workflow import phases
from plum_flow.workflow.messages import Abort, Await, Effect, Execute, Refused
from plum_schemas.base import ObjectKey
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import TaskRun

from plum_agent.workflows.tasks import LocalTasks

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
"""Before the disk is asked again that did not take something."""


class Effects:
    """Of one run."""

    def __init__(
        self, bundle: Bundle, tasks: LocalTasks, clock: Clock, moved: Callable[[], None], broken: Callable[[Exception], None]
    ) -> None:
        """`moved`: something was stored. `broken`: the run is to be loaded again."""
        self._bundle = bundle
        self._tasks = tasks
        self._clock = clock
        self._moved = moved
        self._broken = broken
        self._secrets = {
            secret.metadata.name: {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in secret.data.items()}
            for secret in bundle.secrets
        }

    @property
    def redactor(self) -> Redactor:
        """Hides the values of the secrets that the run was given."""
        return Redactor(value for keys in self._secrets.values() for value in keys.values())

    # ---- what the actor tells

    def carry_out(self, actor: Actor, effect: Effect) -> None:
        """Start one effect. Its end is told to the actor."""
        match effect:
            case Execute():
                self._execute(actor, effect)
            case Abort():
                self._abort(actor, effect)
            case Await():
                text = "a delegated run cannot wait for objects"
                actor.done(effect.key, effect.attempt, phases.FAILED, None, "NotDelegable", text, retryable=False)
            case Refused():
                logger.warning(
                    "command was refused",
                    extra={"key": str(actor.key), "command": effect.command.name, "reason": effect.message},
                )

    def stored(self, actor: Actor, changes: object, rows: Mapping[str, bytes]) -> None:
        """Rows are on disk; they are merged when the link allows it."""

    def moved(self, actor: Actor) -> None:
        self._moved()

    def broken(self, actor: Actor, error: Exception) -> None:
        self._broken(error)

    # ---- nodes

    def _execute(self, actor: Actor, effect: Execute) -> None:
        try:
            values = {**effect.values, **self._secrets_for(effect.node.reads)}
            payload = {**effect.node.payload.evaluate(values)["payload"], **actor.spec.task_payload}
        except UnresolvedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, "ExpressionFailed", str(error), retryable=False)
            return
        if effect.node.inline:
            self._compute(actor, effect, payload)
        elif effect.node.type == "task":
            self._spawn(actor, effect.key, effect.attempt, self._make(actor, effect, payload))
        else:
            text = f"a node alone does not carry out nodes of type {effect.node.type}"
            actor.done(effect.key, effect.attempt, phases.FAILED, None, "NotDelegable", text, retryable=False)

    def _secrets_for(self, references: References) -> dict[str, Any]:
        return {"secrets": secret_values(references, self._secrets)} if references.paths_of("secrets") else {}

    def _compute(self, actor: Actor, effect: Execute, payload: Mapping[str, Any]) -> None:
        """A builtin that waits for nothing."""
        name = effect.node.node.task_ref
        call = Call(effect.key, actor.key.namespace, TaskDefinitionSpec(task=name), payload, attempt=effect.attempt)
        try:
            output = without_waiting(PURE[name](payload, call, self._clock.now))
        except TaskFailedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, error.reason, error.message, retryable=error.retryable)
        else:
            actor.done(effect.key, effect.attempt, phases.SUCCEEDED, output)

    async def _make(self, actor: Actor, effect: Execute, payload: Mapping[str, Any]) -> None:
        while True:
            try:
                made = await self._tasks.create(actor.run.uid, task_run_of(actor, effect, payload), self._bundle)
                break
            except ApiUnavailableError as error:
                logger.warning("task cannot be written down", extra={"key": str(actor.key), "error": error.message})
                await asyncio.sleep(RETRY_SECONDS)
        self.task_ended(actor, made)

    def task_ended(self, actor: Actor, run: TaskRun) -> None:
        """Tell how a task ended, if it has."""
        place, status = place_of(run), run.status
        if place is None:
            return
        key, attempt = place
        if status.phase == "Succeeded":
            actor.done(key, attempt, phases.SUCCEEDED, status.output)
        elif status.phase == "Canceled":
            actor.done(key, attempt, phases.CANCELED, None, status.reason or "Canceled", status.error)
        elif status.phase in ("Failed", "Timeout", "Unknown"):
            actor.done(key, attempt, phases.FAILED, status.output, status.reason or status.phase, status.error, retryable=False)

    # ---- stopping

    def _abort(self, actor: Actor, effect: Abort) -> None:
        self._spawn(actor, f"{effect.key}/stop", effect.attempt, self._stop(actor, effect))

    async def _stop(self, actor: Actor, effect: Abort) -> None:
        """End the task of an attempt. Its end is told by its last state."""
        making = actor.under_way.get((effect.key, effect.attempt))
        if making is not None:
            await asyncio.wait({making})
        stopped = False
        for run in self._tasks.of_run(actor.run.uid):
            if place_of(run) == (effect.key, effect.attempt):
                stopped = await self._cancel(run.key) or stopped
        if not stopped and effect.told:
            actor.done(effect.key, effect.attempt, phases.CANCELED, None, "Canceled", "")

    async def _cancel(self, key: ObjectKey) -> bool:
        while True:
            try:
                return await self._tasks.cancel(key)
            except ApiUnavailableError as error:
                logger.warning("task cannot be cancelled yet", extra={"key": str(key), "error": error.message})
                await asyncio.sleep(RETRY_SECONDS)

    def _spawn(self, actor: Actor, key: str, attempt: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        actor.under_way[key, attempt] = task
        task.add_done_callback(lambda done: _forget(actor, key, attempt, done))


def _forget(actor: Actor, key: str, attempt: int, task: asyncio.Task[None]) -> None:
    if actor.under_way.get((key, attempt)) is task:
        del actor.under_way[key, attempt]
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("node of a delegated run broke off", extra={"key": str(actor.key), "node": key}, exc_info=error)
        actor.done(key.removesuffix("/stop"), attempt, phases.FAILED, None, "Error", f"{type(error).__name__}: {error}")
