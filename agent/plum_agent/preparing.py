"""What a start needs and takes its time: the package of an instance, unpacked and found fit for this node, and its image.

    reconcile -> ready? -- yes -> start
                        -- no --> a task of its own; it says how far it is, and adds the key to the queue at its end

Nothing waits for it: an instance that is deleted or stopped meanwhile is dealt with at once.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.template import Template

from plum_agent.artifacts.package import PreparedPackage, as_packaged, read_package
from plum_agent.drivers.launching import find_user
from plum_agent.environment import DEFAULT_PATH
from plum_agent.errors import RefusedError

if TYPE_CHECKING:
    from plum_agent.artifacts.cache import ArtifactCache, PackageRequest
    from plum_agent.unit import Unit

MakeCache = Callable[[], "ArtifactCache"]
Owner = tuple[int, int]
"""User and group, by number."""
PrepareImage = Callable[[Instance, Callable[[str, str], None]], Awaitable[Owner | None]]
"""Returns when the image of an instance is on this node: who its files must belong to by what the image says. Raises
`RefusedError`."""

TELL_SECONDS = 2.0
"""Between two reports of progress: each is a write to the store."""


@dataclass(slots=True, eq=False)
class Preparation:
    """One attempt. `reason` and `message` say how far it is, for the condition Prepared."""

    task: asyncio.Task[PreparedPackage | None]
    reason: str = "Preparing"
    message: str = ""
    told_at: float = field(default=0.0)
    owner: Owner | None = None
    """Who the files of the workload belong to, by its image."""

    @property
    def done(self) -> bool:
        return self.task.done()


class Preparer:
    """Prepares instances of one node. `make_cache` is called with the first package that is needed."""

    def __init__(
        self, make_cache: MakeCache | None, enqueue: Callable[[ObjectKey], None], prepare_image: PrepareImage | None = None
    ) -> None:
        self._make_cache = make_cache
        self._prepare_image = prepare_image
        self._cache: ArtifactCache | None = None
        self._enqueue = enqueue
        self._running: dict[ObjectKey, Preparation] = {}

    def ready(self, unit: Unit, instance: Instance, folder: Path) -> bool:
        """Whether it can be started now. If not, an attempt is under way. Raises `RefusedError` when one has failed."""
        template = instance.spec.template
        needs_image = template.runtime == "container" and self._prepare_image is not None
        if not needs_image and (template.artifact is None or self._make_cache is None):
            return True
        unit.package = self._find(instance, folder)
        if unit.package is not None and not needs_image:
            unit.preparation = None
            return True
        preparation, unit.preparation = unit.preparation, None
        if preparation is None or preparation.task.cancelled():
            unit.preparation = self._begin(unit.key, instance, folder)
            return False
        if not preparation.done:
            unit.preparation = preparation
            return False
        unit.package, unit.image_owner = preparation.task.result(), preparation.owner
        return True

    def _find(self, instance: Instance, folder: Path) -> PreparedPackage | None:
        """What is ready to be started, without waiting for anything."""
        source = instance.spec.template.artifact
        package = read_package(folder, source) if source is not None and self._make_cache is not None else None
        return package if package is not None and package.fits else None

    def _begin(self, key: ObjectKey, instance: Instance, folder: Path) -> Preparation:
        """Start an attempt. Its task raises `RefusedError`."""
        loop = asyncio.get_running_loop()

        def tell(reason: str, message: str) -> None:
            preparation.reason, preparation.message = reason, message
            if loop.time() - preparation.told_at >= TELL_SECONDS:
                preparation.told_at = loop.time()
                self._enqueue(key)

        def found(owner: Owner | None) -> None:
            preparation.owner = owner

        task = loop.create_task(self._prepare(instance, folder, tell, found))
        preparation = self._running[key] = Preparation(task)
        task.add_done_callback(lambda _: self._ended(key, preparation))
        return preparation

    async def cancel(self, key: ObjectKey) -> None:
        """End an attempt; nothing writes into the folder of the instance any more when this returns."""
        preparation = self._running.get(key)
        if preparation is not None:
            preparation.task.cancel()
            await asyncio.wait({preparation.task})

    def close(self) -> None:
        for preparation in self._running.values():
            preparation.task.cancel()
        if self._cache is not None:
            self._cache.close()

    def _ended(self, key: ObjectKey, preparation: Preparation) -> None:
        if self._running.get(key) is preparation:
            del self._running[key]
        if not preparation.task.cancelled():
            preparation.task.exception()  # asked for, so that one nobody waits for any more is no news
        self._enqueue(key)

    async def _prepare(
        self, instance: Instance, folder: Path, tell: Callable[[str, str], None], found: Callable[[Owner | None], None]
    ) -> PreparedPackage | None:
        template = instance.spec.template
        known, owner = self._find(instance, folder), owner_of(template)
        if template.runtime == "container" and self._prepare_image is not None:
            if known is None and template.artifact is not None:
                cache, request = self._request(instance, folder)
                known = await cache.image(request, template.image)
            by_image = await self._prepare_image(as_packaged(instance, known), tell)
            owner = owner or by_image
            found(owner)
            if template.artifact is None:
                return None
        return known or await self._prepare_package(instance, folder, tell, owner)

    def _request(self, instance: Instance, folder: Path, owner: Owner | None = None) -> tuple[ArtifactCache, PackageRequest]:
        """What is asked of the cache, which is made with the first request."""
        from plum_agent.artifacts.cache import PackageRequest

        source = instance.spec.template.artifact
        if source is None or self._make_cache is None:
            raise RefusedError(
                "ArtifactNotSupported", "artifacts are not supported by this node; give a command that exists on it"
            )
        if self._cache is None:
            self._cache = self._make_cache()
        make_folder(folder)
        return self._cache, PackageRequest(instance.metadata.namespace, source, folder, owner)

    async def _prepare_package(
        self, instance: Instance, folder: Path, tell: Callable[[str, str], None], owner: Owner | None
    ) -> PreparedPackage:
        template = instance.spec.template
        cache, request = self._request(instance, folder, owner)
        package = await cache.prepare(request, tell)
        if package.fits:
            return package
        tell("Checking", "whether this node can run it")
        return await asyncio.to_thread(_check, package, template, folder)


def owner_of(template: Template) -> tuple[int, int] | None:
    """Who the files of a workload belong to; None: the agent's own user, or whoever the image says."""
    if template.runtime == "container" and not template.user.partition(":")[0].isdigit():
        return None
    return find_user(template.user) if template.user else None


def make_folder(folder: Path) -> None:
    """The folder of an instance: others may pass through it to what is theirs, and see nothing else."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o711)


def _check(package: PreparedPackage, template: Template, folder: Path) -> PreparedPackage:
    """Blocks. Raises `RefusedError` for what this node can never run as it is now."""
    from plum_agent.artifacts import preflight
    from plum_agent.artifacts.package import write_note

    fitting = preflight.check_machine(package.folder, package.entry, os.uname().machine)
    notices: list[str] = []
    if template.runtime == "process" and not template.command:
        declared = {variable.name: variable.value for variable in template.env if variable.value_from is None}
        libraries = [part for part in declared.get("LD_LIBRARY_PATH", "").split(":") if part.startswith("/")]
        search = declared.get("PATH", DEFAULT_PATH)
        notices = preflight.check_host(package.folder, package.entry, fitting, search, libraries)
    checked = msgspec.structs.replace(package, fits=True, notices=notices)
    write_note(folder, checked)
    return checked
