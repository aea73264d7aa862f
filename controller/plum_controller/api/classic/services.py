"""`/v1/services` and `/v1/discovery`: applications register themselves, everybody finds endpoints. Over Endpoint objects.

    POST   /v1/services/register[?replace=true]     -> Endpoint objects with a ttl
    POST   /v1/services/heartbeat                   -> spec.heartbeatAt, spec.healthy
    DELETE /v1/services?instanceId=                 PATCH, PUT, DELETE /v1/services/endpoint?(five parameters)
    GET    /v1/services/list                        GET /v1/discovery, /v1/discovery/random, /v1/discovery/one

Namespace: the parameter `namespace`, else `default`. Refusals are one line of text. What instances offer by their template
is kept by the endpoint controller and is not changed here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_client.resolver_strategies import Wanted, usable
from plum_schemas.base import ObjectKey, OwnerReference
from plum_schemas.durations import format_duration, parse_duration
from plum_schemas.endpoint import Endpoint
from plum_schemas.instance import Instance

from plum_controller.api.access import Gate, refusal
from plum_controller.api.classic.wire import MANAGER, encode, namespace_of, page, read_body, text
from plum_controller.api.requests import Answer, ApiRequest, flag
from plum_controller.api.service_directory import ServiceDirectory, no_endpoints
from plum_controller.domain.access import Attributes
from plum_controller.domain.endpoints import endpoint_name
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key

HEARTBEAT_SHARE = 3
"""A heartbeat is written only when a third of the ttl has passed since the last one: it costs a commit."""
_decode_instance = msgspec.json.Decoder(Instance).decode


class EndpointDto(msgspec.Struct, rename="camel"):
    """An endpoint as these routes write it."""

    service_name: str
    instance_id: str = ""
    node_id: str = ""
    ip: str = ""
    port: int = 0
    protocol: str = ""
    version: str = ""
    labels: dict[str, str] | None = None
    healthy: bool = True
    last_seen: int = 0


class Registration(msgspec.Struct, rename="camel"):
    """Body of `register` and `heartbeat`."""

    instance_id: str = ""
    node_id: str = ""
    ip: str = ""
    endpoints: list[EndpointDto] | None = None
    health: list[EndpointDto] | None = None


class ClassicServices:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService, directory: ServiceDirectory, gate: Gate, ttl_seconds: float) -> None:
        self._service = service
        self._directory = directory
        self._gate = gate
        self._ttl_seconds = ttl_seconds

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        route = ROUTES.get(tuple(request.path[1:]))
        if route is None:
            return None
        handler = route.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            return text(405, "method not allowed")
        try:
            return await handler(self, request)
        except ApiStatusError as error:
            return text(error.code, error.message)

    # ---- registering

    async def register(self, request: ApiRequest) -> Answer:
        """Endpoints of one application, alive for as long as heartbeats come."""
        body = read_body(request, Registration)
        if not body.instance_id:
            raise bad_request("missing instanceId")
        namespace, replace = namespace_of(request), flag(request.query, "replace")
        removal = Attributes("delete", "plum.dev", "endpoints", "", namespace)
        if replace and not self._gate.allows(request.identity, removal):
            raise refusal(request.identity, removal)
        instance = self._instance(namespace, body.instance_id)
        address = body.ip or (instance.status.address if instance is not None else "")
        if not address:
            raise bad_request("missing ip")
        known = {e.metadata.name: e for e in self._directory.of_instance(namespace, body.instance_id)}
        made = {(e.spec.service, e.spec.port) for e in known.values() if e.spec.ttl is None}
        kept = set()
        for dto in body.endpoints or ():
            if not dto.service_name or not 1 <= dto.port <= 65535:
                raise bad_request("an endpoint needs serviceName and a valid port")
            if (dto.service_name, dto.port) in made:
                continue  # its agent looks after it
            wanted = self._object(namespace, dto, body, address, instance)
            kept.add(wanted["metadata"]["name"])
            await self._apply(namespace, wanted, request)
        if replace:
            surplus = [e for name, e in known.items() if e.spec.ttl is not None and name not in kept]
            await self._delete(surplus, request)
        return Answer(b"", status=204)

    def _object(
        self, namespace: str, dto: EndpointDto, body: Registration, address: str, instance: Instance | None
    ) -> dict[str, Any]:
        protocol = dto.protocol or "http"
        name = endpoint_name(body.instance_id, dto.service_name, address, str(dto.port), protocol)
        metadata: dict[str, Any] = {"name": name, "namespace": namespace}
        spec = {
            "service": dto.service_name,
            "address": address,
            "port": dto.port,
            "protocol": protocol,
            "version": dto.version,
            "labels": dto.labels or {},
            "instanceName": body.instance_id,
            "nodeName": body.node_id,
            "ttl": format_duration(self._ttl_seconds),
            "heartbeatAt": _now(),
            "healthy": True,
        }
        if instance is not None:
            owner = instance.metadata
            reference = OwnerReference(api_version=instance.api_version, kind="Instance", name=owner.name, uid=owner.uid)
            metadata["ownerReferences"] = [msgspec.to_builtins(reference)]
            spec |= {"instanceUid": owner.uid, "nodeName": body.node_id or instance.spec.node_name}
        return {"apiVersion": "plum.dev/v1", "kind": "Endpoint", "metadata": metadata, "spec": spec}

    async def heartbeat(self, request: ApiRequest) -> Answer:
        """The application lives; `health` says what it knows of its endpoints."""
        body = read_body(request, Registration)
        if not body.instance_id:
            raise bad_request("missing instanceId")
        namespace = namespace_of(request)
        known = [e for e in self._directory.of_instance(namespace, body.instance_id) if e.spec.ttl is not None]
        if not known and self._instance(namespace, body.instance_id) is None:
            raise ApiStatusError(404, "NotFound", f"instance {body.instance_id!r} has registered no services; register again")
        said = {(h.service_name, h.ip, h.port, h.protocol or "http"): h.healthy for h in body.health or ()}
        now = datetime.now(UTC)
        for endpoint in known:
            spec = endpoint.spec
            healthy = said.get((spec.service, spec.address, spec.port, spec.protocol), spec.healthy)
            age = (now - spec.heartbeat_at).total_seconds() if spec.heartbeat_at is not None else self._ttl_seconds
            if healthy != spec.healthy or age >= parse_duration(spec.ttl or "0") / HEARTBEAT_SHARE:
                await self._patch(endpoint, {"heartbeatAt": _now(), "healthy": healthy}, request)
        return Answer(b"", status=204)

    async def forget(self, request: ApiRequest) -> Answer:
        """All that an application registered goes."""
        instance = request.query.get("instanceId", "")
        if not instance:
            raise bad_request("missing instanceId")
        found = self._directory.of_instance(namespace_of(request), instance)
        await self._delete([endpoint for endpoint in found if endpoint.spec.ttl is not None], request)
        return Answer(b"", status=204)

    async def forget_endpoint(self, request: ApiRequest) -> Answer:
        """One registered endpoint goes; one that is not there is a success."""
        await self._delete(self._named(request), request)
        return Answer(b"", status=204)

    async def change_endpoint(self, request: ApiRequest) -> Answer:
        """Version, labels and health of one registered endpoint."""
        found = self._named(request)
        dto = msgspec.convert(read_body(request, dict), dict[str, Any])
        if not found:
            raise ApiStatusError(404, "NotFound", "no such endpoint")
        names = {"version": "version", "labels": "labels", "healthy": "healthy", "nodeId": "nodeName"}
        changes = {field: dto[name] for name, field in names.items() if name in dto}
        if request.method == "PUT":
            changes = {"version": "", "labels": {}} | changes
        for endpoint in found:
            await self._patch(endpoint, changes | {"heartbeatAt": _now()}, request)
        return Answer(b"", status=204)

    def _named(self, request: ApiRequest) -> list[Endpoint]:
        """The registered endpoint that the five parameters name."""
        query = request.query
        for name in ("serviceName", "instanceId", "ip", "port", "protocol"):
            if not query.get(name):
                raise bad_request(f"missing {name}")
        port = query["port"]
        if not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65535:
            raise bad_request("invalid port")
        wanted = (query["serviceName"], query["ip"], int(port), query["protocol"])
        return [
            endpoint
            for endpoint in self._directory.of_instance(namespace_of(request), query["instanceId"])
            if endpoint.spec.ttl is not None
            and (endpoint.spec.service, endpoint.spec.address, endpoint.spec.port, endpoint.spec.protocol) == wanted
        ]

    # ---- finding

    async def list_services(self, request: ApiRequest) -> Answer:
        """Names of all services."""
        return Answer(encode(self._directory.names(namespace_of(request))))

    async def discover(self, request: ApiRequest) -> Answer:
        """Endpoints that take requests, or with `all` every one."""
        namespace, service, wanted = question(request)
        found = self._directory.endpoints(namespace, service)
        endpoints = sorted(found, key=lambda e: e.metadata.name) if flag(request.query, "all") else usable(found, wanted)
        return page([dto_of(endpoint) for endpoint in endpoints], request)

    async def discover_random(self, request: ApiRequest) -> Answer:
        return self._one(request, "random")

    async def discover_one(self, request: ApiRequest) -> Answer:
        return self._one(request, request.query.get("strategy", ""))

    def _one(self, request: ApiRequest, strategy: str) -> Answer:
        namespace, service, wanted = question(request)
        found = self._directory.choose(namespace, service, wanted, strategy)
        if found is None:
            raise no_endpoints(service)
        return Answer(encode(dto_of(found)))

    # ---- writing

    def _instance(self, namespace: str, name: str) -> Instance | None:
        entry = self._service.cache.get(Key("instances.plum.dev", namespace, name))
        return _decode_instance(entry.value) if entry is not None else None

    async def _apply(self, namespace: str, wanted: dict[str, Any], request: ApiRequest) -> None:
        kind = self._service.registry.require("endpoints.plum.dev")
        key = ObjectKey(namespace, wanted["metadata"]["name"])
        options = WriteOptions(field_manager=MANAGER, user=request.user, force=True)
        await self._service.patch(kind, key, "apply", wanted, options)

    async def _patch(self, endpoint: Endpoint, spec: Mapping[str, Any], request: ApiRequest) -> None:
        kind = self._service.registry.require("endpoints.plum.dev")
        try:
            options = WriteOptions(field_manager=MANAGER, user=request.user)
            await self._service.patch(kind, endpoint.key, "merge", {"spec": dict(spec)}, options)
        except ApiStatusError as error:
            if error.code != 404:  # it went meanwhile
                raise

    async def _delete(self, endpoints: Sequence[Endpoint], request: ApiRequest) -> None:
        kind = self._service.registry.require("endpoints.plum.dev")
        for endpoint in endpoints:
            try:
                await self._service.delete(kind, endpoint.key, DeleteOptions(uid=endpoint.metadata.uid, user=request.user))
            except ApiStatusError as error:
                if error.code not in (404, 409):  # it went meanwhile, or is another one by now
                    raise


Handler = Callable[[ClassicServices, ApiRequest], Awaitable[Answer]]
ROUTES: Mapping[tuple[str, ...], Mapping[str, Handler]] = {
    ("services", "register"): {"POST": ClassicServices.register},
    ("services", "heartbeat"): {"POST": ClassicServices.heartbeat},
    ("services",): {"DELETE": ClassicServices.forget},
    ("services", "endpoint"): {
        "DELETE": ClassicServices.forget_endpoint,
        "PATCH": ClassicServices.change_endpoint,
        "PUT": ClassicServices.change_endpoint,
    },
    ("services", "list"): {"GET": ClassicServices.list_services},
    ("discovery",): {"GET": ClassicServices.discover},
    ("discovery", "random"): {"GET": ClassicServices.discover_random},
    ("discovery", "one"): {"GET": ClassicServices.discover_one},
}


def dto_of(endpoint: Endpoint) -> EndpointDto:
    """An endpoint as these routes write it."""
    spec, status = endpoint.spec, endpoint.status
    times = (spec.heartbeat_at, status.checked_at, endpoint.metadata.creation_timestamp)
    return EndpointDto(
        service_name=spec.service,
        instance_id=spec.instance_name,
        node_id=spec.node_name,
        ip=spec.address,
        port=spec.port,
        protocol=spec.protocol,
        version=spec.version,
        labels=spec.labels,
        healthy=endpoint.state != "critical",
        last_seen=int(max((time.timestamp() for time in times if time is not None), default=0.0)),
    )


def question(request: ApiRequest) -> tuple[str, str, Wanted]:
    """Namespace, service and what else of it is asked for. Raises `ApiStatusError` 400."""
    query = request.query
    service = query.get("service", "")
    if not service:
        raise bad_request("service required")
    wanted = Wanted(query.get("version", ""), query.get("protocol", ""), query.get("key", ""))
    return namespace_of(request), service, wanted


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
