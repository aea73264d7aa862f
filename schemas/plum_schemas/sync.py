"""Sync: makes the store equal to a folder, a Git repository or an offline bundle, and says where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, field

from plum_schemas import int_or_percent
from plum_schemas.base import Column, Condition, KindInfo, Object, Struct
from plum_schemas.durations import parse_duration
from plum_schemas.markers import SET, ListMap
from plum_schemas.scalars import Duration, IntOrPercent, Name, NonNegative
from plum_schemas.template import KeyRef
from plum_schemas.validation import FieldError, checked, exactly_one, invalid

PRUNE_ANNOTATION = "plum.dev/prune"
"""`disabled` on an object: no Sync deletes it."""
WAVE_ANNOTATION = "plum.dev/wave"
"""An integer: objects of a lower wave are healthy before the next is applied; deleted in reverse."""
SYNC_LABEL = "plum.dev/sync"
"""On every object a Sync applied: `NAMESPACE.NAME` of it."""


class FolderSource(Struct):
    """A folder that the controller can read; watched, so a change is applied at once."""

    path: Annotated[str, Meta(min_length=1)]
    """Folder; a relative one is below the controller's working folder."""


class GitSource(Struct):
    """A branch, tag or commit of a Git repository."""

    url: Annotated[str, Meta(min_length=1)]
    """Address of the repository, or a path."""
    branch: str = ""
    """Branch; the default branch if neither branch, tag nor commit is set."""
    tag: str = ""
    """Tag."""
    commit: Annotated[str, Meta(pattern="^([0-9a-f]{7,64})?$")] = ""
    """Commit."""
    path: str = ""
    """Folder inside the repository."""
    secret_ref: KeyRef | None = None
    """Token or SSH key."""


class BundleSource(Struct):
    """A file with everything in it, for places without a network."""

    path: Annotated[str, Meta(min_length=1)]
    """Path of the bundle."""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Checksum it must have; not checked if absent."""


class Source(Struct):
    """Where the manifests are. Exactly one is set."""

    folder: FolderSource | None = None
    """A folder."""
    git: GitSource | None = None
    """A Git repository."""
    bundle: BundleSource | None = None
    """An offline bundle."""


class Hold(Struct):
    """Stay at an earlier revision, after a rollback."""

    revision: Annotated[str, Meta(min_length=1)]
    """Revision to apply instead of the newest."""
    newest: str = ""
    """Newest revision when the hold was written: a newer one releases it."""
    reason: str = ""
    """Why."""


class SyncSpec(Struct):
    """What to make the store equal to, and how."""

    source: Source
    """Where the manifests are."""
    interval: Duration = "1m"
    """How often source and store are compared when nothing tells of a change."""
    prune: bool = False
    """Delete objects that left the source."""
    max_delete: IntOrPercent = "20%"
    """Most objects one sync may delete, as a count or a share of the inventory; more stops it and asks."""
    approve_delete: str = ""
    """Revision whose deletions are approved although they are more than maxDelete."""
    drift_policy: Literal["Correct", "Report"] = "Correct"
    """What happens when somebody else changed a field."""
    suspend: bool = False
    """Change nothing."""
    suspend_until: datetime | None = None
    """Change nothing until this time."""
    suspend_reason: str = ""
    """Why, for people."""
    target_namespace: str = ""
    """Namespace for manifests without one; its own if absent."""
    depends_on: Annotated[list[Name], SET] = []
    """Syncs of this namespace that must be healthy first."""
    recurse: bool = True
    """Read folders inside the folder."""
    wait_timeout: Duration = "5m"
    """Longest wait for the health of one wave."""
    force: bool = False
    """Take fields from other owners instead of reporting a conflict."""
    hold: Hold | None = None
    """Stay at an earlier revision."""


class InventoryItem(Struct):
    """One object this Sync applied."""

    api_version: str
    """API version of the object."""
    kind: str
    """Kind of the object."""
    namespace: str = ""
    """Namespace of the object; empty if it is cluster-wide."""
    name: str
    """Name of the object."""
    pending_delete: bool = False
    """It left the source and could not be deleted yet."""
    message: str = ""
    """Why not."""


class Drift(Struct):
    """One field that was not as the source says."""

    api_version: str
    """API version of the object."""
    kind: str
    """Kind of the object."""
    namespace: str = ""
    """Namespace of the object."""
    name: str
    """Name of the object."""
    fields: list[str] = []
    """Paths of the fields."""
    manager: str = ""
    """Who changed them."""
    time: datetime | None = None
    """When it was noticed."""
    corrected: bool = False
    """Whether it was set right."""


class SyncCounts(Struct):
    """What the last sync did."""

    created: NonNegative = 0
    """Objects created."""
    changed: NonNegative = 0
    """Objects changed."""
    deleted: NonNegative = 0
    """Objects deleted."""
    unchanged: NonNegative = 0
    """Objects that were as they should be."""
    failed: NonNegative = 0
    """Objects that could not be applied."""


class SyncStatus(Struct):
    """How far the store is equal to the source."""

    observed_generation: int = 0
    """Generation of the spec this status speaks of."""
    phase: Literal["Pending", "Synced", "Syncing", "Blocked", "Failed", "Suspended"] = "Pending"
    """Blocked waits for a person, such as for the approval of deletions."""
    source_revision: str = ""
    """Newest revision of the source: a commit, or a hash of the folder."""
    applied_revision: str = ""
    """Revision that was applied completely."""
    applied_at: datetime | None = None
    """When it was."""
    attempted_revision: str = ""
    """Revision that was tried last."""
    observed_request: str = ""
    """Value of the annotation `plum.dev/sync-requested` that was carried out."""
    last: SyncCounts = field(default_factory=SyncCounts)
    """What the last sync did."""
    inventory: list[InventoryItem] = []
    """Objects it applied, and those it still has to delete."""
    drift: list[Drift] = []
    """Fields that were not as the source says, newest first; at most 100."""
    message: str = ""
    """A sentence for people: file and line of what is wrong."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready, Healthy, Drifted, DeletesBlocked."""


class Sync(Object):
    """Makes the store equal to a folder, a Git repository or an offline bundle."""

    info: ClassVar[KindInfo] = KindInfo(
        kind="Sync",
        plural="syncs",
        columns=(
            Column("Phase", ".status.phase"),
            Column("Applied", ".status.appliedRevision", description="Revision that was applied completely"),
            Column("Failed", ".status.last.failed", "integer"),
            Column("Suspended", ".spec.suspend", "boolean"),
            Column("Synced", ".status.appliedAt", "date"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Prune", ".spec.prune", "boolean", priority=1),
            Column("Drift", ".spec.driftPolicy", priority=1),
            Column("Message", ".status.message", priority=1),
        ),
        selectable_fields=(".status.phase",),
    )

    spec: SyncSpec
    """What to make the store equal to."""
    status: SyncStatus = field(default_factory=SyncStatus)
    """How far it is."""

    def validate(self, old: Sync | None) -> Iterator[FieldError]:
        spec = self.spec
        source = spec.source
        yield from exactly_one("spec.source", {"folder": source.folder, "git": source.git, "bundle": source.bundle})
        if source.git is not None:
            chosen = [name for name in ("branch", "tag", "commit") if getattr(source.git, name)]
            for extra in chosen[1:]:
                yield invalid(f"spec.source.git.{extra}", getattr(source.git, extra), f"may not be set together with {chosen[0]}")
        yield from checked("spec.maxDelete", spec.max_delete, int_or_percent.check)
        if parse_duration(spec.interval) < 1:
            yield invalid("spec.interval", spec.interval, "must be at least 1s")
