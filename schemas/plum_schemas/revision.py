"""Revision: one earlier or current version of a Deployment's template or a Workflow's definition, kept for rollbacks.

The spec never changes after creation. The status says whether the revision ever worked, which decides where a rollback goes.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.markers import FreeMap, ListMap
from plum_schemas.scalars import Name, Positive
from plum_schemas.template import Template


class RevisionTarget(Struct):
    """The object this is a version of, in the same namespace."""

    kind: Literal["Deployment", "Workflow"]
    """Kind of the object."""
    name: Name
    """Name of the object."""


class RevisionSpec(Struct):
    """One version. Never changed after creation; only `number` moves when an old template is used again."""

    target: RevisionTarget
    """The object this is a version of."""
    number: Positive
    """Counts up for each object; the highest is the current one."""
    hash: Annotated[str, Meta(min_length=1)]
    """Hash of the content; part of the names of instances made from it."""
    template: Template | None = None
    """Template of a Deployment."""
    definition: FreeMap = {}
    """Definition of a Workflow."""
    change_cause: str = ""
    """Why it was made: the annotation `kubernetes.io/change-cause` of the object."""


class RevisionStatus(Struct):
    """Whether this version ever worked."""

    available_at: datetime | None = None
    """When all wanted instances of it were available for the first time."""
    failed_at: datetime | None = None
    """When its rollout failed; a rollback never goes to a revision that failed and never was available."""
    reason: str = ""
    """CamelCase: Available, ProgressDeadlineExceeded, ..."""
    message: str = ""
    """A sentence for people."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Available."""


class Revision(Object):
    """One version of a Deployment's template or a Workflow's definition."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Revision",
        plural="revisions",
        short_names=("rev",),
        columns=(
            Column("Kind", ".spec.target.kind"),
            Column("Object", ".spec.target.name"),
            Column("Number", ".spec.number", "integer"),
            Column("Hash", ".spec.hash"),
            Column("Available", ".status.availableAt", "date", description="When it was available for the first time"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Cause", ".spec.changeCause", priority=1),
        ),
        selectable_fields=(".spec.target.kind", ".spec.target.name"),
    )

    spec: RevisionSpec
    """The version."""
    status: RevisionStatus = field(default_factory=RevisionStatus)
    """Whether it ever worked."""
