"""A fleet in memory for tests of rollout decisions: it does what a plan says, and lets time and instances move on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from plum_controller.domain.members import HOME_NODE_ANNOTATION, REPLACES_ANNOTATION
from plum_controller.domain.revisions import next_number
from plum_controller.domain.rollout import plan
from plum_controller.domain.rollout_plan import NewInstance, NodeView, Plan
from plum_controller.domain.rollout_status import status_of
from plum_schemas.base import Condition, ObjectMeta
from plum_schemas.deployment import REVISION_LABEL, Deployment, DeploymentSpec
from plum_schemas.instance import Instance, InstanceSpec, InstanceStatus
from plum_schemas.revision import Revision, RevisionSpec, RevisionTarget
from plum_schemas.template import Template

START = datetime(2026, 1, 1, tzinfo=UTC)


def make_deployment(**spec: object) -> Deployment:
    """A Deployment whose template runs the command `v1`, unless it is given."""
    spec.setdefault("replicas", 3)
    typed = msgspec.convert({"template": {"command": ["v1"]}, **spec}, DeploymentSpec)
    return Deployment(metadata=ObjectMeta(name="web", namespace="default", uid="u", generation=1), spec=typed)


class Fleet:
    """One Deployment and everything that belongs to it."""

    def __init__(self, deployment: Deployment, nodes: dict[str, NodeView] | None = None) -> None:
        self.deployment = deployment
        self.nodes = nodes or {}
        self.instances: dict[str, Instance] = {}
        self.revisions: dict[str, Revision] = {}
        self.now = START
        self.writes = 0
        self.works: Callable[[Instance], bool] = lambda instance: True
        """Whether an instance becomes ready when it runs."""

    def change(self, **spec: object) -> None:
        """A user changes the spec; `template` is the new command."""
        template = spec.pop("template", None)
        changed = msgspec.structs.replace(self.deployment.spec, **spec)
        if template is not None:
            changed.template = Template(command=[str(template)], exclusive=changed.template.exclusive)
        self.deployment.spec = changed
        self.deployment.metadata.generation += 1

    def step(self) -> Plan:
        """Plan once and do what the plan says."""
        todo = plan(self.deployment, list(self.instances.values()), list(self.revisions.values()), self.nodes, self.now)
        if todo.revision not in self.revisions:
            number = next_number(list(self.revisions.values()))
            spec = RevisionSpec(target=RevisionTarget(kind="Deployment", name="web"), number=number, hash=todo.revision)
            spec.template = todo.template
            self.revisions[todo.revision] = Revision(metadata=ObjectMeta(name=f"web-{todo.revision}"), spec=spec)
            self.writes += 1
        for instance in todo.delete:
            if instance.metadata.deletion_timestamp is None:
                instance.metadata.deletion_timestamp = self.now
                self.writes += 1
        for new in todo.create:
            self._create(new)
        number = self.revisions[todo.revision].spec.number
        status = status_of(self.deployment, todo, number, list(self.revisions.values()), self.now)
        if status != self.deployment.status:
            self.deployment.status = status
            self.writes += 1
        return todo

    def _create(self, new: NewInstance) -> None:
        slot = 0
        while f"web-{new.revision}-{slot}" in self.instances:
            slot += 1
        name = f"web-{new.revision}-{slot}"
        annotations = {}
        if new.home_node:
            annotations[HOME_NODE_ANNOTATION] = new.home_node
        if new.replaces:
            annotations[REPLACES_ANNOTATION] = new.replaces
        template = self.revisions[new.revision].spec.template
        assert template is not None
        labels = {REVISION_LABEL: new.revision}
        metadata = ObjectMeta(name=name, creation_timestamp=self.now, labels=labels, annotations=annotations)
        self.instances[name] = Instance(metadata=metadata, spec=InstanceSpec(node_name=new.node, template=template))
        self.writes += 1

    def start(self, instance: Instance) -> None:
        """The instance runs, and is ready if it works."""
        ready = self.works(instance) and self.deployment.spec.state == "Running"
        conditions = [Condition(type="Ready", status=str(ready), reason="Probe", last_transition_time=self.now)]
        instance.status = InstanceStatus(phase="Running", ready=ready, started_at=self.now, conditions=conditions)

    def lose(self, instance: Instance, lost: bool = True) -> None:
        """The node of the instance is lost, or back."""
        others = [c for c in instance.status.conditions if c.type != "Lost"]
        instance.status.conditions = [*others, Condition(type="Lost", status=str(lost), reason="NodeLost")]

    def stop(self, instance: Instance) -> None:
        """The agent has stopped it and it is gone."""
        del self.instances[instance.metadata.name]

    def pass_time(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def settle(self, rounds: int = 200) -> None:
        """Let everything happen that can, until a plan changes nothing; raises when it does not come to rest."""
        for _ in range(rounds):
            before = self.writes
            self.step()
            stopping = [i for i in self.instances.values() if i.metadata.deletion_timestamp is not None]
            for instance in stopping:
                self.stop(instance)
            starting = [i for i in self.instances.values() if i.status.phase == "Pending"]
            for instance in starting:
                self.start(instance)
            if self.writes == before and not stopping and not starting:
                return
            self.pass_time(1)
        raise AssertionError("the rollout does not come to rest")

    @property
    def available(self) -> int:
        return sum(i.status.ready and i.metadata.deletion_timestamp is None for i in self.instances.values())

    def running(self, template: str) -> int:
        """Instances of a template that are not being deleted."""
        return sum(
            i.spec.template.command == [template] for i in self.instances.values() if i.metadata.deletion_timestamp is None
        )

    def reason(self, condition: str) -> str:
        return next(c.reason for c in self.deployment.status.conditions if c.type == condition)
