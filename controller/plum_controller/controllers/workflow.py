"""The workflow controller: keeps versions of definitions, tells what runs were like, forgets old ones.

    watch Workflow, WorkflowRun, TaskDefinition -> key -> reconcile -> Revisions, Workflow.status, runs deleted

Runs are driven elsewhere (`plum_controller.workflows`). A run that is forgotten is counted in the same transaction.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
from plum_client import transactions as tx
from plum_client.client import ApiClient
from plum_client.conditions import set_condition
from plum_client.controller import Controller, Watch
from plum_client.errors import AlreadyExistsError, ConflictError, NotFoundError
from plum_client.manager import Manager
from plum_client.reconciler import Result
from plum_flow.workflow.graph import definition_hash
from plum_flow.workflow.history import Ended, forgettable, statistics
from plum_schemas.base import Condition, ObjectKey, ObjectMeta, OwnerReference
from plum_schemas.node_types import WorkflowNode
from plum_schemas.revision import Revision, RevisionSpec, RevisionTarget
from plum_schemas.taskdefinition import BUILTIN_PREFIX, TaskDefinition
from plum_schemas.workflow import REVISIONS_KEPT, Workflow, WorkflowSpec, WorkflowStatus
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_controller.domain.revisions import forgettable as old_revisions
from plum_controller.domain.revisions import next_number

WORKFLOW_LABEL = "plum.dev/workflow"
CHANGE_CAUSE = "kubernetes.io/change-cause"
PACE_SECONDS = 1.0
"""Between two writes of a status while runs come and go."""
DELETED_AT_ONCE = 40
Group = tuple[str, str]


def add_to(manager: Manager) -> None:
    """Register the controller."""
    reconciler = WorkflowReconciler(manager)
    watches = [Watch(WorkflowRun, reconciler.of_run), Watch(TaskDefinition, reconciler.of_definition)]
    manager.add(Controller("workflow", reconciler, Workflow, owns=[Revision], watches=watches, workers=4))


class WorkflowReconciler:
    """Looks after one Workflow at a time."""

    def __init__(self, manager: Manager) -> None:
        self._api: ApiClient = manager.api
        self._clock = manager.clock
        self._workflows = manager.informer(Workflow)
        self._definitions = manager.informer(TaskDefinition)
        self._revisions = manager.informer(Revision, indexers={"workflow": _owners})
        self._runs = manager.informer(WorkflowRun)
        self._runs.add_handler(self._note)
        self._active: dict[Group, dict[str, str]] = defaultdict(dict)
        """Phases of runs that have not ended, by uid."""
        self._ended: dict[Group, dict[str, Ended]] = defaultdict(dict)
        self._newest: dict[Group, tuple[datetime, str]] = {}
        self._written: dict[ObjectKey, float] = {}
        self._hashes: dict[str, tuple[int, str]] = {}
        """Generation and hash of definitions, by uid."""

    # ---- what is watched

    def of_run(self, old: WorkflowRun | None, new: WorkflowRun | None) -> Iterable[ObjectKey]:
        """The workflow of a run, when it appears, goes, or enters another phase."""
        found = new or old
        assert found is not None  # noqa: S101
        if not found.spec.workflow_ref or (old is not None and new is not None and old.status.phase == new.status.phase):
            return []
        return [ObjectKey(found.metadata.namespace, found.spec.workflow_ref)]

    def of_definition(self, old: TaskDefinition | None, new: TaskDefinition | None) -> Iterable[ObjectKey]:
        """Workflows of a namespace whose task definitions come or go."""
        if old is not None and new is not None:
            return []
        found = new or old
        assert found is not None  # noqa: S101
        return [
            workflow.key
            for workflow in self._workflows.list(found.metadata.namespace)
            if found.metadata.name in set(_task_refs(workflow.spec))
        ]

    def _note(self, old: WorkflowRun | None, new: WorkflowRun | None) -> None:
        found = new or old
        assert found is not None  # noqa: S101
        if not found.spec.workflow_ref:
            return
        group, uid = (found.metadata.namespace, found.spec.workflow_ref), found.metadata.uid
        if new is None:
            self._active[group].pop(uid, None)
            self._ended[group].pop(uid, None)
            return
        created = new.metadata.creation_timestamp
        if created is not None and (group not in self._newest or (created, new.metadata.name) > self._newest[group]):
            self._newest[group] = (created, new.metadata.name)
        if new.status.phase not in TERMINAL_RUN_PHASES:
            self._active[group][uid] = new.status.phase
            return
        self._active[group].pop(uid, None)
        status = new.status
        ended = status.finished_at or created or self._clock.now()
        seconds = (ended - status.started_at).total_seconds() if status.started_at is not None else None
        owned = any(owner.kind == "WorkflowRun" for owner in new.metadata.owner_references)
        self._ended[group][uid] = Ended(ended, new.key, uid, status.phase, seconds, owned)

    # ---- reconciling

    async def reconcile(self, key: ObjectKey) -> Result:
        """Keep the revision, write the status, forget old runs."""
        workflow = self._workflows.get(key)
        if workflow is None or workflow.metadata.deletion_timestamp is not None:
            self._written.pop(key, None)
            return Result.wait_for_change()
        number, digest = await self._keep_revision(workflow)
        group = (key.namespace, key.name)
        now = self._clock.now()
        wait = self._written.get(key, float("-inf")) + self._pace(group) - self._clock.monotonic()
        if wait > 0 and workflow.status.observed_generation == workflow.metadata.generation:
            return Result.requeue(after=wait)  # what follows looks at every run that is kept
        self._written[key] = self._clock.monotonic()
        status = self._status(workflow, number, digest, now)
        if status != workflow.status:
            workflow = await self._api.write_status(msgspec.structs.replace(workflow, status=status))
        going, following = forgettable(self._ended[group].values(), workflow.spec.keep_runs, now)
        if going:
            await self._forget(workflow, going[:DELETED_AT_ONCE])
            del self._written[key]
            return Result.requeue(after=0.05)
        return Result.requeue(after=following) if following is not None else Result.wait_for_change()

    def _pace(self, group: Group) -> float:
        """Seconds between two looks: with many runs that are kept, so many that looking takes a hundredth of the time."""
        return PACE_SECONDS * max(1.0, len(self._ended[group]) / 1000)

    def _status(self, workflow: Workflow, number: int, digest: str, now: datetime) -> WorkflowStatus:
        group = (workflow.metadata.namespace, workflow.metadata.name)
        before = workflow.status
        phases = list(self._active[group].values())
        ended = self._ended[group]
        last = max(ended.values(), default=None)
        newest = self._newest.get(group)
        return WorkflowStatus(
            observed_generation=workflow.metadata.generation,
            revision=number,
            definition_hash=digest,
            active_runs=sum(phase != "Queued" for phase in phases),
            queued_runs=sum(phase == "Queued" for phase in phases),
            last_run=newest[1] if newest is not None else before.last_run,
            last_run_at=newest[0] if newest is not None else before.last_run_at,
            last_phase=last.phase if last is not None else before.last_phase,
            statistics=statistics(ended.values(), before.statistics),
            conditions=set_condition(before.conditions, self._ready(workflow), now),
        )

    def _ready(self, workflow: Workflow) -> Condition:
        namespace, spec = workflow.metadata.namespace, workflow.spec
        missing = [
            f"TaskDefinition {name}"
            for name in dict.fromkeys(_task_refs(spec))
            if not name.startswith(BUILTIN_PREFIX) and ObjectKey(namespace, name) not in self._definitions
        ]
        inner = dict.fromkeys(_workflow_refs(spec))
        missing += [f"Workflow {name}" for name in inner if ObjectKey(namespace, name) not in self._workflows]
        generation = workflow.metadata.generation
        if missing:
            text = f"it refers to what is not there: {', '.join(missing[:10])}"
            return Condition(
                type="Ready", status="False", reason="ReferenceMissing", message=text, observed_generation=generation
            )
        if spec.state == "Draft":
            text = "a draft cannot run; set spec.state to Active"
            return Condition(type="Ready", status="False", reason="Draft", message=text, observed_generation=generation)
        return Condition(type="Ready", status="True", reason="Complete", observed_generation=generation)

    async def _keep_revision(self, workflow: Workflow) -> tuple[int, str]:
        """Make sure that the definition is kept, under the highest number. Answers with its number and hash."""
        digest = self._hash_of(workflow)
        revisions = list(self._revisions.by_index("workflow", workflow.metadata.uid))
        known = next((revision for revision in revisions if revision.spec.hash == digest), None)
        number = next_number(revisions)
        if known is None:
            target = RevisionTarget(kind="Workflow", name=workflow.metadata.name)
            spec = RevisionSpec(target=target, number=number, hash=digest, definition=msgspec.to_builtins(workflow.spec))
            spec.change_cause = workflow.metadata.annotations.get(CHANGE_CAUSE, "")
            made = Revision(metadata=_metadata(workflow, f"{workflow.metadata.name}-{digest}"), spec=spec)
            try:
                known = await self._api.create(made)
            except AlreadyExistsError:
                known = await self._api.get(Revision, made.key)
                if known is None or workflow.metadata.uid not in _owners(known):
                    raise
        elif known.spec.number != number - 1:
            known = await self._api.patch(Revision, known.key, {"spec": {"number": number}})
        others = [revision for revision in revisions if revision.spec.hash != digest]
        for old in old_revisions(others, (), REVISIONS_KEPT):
            await self._api.delete(Revision, old.key, uid=old.metadata.uid)
        return known.spec.number, digest

    def _hash_of(self, workflow: Workflow) -> str:
        """Worked out once for each version of the spec: definitions may be large, and runs come and go."""
        known = self._hashes.get(workflow.metadata.uid)
        if known is None or known[0] != workflow.metadata.generation:
            known = self._hashes[workflow.metadata.uid] = (workflow.metadata.generation, definition_hash(workflow.spec))
        return known[1]

    async def _forget(self, workflow: Workflow, going: Sequence[Ended]) -> None:
        """Delete runs and count them, in one transaction."""
        good = sum(run.phase == "Succeeded" for run in going)
        known = workflow.status.statistics
        counted = msgspec.structs.replace(
            known,
            forgotten_succeeded=known.forgotten_succeeded + good,
            forgotten_failed=known.forgotten_failed + len(going) - good,
        )
        status = msgspec.structs.replace(workflow.status, statistics=counted)
        operations = [tx.delete(WorkflowRun, run.key) for run in going]
        operations.append(tx.update_status(msgspec.structs.replace(workflow, status=status)))
        try:
            await self._api.transact(operations)
        except NotFoundError as error:  # somebody deleted one of them
            raise ConflictError(error.message) from error


def _task_refs(spec: WorkflowSpec) -> Iterable[str]:
    return (node.task_ref for node in _nodes(spec) if node.type == "task" and node.task_ref)


def _workflow_refs(spec: WorkflowSpec) -> Iterable[str]:
    return (node.workflow_ref for node in _nodes(spec) if node.type == "subworkflow" and node.workflow_ref)


def _nodes(spec: WorkflowSpec) -> Iterable[WorkflowNode]:
    pending = [spec.nodes, *(graph.nodes for graph in (spec.on_failure, spec.finally_) if graph is not None)]
    while pending:
        for node in pending.pop():
            yield node
            if node.body is not None:
                pending.append(node.body.nodes)


def _owners(revision: Revision) -> list[str]:
    return [owner.uid for owner in revision.metadata.owner_references]


def _metadata(workflow: Workflow, name: str) -> ObjectMeta:
    owner = OwnerReference(
        api_version=workflow.api_version, kind=workflow.kind, name=workflow.metadata.name, uid=workflow.metadata.uid,
        controller=True, block_owner_deletion=True,
    )  # fmt: skip
    label = workflow.metadata.name[:63].rstrip("-._")
    return ObjectMeta(name=name, namespace=workflow.metadata.namespace, labels={WORKFLOW_LABEL: label}, owner_references=[owner])
