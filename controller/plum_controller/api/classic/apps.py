"""`/v1/apps` and `/artifacts`: packages as programs of the system before know them. Over Artifact objects and their bytes.

    POST /v1/apps/upload (form, `file`)    -> ArtifactsApi, as any other upload      GET /artifacts/          a listing
    POST /v1/apps/create-image             -> Artifact of type image                 GET /artifacts/FILE.zip  the bytes
    GET  /v1/apps, DELETE /v1/apps/ID, GET /v1/apps/docker-images

The `url` of an application is the path of its file, `/artifacts/NAME_VERSION_SHA8.zip`, or for an image `image://ID`.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import msgspec
from plum_schemas.artifact import Artifact, PortMapping
from plum_schemas.base import ObjectKey

from plum_controller.api.artifacts import ArtifactsApi
from plum_controller.api.classic.wire import MANAGER, encode, id_of, namespace_of, page, read_body, text
from plum_controller.api.multipart import FormError, FormFile, Receive
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.domain.artifacts import ARTIFACTS, object_name
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService

UPLOAD = ["v1", "apps", "upload"]
IMAGE = "image://"
_decode = msgspec.json.Decoder(Artifact).decode


class PortDto(msgspec.Struct, rename="camel", omit_defaults=True):
    """A port of an image."""

    host: int = 0
    container: int = 0
    service_name: str = ""
    protocol: str = ""


class AppInfo(msgspec.Struct, rename="camel", omit_defaults=True):
    """An application as these routes write it."""

    artifact_id: str
    name: str
    version: str
    url: str
    sha256: str = msgspec.field(name="sha256")
    size_bytes: int = msgspec.field(name="sizeBytes")
    created_at: int = msgspec.field(name="createdAt")
    type: str
    image_repository: str = ""
    image_tag: str = ""
    port_mappings: list[PortDto] = []


class ImageRequest(msgspec.Struct, rename="camel"):
    """Body of `create-image`."""

    name: str = ""
    version: str = ""
    image_repository: str = ""
    image_tag: str = ""
    port_mappings: list[PortDto] | None = None


class ClassicApps:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService, artifacts: ArtifactsApi, engine: str) -> None:
        """`engine`: address of the container engine of this machine, for `docker-images`."""
        self._service = service
        self._artifacts = artifacts
        self._engine = engine

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        if list(request.path[:2]) != ["v1", "apps"] or len(request.path) > 3:
            return None
        method = "GET" if request.method == "HEAD" else request.method
        try:
            match method, list(request.path[2:]):
                case "GET", []:
                    return page([info_of(artifact) for artifact in self.list(namespace_of(request))], request)
                case "GET", ["docker-images"]:
                    from plum_controller.api.classic.engine_images import list_images

                    return page(await list_images(self._engine), request)
                case "POST", ["create-image"]:
                    return await self._create_image(request)
                case "DELETE", [artifact_id]:
                    return await self._delete(request, artifact_id)
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        return text(405, "method not allowed")

    # ---- finding

    def list(self, namespace: str) -> list[Artifact]:
        """All of a namespace, oldest first."""
        found = [_decode(entry.value) for entry in self._service.cache.list(ARTIFACTS, namespace, None, None)]
        return sorted(found, key=lambda one: (one.metadata.creation_timestamp is None, str(one.metadata.creation_timestamp)))

    def find(self, namespace: str, url: str) -> Artifact | None:
        """The Artifact that an `artifactUrl` names; None for any other address."""
        if url.startswith(IMAGE):
            wanted = url.removeprefix(IMAGE)
            return next((one for one in self.list(namespace) if id_of(one.metadata.uid) == wanted), None)
        folder, _, file = urlsplit(url).path.rpartition("/")
        if folder != "/artifacts":
            return None
        return next((one for one in self.list(namespace) if one.spec.type == "zip" and file_of(one) == unquote(file)), None)

    # ---- changing

    async def upload(self, request: ApiRequest, receive: Receive) -> Answer:
        """A package as the field `file` of a form. Refusals are texts."""
        namespace = namespace_of(request)
        try:
            form = FormFile(receive, request.content_type)
            if not await form.find("file"):
                return text(400, "file required")
        except FormError as error:
            return text(400, f"bad form: {error}")
        inner = ApiRequest(
            "POST", ["v1", "artifacts", namespace], {"fieldManager": MANAGER}, identity=request.identity, headers=request.headers
        )
        try:
            answer = await self._artifacts.answer(inner, form)
        except ApiStatusError as error:
            return _upload_refusal(error)
        assert isinstance(answer, Answer)  # noqa: S101  -- paths stand for contents, which were not asked for
        artifact = _decode(answer.body)
        if answer.status == 200:
            return text(409, f"{artifact.spec.name} {artifact.spec.version} exists, with the same content")
        answer.body, answer.status = encode(info_of(artifact)), 200
        return answer

    async def _create_image(self, request: ApiRequest) -> Answer:
        body: ImageRequest = read_body(request, ImageRequest)
        for name, value in (
            ("name", body.name), ("version", body.version), ("imageRepository", body.image_repository),
            ("imageTag", body.image_tag),
        ):  # fmt: skip
            if not value:
                return text(400, f"missing {name}")
        namespace = namespace_of(request)
        if any((one.spec.name, one.spec.version) == (body.name, body.version) for one in self.list(namespace)):
            return text(409, f"{body.name} {body.version} exists")
        spec = {
            "name": body.name, "version": body.version, "type": "image", "image": f"{body.image_repository}:{body.image_tag}",
            "ports": list(_ports(body)),
        }  # fmt: skip
        metadata = {"name": object_name(body.name, body.version), "namespace": namespace}
        manifest = {"apiVersion": Artifact.info.api_version, "kind": Artifact.info.kind, "metadata": metadata, "spec": spec}
        kind = self._service.registry.require(ARTIFACTS)
        options = WriteOptions(field_manager=MANAGER, user=request.user)
        key = ObjectKey(namespace, metadata["name"])
        await self._service.create(kind, namespace, manifest, options)
        made = self._service.get(kind, key)
        return Answer(encode(info_of(_decode(made))))

    async def _delete(self, request: ApiRequest, artifact_id: str) -> Answer:
        namespace = namespace_of(request)
        found = next((one for one in self.list(namespace) if id_of(one.metadata.uid) == artifact_id), None)
        if found is None:
            return text(404, "not found")
        options = DeleteOptions(uid=found.metadata.uid, user=request.user)
        await self._service.delete(self._service.registry.require(ARTIFACTS), found.key, options)
        return Answer(b"", status=204)

    # ---- files

    def file(self, request: ApiRequest) -> Answer | tuple[Path, str]:
        """`/artifacts/` and the files in it: a listing, or the path and the checksum of a file. Refusals are texts."""
        if request.method not in ("GET", "HEAD"):
            return text(405, "method not allowed")
        namespace = namespace_of(request)
        files = {file_of(one): one for one in self.list(namespace) if one.spec.type == "zip"}
        if len(request.path) == 1:
            query = "" if namespace == "default" else f"?namespace={quote(namespace)}"
            lines = (f'<a href="{escape(quote(name) + query)}">{escape(name)}</a>\n' for name in sorted(files))
            listing = f"<!doctype html>\n<title>artifacts</title>\n<pre>\n{''.join(lines)}</pre>\n"
            return Answer(listing.encode(), content_type=b"text/html; charset=utf-8")
        found = files.get(request.path[1]) if len(request.path) == 2 else None
        if found is None or found.status.stored_at is None or not self._artifacts.blobs.has(found.spec.sha256):
            return text(404, "404 page not found")
        return self._artifacts.blobs.path(found.spec.sha256), found.spec.sha256


def file_of(artifact: Artifact) -> str:
    """The name of its file."""
    spec = artifact.spec
    return f"{spec.name}_{spec.version}_{spec.sha256[:8]}.zip"


def url_of(artifact: Artifact) -> str:
    """The `artifactUrl` of an Artifact."""
    if artifact.spec.type == "image":
        return f"{IMAGE}{id_of(artifact.metadata.uid)}"
    namespace = artifact.metadata.namespace
    return f"/artifacts/{quote(file_of(artifact))}" + ("" if namespace == "default" else f"?namespace={quote(namespace)}")


def info_of(artifact: Artifact) -> AppInfo:
    """An Artifact as these routes write it."""
    spec, created = artifact.spec, artifact.metadata.creation_timestamp
    repository, _, tag = spec.image.rpartition(":")
    if "/" in tag or not repository:
        repository, tag = spec.image, ""
    return AppInfo(
        artifact_id=id_of(artifact.metadata.uid), name=spec.name, version=spec.version, url=url_of(artifact),
        sha256=spec.sha256, size_bytes=spec.size, created_at=int(created.timestamp()) if created is not None else 0,
        type=spec.type, image_repository=repository, image_tag=tag,
        port_mappings=[_port_dto(port) for port in spec.ports],
    )  # fmt: skip


def _port_dto(port: PortMapping) -> PortDto:
    return PortDto(port.host, port.container, port.service_name, port.protocol)


def _ports(body: ImageRequest) -> Iterator[Json]:
    """Every port of an image offers a service: the application's own name and http, unless it says otherwise."""
    for one in body.port_mappings or ():
        protocol = one.protocol or "http"
        name = f"udp-{one.container}" if protocol == "udp" else f"port-{one.container}"
        yield {
            "name": name, "container": one.container, "host": one.host, "protocol": protocol,
            "serviceName": one.service_name or body.name,
        }  # fmt: skip


def _upload_refusal(error: ApiStatusError) -> Answer:
    if error.code != 422:
        return text(error.code if error.code in (400, 404, 409, 413, 429) else 500, error.message)
    causes: list[dict[str, Any]] = (error.details or {}).get("causes", [])
    about_files = [cause for cause in causes if cause.get("field") in ("start.sh", "meta.ini")]
    rule = "zip must contain start.sh and meta.ini(name,version)" if about_files else "not a zip"
    return text(400, f"{rule}: {error.message}")
