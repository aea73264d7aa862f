"""A whole control plane with the Sync controller, real folders and real time, in one event loop.

async with sync_site(tmp_path) as site:
    site.write("a.yaml", config("a", x="1"))
    await site.follow()
    await site.synced()
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from plum_client.client import ApiClient
from plum_client.clock import SystemClock
from plum_client.manager import Manager
from plum_controller.controllers import sync
from plum_controller.domain.sync.identity import id_of_item
from plum_schemas.base import KindInfo, ObjectKey, ObjectMeta
from plum_schemas.core import ConfigMap
from plum_schemas.sync import Sync, SyncSpec

from tests.support.control_plane import ControlPlane

T = TypeVar("T")
NAME = "fleet"


def config(name: str, annotations: dict[str, str] | None = None, **data: str) -> str:
    """A ConfigMap as a manifest."""
    metadata = {"name": name, **({"annotations": annotations} if annotations else {})}
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata: {json.dumps(metadata)}\ndata: {json.dumps(data)}\n"


class SyncSite:
    """The plane, and a folder that is the source."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "manifests"
        self.folder.mkdir(exist_ok=True)
        self.plane = ControlPlane(SystemClock())
        self.reconciler: sync.SyncReconciler

    @property
    def api(self) -> ApiClient:
        return self.plane.client("test")

    def start(self) -> None:
        """Run the controllers."""

        def add(manager: Manager) -> None:
            self.reconciler = sync.add_to(manager, self.root / "syncs")

        self.plane.start_controllers(extra=add, watch_nodes=False)

    async def restart(self) -> None:
        """As a controller that is killed, and the next one."""
        await self.plane.stop_controllers()
        self.start()

    def write(self, path: str, text: str) -> Path:
        """A file of the source, written as an editor does: beside and renamed."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        beside.write_text(textwrap.dedent(text))
        beside.replace(target)
        return target

    async def follow(self, name: str = NAME, path: Path | None = None, **spec: Any) -> Sync:
        """Make a Sync of the folder."""
        body = {
            "apiVersion": "plum.dev/v1",
            "kind": "Sync",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"source": {"folder": {"path": str(path or self.folder)}}, "prune": True, **spec},
        }
        await self.api.apply(body, kind=Sync.info, force=True)
        return await self.get(name)

    @contextlib.asynccontextmanager
    async def at_once(self) -> AsyncIterator[None]:
        """Changes inside the block are seen together."""
        await self.edit(Sync.info, NAME, {"spec": {"suspend": True}})
        await self.phase("Suspended")
        yield
        await self.edit(Sync.info, NAME, {"spec": {"suspend": None}})

    async def get(self, name: str = NAME) -> Sync:
        found = await self.api.get(Sync, name, "default")
        assert found is not None
        return found

    async def until(self, condition: Callable[[], Awaitable[T]], what: str = "", seconds: float = 40.0) -> T:
        """Wait until a condition holds."""
        deadline = time.monotonic() + seconds
        while True:
            if answer := await condition():
                return answer
            if time.monotonic() > deadline:
                found = await self.api.list(Sync)
                states = [f"{one.metadata.name}: {one.status.phase}: {one.status.message}" for one in found]
                raise AssertionError(f"not within {seconds} s: {what or condition}; {states}")
            await asyncio.sleep(0.02)

    async def phase(self, phase: str, text: str = "", name: str = NAME) -> Sync:
        """Wait until the Sync says this."""

        async def there() -> Sync | None:
            found = await self.get(name)
            done = found.status.observed_generation == found.metadata.generation
            return found if done and found.status.phase == phase and text in found.status.message else None

        return await self.until(there, f"{name} is {phase}: {text}")

    async def synced(self, name: str = NAME, **data: dict[str, str]) -> Sync:
        """Wait until the newest state of the folder is applied."""
        wanted = await self.reconciled(name)

        async def there() -> Sync | None:
            found = await self.get(name)
            status = found.status
            right = status.observed_generation == found.metadata.generation and status.applied_revision == wanted
            return found if right and status.phase == "Synced" else None

        return await self.until(there, f"{name} is synced at {wanted}")

    async def reconciled(self, name: str = NAME) -> str:
        """The revision of the source as it is now."""
        from plum_controller.sources.folder import FolderSource

        found = await self.get(name)
        assert found.spec.source.folder is not None
        return (await asyncio.to_thread(FolderSource(Path(found.spec.source.folder.path)).fetch)).name

    async def data(self, name: str) -> dict[str, str] | None:
        """The content of a ConfigMap; None when there is none."""
        found = await self.api.get(ConfigMap, name, "default")
        return None if found is None else found.data

    async def has(self, name: str, **data: str) -> None:
        """Wait until a ConfigMap has this content."""

        async def there() -> bool:
            return await self.data(name) == data

        await self.until(there, f"{name} is {data}")

    async def names(self) -> set[str]:
        """The ConfigMaps that live."""
        return {one.metadata.name for one in await self.api.list(ConfigMap, "default")}

    async def inventory(self, name: str = NAME) -> set[str]:
        return {id_of_item(item).name for item in (await self.get(name)).status.inventory}

    async def edit(self, kind: KindInfo, name: str, patch: dict[str, Any], manager: str = "kubectl-edit") -> None:
        """As somebody who changes an object by hand."""
        await self.api.patch(kind, ObjectKey("default", name), patch, field_manager=manager)


@contextlib.asynccontextmanager
async def sync_site(root: Path) -> AsyncIterator[SyncSite]:
    """A running site; closed with the block."""
    site = SyncSite(root)
    await site.plane.start()
    site.start()
    try:
        yield site
    finally:
        await site.plane.close()


__all__ = ["ObjectMeta", "SyncSite", "SyncSpec", "config", "sync_site"]
