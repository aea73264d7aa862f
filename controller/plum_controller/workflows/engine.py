"""The workflow engine: admits runs, drives each with an actor, writes what people see of them.

    watch WorkflowRun --> reconcile --> admit: definition pinned, parameters, concurrency --> Actor --> rows
    watch TaskRun, WorkflowRun (made for nodes) --> the actor of the run they belong to
    rows --> status of the WorkflowRun, at once when it starts or ends, else twice a second

The rows are the truth. A status that is behind, after a crash too, is brought up to date from them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any

from plum_client.controller import Controller, Watch
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow.running.actor import Actor
from plum_flow.running.journal import space_of
from plum_flow.running.made import facts_of, place_of, run_uid_of
from plum_flow.workflow.asks import approver_refusal, refusal
from plum_flow.workflow.graph import DefinitionPlan
from plum_flow.workflow.loading import load
from plum_flow.workflow.messages import Changes, Effect, Execute, Refused, Told
from plum_flow.workflow.rows import RUN_KEY, NodeRow, RunRow, decode_node, decode_run, encode, shown
from plum_flow.workflow.state import Run
from plum_schemas.base import ObjectKey
from plum_schemas.node import Node
from plum_schemas.resource import Resource
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, RunCommand, RunPhase, WorkflowRun

from plum_controller.domain.delegation import tellings
from plum_controller.workflows.admission import Admission
from plum_controller.workflows.definitions import Definitions
from plum_controller.workflows.delegations import Delegations, NotDelegableError, Prepared
from plum_controller.workflows.effects import Effects
from plum_controller.workflows.feeds import Feeds
from plum_controller.workflows.hooks import Outbox, OutboxJournal
from plum_controller.workflows.preparing import Beginning, Preparation, RefusedRunError, group_of, write_early
from plum_controller.workflows.stage_control import StageControl
from plum_controller.workflows.status_writer import StatusWriter
from plum_controller.workflows.steps import StepRunner
from plum_controller.workflows.upkeep import Upkeep

logger = logging.getLogger(__name__)

RELOAD_SECONDS = 0.5
"""After the store refused, before a run is loaded again."""


ReadRows = Callable[[], Awaitable[Mapping[str, bytes]]]


def add_to(manager: Manager, journal: OutboxJournal, steps: Mapping[str, StepRunner] | None = None) -> WorkflowEngine:
    """Register the engine. Close what it answers with at the end."""
    engine = WorkflowEngine(manager, journal, steps or {})
    watches = [
        Watch(Workflow, engine.of_workflow),
        Watch(Node, engine.delegations.of_node),
        Watch(Resource, engine.of_device),
    ]
    engine.controller = Controller("workflow-engine", engine, WorkflowRun, watches=watches, workers=8)
    manager.add(engine.controller)
    return engine


class WorkflowEngine:
    """All runs of this process."""

    controller: Controller

    def __init__(self, manager: Manager, journal: OutboxJournal, steps: Mapping[str, StepRunner]) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._journal = journal
        self._recorder = manager.recorder("workflow-engine")
        self._runs = manager.informer(WorkflowRun, indexers={"workflow-run": run_uid_of})
        self._tasks = manager.informer(TaskRun, indexers={"workflow-run": run_uid_of})
        self._runs.add_handler(self._run_changed)
        self._tasks.add_handler(self._task_changed)
        self._definitions = Definitions(journal)
        self.feeds = Feeds()
        self._admission = Admission()
        self.delegations = Delegations(manager, journal, self._prepare_delegated, self.feeds.changed)
        self._effects = Effects(self._api, self._clock, self._tasks, self._runs, steps, self._refuse)
        self._preparation = Preparation(manager, journal, self._definitions, self._admission, self._effects.given)
        self._upkeep = Upkeep(journal, self._definitions, self._runs)
        self.hooks: Outbox | None = None
        """Tells other programs; what it has to tell is stored with the step that it tells of."""
        self._actors: dict[str, Actor] = {}
        self._delegated_plans: dict[str, DefinitionPlan] = {}
        """Of runs that nodes carry out."""
        self._statuses = StatusWriter(self._api, self._clock, self._runs, self._ended)
        self._background: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def active(self) -> int:
        """Runs that go on in this process."""
        return len(self._actors)

    def set_stages(self, stages: StageControl) -> None:
        """Main-control applications feed stages of runs from now on."""
        self._effects.stages = stages

    def actor_of(self, uid: str) -> Actor | None:
        """The actor of a run, while it goes on."""
        return self._actors.get(uid)

    def refusal(self, uid: str, command: RunCommand, groups: Sequence[str]) -> str | None:
        """Why a command would be refused now; None if it would be carried out, or if the run does not go on here."""
        actor = self._actors.get(uid)
        if actor is None:
            plan = self._delegated_plans.get(uid)
            return approver_refusal(plan, command, groups) if plan is not None else None
        return refusal(actor.run, command, groups)

    async def merged(
        self, run: WorkflowRun, before: Callable[[], Awaitable[Mapping[str, bytes]]], after: Mapping[str, bytes]
    ) -> Mapping[str, bytes]:
        """What is to go out with rows that a node has sent, to be stored with them. `before` reads what these rows are now."""
        plan = await self._definitions.plan(run.status.definition_hash)
        if self.hooks is None or plan is None or not plan.spec.hooks:
            return {}
        known = await before()
        row = after.get(RUN_KEY) or known.get(RUN_KEY)
        return self.hooks.merged(run, plan.spec.hooks, decode_run(row) if row else RunRow(), tellings(known, after))

    def send(self, outgoing: Mapping[str, bytes]) -> None:
        """It is on disk: tell it."""
        if self.hooks is not None:
            self.hooks.send(outgoing)

    def live_rows(self, uid: str) -> dict[str, NodeRow]:
        """Rows of nodes that run or wait now."""
        actor = self._actors.get(uid)
        if actor is None:
            return {}
        found = {}
        for key, (scope, index) in actor.run.active.items():
            row = scope.rows.get(index)
            found[key] = row or NodeRow(name=shown(key), type=scope.graph.nodes[index].type, phase=scope.phase[index])
        return found

    async def close(self) -> None:
        """Let go of all runs; their rows say how to go on."""
        self._closed = True
        for actor in list(self._actors.values()):
            actor.close()
        await self._statuses.close()
        tasks = list(self._background)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ---- what is watched

    def of_workflow(self, old: Workflow | None, new: Workflow | None) -> list[ObjectKey]:
        """Runs that wait look again when their workflow changes."""
        found = new or old
        assert found is not None  # noqa: S101
        return self._admission.waiting((found.metadata.namespace, found.metadata.name))

    def _task_changed(self, old: TaskRun | None, new: TaskRun | None) -> None:
        self._made_changed(old, new)

    def _made_changed(self, old: Any, new: Any) -> None:
        found = new if new is not None else old
        if place_of(found) is None:
            return
        for uid in run_uid_of(found):
            actor = self._actors.get(uid)
            if actor is None:
                continue
            if new is None:
                key, attempt = place_of(found) or ("", 0)
                actor.done(key, attempt, "Failed", None, "Deleted", f"{found.kind} {found.metadata.name} was deleted")
            elif isinstance(new, TaskRun):
                self._effects.task_moved(actor, new)
            else:
                self._effects.run_moved(actor, new)

    def _run_changed(self, old: WorkflowRun | None, new: WorkflowRun | None) -> None:
        found = new if new is not None else old
        assert found is not None  # noqa: S101
        uid = found.metadata.uid
        if new is None or (old is not None and old.metadata.uid != new.metadata.uid):
            gone = old or found
            self._drop(gone.metadata.uid)
            self.feeds.forget(gone.metadata.uid)
            self._spawn(self._upkeep.forget(gone.metadata.uid))
        elif new.status.phase in ("Pending", "Running", "Paused") and new.spec.workflow_ref:
            self._admission.start(group_of(new), uid, new.key)
        self._made_changed(old, new)

    def _drop(self, uid: str) -> None:
        """A run goes on no more: the next one may."""
        actor = self._actors.pop(uid, None)
        self._delegated_plans.pop(uid, None)
        if actor is not None:
            actor.close()
        self._statuses.forget(uid)
        following = self._admission.end(uid)
        if following is not None:
            self.controller.enqueue(following)

    # ---- reconciling

    async def reconcile(self, key: ObjectKey) -> Result:
        """Admit a run, load it after a restart, or pass on what people ask of it."""
        await self._upkeep.sweep()
        run = self._runs.get(key)
        if run is None or self._closed:
            return Result.wait_for_change()
        uid = run.metadata.uid
        if run.status.phase in TERMINAL_RUN_PHASES:
            if not self._statuses.is_behind(uid):
                self._drop(uid)
            if run.status.node:
                await self.delegations.settle(run)
            return Result.wait_for_change()
        waits = run.status.phase == "Queued" and run.spec.reservations and uid not in self._actors
        if waits and not await self._preparation.holds_devices(run):
            return Result.wait_for_change()
        if run.spec.delegate is not None:
            return await self._delegated(run)
        actor = self._actors.get(uid)
        if actor is None:
            try:
                actor = await self._open(run)
            except RefusedRunError as error:
                await self._end_early(run, "Failed", error.reason, error.message)
                return Result.wait_for_change()
            if actor is None:
                return Result.wait_for_change()
        actor.steer(run.spec)
        return Result.wait_for_change()

    def of_device(self, old: Resource | None, new: Resource | None) -> list[ObjectKey]:
        """Runs that hold a device now, or wait for one for another reason."""
        claims = [] if new is None else [*new.status.reservations, *new.status.waiting]
        namespace = "" if new is None else new.metadata.namespace
        return [ObjectKey(namespace, claim.name) for claim in claims if claim.kind == "WorkflowRun"]

    async def _delegated(self, run: WorkflowRun) -> Result:
        """A run that a node carries out, or will."""
        if run.spec.state == "Canceled" and run.status.phase in ("Queued", "Pending"):
            await self._end_early(run, "Canceled", "Canceled", "the run was cancelled before a node took it")
            return Result.wait_for_change()
        uid = run.metadata.uid
        if run.status.definition_hash and uid not in self._delegated_plans:
            plan = await self._definitions.plan(run.status.definition_hash)
            if plan is not None:
                self._delegated_plans[uid] = plan
        try:
            return await self.delegations.reconcile(run)
        except RefusedRunError as error:
            await self._end_early(run, "Failed", error.reason, error.message)
        except NotDelegableError as error:
            await self._end_early(run, "Failed", "NotDelegable", str(error))
        return Result.wait_for_change()

    async def _prepare_delegated(self, run: WorkflowRun) -> Prepared | None:
        begun = await self._preparation.prepare(run)
        return None if begun is None else (begun.plan.spec, begun.row, {key: encode(node) for key, node in begun.kept})

    async def _open(self, run: WorkflowRun) -> Actor | None:
        """The actor of a run: loaded if it has rows, else admitted. None: it waits."""
        uid = run.metadata.uid
        rows = dict(await self._journal.live(space_of(uid)))
        if RUN_KEY in rows:
            return await self._load(run, rows)
        if run.spec.state == "Canceled":
            await self._end_early(run, "Canceled", "Canceled", "the run was cancelled before it started")
            return None
        begun = await self._preparation.prepare(run)
        if begun is None:
            return None
        if run.spec.start_from is not None:
            return await self._take_over(run, begun)
        return await self._adopt(run, begun.plan, Run(begun.plan, uid, run.metadata.name, begun.row, facts_of(run)))

    async def _load(self, run: WorkflowRun, rows: Mapping[str, bytes]) -> Actor:
        row = decode_run(rows[RUN_KEY])
        plan = await self._definitions.plan(row.hash)
        if plan is None:
            raise RefusedRunError("DefinitionLost", f"the definition {row.hash} that the run is pinned to is gone")
        nodes = [(key, decode_node(value)) for key, value in rows.items() if key != RUN_KEY]
        loaded = load(plan, run.metadata.uid, run.metadata.name, row, nodes, self._clock.now(), facts_of(run))
        return await self._adopt(run, plan, loaded)

    async def _adopt(self, run: WorkflowRun, plan: DefinitionPlan, loaded: Run) -> Actor:
        uid = run.metadata.uid
        known = self._actors.get(uid)
        if known is not None:
            return known
        actor = Actor(self, self._journal, self._clock, run.key, loaded, run.spec, self._store)
        secrets = plan.secrets()
        if secrets.paths or loaded.row.secrets:
            actor.redactor = await self._effects.given.redactor(run.metadata.namespace, secrets, loaded.row.secrets)
        self._actors[uid] = actor
        if run.spec.workflow_ref:
            self._admission.start(group_of(run), uid, run.key)
        actor.begin()
        if loaded.is_done:
            self.moved(actor)
        return actor

    async def _take_over(self, run: WorkflowRun, begun: Beginning) -> Actor:
        """A rerun: the results of the earlier run that stay are its first rows."""
        plan, row, kept = begun
        values = {key: encode(node) for key, node in kept} | {RUN_KEY: encode(row)}
        await self._journal.commit(space_of(run.metadata.uid), values)
        self.feeds.changed(run.metadata.uid, {key: value for key, value in values.items() if key != RUN_KEY})
        return await self._adopt(
            run, plan, load(plan, run.metadata.uid, run.metadata.name, row, kept, self._clock.now(), facts_of(run))
        )

    # ---- what actors tell

    def carry_out(self, actor: Actor, effect: Effect) -> None:
        """An effect of a stored decision."""
        if not isinstance(effect, Told):
            self._effects.carry_out(actor, effect)

    async def _store(self, actor: Actor, rows: Mapping[str, bytes], changes: Changes) -> None:
        """One step, and what is to be told of it, on disk."""
        tells = self.hooks is not None and (actor.run.plan.spec.hooks or actor.spec.task_payload)
        outgoing = self.hooks.outgoing(actor, changes) if self.hooks is not None and tells else {}
        if rows or changes.folds or outgoing:
            await self._journal.commit(space_of(actor.run.uid), rows, changes.folds, outgoing)
        if outgoing and self.hooks is not None:
            self.hooks.send(outgoing)

    def stored(self, actor: Actor, changes: Changes, rows: Mapping[str, bytes]) -> None:
        """Tell who watches the run: rows that are on disk, and nodes that only compute and have no row yet."""
        uid = actor.run.uid
        if not self.feeds.follows(uid):
            return
        told = {key: row for key, row in rows.items() if key != RUN_KEY}
        for effect in changes.effects:
            if isinstance(effect, Execute) and effect.key not in told and (place := actor.run.active.get(effect.key)):
                row = place[0].rows.get(place[1])
                if row is not None:
                    told[effect.key] = encode(row)
        self.feeds.changed(uid, told)

    def moved(self, actor: Actor) -> None:
        """Something was stored: the status may differ."""
        self._statuses.moved(actor)

    def broken(self, actor: Actor, error: Exception) -> None:
        """The store refused, or a decision failed: load the run again from what is on disk."""
        logger.warning("run is loaded again", extra={"key": str(actor.key), "error": str(error)}, exc_info=error)
        if self._actors.get(actor.run.uid) is actor:
            del self._actors[actor.run.uid]
        self.controller.queue.add_after(actor.key, RELOAD_SECONDS)

    def _refuse(self, actor: Actor, effect: Refused) -> None:
        run = self._runs.get(actor.key)
        if run is not None:
            text = f"command {effect.command.name} ({effect.command.action}) was refused: {effect.message}"
            self._recorder.event(run, "Warning", "CommandRefused", text)

    def _ended(self, actor: Actor) -> None:
        run = self._runs.get(actor.key)
        row = actor.run.row
        if run is not None and row.phase in ("Failed", "Timeout"):
            self._recorder.event(run, "Warning", row.reason or "RunFailed", row.message)
        self._drop(actor.run.uid)

    async def _end_early(self, run: WorkflowRun, phase: RunPhase, reason: str, message: str) -> None:
        await write_early(self._api, self._clock, run, phase, reason, message)
        following = self._admission.end(run.metadata.uid)
        if following is not None:
            self.controller.enqueue(following)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        if self._closed:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
