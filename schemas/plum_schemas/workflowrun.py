"""WorkflowRun: one run of a Workflow, pinned to the definition it started with.

The states of its nodes are rows of their own, not part of the status: a run may have 100,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.graph import check_delegate
from plum_schemas.markers import FreeMap, ListMap
from plum_schemas.node_types import Delegate
from plum_schemas.reservation import Reservation
from plum_schemas.scalars import Duration, NonNegative
from plum_schemas.taskrun import SecretMark
from plum_schemas.validation import FieldError, exactly_one, forbidden, required
from plum_schemas.workflow import WorkflowSpec, check_definition, normalize_definition

RunPhase = Literal["Queued", "Pending", "Running", "Paused", "Succeeded", "Failed", "Canceled", "Timeout"]
"""Queued waits for other runs of the workflow, Pending for its first node."""
TERMINAL_RUN_PHASES = frozenset({"Succeeded", "Failed", "Canceled", "Timeout"})


class RunCommand(Struct):
    """Something a person asked of the run. Commands are only added; each is carried out once."""

    name: Annotated[str, Meta(min_length=1, max_length=63)]
    """Unique in the run, so that repeating the request changes nothing."""
    action: Literal["RetryFailed", "RerunFrom", "Skip", "MarkSucceeded", "MarkFailed", "Approve", "Reject", "CancelNode"]
    """What is asked."""
    node: str = ""
    """Node it is about, such as `scan` or `sweep[2]`."""
    output: FreeMap = {}
    """MarkSucceeded: output of the node."""
    message: str = ""
    """Why, for people."""
    requested_by: str = ""
    """Who asked."""
    requested_at: datetime | None = None
    """When it was asked."""


class RunStart(Struct):
    """Where a rerun begins."""

    run: Annotated[str, Meta(min_length=1)]
    """The earlier run whose results are taken over."""
    node: str = ""
    """First node to run again; the failed ones if absent."""


class WorkflowRunSpec(Struct):
    """What to run. Either workflowRef or definition is set; only `state`, `priority` and `commands` may be changed later."""

    workflow_ref: str = ""
    """Name of the Workflow."""
    definition: WorkflowSpec | None = None
    """A definition of its own, instead of workflowRef."""
    params: FreeMap = {}
    """Parameters."""
    secrets: Annotated[list[SecretMark], ListMap("marker")] = []
    """Values that marks in `params` stand for, put in only by whoever executes a node; made of `${{ secrets.NAME.KEY }}`."""
    task_payload: FreeMap = {}
    """Fields that the payload of every task of the run gets, instead of what its node says."""
    state: Literal["Running", "Paused", "Canceled"] = "Running"
    """Paused starts nothing new; Canceled stops everything."""
    priority: int | None = None
    """Higher ones are executed first; that of the workflow if absent."""
    timeout: Duration | None = None
    """Instead of the workflow's."""
    triggered_by: str = ""
    """Trigger or person that started it."""
    scheduled_for: datetime | None = None
    """The time a cron trigger fired for."""
    start_from: RunStart | None = None
    """A rerun: take over the results of an earlier run."""
    delegate: Delegate | None = None
    """Machine that carries it out, with or without the controller; the controller does if absent."""
    reservations: Annotated[list[Reservation], ListMap("resource")] = []
    """Devices it holds from its start to its end; those of its definition if absent."""
    commands: Annotated[list[RunCommand], ListMap("name")] = []
    """What people asked of it, oldest first."""


class NodeCounts(Struct):
    """How many nodes, iterations included, are in each state."""

    pending: NonNegative = 0
    """Wait for others."""
    running: NonNegative = 0
    """Run now."""
    waiting: NonNegative = 0
    """Wait for time, an event, or a person."""
    succeeded: NonNegative = 0
    """Succeeded."""
    failed: NonNegative = 0
    """Failed."""
    skipped: NonNegative = 0
    """Skipped, by a branch, a rule or a person."""
    canceled: NonNegative = 0
    """Cancelled."""


class WorkflowRunStatus(Struct):
    """How far it is, and its outputs."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: RunPhase = "Queued"
    """Where it is in its life."""
    definition_hash: str = ""
    """Hash of the definition it is pinned to."""
    revision: int = 0
    """Number of the Revision it is pinned to."""
    started_at: datetime | None = None
    """When its first node started."""
    finished_at: datetime | None = None
    """When it ended."""
    counts: NodeCounts = field(default_factory=NodeCounts)
    """How many nodes are in each state."""
    current: list[str] = []
    """Nodes that run now; at most 20."""
    outputs: FreeMap = {}
    """Outputs of the workflow."""
    reason: str = ""
    """CamelCase word for the phase, such as NodeFailed."""
    message: str = ""
    """A sentence for people: which node failed and why."""
    observed_commands: NonNegative = 0
    """Commands that were carried out."""
    node: str = ""
    """Node it is delegated to."""
    fencing_token: NonNegative = 0
    """Grows when a node takes the run and when it is given up; what comes with an older one is refused."""
    out_of_contact_since: datetime | None = None
    """Since when its node does not answer. The run goes on there; what is shown of it is what was last heard."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Succeeded: Unknown while it runs, then True or False. Paused."""


class WorkflowRun(Object):
    """One run of a Workflow."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="WorkflowRun",
        plural="workflowruns",
        short_names=("wr", "wfr", "run", "runs"),
        columns=(
            Column("Workflow", ".spec.workflowRef"),
            Column("Phase", ".status.phase"),
            Column("Succeeded", ".status.counts.succeeded", "integer", description="Nodes that succeeded"),
            Column("Running", ".status.counts.running", "integer", description="Nodes that run now"),
            Column("Failed", ".status.counts.failed", "integer", description="Nodes that failed"),
            Column("Started", ".status.startedAt", "date"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Finished", ".status.finishedAt", "date", priority=1),
            Column("Node", ".status.node", description="Node it is delegated to"),
            Column("Away", ".status.outOfContactSince", "date", description="Since when that node does not answer"),
            Column("By", ".spec.triggeredBy", priority=1, description="Trigger or person that started it"),
            Column("Message", ".status.message", priority=1),
        ),
        selectable_fields=(".spec.workflowRef", ".spec.triggeredBy", ".status.phase", ".status.node"),
    )

    spec: WorkflowRunSpec
    """What to run."""
    status: WorkflowRunStatus = field(default_factory=WorkflowRunStatus)
    """How far it is."""

    @classmethod
    def normalize(cls, data: dict[str, Any]) -> None:
        spec = data.get("spec")
        if isinstance(spec, dict):
            normalize_definition(spec.get("definition"))

    def validate(self, old: WorkflowRun | None) -> Iterator[FieldError]:
        spec = self.spec
        yield from exactly_one("spec", {"workflowRef": spec.workflow_ref or None, "definition": spec.definition})
        if spec.definition is not None:
            yield from check_definition(spec.definition, "spec.definition")
        if spec.delegate is not None:
            yield from check_delegate(spec.delegate, "spec.delegate")
        for index, command in enumerate(spec.commands):
            if not command.node and command.action != "RetryFailed":
                yield required(f"spec.commands[{index}].node", f"{command.action} is about one node")
        if old is None:
            return
        if old.spec.state == "Canceled" and spec.state != "Canceled":
            yield forbidden("spec.state", "a cancelled run stays cancelled; run the workflow again")
        if old.spec.reservations != spec.reservations:
            yield forbidden("spec.reservations", "a run holds what it began with; run the workflow again")
        if _what(old.spec) != _what(spec):
            yield forbidden("spec", "a run never changes what it executes; run the workflow again")
        if spec.commands[: len(old.spec.commands)] != old.spec.commands:
            yield forbidden("spec.commands", "commands are only added, at the end")


def _what(spec: WorkflowRunSpec) -> tuple[object, ...]:
    return spec.workflow_ref, spec.definition, spec.params, spec.secrets, spec.task_payload, spec.start_from
