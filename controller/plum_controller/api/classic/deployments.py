"""`/v1/deployments` as programs of the system before know it. Over Deployment objects, one for each entry of a request.

    POST   /v1/deployments      {name, labels, entries: [{artifactUrl, startCmd, replicas: {node: n}}]}, or one entry flat
    GET    /v1/deployments, /v1/deployments/ID            PATCH {labels}            DELETE
    POST   /v1/deployments/ID?action=start|stop

What was made here has the label `plum.dev/classic-deployment`, by which its entries belong together. Every other Deployment is
seen here too, under its uid. One is made `Stopped` and starts with `action=start`. A change of labels restarts nothing.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from plum_schemas.artifact import Artifact
from plum_schemas.base import ObjectKey
from plum_schemas.deployment import Deployment
from plum_schemas.instance import Instance
from plum_schemas.selectors import LabelSelector

from plum_controller.api.classic.apps import ClassicApps, info_of, url_of
from plum_controller.api.classic.wire import MANAGER, encode, id_of, namespace_of, page, read_body, text
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService

DEPLOYMENTS, INSTANCES = "deployments.plum.dev", "instances.plum.dev"
GROUP_LABEL, OF_DEPLOYMENT = "plum.dev/classic-deployment", "plum.dev/deployment"
NAME, URL, START = "plum.dev/classic-name", "plum.dev/classic-artifact-url", "plum.dev/classic-start-cmd"
"""Annotations: what was asked for, word for word."""
INSTANCE_SECONDS = 5.0
"""How long an answer waits for the instances that it names. Their controller makes them within milliseconds."""
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")
_decode_deployment = msgspec.json.Decoder(Deployment).decode
_decode_instance = msgspec.json.Decoder(Instance).decode


class Entry(msgspec.Struct, rename="camel"):
    """One package on some nodes."""

    artifact_url: str = ""
    start_cmd: str = ""
    replicas: dict[str, int] = {}


class Creation(msgspec.Struct, rename="camel"):
    """Body of a creation; the last three are those of the older, flat form."""

    name: str = ""
    labels: dict[str, str] | None = None
    entries: list[Entry] | None = None
    artifact_url: str = ""
    start_cmd: str = ""
    replicas: dict[str, int] = {}


class Change(msgspec.Struct, rename="camel"):
    """Body of a PATCH."""

    name: str | None = None
    labels: dict[str, str] | None = None


class AssignmentDto(msgspec.Struct, rename="camel", omit_defaults=True):
    """An instance as these routes write it."""

    instance_id: str
    deployment_id: str
    node_id: str
    desired: str
    artifact_url: str = msgspec.field(name="artifactUrl")
    start_cmd: str = msgspec.field(name="startCmd")
    app_name: str = msgspec.field(name="appName")
    app_version: str = msgspec.field(name="appVersion")
    artifact_type: str = ""
    image_repository: str = ""
    image_tag: str = ""


@dataclass(slots=True)
class Group:
    """The Deployments that are one for these routes."""

    id: str
    name: str
    parts: list[Deployment] = field(default_factory=list)

    @property
    def status(self) -> str:
        return "Running" if any(part.spec.state == "Running" for part in self.parts) else "Stopped"

    @property
    def labels(self) -> dict[str, str]:
        return {k: v for k, v in self.parts[0].metadata.labels.items() if k != GROUP_LABEL}


class ClassicDeployments:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService, apps: ClassicApps) -> None:
        self._service = service
        self._apps = apps

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        path = list(request.path)
        if path[:2] != ["v1", "deployments"] or len(path) > 3:
            return None
        method = "GET" if request.method == "HEAD" else request.method
        try:
            match method, path[2:]:
                case "GET", []:
                    return page([self._listed(group) for group in self._groups(namespace_of(request)).values()], request)
                case "POST", []:
                    return await self._create(request)
                case "GET", [wanted]:
                    return self._show(self._group(request, wanted))
                case "PATCH", [wanted]:
                    return await self._patch(request, self._group(request, wanted))
                case "POST", [wanted]:
                    return await self._act(request, self._group(request, wanted))
                case "DELETE", [wanted]:
                    return await self._delete(request, wanted)
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        return text(405, "method not allowed")

    # ---- reading

    def _groups(self, namespace: str) -> dict[str, Group]:
        found: dict[str, Group] = {}
        entries = self._service.cache.list(DEPLOYMENTS, namespace, None, None)
        for part in sorted((_decode_deployment(entry.value) for entry in entries), key=_age):
            metadata = part.metadata
            group_id = metadata.labels.get(GROUP_LABEL) or id_of(metadata.uid)
            name = metadata.annotations.get(NAME) or metadata.name
            found.setdefault(group_id, Group(group_id, name)).parts.append(part)
        return found

    def _group(self, request: ApiRequest, wanted: str) -> Group:
        group = self._groups(namespace_of(request)).get(wanted)
        if group is None:
            raise ApiStatusError(404, "NotFound", "not found")
        return group

    def _instances(self, part: Deployment) -> list[Instance]:
        labels = LabelSelector.from_object({"matchLabels": {OF_DEPLOYMENT: part.metadata.name}})
        entries = self._service.cache.list(INSTANCES, part.metadata.namespace, labels, None)
        return sorted((_decode_instance(entry.value) for entry in entries), key=lambda one: one.metadata.name)

    def _listed(self, group: Group) -> Json:
        instances = [one.metadata.name for part in group.parts for one in self._instances(part)]
        return {
            "deploymentId": group.id, "name": group.name, "labels": group.labels, "status": group.status, "instances": instances,
        }  # fmt: skip

    def _show(self, group: Group) -> Answer:
        artifacts = {(one.spec.name, one.spec.version): one for one in self._apps.list(group.parts[0].metadata.namespace)}
        assignments = [
            self._assignment(group, part, instance, artifacts) for part in group.parts for instance in self._instances(part)
        ]
        head = {"DeploymentID": group.id, "Name": group.name, "Labels": group.labels, "Status": group.status}
        return Answer(encode({"deployment": head, "assignments": assignments}))

    @staticmethod
    def _assignment(
        group: Group, part: Deployment, instance: Instance, artifacts: Mapping[tuple[str, str], Artifact]
    ) -> AssignmentDto:
        source, annotations = instance.spec.template.artifact, part.metadata.annotations
        artifact = artifacts.get((source.name, source.version)) if source is not None else None
        url = annotations.get(URL) or (url_of(artifact) if artifact is not None else source.url if source is not None else "")
        info = info_of(artifact) if artifact is not None else None
        return AssignmentDto(
            instance_id=instance.metadata.name, deployment_id=group.id, node_id=instance.spec.node_name,
            desired=instance.spec.state, artifact_url=url, start_cmd=annotations.get(START, ""),
            app_name=source.name if source is not None and source.name else part.metadata.name,
            app_version=source.version if source is not None else "",
            artifact_type=info.type if info is not None else "",
            image_repository=info.image_repository if info is not None else "",
            image_tag=info.image_tag if info is not None else "",
        )  # fmt: skip

    # ---- writing

    async def _create(self, request: ApiRequest) -> Answer:
        body: Creation = read_body(request, Creation)
        if not body.name:
            return text(400, "name required")
        entries = body.entries or [Entry(body.artifact_url, body.start_cmd, body.replicas)]
        if any(not entry.artifact_url or not entry.replicas for entry in entries):
            return text(400, "missing fields")
        namespace, group_id = namespace_of(request), secrets.token_hex(16)
        manifests = list(self._manifests(namespace, group_id, body, entries))
        kind, made = self._service.registry.require(DEPLOYMENTS), list[Deployment]()
        options = WriteOptions(field_manager=MANAGER, user=request.user)
        try:
            for manifest in manifests:
                key = ObjectKey(namespace, manifest["metadata"]["name"])
                await self._service.create(kind, namespace, manifest, options)
                made.append(_decode_deployment(self._service.get(kind, key)))
        except ApiStatusError:
            await self._remove(made, request)  # all entries or none
            raise
        return Answer(encode({"deploymentId": group_id, "instances": await self._made_instances(made)}))

    def _manifests(self, namespace: str, group_id: str, body: Creation, entries: list[Entry]) -> Iterator[Json]:
        first = _NOT_IN_NAMES.sub("-", body.name.lower()).strip("-")[:40] or "deployment"
        taken = {entry.key.name for entry in self._service.cache.list(DEPLOYMENTS, namespace, None, None)}
        for number, entry in enumerate(entries, 1):
            name = first if number == 1 else f"{first}-{number}"
            if name in taken:  # several may have one name, as they always could
                name = f"{name}-{group_id[:8]}"
            yield {
                "apiVersion": Deployment.info.api_version,
                "kind": Deployment.info.kind,
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "labels": {**(body.labels or {}), GROUP_LABEL: group_id},
                    "annotations": {NAME: body.name, URL: entry.artifact_url, START: entry.start_cmd},
                },
                "spec": {
                    "state": "Stopped",
                    "nodeReplicas": entry.replicas,
                    "template": self._template(namespace, entry),
                },
            }

    def _template(self, namespace: str, entry: Entry) -> Json:
        artifact = self._apps.find(namespace, entry.artifact_url)
        if artifact is None:
            where = "upload it to /v1/apps/upload, or make it known with /v1/apps/create-image"
            raise bad_request(f"artifactUrl {entry.artifact_url[:200]!r} names no artifact in namespace {namespace}; {where}")
        spec = artifact.spec
        template: Json = {"artifact": {"name": spec.name, "version": spec.version}}
        if spec.type == "image":
            template |= {"runtime": "container", "network": "private" if spec.ports else "host"}
        if entry.start_cmd:
            template["command"] = ["sh", "-c", entry.start_cmd]
        return template

    async def _made_instances(self, parts: list[Deployment]) -> list[str]:
        """Their names, once their controller has made all of them, or what there is by then."""
        wanted = sum(sum((part.spec.node_replicas or {}).values()) for part in parts)
        deadline = asyncio.get_running_loop().time() + INSTANCE_SECONDS
        while True:
            found = [one.metadata.name for part in parts for one in self._instances(part)]
            if len(found) >= wanted or asyncio.get_running_loop().time() >= deadline:
                return found
            await asyncio.sleep(0.02)

    async def _patch(self, request: ApiRequest, group: Group) -> Answer:
        body: Change = read_body(request, Change)
        if body.name is not None and body.name != group.name:
            return text(400, "deployment name is immutable")
        if body.labels is None:
            return Answer(b"", status=204)
        gone = dict.fromkeys(name for name in group.labels if name not in body.labels)
        await self._merge(request, group, {"metadata": {"labels": {**gone, **body.labels, GROUP_LABEL: group.id}}})
        return Answer(encode({"deploymentId": group.id}))

    async def _act(self, request: ApiRequest, group: Group) -> Answer:
        states = {"start": "Running", "stop": "Stopped"}
        state = states.get(request.query.get("action", ""))
        if state is None:
            return text(400, "action must be start or stop")
        await self._merge(request, group, {"spec": {"state": state}})
        message = "deployment started" if state == "Running" else "deployment stopped"
        return Answer(encode({"deploymentId": group.id, "status": state, "message": message}))

    async def _merge(self, request: ApiRequest, group: Group, patch: Json) -> None:
        kind = self._service.registry.require(DEPLOYMENTS)
        options = WriteOptions(field_manager=MANAGER, user=request.user)
        for part in group.parts:
            await self._service.patch(kind, part.key, "merge", patch, options)

    async def _delete(self, request: ApiRequest, wanted: str) -> Answer:
        group = self._groups(namespace_of(request)).get(wanted)
        if group is not None:
            await self._remove(group.parts, request)
        return Answer(b"", status=204)

    async def _remove(self, parts: list[Deployment], request: ApiRequest) -> None:
        kind = self._service.registry.require(DEPLOYMENTS)
        for part in parts:
            try:
                await self._service.delete(kind, part.key, DeleteOptions(uid=part.metadata.uid, user=request.user))
            except ApiStatusError as error:
                if error.code not in (404, 409):  # it went meanwhile, or is another one by now
                    raise


def _age(part: Deployment) -> tuple[Any, ...]:
    created = part.metadata.creation_timestamp
    return (created is None, created.timestamp() if created is not None else 0.0, part.metadata.name)
