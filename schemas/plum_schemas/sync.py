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
WAVE_ANNOTATION = "plum.dev/sync-wave"
"""An integer, 0 if absent: objects of a lower wave are healthy before the next is applied; deleted in reverse."""
DEPENDS_ANNOTATION = "plum.dev/depends-on"
"""Objects of the same source that must be healthy before: `KIND/NAME`, comma separated; `KIND/NAMESPACE/NAME` for another."""
HEALTH_ANNOTATION = "plum.dev/health"
"""On an object, or on the definition of its kind: an expression in CEL over `self` that says whether it is healthy."""
SUBSTITUTE_ANNOTATION = "plum.dev/substitute"
"""`disabled` on an object: `${...}` in it stays as it is written."""
REQUEST_ANNOTATION = "plum.dev/sync-requested"
"""On a Sync: any new value has it compare and apply now."""
FLAG_LABEL = "plum.dev/made-by"
"""On a Sync that a flag of the controller made: `sync-flag`."""
SYNC_LABEL = "plum.dev/sync"
"""On every object a Sync applied: `NAMESPACE.NAME` of it, shortened with a hash where it is long."""


class FolderSource(Struct):
    """A folder that the controller can read; watched, so a change is applied at once."""

    path: Annotated[str, Meta(min_length=1)]
    """Folder, or one file; a relative one is below the controller's working folder."""
    subfolder: str = ""
    """Where to begin below it. Overlays may use what is beside that."""


class GitSource(Struct):
    """A branch, tag or commit of a Git repository."""

    url: Annotated[str, Meta(min_length=1)]
    """Address of the repository: `https://`, `ssh://`, `git@HOST:PATH`, `file://` or a path."""
    branch: str = ""
    """Branch; the default branch if neither branch, tag nor commit is set."""
    tag: str = ""
    """Tag."""
    commit: Annotated[str, Meta(pattern="^([0-9a-f]{7,64})?$")] = ""
    """Commit."""
    path: str = ""
    """Folder inside the repository."""
    secret_ref: KeyRef | None = None
    """Token (https) or private key (ssh), in a Secret of the Sync's namespace."""
    username: str = ""
    """User for a token; `git` if absent."""
    known_hosts: str = ""
    """Keys that the host may show, as lines of an OpenSSH `known_hosts` file. Needed for ssh."""
    ca: str = ""
    """Certificates (PEM) that may sign the host's, instead of the system's."""
    webhook_secret_ref: KeyRef | None = None
    """Secret that calls of the webhook are signed with. There is no webhook without."""


class BundleSource(Struct):
    """A file with everything in it, for places without a network."""

    path: Annotated[str, Meta(min_length=1)]
    """Path of the bundle."""
    sha256: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    """Checksum it must have; that of the file `PATH.sha256` if absent and there is one."""
    subfolder: str = ""
    """Where to begin inside. Overlays may use what is beside that."""


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


class VariablesFrom(Struct):
    """An object whose entries are variables."""

    config_map: str = ""
    """Name of a ConfigMap in the Sync's namespace."""
    secret: str = ""
    """Name of a Secret in the Sync's namespace."""
    optional: bool = False
    """Go on when it does not exist."""


class Substitution(Struct):
    """Values for `${NAME}` in manifests. Without it nothing is replaced."""

    variables: dict[str, str] = {}
    """Values by name. They go before those of `from`."""
    sources: Annotated[list[VariablesFrom], Meta(max_length=20)] = field(name="from", default_factory=list)
    """Objects with further values; later ones go before earlier ones."""


class HealthRule(Struct):
    """When objects of a kind are healthy."""

    api_version: str
    """API version of the kind."""
    kind: str
    """The kind."""
    healthy: Annotated[str, Meta(min_length=1)]
    """Expression in CEL over `self`: true when the object is healthy."""
    failed: str = ""
    """Expression in CEL over `self`: true when it will not become healthy by itself."""


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
    service_account_name: Annotated[str, Meta(max_length=253)] = ""
    """ServiceAccount of its namespace with whose rights it plans, applies, deletes and reads Secrets; with those of the
    controller if absent, which only who may do everything may ask for."""
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
    substitute: Substitution | None = None
    """Values for `${NAME}` in manifests."""
    decryption: KeyRef | None = None
    """Secret with the age identities (`AGE-SECRET-KEY-...`) that open encrypted manifests."""
    health: Annotated[list[HealthRule], Meta(max_length=100)] = []
    """When objects of user-defined kinds are healthy."""
    ignore: Annotated[list[str], Meta(max_length=100)] = []
    """Files to leave alone, as patterns: `*.test.yaml`, `drafts/*`."""


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
    hash: str = ""
    """Of the manifest that was applied last: tells a change of the source from a change of the object."""
    result: Literal["Pending", "Applied", "Failed", "Deleting"] = "Pending"
    """What became of it. Pending waits for others before it."""
    health: Literal["", "Healthy", "Progressing", "Degraded", "Unknown"] = ""
    """Whether it is as its kind wants it."""
    message: str = ""
    """Why it is not applied, not deleted or not healthy."""


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


class Applied(Struct):
    """A revision that was applied completely."""

    revision: str
    """Revision of the source."""
    time: datetime | None = None
    """When it was complete."""


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
    history: list[Applied] = []
    """Revisions that were applied completely, newest first; at most 10. A rollback goes to one of them."""
    wave: int = 0
    """Wave that is being applied or awaited."""
    wave_since: datetime | None = None
    """Since when its health is awaited."""
    inventory: list[InventoryItem] = []
    """Objects it applied, and those it still has to delete."""
    drift: list[Drift] = []
    """Fields that were not as the source says, newest first; at most 100."""
    message: str = ""
    """A sentence for people: file and line of what is wrong."""
    conditions: Annotated[list[Condition], ListMap("type")] = []
    """Ready, Healthy, Drifted, DeletesBlocked, Held."""


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
        for number, source_of in enumerate(spec.substitute.sources if spec.substitute is not None else ()):
            if bool(source_of.config_map) == bool(source_of.secret):
                where = f"spec.substitute.from[{number}]"
                yield invalid(where, source_of.config_map, "needs exactly one of configMap and secret")
        if parse_duration(spec.interval) < 1:
            yield invalid("spec.interval", spec.interval, "must be at least 1s")
