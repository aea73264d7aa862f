"""Deployment: the wanted number of instances of one template, and how a new template replaces an old one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas import int_or_percent
from plum_schemas.base import Column, Condition, KindInfo, Object, ScalePaths, Struct
from plum_schemas.markers import ListMap
from plum_schemas.names import check_label_value, check_subdomain
from plum_schemas.scalars import Duration, IntOrPercent, NonNegative, Positive
from plum_schemas.template import Template
from plum_schemas.template_rules import check_template, normalize_template
from plum_schemas.validation import FieldError, checked, exactly_one, forbidden, invalid, required

DEPLOYMENT_LABEL = "plum.dev/deployment"
"""Label of an Instance: name of the Deployment that owns it."""
REVISION_LABEL = "plum.dev/revision"
"""Label of an Instance: hash of the template it was made from."""
REVISION_ANNOTATION = "plum.dev/revision"
"""Annotation of a Deployment: number of its current revision."""


class CanaryStep(Struct):
    """One step of a canary rollout. Either weight or replicas is set."""

    weight: Annotated[int, Meta(ge=0, le=100)] | None = None
    """Share of the instances that run the new template, in percent, rounded up."""
    replicas: NonNegative | None = None
    """Number of instances that run the new template."""
    pause: Duration | None = None
    """Time to stay at this step once it is available; `0` waits until the rollout is resumed. The next step follows at once if
    absent."""


class Canary(Struct):
    """The steps of a canary rollout; after the last one all instances are replaced."""

    steps: list[CanaryStep] = []
    """Steps in order."""


class Strategy(Struct):
    """How a new template replaces the old one."""

    type: Literal["RollingUpdate", "Recreate", "Canary"] = "RollingUpdate"
    """RollingUpdate replaces a few at a time, Recreate stops all first, Canary goes in steps."""
    max_surge: IntOrPercent = "25%"
    """Instances above the wanted number during a rollout; a percentage is rounded up."""
    max_unavailable: IntOrPercent = "25%"
    """Instances below the wanted number during a rollout; a percentage is rounded down."""
    min_ready_seconds: NonNegative = 0
    """Seconds an instance must have been ready to count as available. Without a readiness or startup probe it is at least 1,
    and 10 after a crash."""
    progress_deadline_seconds: Positive = 600
    """Seconds without progress after which a rollout has failed."""
    on_failure: Literal["Rollback", "Pause", "Ignore"] = "Pause"
    """What follows a failed rollout. Rollback returns to the last revision that became available, once per generation."""
    replacement_policy: Literal["TerminationStarted", "TerminationComplete"] = "TerminationComplete"
    """Whether a replacement starts when the stop of the old instance began, or when it is complete and its ports are free."""
    canary: Canary | None = None
    """Steps for type Canary."""


class Failover(Struct):
    """Whether instances move when their node is lost, and whether they go back."""

    enabled: bool | None = None
    """Replace instances of a lost node. The controller's setting (on by default) decides if absent."""
    failback: Literal["Never", "Manual", "Automatic"] = "Never"
    """Whether instances return to a node that came back. Manual waits for the annotation `plum.dev/failback`."""
    failback_stable_seconds: NonNegative = 300
    """Seconds the node must have been ready before anything returns to it."""
    failback_max_rate: Positive = 1
    """Most instances that return per minute."""


class DeploymentSpec(Struct):
    """The wanted state. Exactly one of replicas and nodeReplicas is set; replicas is 1 if neither is."""

    replicas: NonNegative | None = None
    """Wanted number of instances; the scheduler chooses nodes. 1 if neither this nor nodeReplicas is set."""
    node_replicas: dict[str, NonNegative] | None = None
    """Wanted number of instances on each named node, instead of replicas."""
    state: Literal["Running", "Stopped"] = "Running"
    """Stopped keeps the objects and stops what runs."""
    paused: bool = False
    """A new template changes nothing until this is false again. Scaling goes on."""
    revision_history_limit: NonNegative = 10
    """Old revisions to keep for a rollback."""
    strategy: Strategy = field(default_factory=Strategy)
    """How a new template replaces the old one."""
    failover: Failover = field(default_factory=Failover)
    """What happens when a node is lost."""
    template: Template
    """What each instance runs."""


class RolloutStatus(Struct):
    """How far the rollout of the current template has come, so that a restarted controller knows since when it waits."""

    hash: str = ""
    """Hash of the template that is rolled out."""
    generation: int = 0
    """Generation at which it began, or began again after a change of the spec."""
    started_at: datetime | None = None
    """When it began."""
    progressed_at: datetime | None = None
    """When it last came closer: more updated or available instances than ever, or fewer old ones. The deadline counts from
    here."""
    most_updated: NonNegative = 0
    """Most instances of the template seen so far."""
    most_available: NonNegative = 0
    """Most available instances of the template seen so far."""
    fewest_old: int | None = None
    """Fewest instances of other templates seen so far."""
    complete: bool = False
    """All wanted instances of the template were available once, and no others were left."""
    failed_at: datetime | None = None
    """When the progress deadline passed."""
    canary_step: int | None = None
    """Index of the current canary step."""
    canary_step_at: datetime | None = None
    """When the current canary step became available; its pause counts from here."""
    failback_at: datetime | None = None
    """When an instance last went back to its node."""
    observed_failback: str = ""
    """Value of the annotation `plum.dev/failback` that was carried out."""


class DeploymentStatus(Struct):
    """What was last seen."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    replicas: NonNegative = 0
    """Instances that exist and are not being deleted."""
    ready_replicas: NonNegative = 0
    """Instances with condition Ready."""
    available_replicas: NonNegative = 0
    """Instances ready for at least minReadySeconds."""
    updated_replicas: NonNegative = 0
    """Instances of the current template."""
    unavailable_replicas: NonNegative = 0
    """Instances still missing to the wanted number of available ones."""
    revision: int = 0
    """Number of the current revision."""
    revision_hash: str = ""
    """Hash of the current template."""
    collision_count: int | None = None
    """Times the hash of a template was already taken; part of the next hash."""
    selector: str = ""
    """Label selector of the instances, for the scale subresource."""
    last_available_revision: str = ""
    """Hash of the last revision that became available completely; a rollback goes there."""
    rolled_back_generation: int = 0
    """Generation whose rollout was rolled back; there is no second one for it. Until the template changes, instances are made
    from `lastAvailableRevision`."""
    rollout: RolloutStatus = field(default_factory=RolloutStatus)
    """How far the rollout of the current template has come."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Available, Progressing, Paused, ReplicaFailure."""


class Deployment(Object):
    """Keeps the wanted number of instances of one template running and replaces them when the template changes."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Deployment",
        plural="deployments",
        short_names=("deploy",),
        categories=("plum", "all"),
        scale=ScalePaths(label_selector=".status.selector"),
        columns=(
            Column("Ready", ".status.readyReplicas", "integer", description="Instances that are ready"),
            Column("Desired", ".spec.replicas", "integer", description="Wanted instances; empty with nodeReplicas"),
            Column("Updated", ".status.updatedReplicas", "integer", description="Instances of the current template"),
            Column("Available", ".status.availableReplicas", "integer", description="Instances ready long enough"),
            Column("Status", '.status.conditions[?(@.type=="Progressing")].reason', description="What the rollout does"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("State", ".spec.state", priority=1, description="Running or Stopped"),
            Column("Revision", ".status.revision", "integer", priority=1, description="Number of the current revision"),
            Column("Runtime", ".spec.template.runtime", priority=1),
            Column("Artifact", ".spec.template.artifact.name", priority=1),
            Column("Image", ".spec.template.image", priority=1),
        ),
    )

    spec: DeploymentSpec
    """Wanted state."""
    status: DeploymentStatus = field(default_factory=DeploymentStatus)
    """What was last seen; written by the controller."""

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        spec = data.get("spec")
        if not isinstance(spec, dict):
            return
        if isinstance(spec.get("strategy"), str):
            spec["strategy"] = {"type": spec["strategy"]}
        normalize_template(spec.get("template"))

    @classmethod
    def fill(cls, data: dict[str, Any]) -> None:
        spec = data.get("spec")
        if isinstance(spec, dict) and spec.get("replicas") is None and spec.get("nodeReplicas") is None:
            spec["replicas"] = 1

    def validate(self, old: Deployment | None) -> Iterator[FieldError]:
        if old is None:
            # Instances carry it as a label; what is already stored must stay writable.
            yield from checked("metadata.name", self.metadata.name, check_label_value)
        if old is not None and old.spec == self.spec:
            return
        spec = self.spec
        if spec.replicas is not None and spec.node_replicas is not None:
            yield forbidden("spec.replicas", "may not be set together with nodeReplicas; remove one of them")
        for name in spec.node_replicas or ():
            yield from checked("spec.nodeReplicas", name, check_subdomain)
        yield from _check_strategy(spec.strategy, "spec.strategy")
        yield from check_template(spec.template, "spec.template")


def _check_strategy(strategy: Strategy, path: str) -> Iterator[FieldError]:
    amounts = {"maxSurge": strategy.max_surge, "maxUnavailable": strategy.max_unavailable}
    problems = [error for name, amount in amounts.items() for error in checked(f"{path}.{name}", amount, int_or_percent.check)]
    yield from problems
    if problems:
        return
    if strategy.type != "Recreate" and all(int_or_percent.resolve(amount, 100, True) == 0 for amount in amounts.values()):
        yield invalid(f"{path}.maxUnavailable", strategy.max_unavailable, "may not be 0 when `maxSurge` is 0")
    if int_or_percent.resolve(strategy.max_unavailable, 100, False) > 100 and isinstance(strategy.max_unavailable, str):
        yield invalid(f"{path}.maxUnavailable", strategy.max_unavailable, "must not be greater than 100%")
    if strategy.progress_deadline_seconds <= strategy.min_ready_seconds:
        yield invalid(
            f"{path}.progressDeadlineSeconds", strategy.progress_deadline_seconds, "must be greater than minReadySeconds"
        )
    steps = strategy.canary.steps if strategy.canary is not None else []
    if strategy.type == "Canary" and not steps:
        yield required(f"{path}.canary.steps", "type Canary needs at least one step")
    for index, step in enumerate(steps):
        yield from exactly_one(f"{path}.canary.steps[{index}]", {"weight": step.weight, "replicas": step.replicas})
