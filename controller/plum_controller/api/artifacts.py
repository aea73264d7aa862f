"""`/v1/artifacts`: packages in, packages out. The objects they belong to are those of `/apis/plum.dev/v1`.

    POST   /v1/artifacts/NS/uploads?size=        {id, offset}             a new upload
    GET    /v1/artifacts/NS/uploads/ID           {id, offset}             how far it is
    PATCH  /v1/artifacts/NS/uploads/ID?offset=   {id, offset}             the next bytes, in the body
    POST   /v1/artifacts/NS/uploads/ID/finish    the Artifact             checksum, check, store, create
    DELETE /v1/artifacts/NS/uploads/ID                                    give it up
    POST   /v1/artifacts/NS?name=&version=       the Artifact             all of that in one request
    GET    /v1/artifacts/NS/NAME/content         the zip                  Range, If-Range, ETag, If-None-Match

The gate asks for `create` and `get` on `artifacts`. Not through `LocalTransport`, whose requests are about objects. Bytes go
straight between connection and disk: none of this is held in memory, and a slow sender holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.packages.errors import PackageError, shown
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey
from plum_schemas.core import Namespace

from plum_controller.api.requests import Answer, ApiRequest, number
from plum_controller.domain.artifacts import ARTIFACTS, manifest_of, object_name
from plum_controller.logs import fields
from plum_controller.resources.encode import Json, decode
from plum_controller.resources.errors import (
    ApiStatusError,
    already_exists,
    bad_request,
    not_found,
    too_large,
    too_many_requests,
)
from plum_controller.resources.namespaces import NAMESPACES
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key
from plum_controller.store.blobs import BlobStore, NoRoomError, NoUploadError, Upload
from plum_controller.store.events import WatchEvent

if TYPE_CHECKING:
    from plum_client.packages.check import Package

logger = logging.getLogger(__name__)

PIECE_BYTES = 1024 * 1024
"""Bytes written to the disk at once."""
TRANSFERS = 64
"""Uploads and downloads under way at once; more get 429."""
CHECKS = 2
"""Packages checked at once: it takes a processor for as long as unpacking does."""
COLLECT_SECONDS = 5.0
"""From the deletion of an Artifact to the deletion of its bytes, so that many deletions make one search."""

Receive = Callable[[], Any]


class ArtifactsApi:
    """Uploads and their Artifacts. `start` and `close` bracket the collection of what nobody names any more."""

    def __init__(self, service: ResourceService, blobs: BlobStore, limit_bytes: int) -> None:
        self.blobs = blobs
        self._service = service
        self._limit = limit_bytes
        self._transfers = 0
        self._checking = asyncio.Semaphore(CHECKS)
        self._writing: set[str] = set()
        self._deleted = asyncio.Event()
        self._collector: asyncio.Task[None] | None = None

    # ---- life

    def start(self) -> None:
        """Collect what is left from before, and from now on what deletions leave."""
        self._watcher = self._service.cache.watch(ARTIFACTS, "", None, None, None, self._on_change)
        self._deleted.set()
        self._collector = asyncio.create_task(self._collect(), name="artifact-collector")

    async def close(self) -> None:
        """Stop collecting. Safe to repeat."""
        if self._collector is not None:
            self._watcher.close()
            self._collector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._collector
            self._collector = None

    def _on_change(self, events: Sequence[WatchEvent]) -> None:
        if any(event.type == "DELETED" for event in events):
            self._deleted.set()

    async def _collect(self) -> None:
        while True:
            await self._deleted.wait()
            await asyncio.sleep(COLLECT_SECONDS)
            self._deleted.clear()
            try:
                await asyncio.to_thread(self.blobs.give_up)
                there = await asyncio.to_thread(self.blobs.list)
                wanted = {entry.field("spec.sha256") for entry in self._service.cache.list(ARTIFACTS, "", None, None)}
                gone = [sha256 for sha256 in there if sha256 not in wanted and self.blobs.drop(sha256)]
            except OSError as error:
                logger.warning("artifacts cannot be collected", extra=fields(error=str(error)))
                continue
            if gone:
                logger.info("artifacts collected", extra=fields(count=len(gone)))

    # ---- requests

    async def answer(self, request: ApiRequest, receive: Receive) -> Answer | Path:
        """The answer; a path stands for its content, for `content_answer`. Raises `ApiStatusError`."""
        path = request.path[2:]
        self._transfers += 1
        try:
            if self._transfers > TRANSFERS:
                raise too_many_requests("as many artifacts are being transferred as may be, please try again later", 2)
            match request.method, path:
                case "GET" | "HEAD", [namespace, name, "content"]:
                    return self._content(namespace, name)
                case "POST", [namespace]:
                    return await self._single(request, namespace, receive)
                case "POST", [namespace, "uploads"]:
                    return await self._begin(request, namespace)
                case "GET", [namespace, "uploads", upload_id]:
                    return _progress(await self._find(request, namespace, upload_id))
                case "PATCH", [namespace, "uploads", upload_id]:
                    return await self._append(request, namespace, upload_id, receive)
                case "POST", [namespace, "uploads", upload_id, "finish"]:
                    return await self._finish(request, namespace, await self._find(request, namespace, upload_id))
                case "DELETE", [namespace, "uploads", upload_id]:
                    await asyncio.to_thread(self.blobs.cancel, await self._find(request, namespace, upload_id))
                    return Answer(b"", status=204)
        except NoRoomError as error:
            raise ApiStatusError(
                507, "InsufficientStorage", f"{error}; delete artifacts that nobody uses, or free the disk"
            ) from error
        except OSError as error:
            raise ApiStatusError(
                507, "InsufficientStorage", f"the artifact store cannot write: {error.strerror or error}"
            ) from error
        finally:
            self._transfers -= 1
        message = "see docs/artifacts.md for the requests that artifacts take"
        raise ApiStatusError(404 if request.method == "GET" else 405, "NotFound", f"no such request on artifacts; {message}")

    def _content(self, namespace: str, name: str) -> Path:
        entry = self._service.cache.get(Key(ARTIFACTS, namespace, name))
        if entry is None:
            raise not_found(Artifact.info, name)
        artifact = decode(entry.value)
        # Only bytes that came with this Artifact: whoever writes a checksum into a manifest does not get what it stands for.
        if not (artifact.get("status") or {}).get("storedAt") or not self.blobs.has(artifact["spec"]["sha256"]):
            spec = artifact["spec"]
            message = f"the bytes of {spec['name']} {spec['version']} are not here; push them with `plum artifact push`"
            raise ApiStatusError(404, "NotFound", message, {"name": name, "kind": "artifacts"})
        return self.blobs.path(artifact["spec"]["sha256"])

    async def _begin(self, request: ApiRequest, namespace: str) -> Answer:
        size = number(request.query, "size") or 0
        self._check_size(size)
        self._check_namespace(namespace)
        upload = await asyncio.to_thread(self.blobs.begin, _owner(request, namespace), size)
        return _progress(upload, 201)

    async def _find(self, request: ApiRequest, namespace: str, upload_id: str) -> Upload:
        try:
            return await asyncio.to_thread(self.blobs.find, upload_id, _owner(request, namespace))
        except NoUploadError as error:
            why = "it was finished, given up, or nobody went on with it for a day; begin again"
            message = f"there is no upload {upload_id[:40]}: {why}"
            raise ApiStatusError(404, "NotFound", message, {"name": upload_id[:40], "kind": "uploads"}) from error

    async def _append(self, request: ApiRequest, namespace: str, upload_id: str, receive: Receive) -> Answer:
        upload = await self._find(request, namespace, upload_id)
        offset = number(request.query, "offset")
        if offset != upload.offset:
            raise _wrong_offset(upload, offset)
        await self._write(request, upload, receive)
        return _progress(upload)

    async def _single(self, request: ApiRequest, namespace: str, receive: Receive) -> Answer:
        announced = request.headers.get(b"content-length", b"")
        size = int(announced) if announced.isdigit() else 0
        self._check_size(size)
        self._check_namespace(namespace)
        upload = await asyncio.to_thread(self.blobs.begin, _owner(request, namespace), size)
        try:
            await self._write(request, upload, receive)
            return await self._finish(request, namespace, upload)
        finally:
            await asyncio.to_thread(self.blobs.cancel, upload)

    async def _write(self, request: ApiRequest, upload: Upload, receive: Receive) -> None:
        """The body, onto the end of the upload. What arrived before the sender left stays."""
        if upload.id in self._writing:
            raise ApiStatusError(409, "Conflict", f"somebody is writing to upload {upload.id}; ask for its offset later", {})
        self._writing.add(upload.id)
        try:
            announced = request.headers.get(b"content-length", b"")
            start = upload.offset
            self._check_size(start + (int(announced) if announced.isdigit() else 0))
            file = await asyncio.to_thread(upload.data.open, "ab")
            try:
                complete = await self._copy(receive, file, start)
            finally:
                await asyncio.to_thread(file.close)
            if not complete:
                raise bad_request("the client went away before its body was complete; the upload can go on")
        finally:
            self._writing.discard(upload.id)

    async def _copy(self, receive: Receive, file: Any, size: int) -> bool:
        pending: list[bytes] = []
        waiting, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body, more = message.get("body", b""), message.get("more_body", False)
            size, waiting = size + len(body), waiting + len(body)
            self._check_size(size)
            pending.append(body)
            if waiting >= PIECE_BYTES:
                await asyncio.to_thread(self.blobs.append, file, b"".join(pending))
                pending, waiting = [], 0
        if pending:
            await asyncio.to_thread(self.blobs.append, file, b"".join(pending))
        return not more

    async def _finish(self, request: ApiRequest, namespace: str, upload: Upload) -> Answer:
        self._check_namespace(namespace)
        async with self._checking:
            sha256 = await asyncio.to_thread(self.blobs.digest, upload)
            said = request.query.get("sha256", "").lower()
            if said and said != sha256:
                await asyncio.to_thread(self.blobs.cancel, upload)
                text = f"what arrived has the sha256 {sha256}, the client says {said}; it was damaged on the way: upload it again"
                raise ApiStatusError(
                    422, "Invalid", text, {"causes": [{"reason": "FieldValueInvalid", "message": text, "field": "sha256"}]}
                )
            package = await self._check(request, upload)
        manifest = manifest_of(package, sha256, upload.offset, namespace)
        self.blobs.busy.add(sha256)
        try:
            await asyncio.to_thread(self.blobs.keep, upload, sha256)
            answer = await self._store(request, ObjectKey(namespace, manifest["metadata"]["name"]), manifest)
        finally:
            self.blobs.busy.discard(sha256)
        answer.warnings = package.warnings
        await asyncio.to_thread(self.blobs.cancel, upload)
        return answer

    async def _check(self, request: ApiRequest, upload: Upload) -> Package:
        from plum_client.packages.check import check_package

        def work() -> Package:
            with upload.data.open("rb") as file:
                return check_package(file, name=request.query.get("name", ""), version=request.query.get("version", ""))

        try:
            return await asyncio.to_thread(work)
        except PackageError as error:
            await asyncio.to_thread(self.blobs.cancel, upload)
            causes = [{"reason": "FieldValueInvalid", "message": one.message, "field": shown(one.file)} for one in error.problems]
            raise ApiStatusError(
                422, "Invalid", f"the package is invalid: {error}", {"kind": "artifacts", "causes": causes}
            ) from error

    async def _store(self, request: ApiRequest, key: ObjectKey, manifest: Json) -> Answer:
        """The object for bytes that are in their place. An equal one that exists is a success."""
        service, kind = self._service, self._service.registry.require(ARTIFACTS)
        manager = request.query.get("fieldManager") or request.user_agent.partition("/")[0] or "unknown"
        options = WriteOptions(field_manager=manager, user=request.user)
        status, spec = 200, manifest["spec"]
        live = self._live(key.namespace, spec)
        if live is None:
            try:
                await service.create(kind, key.namespace, manifest, options)
                status = 201
            except ApiStatusError as error:
                if error.reason != "AlreadyExists":
                    raise
            live = self._live(key.namespace, spec) or {}
        if (live.get("spec") or {}).get("sha256") != spec["sha256"]:
            there = (live.get("spec") or {}).get("sha256", "")[:12]
            message = (
                f"{spec['name']} {spec['version']} exists with other content (sha256 {there}...); a version never changes: "
                "raise the version in meta.ini, or push with --version"
            )
            raise ApiStatusError(409, "AlreadyExists", message, already_exists(Artifact.info, key.name).details)
        key = ObjectKey(key.namespace, live["metadata"]["name"])
        if not (live.get("status") or {}).get("storedAt"):
            await service.patch(
                kind, key, "merge", {"status": _stored(live)}, WriteOptions(field_manager=manager, subresource="status")
            )
        return Answer(service.get(kind, key), status=status)

    def _live(self, namespace: str, spec: Json) -> Json | None:
        """The Artifact of a name and version, whatever it is called."""
        direct = self._service.cache.get(Key(ARTIFACTS, namespace, object_name(spec["name"], spec["version"])))
        entries = [direct] if direct is not None else self._service.cache.list(ARTIFACTS, namespace, None, None)
        for entry in entries:
            if (entry.field("spec.name"), entry.field("spec.version")) == (spec["name"], spec["version"]):
                return decode(entry.value)
        return None

    def _check_size(self, size: int) -> None:
        if size > self._limit:
            limit = f"artifacts may have at most {self._limit} bytes (PLUM_ARTIFACT_LIMIT_BYTES)"
            raise too_large(f"{limit}; leave out of the package what is not needed to run")

    def _check_namespace(self, namespace: str) -> None:
        if self._service.cache.get(Key(NAMESPACES, "", namespace)) is None:
            raise not_found(Namespace.info, namespace)


def is_artifacts(request: ApiRequest) -> bool:
    """Whether a request belongs here."""
    return len(request.path) > 2 and request.path[0] == "v1" and request.path[1] == "artifacts"


def _owner(request: ApiRequest, namespace: str) -> str:
    return f"{namespace}\n{request.user}"


def _progress(upload: Upload, status: int = 200) -> Answer:
    return Answer(msgspec.json.encode({"id": upload.id, "offset": upload.offset}), status=status)


def _wrong_offset(upload: Upload, offset: int | None) -> ApiStatusError:
    message = f"offset is {offset}, the upload has {upload.offset} bytes; go on from there"
    return ApiStatusError(409, "Conflict", message, {"name": upload.id, "kind": "uploads", "offset": upload.offset})


def _stored(live: Json) -> Json:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = live["metadata"]
    generation = metadata.get("generation", 1)
    condition = {
        "type": "Stored", "status": "True", "reason": "Checked", "message": "all bytes are here, and the package can be run",
        "lastTransitionTime": now, "observedGeneration": generation,
    }  # fmt: skip
    url = f"/v1/artifacts/{metadata['namespace']}/{metadata['name']}/content"
    return {"observedGeneration": generation, "url": url, "storedAt": now, "conditions": [condition]}
