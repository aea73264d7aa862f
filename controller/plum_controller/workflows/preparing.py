"""How a run begins: what it executes, whether it may start now, with what it starts.

    WorkflowRun --definition_of--> its definition, or that of the run it repeats --admitted--> pinned, RunRow --> Prepared
                                                                             '--> Queued, with the reason

A run that waits is told so in its status. One that can never start is refused: `RefusedRunError`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import msgspec
from plum_client.client import ApiClient
from plum_client.clock import Clock
from plum_client.errors import NotFoundError
from plum_client.manager import Manager
from plum_flow.calls import TaskFailedError
from plum_flow.expressions import ExpressionError
from plum_flow.running.journal import Journal, space_of
from plum_flow.running.statuses import ended_early
from plum_flow.workflow.graph import DefinitionPlan
from plum_flow.workflow.marked_params import misuse
from plum_flow.workflow.params import begin_with
from plum_flow.workflow.reuse import reused_rows
from plum_flow.workflow.rows import RUN_KEY, NodeRow, RunRow, decode_node, decode_run
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.resource import Resource
from plum_schemas.workflow import Workflow, WorkflowSpec, run_obstacle
from plum_schemas.workflowrun import RunPhase, WorkflowRun

from plum_controller.domain.reservations import missing
from plum_controller.workflows.admission import Admission, Group
from plum_controller.workflows.definitions import Definitions
from plum_controller.workflows.given import Given


class RefusedRunError(Exception):
    """A run that can never start."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Beginning(NamedTuple):
    """What an admitted run begins with."""

    plan: DefinitionPlan
    row: RunRow
    kept: list[tuple[str, NodeRow]]
    """Results of the run that this one repeats, as far as they stay."""


class Preparation:
    """Prepares runs; keeps nothing but the queue of those that wait, in `admission`."""

    def __init__(self, manager: Manager, journal: Journal, definitions: Definitions, admission: Admission, given: Given) -> None:
        self._api: ApiClient = manager.api
        self._clock: Clock = manager.clock
        self._journal = journal
        self._definitions = definitions
        self._admission = admission
        self._given = given
        self._workflows = manager.informer(Workflow)
        self._devices = manager.informer(Resource)
        self._runs = manager.informer(WorkflowRun)

    async def holds_devices(self, run: WorkflowRun) -> bool:
        """Whether every device that the run reserves is its own now; otherwise it says what it waits for."""
        if run.spec.state == "Canceled":
            return True
        found = {
            one.resource: self._devices.get(ObjectKey(run.metadata.namespace, one.resource)) for one in run.spec.reservations
        }
        held = {name: None if one is None else [claim.uid for claim in one.status.reservations] for name, one in found.items()}
        waits = missing(held, run.metadata.uid)
        if not waits:
            return True
        device = found[waits[0]]
        claims = [] if device is None else [claim for claim in device.status.waiting if claim.uid == run.metadata.uid]
        why = claims[0].reason if claims else f"there is no Resource {waits[0]}" if device is None else f"{waits[0]} is not free"
        await write_early(self._api, self._clock, run, "Queued", "WaitsForReservation", why)
        return False

    async def prepare(self, run: WorkflowRun) -> Beginning | None:
        """Admit a run. None: it waits, and its status says for what. Raises `RefusedRunError`."""
        spec, earlier = await self._definition_of(run)
        if run.spec.workflow_ref and not await self._admit(run, spec):
            return None
        try:
            held = await self._given.held_by(run.spec.secrets, run.metadata.namespace)
        except TaskFailedError as error:
            raise RefusedRunError(error.reason, error.message) from error
        params, problem = begin_with(spec.params, run.spec.params, held, "spec.params")
        if problem and earlier is None:
            raise RefusedRunError("InvalidParams", problem)
        try:
            plan = await self._definitions.pin(spec)
        except (ExpressionError, KeyError, ValueError) as error:
            raise RefusedRunError("InvalidDefinition", str(error)) from error
        workflow = self._workflows.get(ObjectKey(run.metadata.namespace, run.spec.workflow_ref))
        known = workflow is not None and workflow.status.definition_hash == plan.hash
        revision = workflow.status.revision if workflow is not None and known else 0
        if problem := misuse(plan, params, held.marks):
            raise RefusedRunError("SecretInCondition", problem)
        paused = run.spec.state == "Paused"
        row = RunRow(hash=plan.hash, revision=revision, params=params, secrets=run.spec.secrets, paused=paused)
        timeout = run.spec.timeout or spec.timeout
        if timeout:
            row.deadline = self._clock.now() + timedelta(seconds=parse_duration(timeout))
        return Beginning(plan, row, [] if earlier is None else await self._kept_rows(run, plan, row, earlier))

    async def _definition_of(self, run: WorkflowRun) -> tuple[WorkflowSpec, tuple[str, RunRow] | None]:
        """What the run executes; for a rerun what the earlier one executed, with its uid and row."""
        if run.spec.start_from is not None:
            found = self._runs.get(ObjectKey(run.metadata.namespace, run.spec.start_from.run))
            value = await self._journal.get(space_of(found.metadata.uid), RUN_KEY) if found is not None else None
            if found is None or value is None:
                raise RefusedRunError("RunMissing", f"spec.startFrom.run: there is no run {run.spec.start_from.run} with results")
            row = decode_run(value)
            plan = await self._definitions.plan(row.hash)
            if plan is None:
                raise RefusedRunError("DefinitionLost", f"the definition {row.hash} of run {found.metadata.name} is gone")
            return plan.spec, (found.metadata.uid, row)
        if run.spec.definition is not None:
            return run.spec.definition, None
        workflow = self._workflows.get(ObjectKey(run.metadata.namespace, run.spec.workflow_ref))
        if workflow is None:
            raise RefusedRunError("WorkflowMissing", f"there is no Workflow {run.spec.workflow_ref}")
        problem = run_obstacle(workflow.spec)
        if problem:
            raise RefusedRunError("WorkflowNotRunnable", f"Workflow {run.spec.workflow_ref} {problem}")
        return workflow.spec, None

    async def _admit(self, run: WorkflowRun, spec: WorkflowSpec) -> bool:
        """Whether the run may start now. Those that may not are queued, or fail."""
        workflow = self._workflows.get(ObjectKey(run.metadata.namespace, run.spec.workflow_ref))
        current = workflow.spec if workflow is not None else spec
        group, uid = group_of(run), run.metadata.uid
        verdict = self._admission.judge(group, run.key, current)
        if current.state == "Paused":
            verdict = verdict._replace(go=False, reason="WorkflowPaused", message=f"Workflow {run.spec.workflow_ref} is paused")
        if verdict.go:
            self._admission.start(group, uid, run.key)
            return True
        if verdict.forbidden:
            raise RefusedRunError(verdict.reason, verdict.message)
        created = run.metadata.creation_timestamp or self._clock.now()
        self._admission.wait(group, uid, run.key, run.spec.priority or current.priority, created)
        for other in verdict.cancel:
            try:
                await self._api.patch(WorkflowRun, other, {"spec": {"state": "Canceled"}})
            except NotFoundError:
                pass
        await write_early(self._api, self._clock, run, "Queued", verdict.reason, verdict.message)
        return False

    async def _kept_rows(
        self, run: WorkflowRun, plan: DefinitionPlan, row: RunRow, earlier: tuple[str, RunRow]
    ) -> list[tuple[str, NodeRow]]:
        uid, known = earlier
        assert run.spec.start_from is not None  # noqa: S101
        row.params = {**known.params, **{name: value for name, value in run.spec.params.items() if name in known.params}}
        row.secrets = [*known.secrets, *row.secrets]
        row.started_at = self._clock.now()
        nodes = []
        after = ""
        while piece := await self._journal.read(space_of(uid), after):
            nodes += [(key, decode_node(value)) for key, value in piece if key != RUN_KEY and "[" not in key and ":" not in key]
            after = piece[-1][0]
        try:
            return reused_rows(plan, nodes, run.spec.start_from.node)
        except ValueError as error:
            raise RefusedRunError("InvalidStart", f"spec.startFrom: {error}") from error


async def write_early(api: ApiClient, clock: Clock, run: WorkflowRun, phase: RunPhase, reason: str, message: str) -> None:
    """Write the status of a run that has no rows: it waits, or it ended before it began."""
    status = ended_early(run.status, phase, reason, message, run.metadata.generation, clock.now())
    if status != run.status:
        await api.write_status(msgspec.structs.replace(run, status=status))


def group_of(run: WorkflowRun) -> Group:
    """Runs among which concurrency is counted."""
    return run.metadata.namespace, run.spec.workflow_ref
