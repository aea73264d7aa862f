"""The deployment controller: keeps the wanted number of instances of a template, and rolls out new ones.

    watch Deployment, Instance, Revision, Node -> key -> reconcile -> create, delete, relabel Instances
                                                                  -> keep Revisions
                                                                  -> write Deployment.status

`domain.rollout.plan` decides and `reconcile` acts: revisions first, then deletions, then creations, the status last. A crash
between any two writes leaves a state that the next reconcile plans from: names of instances follow from owner, template and
slot, so nothing is made twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from plum_client.controller import Controller, Watch
from plum_client.errors import AlreadyExistsError
from plum_client.manager import Manager
from plum_client.merge_patch import replacing
from plum_client.reconciler import Result
from plum_schemas.base import ObjectKey, ObjectMeta, OwnerReference
from plum_schemas.deployment import DEPLOYMENT_LABEL, REVISION_LABEL, Deployment
from plum_schemas.instance import INSTANCE_FINALIZER, Instance, InstanceSpec
from plum_schemas.node import TAINT_NOT_READY, TAINT_UNREACHABLE, Node
from plum_schemas.revision import Revision, RevisionSpec, RevisionStatus, RevisionTarget
from plum_schemas.template import Template

from plum_controller.domain.members import HOME_NODE_ANNOTATION, REPLACES_ANNOTATION
from plum_controller.domain.revisions import forgettable, next_number, same_template
from plum_controller.domain.rollout import plan
from plum_controller.domain.rollout_plan import NewInstance, NodeView, Plan
from plum_controller.domain.rollout_status import spec_hash, status_of

BATCH = 64
"""Writes under way at once. The store commits those that wait together in one transaction."""
STATUS_SECONDS = 0.1
"""Least time between two status writes of one Deployment while only counts move: a thousand starting instances would
otherwise each cause one."""
PACE_SECONDS_PER_INSTANCE = 0.0001
"""Least time between two looks at one Deployment, for each of its instances: a look at a thousand takes some 10 ms, and while
they start, every single one of them is a reason to look."""
LONGEST_PACE_SECONDS = 0.25
CHANGE_CAUSE = "kubernetes.io/change-cause"


def _is_left_behind(found: Instance | Revision, deployment: Deployment) -> bool:
    """Whether a Deployment of this name was deleted and its dependents were kept (`--cascade=orphan`)."""
    return not found.metadata.owner_references and found.metadata.labels.get(DEPLOYMENT_LABEL) == deployment.metadata.name


def by_owner(obj: Instance | Revision) -> Sequence[str]:
    """Index: uid of the controlling owner."""
    return [owner.uid for owner in obj.metadata.owner_references if owner.controller]


def add_to(manager: Manager, failover_enabled: bool = True, pace: float = 1.0) -> None:
    """Register the controller. `pace` 0 writes every status at once, for tests without time."""
    reconciler = DeploymentReconciler(manager, failover_enabled, pace)
    watches = [Watch(Node, reconciler.deployments_on)]
    manager.add(Controller("deployment", reconciler, Deployment, owns=(Instance, Revision), watches=watches, workers=8))


class DeploymentReconciler:
    """Drives one Deployment one step closer to its spec."""

    def __init__(self, manager: Manager, failover_enabled: bool = True, pace: float = 1.0) -> None:
        self._api = manager.api
        self._clock = manager.clock
        self._recorder = manager.recorder("deployment-controller")
        self._deployments = manager.informer(Deployment)
        self._instances = manager.informer(Instance, indexers={"owner": by_owner})
        self._revisions = manager.informer(Revision, indexers={"owner": by_owner})
        self._nodes = manager.informer(Node)
        self._failover_enabled = failover_enabled
        self._pace = pace
        self._status_written: dict[ObjectKey, float] = {}
        self._looked: dict[ObjectKey, float] = {}

    def deployments_on(self, old: Node | None, new: Node | None) -> Iterable[ObjectKey]:
        """Deployments that name the node, when its being there or its readiness changed."""
        if (old is None) == (new is None) and old is not None and new is not None and _view(old) == _view(new):
            return []
        node = new or old
        name = node.metadata.name if node is not None else ""
        return [d.key for d in self._deployments.list() if d.spec.node_replicas is not None and name in d.spec.node_replicas]

    async def reconcile(self, key: ObjectKey) -> Result:
        """Create missing instances, delete surplus ones, report what runs."""
        deployment = self._deployments.get(key)
        if deployment is None or deployment.metadata.deletion_timestamp is not None:
            self._status_written.pop(key, None)
            self._looked.pop(key, None)
            return Result.wait_for_change()
        uid = deployment.metadata.uid
        if early := self._too_early(key, len(self._instances.index_keys("owner", uid))):
            return Result.requeue(after=early)
        now = self._clock.now()
        revisions = self._revisions.by_index("owner", uid)
        if await self._renamed_after_collision(deployment, revisions):
            return Result.requeue(after=0)
        revisions = await self._keep_revision(deployment, revisions)
        todo = plan(
            deployment,
            self._instances.by_index("owner", uid),
            revisions,
            self._node_views(deployment),
            now,
            self._failover_enabled,
        )
        await self._in_batches([self._delete(instance) for instance in todo.delete])
        await self._in_batches(self._creations(deployment, todo, revisions))
        await self._in_batches(self._updates(deployment, todo))
        await self._note_outcome(deployment, todo, revisions, now)
        return await self._write_status(deployment, todo, revisions, now)

    def _too_early(self, key: ObjectKey, instances: int) -> float:
        """Seconds until it is worth looking at a large Deployment again; 0 now."""
        monotonic = self._clock.monotonic()
        pace = self._pace * min(LONGEST_PACE_SECONDS, instances * PACE_SECONDS_PER_INSTANCE)
        early = self._looked.get(key, float("-inf")) + pace - monotonic
        if early > 0:
            return early
        self._looked[key] = monotonic
        return 0.0

    # ---- revisions

    async def _renamed_after_collision(self, deployment: Deployment, revisions: Sequence[Revision]) -> bool:
        """Take another hash when a different template has this one already."""
        wanted = spec_hash(deployment)
        taken = next((r for r in revisions if r.spec.hash == wanted), None)
        if taken is None or taken.spec.template is None or same_template(taken.spec.template, deployment.spec.template):
            return False
        count = (deployment.status.collision_count or 0) + 1
        status = msgspec.structs.replace(deployment.status, collision_count=count)
        await self._api.write_status(msgspec.structs.replace(deployment, status=status))
        return True

    async def _keep_revision(self, deployment: Deployment, revisions: Sequence[Revision]) -> list[Revision]:
        """Make sure that the template is kept under the highest number, before anything is made from it."""
        wanted = spec_hash(deployment)
        kept = {revision.spec.hash: revision for revision in revisions}
        known = kept.get(wanted)
        number = next_number(revisions)
        if known is None:
            target = RevisionTarget(kind="Deployment", name=deployment.metadata.name)
            spec = RevisionSpec(target=target, number=number, hash=wanted, template=deployment.spec.template)
            spec.change_cause = deployment.metadata.annotations.get(CHANGE_CAUSE, "")
            metadata = self._metadata(
                deployment, f"{deployment.metadata.name}-{wanted}", {DEPLOYMENT_LABEL: deployment.metadata.name}
            )
            try:
                kept[wanted] = await self._api.create(Revision(metadata=metadata, spec=spec))
            except AlreadyExistsError:
                found = await self._api.get(Revision, ObjectKey(deployment.metadata.namespace, metadata.name))
                if found is not None and deployment.metadata.uid in by_owner(found):
                    kept[wanted] = found
                elif found is not None and _is_left_behind(found, deployment) and found.spec.hash == wanted:
                    kept[wanted] = await self._api.patch(Revision, found.key, self._adoption(deployment, found))
                else:
                    raise
        elif known.spec.number != number - 1:
            kept[wanted] = await self._api.patch(Revision, known.key, {"spec": {"number": number}})
        keep = {wanted, deployment.status.last_available_revision}
        keep |= {i.metadata.labels.get(REVISION_LABEL, "") for i in self._instances.by_index("owner", deployment.metadata.uid)}
        for revision in forgettable(list(kept.values()), keep, deployment.spec.revision_history_limit):
            await self._api.delete(Revision, revision.key, uid=revision.metadata.uid)
            del kept[revision.spec.hash]
        return list(kept.values())

    async def _note_outcome(self, deployment: Deployment, todo: Plan, revisions: Sequence[Revision], now: datetime) -> None:
        """Write down whether a revision ever worked: a rollback never goes to one that did not."""
        revision = next((r for r in revisions if r.spec.hash == todo.rollout.hash), None)
        if revision is None:
            return
        status = revision.status
        if todo.rollout.complete and status.available_at is None:
            status = RevisionStatus(available_at=now, reason="Available", conditions=status.conditions)
        elif todo.rollout.failed_at is not None and status.available_at is None and status.failed_at is None:
            status = RevisionStatus(failed_at=now, reason="ProgressDeadlineExceeded", conditions=status.conditions)
        if status != revision.status:
            await self._api.patch(Revision, revision.key, {"status": replacing(status)}, subresource="status")

    # ---- instances

    def _creations(self, deployment: Deployment, todo: Plan, revisions: Sequence[Revision]) -> list[Any]:
        """One creation per new instance, each under the first name that no instance has."""
        templates = {revision.spec.hash: revision.spec.template for revision in revisions}
        taken = {member.name for member in todo.members} | {instance.metadata.name for instance in todo.delete}
        slots: dict[str, int] = {}
        creations = []
        for new in todo.create:
            template = templates.get(new.revision) or todo.template
            slot = slots.get(new.revision, 0)
            while f"{deployment.metadata.name}-{new.revision}-{slot}" in taken:
                slot += 1
            slots[new.revision] = slot + 1
            name = f"{deployment.metadata.name}-{new.revision}-{slot}"
            creations.append(self._create(deployment, self._instance(deployment, new, name, template)))
        return creations

    def _instance(self, deployment: Deployment, new: NewInstance, name: str, template: Template) -> Instance:
        metadata = self._metadata(deployment, name, _labels(deployment, new.revision))
        metadata.annotations = dict(deployment.spec.template.metadata.annotations)
        if new.home_node:
            metadata.annotations[HOME_NODE_ANNOTATION] = new.home_node
        if new.replaces:
            metadata.annotations[REPLACES_ANNOTATION] = new.replaces
        if new.node:
            metadata.finalizers = [INSTANCE_FINALIZER]
        return Instance(metadata=metadata, spec=InstanceSpec(node_name=new.node, state=deployment.spec.state, template=template))

    def _adoption(self, deployment: Deployment, found: Instance | Revision) -> dict[str, Any]:
        """The patch that makes `found` ours. It fails when `found` has changed since."""
        owners = msgspec.to_builtins(self._metadata(deployment, "", {}).owner_references)
        return {"metadata": {"ownerReferences": owners, "resourceVersion": found.metadata.resource_version}}

    def _metadata(self, deployment: Deployment, name: str, labels: dict[str, str]) -> ObjectMeta:
        owner = OwnerReference(
            api_version=deployment.api_version,
            kind=deployment.kind,
            name=deployment.metadata.name,
            uid=deployment.metadata.uid,
            controller=True,
            block_owner_deletion=True,
        )
        return ObjectMeta(name=name, namespace=deployment.metadata.namespace, labels=labels, owner_references=[owner])

    async def _create(self, deployment: Deployment, instance: Instance) -> None:
        try:
            await self._api.create(instance)
        except AlreadyExistsError:
            # Made before a crash or before the cache saw it. If it is somebody else's, the name stays taken and is said so.
            found = await self._api.get(Instance, instance.key)
            if found is not None and _is_left_behind(found, deployment):
                await self._api.patch(Instance, found.key, self._adoption(deployment, found))
            elif found is not None and deployment.metadata.uid not in by_owner(found):
                message = f"an Instance named {instance.metadata.name} exists and is not owned by this Deployment"
                self._recorder.event(deployment, "Warning", "NameTaken", message)
                raise

    async def _delete(self, instance: Instance) -> None:
        if instance.metadata.deletion_timestamp is None:
            await self._api.delete(Instance, instance.key)

    def _updates(self, deployment: Deployment, todo: Plan) -> list[Any]:
        """What changes in place, without a restart: state, labels and annotations of instances that stay."""
        going = {instance.metadata.name for instance in todo.delete}
        updates = []
        for member in todo.members:
            instance = member.instance
            if instance.metadata.deletion_timestamp is not None or member.name in going:
                continue
            patch = _in_place(deployment, instance)
            if patch:
                updates.append(self._api.patch(Instance, instance.key, patch))
        return updates

    async def _in_batches(self, work: Sequence[Any]) -> None:
        """Run coroutines, `BATCH` at a time. The first error is raised when its batch is done; the rest is not started."""
        for start in range(0, len(work), BATCH):
            results = await asyncio.gather(*work[start : start + BATCH], return_exceptions=True)
            for error in results:
                if isinstance(error, BaseException):
                    for left in work[start + BATCH :]:
                        left.close()
                    raise error

    # ---- status

    async def _write_status(self, deployment: Deployment, todo: Plan, revisions: Sequence[Revision], now: datetime) -> Result:
        """Write the status if it differs, at most every `STATUS_SECONDS` while only counts move."""
        number = next((r.spec.number for r in revisions if r.spec.hash == todo.revision), deployment.status.revision)
        status = status_of(deployment, todo, number, revisions, now)
        if status != deployment.status:
            wait = self._status_written.get(deployment.key, float("-inf")) + self._pace * STATUS_SECONDS - self._clock.monotonic()
            if wait > 0 and _outcome(status) == _outcome(deployment.status):
                return Result.requeue(after=wait)
            await self._api.write_status(msgspec.structs.replace(deployment, status=status))
            self._status_written[deployment.key] = self._clock.monotonic()
            self._tell(deployment, status)
        return Result.requeue(after=todo.wake_after) if todo.wake_after is not None else Result.wait_for_change()

    def _tell(self, deployment: Deployment, status: Any) -> None:
        """An event whenever the rollout enters another state."""
        before = {c.type: c.reason for c in deployment.status.conditions}
        for condition in status.conditions:
            if before.get(condition.type) == condition.reason or condition.type != "Progressing":
                continue
            kind = "Normal" if condition.status != "False" else "Warning"
            self._recorder.event(deployment, kind, condition.reason, condition.message)

    def _node_views(self, deployment: Deployment) -> dict[str, NodeView]:
        if deployment.spec.node_replicas is None:
            return {}
        nodes = [self._nodes.get(ObjectKey("", name)) for name in deployment.spec.node_replicas]
        return {node.metadata.name: _view(node) for node in nodes if node is not None}


def _labels(deployment: Deployment, revision: str) -> dict[str, str]:
    own = {DEPLOYMENT_LABEL: deployment.metadata.name, REVISION_LABEL: revision}
    return {**deployment.spec.template.metadata.labels, **own}


def _in_place(deployment: Deployment, instance: Instance) -> dict[str, Any]:
    """A merge patch for what differs; empty when nothing does."""
    labels = _labels(deployment, instance.metadata.labels.get(REVISION_LABEL, ""))
    label_patch: dict[str, str | None] = {k: v for k, v in labels.items() if instance.metadata.labels.get(k) != v}
    label_patch |= dict.fromkeys(instance.metadata.labels.keys() - labels.keys())
    annotations = deployment.spec.template.metadata.annotations
    annotation_patch = {k: v for k, v in annotations.items() if instance.metadata.annotations.get(k) != v}
    patch: dict[str, Any] = {}
    if label_patch:
        patch.setdefault("metadata", {})["labels"] = label_patch
    if annotation_patch:
        patch.setdefault("metadata", {})["annotations"] = annotation_patch
    if instance.spec.state != deployment.spec.state:
        patch["spec"] = {"state": deployment.spec.state}
    return patch


def _view(node: Node) -> NodeView:
    ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
    taints = {taint.key for taint in node.spec.taints}
    silent = TAINT_UNREACHABLE in taints or (TAINT_NOT_READY in taints and bool(node.status.boot_id))
    lost = silent or node.metadata.deletion_timestamp is not None
    return NodeView(
        usable=not lost, ready_since=ready.last_transition_time if ready is not None and ready.status == "True" else None
    )


def _outcome(status: Any) -> Any:
    """What a status says besides counts; a change of it is written at once."""
    conditions = [(c.type, c.status, c.reason) for c in status.conditions]
    return (status.observed_generation, status.revision, status.rollout.complete, status.rollout.failed_at, conditions)
