"""What the controller knows of one Sync between two reconciles. All of it can be lost: it is found out again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from plum_schemas.sync import Drift

from plum_controller.domain.health import Health
from plum_controller.domain.sync.identity import ObjectId
from plum_controller.domain.sync.order import Stage
from plum_controller.manifests.document import Document, Found
from plum_controller.manifests.loading import Loader
from plum_controller.sources.base import Revision, Source


class Verified(NamedTuple):
    """An object that was compared with its manifest."""

    document: str
    """Hash of the manifest."""
    content: str
    """Hash of the object's content then."""
    drift: Drift | None = None
    """How it differs, where that is only reported."""


@dataclass
class SyncState:
    """One Sync."""

    label: str
    source: Source | None = None
    fingerprint: str = ""
    newest: Revision | None = None
    fetched: float = float("-inf")
    """When the source was read last, in monotonic seconds."""
    dirty: bool = True
    """The source was changed since."""
    requested: str = ""
    """The request that the last reading of the source answered."""
    failures: int = 0
    """Readings of the source that failed one after another."""
    loader: Loader = field(default_factory=Loader)
    read: tuple[str, str] = ("", "")
    """Revision and options of `found`."""
    found: Found = field(default_factory=Found)
    kept: tuple[str, Found] = field(default_factory=lambda: ("", Found()))
    """The revision that is in place, while a newer one is refused."""
    stages: tuple[Found, list[Stage]] | None = None
    documents: dict[ObjectId, Document] = field(default_factory=dict)
    verified: dict[ObjectId, Verified] = field(default_factory=dict)
    health: dict[ObjectId, Health] = field(default_factory=dict)
    seen: dict[ObjectId, bytes | None] = field(default_factory=dict)
    """The bytes from which the health was judged."""
    health_written: float = float("-inf")
    watching: str = ""
    """The folder that is being watched."""
    watch: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A plan and a reconcile of one Sync take turns."""
