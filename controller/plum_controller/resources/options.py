"""What callers ask of the resource service besides the object, and what they get back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from plum_controller.resources.encode import Json
    from plum_controller.store.cache import Entry

PatchType = Literal["json", "merge", "strategic", "apply"]


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a create, update or patch is to be done."""

    field_manager: str = "unknown"
    """Who owns the fields that this write sets. For HTTP: the parameter, else the user agent up to `/`."""
    dry_run: bool = False
    """Do everything but the commit."""
    field_validation: str = "Warn"
    """`Strict` refuses unknown and duplicate fields, `Warn` drops and names them, `Ignore` drops them. Empty is `Warn`."""
    force: bool = False
    """Apply only: take fields from other managers."""
    subresource: str = ""
    """`status`, `finalize` (namespaces) or empty."""
    user: str = ""
    """Who asks. Decides nothing here: authorisation comes before."""
    admit: Callable[[Json, Json | None], None] | None = None
    """Asked last, with what would be stored and what is (None: nothing). Raises `ApiStatusError` to refuse."""
    uid: str = ""
    """Create only: what it is to be known by, for what was made elsewhere before it is stored here. Empty: a new one."""
    duplicates: tuple[str, ...] = ()
    """What the decoder of the body found: `duplicate field "spec.image"`. Treated like unknown fields."""


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How a deletion is to be done."""

    propagation: str | None = None
    """`Background`, `Foreground`, `Orphan`, or None for whatever the object's finalizers already say, else background."""
    uid: str | None = None
    """Delete only this incarnation."""
    revision: str | None = None
    """Delete only this version."""
    grace_seconds: int | None = None
    """Accepted for Kubernetes' clients; how long a workload may take to stop is in its own spec."""
    dry_run: bool = False
    user: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write did."""

    value: bytes
    """The object as JSON, as it is now; after a deletion its last state."""
    revision: int
    """Revision of the object's last write; 0 for a dry run of a create."""
    created: bool = False
    changed: bool = True
    """False: the write changed nothing, so nothing was committed and no watcher hears of it."""
    warnings: tuple[str, ...] = ()
    gone: bool = False
    """The object is no longer there: deleted, or its last finalizer was removed."""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Which objects to list, and as of when."""

    namespace: str = ""
    """Empty: all."""
    labels: str = ""
    """Label selector as text."""
    fields: str = ""
    """Field selector as text."""
    limit: int = 0
    """0: no limit."""
    continue_token: str = ""
    revision: str | None = None
    """The `resourceVersion` parameter; None and empty are the same."""
    match: str | None = None
    """The `resourceVersionMatch` parameter."""
    send_initial_events: bool | None = None
    """Given at all, it is refused: it belongs to watches."""


@dataclass(frozen=True, slots=True)
class ListResult:
    """One page of a list."""

    revision: int
    """The store revision that the whole list shows, on every page of it."""
    entries: Sequence[Entry]
    values: list[bytes] = field(default_factory=list)
    """The objects as JSON, in the version of the kind that was asked for."""
    continue_token: str = ""
    """Empty on the last page."""
    remaining: int | None = None
    """How many objects follow, where it is known: only without selectors."""


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """Which changes to watch, and from when on."""

    namespace: str = ""
    labels: str = ""
    fields: str = ""
    revision: str | None = None
    """None, empty and `0`: everything that is there, as ADDED, then what happens. A number: what happened after it."""
    match: str | None = None
    send_initial_events: bool | None = None
    """True: everything that is there, then a mark. False: only what happens, from now on where no revision is given."""
    allow_bookmarks: bool = False
    continue_token: str = ""
    """Given at all, it is refused: it belongs to lists."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one object in its history, newest first."""

    revision: int
    time: float
    """Unix seconds of the commit."""
    operation: Literal["create", "update", "delete"]
    manager: str
    """Field manager of the write; empty where it cannot be told (deletions, writes that only removed fields)."""
    value: bytes
    deleted: bool = False
