"""The packages of this node: what a template asks for becomes a folder that can be started.

    ArtifactSource -> resolve (API) -> Origin -> kept zip, or one download for everybody -> verified
                   -> app/ of the instance, from which it starts

Everything may be repeated after a crash at any point; what an instance has once been given stays its own, with or without
a controller.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from plum_client.client import ApiClient
from plum_client.errors import ApiError, ForbiddenError, NotFoundError
from plum_client.packages.check import Package, check_package
from plum_client.packages.errors import PackageError
from plum_schemas.artifact import Artifact, ArtifactService
from plum_schemas.template import ArtifactSource, Port

from plum_agent.artifacts.fetch import Fetcher, Origin, size_of
from plum_agent.artifacts.package import FOLDER, PreparedPackage, read_package, write_note
from plum_agent.artifacts.store import NoRoomError, ZipStore
from plum_agent.artifacts.unpack import UnpackCanceledError, unpack
from plum_agent.errors import RefusedError

logger = logging.getLogger(__name__)

DOWNLOADS = 2
"""At the same time: a thin link is better used by few that end than by many that do not."""

Tell = Callable[[str, str], None]
"""Reason and sentence for the condition Prepared while it is not ready."""


@dataclass(frozen=True, slots=True)
class PackageRequest:
    """A package wanted for one instance."""

    namespace: str
    source: ArtifactSource
    instance_folder: Path
    """Unpacked below it."""
    owner: tuple[int, int] | None = None
    """User and group that the files are given to; None: the agent's own."""


@dataclass(slots=True, eq=False)
class _Download:
    """One download that several instances may wait for. It ends when the last of them has gone."""

    task: asyncio.Task[Path]
    listeners: list[Tell] = field(default_factory=list)


class ArtifactCache:
    """One per agent. Used from its event loop."""

    def __init__(self, api: ApiClient, store: ZipStore, fetcher: Fetcher) -> None:
        self._api = api
        self._store = store
        self._fetcher = fetcher
        self._downloads: dict[str, _Download] = {}
        self._slots = asyncio.Semaphore(DOWNLOADS)
        self._unpacker = ThreadPoolExecutor(1, "unpack")

    async def prepare(self, request: PackageRequest, tell: Tell) -> PreparedPackage:
        """The package, unpacked for this instance. Raises `RefusedError`. Cancel it freely; what is begun goes on next time."""
        known = read_package(request.instance_folder, request.source)
        if known is not None:
            return known
        try:
            origin, artifact = await self.resolve(request.namespace, request.source)
            path = await self._zip(origin, tell)
            return await self._unpack(request, origin, artifact, path, tell)
        except NoRoomError as error:
            raise RefusedError("NodeStorageFull", str(error)) from error
        except OSError as error:
            raise RefusedError("NodeStorageFailed", f"the node could not write the package: {error}") from error

    async def resolve(self, namespace: str, source: ArtifactSource) -> tuple[Origin, Artifact | None]:
        """Where the bytes are, and the Artifact if the template names one. Raises `RefusedError`."""
        if source.url:
            return Origin(source.sha256, url=source.url), None
        found = await self._find(namespace, source)
        if found.spec.type != "zip":
            label = f"artifact {source.name} {source.version}"
            raise RefusedError("ArtifactIsImage", f"{label} is an image, which no process can be; use runtime: container")
        path = f"/v1/artifacts/{namespace}/{found.metadata.name}/content"
        return Origin(found.spec.sha256, path=path, size=found.spec.size), found

    async def image(self, request: PackageRequest, other: str) -> PreparedPackage | None:
        """The image that an artifact stands for, written down for the next start; None for a zip. `other`: the image of the
        template. Raises `RefusedError`."""
        if request.source.url:
            return None
        artifact = await self._find(request.namespace, request.source)
        spec = artifact.spec
        if spec.type != "image":
            return None
        if other and other != spec.image:
            message = f"artifact {spec.name} {spec.version} is the image {spec.image}; leave out spec.template.image"
            raise RefusedError("ArtifactIsImage", f"{message}, which is {other}")
        ports = [
            Port(name=p.name, port=p.container, host_port=p.host, protocol="udp" if p.protocol == "udp" else "tcp")
            for p in spec.ports
        ]
        prepared = PreparedPackage(
            folder=request.instance_folder / FOLDER, entry="", sha256="", name=spec.name, version=spec.version,
            services=spec.services, source=request.source, fits=True, image=spec.image, ports=ports,
        )  # fmt: skip
        await asyncio.to_thread(write_note, request.instance_folder, prepared)
        return prepared

    async def _find(self, namespace: str, source: ArtifactSource) -> Artifact:
        """The Artifact that a template names. Raises `RefusedError`."""
        fields = f"spec.name={_escaped(source.name)},spec.version={_escaped(source.version)}"
        label = f"artifact {source.name} {source.version}"
        try:
            found = list(await self._api.list(Artifact, namespace, fields=fields))
        except ForbiddenError as error:
            raise RefusedError("ArtifactForbidden", f"{label} may not be read by this node: {error}") from error
        except ApiError as error:
            raise RefusedError(
                "ArtifactUnavailable", f"{label} is not on this node, and the controller does not answer: {error}"
            ) from error
        if source.sha256:
            found = [artifact for artifact in found if artifact.spec.sha256 == source.sha256]
        if not found:
            advice = "push it with `plum artifact push`, or correct spec.template.artifact"
            raise RefusedError("ArtifactMissing", f"{label} does not exist in namespace {namespace}; {advice}")
        if len(found) > 1:
            names = ", ".join(sorted(artifact.metadata.name for artifact in found))
            raise RefusedError(
                "ArtifactAmbiguous", f"{label} exists several times ({names}); delete all but one, or give its sha256"
            )
        return found[0]

    def close(self) -> None:
        """Stop downloads; what came so far is kept."""
        for download in self._downloads.values():
            download.task.cancel()
        self._unpacker.shutdown(wait=False, cancel_futures=True)

    # ---- one download for everybody

    async def _zip(self, origin: Origin, tell: Tell) -> Path:
        path = self._store.find(origin.key)
        if path is not None:
            return path
        download = self._downloads.get(origin.key)
        if download is None:
            download = _Download(asyncio.get_running_loop().create_task(self._download(origin)))
            self._downloads[origin.key] = download
        download.listeners.append(tell)
        try:
            return await asyncio.shield(download.task)
        finally:
            download.listeners.remove(tell)
            if not download.listeners:
                self._downloads.pop(origin.key, None)
                download.task.cancel()

    async def _download(self, origin: Origin) -> Path:
        def on_progress(have: int, total: int) -> None:
            percent = f" of {total / 2**20:.1f} MiB, {100 * have // total} %" if total else " MiB"
            self._tell(origin.key, "Downloading", f"{have / 2**20:.1f}{percent}")

        self._tell(origin.key, "Downloading", f"from {origin}")
        async with self._slots:
            self._store.make_room(origin.size, origin.key)
            part = self._store.part(origin.key)
            try:
                await self._fetcher.fetch(origin, part, lambda size: self._store.make_room(size, origin.key), on_progress)
            except NotFoundError as error:
                raise RefusedError("ArtifactMissing", f"the bytes of the package are not at {origin}: {error}") from error
            except ApiError as error:
                here = size_of(part) / 2**20
                message = (
                    f"the package could not be fetched from {origin}: {error}; {here:.1f} MiB are here, it goes on from there"
                )
                raise RefusedError("ArtifactUnavailable", message) from error
            path = self._store.take(origin.key)
        logger.info("artifact fetched", extra={"sha256": origin.sha256, "size_bytes": path.stat().st_size})
        return path

    def _tell(self, key: str, reason: str, message: str) -> None:
        download = self._downloads.get(key)
        for tell in list(download.listeners) if download is not None else ():
            tell(reason, message)

    # ---- unpacking

    async def _unpack(
        self, request: PackageRequest, origin: Origin, artifact: Artifact | None, path: Path, tell: Tell
    ) -> PreparedPackage:
        loop = asyncio.get_running_loop()
        canceled = threading.Event()

        def on_progress(done: int, total: int) -> None:
            if loop.is_running():
                loop.call_soon_threadsafe(tell, "Unpacking", f"{done / 2**20:.1f} of {total / 2**20:.1f} MiB")

        def work() -> Package | None:
            package = None
            if artifact is None:
                with path.open("rb") as file:
                    package = check_package(file)
            unpack(path, request.instance_folder / FOLDER, request.owner, _seldom(on_progress), canceled)
            return package

        running = loop.run_in_executor(self._unpacker, work)
        try:
            package = await asyncio.shield(running)
        except asyncio.CancelledError:
            canceled.set()
            await asyncio.wait({running})
            raise
        except UnpackCanceledError as error:
            raise RefusedError("ArtifactUnavailable", "unpacking was interrupted") from error
        except PackageError as error:
            self._store.drop(origin.key)
            raise RefusedError("ArtifactInvalid", f"the package cannot be used: {error}") from error
        prepared = _prepared(request, origin, artifact, package)
        await loop.run_in_executor(self._unpacker, write_note, request.instance_folder, prepared)
        return prepared


def _prepared(request: PackageRequest, origin: Origin, artifact: Artifact | None, package: Package | None) -> PreparedPackage:
    if artifact is not None:
        name, version, entry, services = artifact.spec.name, artifact.spec.version, artifact.spec.entry, artifact.spec.services
    else:
        assert package is not None  # noqa: S101 -- read from the zip when there is no Artifact
        name, version, entry = package.name, package.version, package.entry
        services = [ArtifactService(name=one.name, port=one.port, protocol=one.protocol) for one in package.services]
    return PreparedPackage(
        folder=request.instance_folder / FOLDER,
        entry=entry,
        sha256=origin.sha256,
        name=name,
        version=version,
        services=services,
        source=request.source,
    )


def _seldom(progress: Callable[[int, int], None], step: int = 8 * 2**20) -> Callable[[int, int], None]:
    """Every few megabytes: each call wakes the event loop."""
    last = 0

    def told(done: int, total: int) -> None:
        nonlocal last
        if done - last >= step:
            last = done
            progress(done, total)

    return told


def _escaped(value: str) -> str:
    """A value inside a field selector."""
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
