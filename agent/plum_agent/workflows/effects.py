"""Carries out what the decisions of a delegated run ask for, on this node alone.

builtins that only compute     at once
task, script                   a task of `LocalTasks`, named after run, node and attempt: asking twice makes one
subworkflow                    a run inside of this one, on this node, in the same way
http, webhook, llm, mcp        a request of this process, made again with the same idempotency key after a restart
waits                          timers of the run itself, and people; those for objects are refused when the run is delegated
"""

from __future__ import annotations

import asyncio
import base64
import logging
import sqlite3
from collections.abc import Callable, Coroutine, Mapping, Sequence
from secrets import token_hex
from typing import Any, Protocol

import msgspec
from plum_client.clock import Clock
from plum_client.errors import ApiUnavailableError
from plum_client.events import EventRecorder
from plum_client.outgoing import OutgoingClient
from plum_flow.builtins import PURE
from plum_flow.calls import Call, TaskFailedError, without_waiting
from plum_flow.expressions import Redactor, UnresolvedError, secret_values
from plum_flow.running.actor import Actor
from plum_flow.running.made import metadata_of, place_of, task_run_of
from plum_flow.secret_marks import Held, marked, values_of_marks
from plum_flow.steps.script import script_spec
from plum_flow.steps.step import BY_REQUEST, Network, Step, run_step
from plum_flow.workflow import phases
from plum_flow.workflow.messages import Abort, Await, Effect, Execute, Refused
from plum_schemas.base import ObjectKey
from plum_schemas.taskdefinition import TaskDefinitionSpec
from plum_schemas.taskrun import SecretMark, TaskRun

from plum_agent.workflows.inner import begin, uid_of
from plum_agent.workflows.store import Ending, Head
from plum_agent.workflows.tasks import LocalTasks

logger = logging.getLogger(__name__)

WRITTEN_DOWN = frozenset({"task", "script", "subworkflow"})
"""Types of nodes that something is made for; what it is given holds marks instead of the values of secrets."""
RETRY_SECONDS = 1.0
"""Before the disk is asked again that did not take something."""


class InnerRuns(Protocol):
    """The runs inside of others, on this node."""

    async def ending_of(self, uid: str) -> tuple[bool, Ending | None]:
        """Whether a run was ever begun, and how it ended."""

    async def begin(self, head: Head, rows: Mapping[str, bytes]) -> None:
        """Write a run down, and begin it. Raises `sqlite3.Error`."""

    def cancel_of(self, parent: str, key: str, attempt: int) -> bool:
        """End the run of an attempt of a node. False: there is none that goes on."""


class Effects:
    """Of one run."""

    def __init__(
        self,
        head: Head,
        node: str,
        tasks: LocalTasks,
        inner: InnerRuns,
        outgoing: OutgoingClient,
        clock: Clock,
        events: EventRecorder | None,
        moved: Callable[[], None],
        broken: Callable[[Exception], None],
    ) -> None:
        """`moved`: something was stored. `broken`: the run is to be loaded again."""
        self._head = head
        self._bundle = head.bundle
        self._node = node
        self._tasks = tasks
        self._inner = inner
        self._network = Network(outgoing)
        self._clock = clock
        self._events = events
        self._moved = moved
        self._broken = broken
        self._secrets = {
            secret.metadata.name: {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in secret.data.items()}
            for secret in head.bundle.secrets
        }

    def redactor(self, marks: Sequence[SecretMark]) -> Redactor:
        """Hides the values of the secrets that the run was given, and the marks of them in its parameters."""
        values = (value for keys in self._secrets.values() for value in keys.values())
        return Redactor([*values, *(mark.marker for mark in marks)])

    # ---- what the actor tells

    def carry_out(self, actor: Actor, effect: Effect) -> None:
        """Start one effect. Its end is told to the actor."""
        match effect:
            case Execute():
                self._execute(actor, effect)
            case Abort():
                self._abort(actor, effect)
            case Await():
                text = "a delegated run cannot wait for objects"  # refused before it was delegated
                actor.done(effect.key, effect.attempt, phases.FAILED, None, "NotDelegable", text, retryable=False)
            case Refused():
                logger.warning(
                    "command was refused",
                    extra={"key": str(actor.key), "command": effect.command.name, "reason": effect.message},
                )
                if self._events is not None:
                    text = f"command {effect.command.name} ({effect.command.action}) was refused: {effect.message}"
                    self._events.event(self._head.run, "Warning", "CommandRefused", text)

    def stored(self, actor: Actor, changes: object, rows: Mapping[str, bytes]) -> None:
        """Rows are on disk; they are merged when the link allows it."""

    def moved(self, actor: Actor) -> None:
        self._moved()

    def broken(self, actor: Actor, error: Exception) -> None:
        self._broken(error)

    # ---- nodes

    def _execute(self, actor: Actor, effect: Execute) -> None:
        node = effect.node
        try:
            given, marks = self._given(actor, effect)
        except UnresolvedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, "ExpressionFailed", str(error), retryable=False)
            return
        except TaskFailedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, error.reason, error.message, retryable=False)
            return
        if node.inline:
            self._compute(actor, effect, {**given["payload"], **actor.spec.task_payload})
        elif node.type == "task":
            run = task_run_of(actor, effect, {**given["payload"], **actor.spec.task_payload}, marks)
            self._spawn(actor, effect.key, effect.attempt, self._make(actor, run))
        elif node.type == "script":
            self._script(actor, effect, given, marks)
        elif node.type == "subworkflow":
            self._spawn(actor, effect.key, effect.attempt, self._begin(actor, effect, given["params"], marks))
        elif node.type in BY_REQUEST:
            self._spawn(actor, effect.key, effect.attempt, self._step(actor, effect, given))
        else:
            text = f"a node alone does not carry out nodes of type {node.type}"
            actor.done(effect.key, effect.attempt, phases.FAILED, None, "NotDelegable", text, retryable=False)

    def _given(self, actor: Actor, effect: Execute) -> tuple[Any, list[SecretMark]]:
        """What a node is given: marks instead of the values of secrets wherever it is written down, and which they are."""
        node, reads = effect.node, effect.node.reads
        reads_secrets = bool(reads.paths_of("secrets"))
        if not reads_secrets and not actor.run.row.secrets:
            return node.payload.evaluate(effect.values), []
        held = self._held(actor, actor.run.row.secrets)
        true_values = held.put_in(effect.values)
        if node.type in WRITTEN_DOWN and not node.inline:
            return marked(
                lambda more: node.payload.evaluate({**effect.values, **more}), reads,
                self._secrets if reads_secrets else {}, token_hex(16),
                held, lambda more: node.payload.evaluate({**true_values, **more}),
            )  # fmt: skip
        secrets = secret_values(reads, self._secrets) if reads_secrets else {}
        return node.payload.evaluate({**true_values, "secrets": secrets}), []

    def _held(self, actor: Actor, marks: Sequence[SecretMark]) -> Held:
        if not marks:
            return Held()
        given = {secret.metadata.name: secret for secret in self._bundle.secrets}
        return Held(marks, values_of_marks(marks, actor.key.namespace, given))

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

    # ---- tasks

    def _script(self, actor: Actor, effect: Execute, given: Mapping[str, Any], marks: Sequence[SecretMark]) -> None:
        try:
            spec = script_spec(given["config"], given["payload"])
        except TaskFailedError as error:
            actor.done(effect.key, effect.attempt, phases.FAILED, None, error.reason, error.message, retryable=error.retryable)
            return
        text = msgspec.json.encode(spec).decode()
        spec = msgspec.structs.replace(spec, secrets=[mark for mark in marks if mark.marker in text])
        self._spawn(actor, effect.key, effect.attempt, self._make(actor, TaskRun(metadata=metadata_of(actor, effect), spec=spec)))

    async def _make(self, actor: Actor, run: TaskRun) -> None:
        while True:
            try:
                made = await self._tasks.create(actor.run.uid, run, self._bundle)
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
            again = run.spec.task is not None  # of a script: its node says how often, not a definition
            reason = status.reason or status.phase
            actor.done(key, attempt, phases.FAILED, status.output, reason, status.error, retryable=again)

    # ---- steps

    async def _step(self, actor: Actor, effect: Execute, given: Mapping[str, Any]) -> None:
        node, key = effect.node, effect.key
        step = Step(
            node.type, given["config"], given["payload"], actor.key.namespace, actor.key.name, actor.run.uid, key,
            effect.attempt, f"{actor.run.uid}/{key}", node.timeout,
        )  # fmt: skip
        try:
            output = await run_step(step, self._network)
        except TaskFailedError as error:
            actor.done(key, effect.attempt, phases.FAILED, None, error.reason, error.message, retryable=error.retryable)
        else:
            actor.done(key, effect.attempt, phases.SUCCEEDED, output)

    # ---- runs inside

    async def _begin(self, actor: Actor, effect: Execute, params: Mapping[str, Any], marks: Sequence[SecretMark]) -> None:
        """Begin the run of a node, or take up that it was begun, or has ended, before."""
        uid = uid_of(actor.run.uid, effect.name)
        while True:
            try:
                known, ending = await self._inner.ending_of(uid)
                if not known:
                    made = begin(self._head, actor, effect, params, self._held(actor, marks), self._node, self._clock.now())
                    if isinstance(made, Ending):
                        ending = made
                    else:
                        await self._inner.begin(*made)
                if ending is not None:
                    run_ended(actor, effect.key, effect.attempt, effect.name, ending)
                return
            except sqlite3.Error as error:
                logger.warning("run inside cannot be written down", extra={"key": str(actor.key), "error": str(error)})
                await asyncio.sleep(RETRY_SECONDS)

    # ---- stopping

    def _abort(self, actor: Actor, effect: Abort) -> None:
        found = actor.run.find(effect.key)
        step = found is not None and found[0].graph.nodes[found[1]].type in BY_REQUEST
        going = actor.under_way.get((effect.key, effect.attempt))
        if not step:
            self._spawn(actor, f"{effect.key}/stop", effect.attempt, self._stop(actor, effect))
            return
        if going is not None:
            going.cancel()
        if effect.told:
            actor.done(effect.key, effect.attempt, phases.CANCELED, None, "Canceled", "")

    async def _stop(self, actor: Actor, effect: Abort) -> None:
        """End the task or the run of an attempt. Its end is told by its last state."""
        making = actor.under_way.get((effect.key, effect.attempt))
        if making is not None:
            await asyncio.wait({making})
        stopped = self._inner.cancel_of(actor.run.uid, effect.key, effect.attempt)
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


def run_ended(actor: Actor, key: str, attempt: int, name: str, ending: Ending) -> None:
    """Tell the run around it how a run inside has ended."""
    if ending.phase == "Succeeded":
        actor.done(key, attempt, phases.SUCCEEDED, ending.outputs)
        return
    text = f"run {name}: {ending.message or ending.phase}"
    if ending.phase == "Canceled":
        actor.done(key, attempt, phases.CANCELED, None, "Canceled", text)
    else:
        actor.done(key, attempt, phases.FAILED, None, ending.reason or ending.phase, text)


def _forget(actor: Actor, key: str, attempt: int, task: asyncio.Task[None]) -> None:
    if actor.under_way.get((key, attempt)) is task:
        del actor.under_way[key, attempt]
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("node of a delegated run broke off", extra={"key": str(actor.key), "node": key}, exc_info=error)
        actor.done(key.removesuffix("/stop"), attempt, phases.FAILED, None, "Error", f"{type(error).__name__}: {error}")
