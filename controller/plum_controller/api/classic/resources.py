"""`/v1/resources`: devices as programs of the system before know them. Over Resource and Operation objects.

    POST /v1/resources/register    -> Resource with a model and, for a device with a url, the http driver   (204)
    POST /v1/resources/heartbeat   -> it is there        POST /v1/resources/state -> reported values         (204)
    POST /v1/resources/operation   -> sent on to the device's url as it came; for another device one Operation each (204)
    GET  /v1/resources[/ID], /v1/resources/states; DELETE /v1/resources/ID                       answers in PascalCase

All values of these routes are texts. In the Resource they have the types that the device registered.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from plum_client.devices.protocol import Announcement, DeviceError, Reading, Report
from plum_schemas.base import ObjectKey
from plum_schemas.operation import TERMINAL_OPERATION_PHASES, Operation
from plum_schemas.resource import Resource

from plum_controller.api.access import Gate, refusal
from plum_controller.api.classic.wire import MANAGER, namespace_of, page, read_body, text
from plum_controller.api.requests import Answer, ApiRequest, number
from plum_controller.domain.access import Attributes
from plum_controller.domain.reported_values import micros_of
from plum_controller.domain.worker_names import worker_name
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.options import DeleteOptions, WriteOptions
from plum_controller.resources.reported_rows import RESOURCES, ReportedHistory
from plum_controller.store.base import Key

if TYPE_CHECKING:
    from plum_client.outgoing import OutgoingClient

    from plum_controller.api.devices import DevicesApi
    from plum_controller.resources.service import ResourceService
    from plum_controller.store.base import Store

ROUTE = "resources"
OPERATIONS = "operations.plum.dev"
SESSION = "classic"
"""These programs know no sessions: all of a device's requests are of one."""
ID, NODE, DESCRIBED = "plum.dev/resource-id", "plum.dev/resource-node", "plum.dev/classic-description"
"""Annotations: what the device calls itself, the node it says it is on, and its descriptions as they came."""
HEARTBEAT = "15s"
STATES, MOST_STATES = 100, 1000
FORWARD_SECONDS = 10.0
MAX_ANSWER_BYTES = 64 * 1024
WINDOWS = (60, 3600, 86_400, 7 * 86_400, 3650 * 86_400)
"""Seconds looked back for states, until there are enough."""
TYPES = {"INT": "integer", "DOUBLE": "double", "BOOL": "boolean", "ENUM": "string", "STRING": "string"}
_decode = msgspec.json.Decoder(Resource).decode
_operation = msgspec.json.Decoder(Operation).decode


class Description(msgspec.Struct, rename="camel", omit_defaults=True):
    """One value of a device."""

    type: str = ""
    name: str = ""
    value: str = ""
    unit: str = ""
    min: str = ""
    max: str = ""


class Registration(msgspec.Struct, rename="camel"):
    """Body of `register` and `heartbeat`."""

    resource_id: str = ""
    node_id: str = ""
    type: str = ""
    url: str = ""
    state_desc: list[Description] | None = None
    op_desc: list[Description] | None = None


class State(msgspec.Struct, rename="camel"):
    """Body of `state`."""

    resource_id: str = ""
    timestamp: float = 0
    states: dict[str, str] | None = None


class Asked(msgspec.Struct):
    """One element of an operation."""

    name: str = ""
    value: str = ""


class Operations(msgspec.Struct):
    """Body of `operation`."""

    operations: list[Asked] | None = None


class ClassicResources:
    """Answers the routes named above."""

    def __init__(
        self,
        service: ResourceService,
        store: Store,
        gate: Gate,
        devices: DevicesApi,
        calls: Callable[[], OutgoingClient | None],
    ) -> None:
        """`calls` gives what calls the urls of devices, once the controllers run."""
        self._service = service
        self._history = ReportedHistory(store)
        self._gate = gate
        self._devices = devices
        self._calls = calls

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        path = list(request.path)
        if len(path) not in (2, 3) or path[:2] != ["v1", ROUTE]:
            return None
        rest = path[2] if len(path) == 3 else ""
        method = "GET" if request.method == "HEAD" else request.method
        try:
            match method, rest:
                case "POST", "register":
                    return await self._register(request)
                case "POST", "heartbeat":
                    return await self._heartbeat(request)
                case "POST", "state":
                    return await self._state(request)
                case "POST", "operation":
                    return await self._operate(request)
                case "GET", "states":
                    return await self._states(request)
                case "GET", "":
                    self._require(request, "list", "")
                    found = self._service.cache.list(RESOURCES, namespace_of(request))
                    return page([_shown(_decode(entry.value)) for entry in found], request)
                case "GET", resource_id:
                    self._require(request, "get", resource_id)
                    return Answer(msgspec.json.encode(_shown(self._find(request, resource_id))))
                case "DELETE", resource_id if resource_id:
                    return await self._delete(request, resource_id)
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        except DeviceError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        return text(405, "method not allowed")

    # ---- what devices say

    async def _register(self, request: ApiRequest) -> Answer:
        body: Registration = read_body(request, Registration)
        if not body.resource_id:
            raise bad_request("resourceId required")
        if body.url and not body.url.startswith(("http://", "https://")):
            raise bad_request(f"url is {body.url!r}; a device needs http://HOST:PORT/PATH, where operations are sent to")
        self._require(request, "patch", body.resource_id)
        name, namespace = worker_name(body.resource_id), namespace_of(request)
        described = {"stateDesc": body.state_desc or [], "opDesc": body.op_desc or []}
        annotations = {DESCRIBED: msgspec.json.encode(described).decode(), ID: body.resource_id}
        annotations |= {NODE: body.node_id} if body.node_id else {}
        spec: dict[str, Any] = {"type": body.type, "heartbeat": HEARTBEAT, "model": model_of(body)}
        spec |= {"driver": {"http": {"url": body.url}}} if body.url else {}
        wanted = {
            "apiVersion": Resource.info.api_version,
            "kind": "Resource",
            "metadata": {"name": name, "namespace": namespace, "annotations": annotations},
            "spec": spec,
        }
        options = WriteOptions(field_manager=MANAGER, user=request.user, force=True)
        kind = self._service.registry.require(RESOURCES)
        await self._service.patch(kind, ObjectKey(namespace, name), "apply", wanted, options)
        await self._hear(ObjectKey(namespace, name), {})
        return Answer(b"", status=204)

    async def _heartbeat(self, request: ApiRequest) -> Answer:
        body: Registration = read_body(request, Registration)
        if not body.resource_id:
            raise bad_request("resourceId required")
        self._require(request, "patch", body.resource_id)
        await self._hear(self._find(request, body.resource_id).key, {})
        return Answer(b"", status=204)

    async def _state(self, request: ApiRequest) -> Answer:
        body: State = read_body(request, State)
        if not body.resource_id:
            raise bad_request("resourceId required")
        self._require(request, "patch", body.resource_id)
        found = self._find(request, body.resource_id)
        types = {one.name: one.type for one in found.spec.model.properties}
        try:
            measured = datetime.fromtimestamp(body.timestamp, UTC) if body.timestamp else None
        except (ValueError, OverflowError, OSError):
            raise bad_request(f"timestamp is {body.timestamp}; use unix seconds") from None
        values = {}
        for name, value in (body.states or {}).items():
            if types and name not in types:
                raise bad_request(f"states: the device registered no {name!r}; it has {', '.join(sorted(types))}")
            values[name] = Reading(value=read_text(value, types.get(name, "string"), f"states.{name}"), device_time=measured)
        await self._hear(found.key, values)
        return Answer(b"", status=204)

    async def _hear(self, key: ObjectKey, values: dict[str, Reading]) -> None:
        """The device is there, and says this."""
        desk = self._devices.running().host.desk
        report = Report(session=SESSION, values=values)
        try:
            await desk.report(key, report)
        except DeviceError as error:
            if error.reason not in ("NotAnnounced", "OtherSession"):
                raise
            await desk.announce(key, Announcement(session=SESSION))
            await desk.report(key, report)

    # ---- operating

    async def _operate(self, request: ApiRequest) -> Answer:
        resource_id = request.query.get("resourceId", "")
        if not resource_id:
            raise bad_request("resourceId required")
        found = self._find(request, resource_id)
        wanted = Attributes("create", "plum.dev", "operations", "", namespace_of(request), "")
        if not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)
        body: Operations = read_body(request, Operations)
        if found.spec.driver.http is not None:
            return await self._forward(found, request.body)
        for asked in body.operations or ():
            problem = await self._ask(request, found, asked)
            if problem:
                return text(502, f"resource operation failed: {problem}")
        return Answer(b"", status=204)

    async def _forward(self, found: Resource, body: bytes) -> Answer:
        from plum_client.outgoing import OutgoingError

        driver = found.spec.driver.http
        assert driver is not None  # noqa: S101
        outgoing = self._calls()
        if outgoing is None:
            return text(503, "the controllers of this server do not run")
        headers = {"Content-Type": "application/json", **driver.headers}
        try:
            answer = await outgoing.request(
                "POST", driver.url, headers, body, timeout=FORWARD_SECONDS, max_bytes=MAX_ANSWER_BYTES
            )
        except OutgoingError as error:
            return text(500, f"failed to forward operation: {error.message}")
        if answer.status >= 300:
            return text(502, f"resource operation failed: the device answered {answer.status}")
        return Answer(b"", status=204)

    async def _ask(self, request: ApiRequest, found: Resource, asked: Asked) -> str:
        """One Operation, to its end. Empty, or why it failed."""
        model = next((one for one in found.spec.model.operations if one.name == asked.name), None)
        arguments: dict[str, Any] = {}
        if model is not None and model.arguments:
            first = model.arguments[0]
            arguments = {first.name: read_text(asked.value, first.type, asked.name)}
        kind = self._service.registry.require(OPERATIONS)
        data = {
            "apiVersion": "plum.dev/v1",
            "kind": "Operation",
            "metadata": {"generateName": f"{found.metadata.name[:40]}-"},
            "spec": {"resourceRef": found.metadata.name, "method": asked.name, "arguments": arguments, "notAfter": "10s"},
        }
        options = WriteOptions(field_manager=MANAGER, user=request.user)
        made = _operation((await self._service.create(kind, found.metadata.namespace, data, options)).value)
        key = Key(OPERATIONS, made.metadata.namespace, made.metadata.name)
        try:
            async with asyncio.timeout(FORWARD_SECONDS * 2):
                while (entry := self._service.cache.get(key)) is not None:
                    status = _operation(entry.value).status
                    if status.phase in TERMINAL_OPERATION_PHASES:
                        return "" if status.phase == "Succeeded" else status.error or status.phase
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return f"operation {made.metadata.name} has not ended yet"
        return f"operation {made.metadata.name} was deleted"

    # ---- looking

    async def _states(self, request: ApiRequest) -> Answer:
        resource_id = request.query.get("resourceId", "")
        if not resource_id:
            raise bad_request("resourceId required")
        self._require(request, "get", resource_id)
        limit = min(number(request.query, "limit") or STATES, MOST_STATES)
        found, now = self._find(request, resource_id), self._service.clock.now()
        moments: dict[int, dict[str, str]] = {}
        for seconds in WINDOWS:
            moments = {}
            since, until = micros_of(now - timedelta(seconds=seconds)), micros_of(now) + 1
            async for name in self._history.properties(found.metadata.uid):
                async for point in self._history.points(found.metadata.uid, name, since, until):
                    moments.setdefault(point.micros, {})[name] = write_text(point.sample.value)
            if len(moments) >= limit:
                break
        newest = sorted(moments, reverse=True)[:limit]
        states = [{"ResourceID": resource_id, "Timestamp": at // 1_000_000, "States": moments[at]} for at in newest]
        return Answer(msgspec.json.encode(states))

    async def _delete(self, request: ApiRequest, resource_id: str) -> Answer:
        self._require(request, "delete", resource_id)
        found = self._find(request, resource_id)
        kind = self._service.registry.require(RESOURCES)
        await self._service.delete(kind, found.key, DeleteOptions(uid=found.metadata.uid, user=request.user))
        return Answer(b"", status=204)

    def _find(self, request: ApiRequest, resource_id: str) -> Resource:
        """Raises `ApiStatusError` 404."""
        entry = self._service.cache.get(Key(RESOURCES, namespace_of(request), worker_name(resource_id)))
        if entry is None:
            raise ApiStatusError(404, "NotFound", f"no resource {resource_id!r} is registered; register again")
        return _decode(entry.value)

    def _require(self, request: ApiRequest, verb: str, resource_id: str) -> None:
        name = worker_name(resource_id) if resource_id else ""
        wanted = Attributes(verb, "plum.dev", "resources", "", namespace_of(request), name)
        if not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)


def model_of(body: Registration) -> dict[str, Any]:
    """The model of what a device describes. Raises `ApiStatusError` 400."""
    states = [_value_model(one, f"stateDesc[{index}]") for index, one in enumerate(body.state_desc or [])]
    operations = []
    for index, one in enumerate(body.op_desc or []):
        argument = {**_value_model(one, f"opDesc[{index}]"), "name": "value", "required": True}
        operations.append({"name": one.name, "arguments": [argument]})
    properties = [{**state, "readOnly": True} for state in states]
    return ({"properties": properties} if properties else {}) | ({"operations": operations} if operations else {})


def _value_model(one: Description, where: str) -> dict[str, Any]:
    kind = TYPES.get(one.type.upper())
    if not one.name:
        raise bad_request(f"{where} has no name")
    if kind is None:
        raise bad_request(f"{where}.type is {one.type!r}; use one of {', '.join(TYPES)}")
    model: dict[str, Any] = {"name": one.name, "type": kind} | ({"unit": one.unit} if one.unit else {})
    if kind in ("integer", "double"):
        for bound, given in (("min", one.min), ("max", one.max)):
            if given:
                model[bound] = read_text(given, "double", f"{where}.{bound}")
    return model


def read_text(given: str, kind: str, where: str) -> Any:
    """A text as the type that the model has. Raises `ApiStatusError` 400."""
    try:
        match kind:
            case "integer":
                return int(given)
            case "double":
                return float(given)
            case "boolean":
                return {"true": True, "1": True, "false": False, "0": False}[given.strip().lower()]
            case "object" | "array":
                return json.loads(given)
    except (ValueError, KeyError):
        raise bad_request(f"{where} is {given!r}; use a text that is of type {kind}") from None
    return given


def write_text(value: Any) -> str:
    """A value as these routes write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False)


def _shown(found: Resource) -> Mapping[str, Any]:
    annotations, spec = found.metadata.annotations, found.spec
    described = json.loads(annotations.get(DESCRIBED) or "{}")
    seen = found.status.connection.last_seen or found.metadata.creation_timestamp
    states = [_pascal(one) for one in described.get("stateDesc") or []] or [
        {"Type": _classic(one.type), "Name": one.name, "Value": "", "Unit": one.unit} for one in spec.model.properties
    ]
    operations = [_pascal(one) for one in described.get("opDesc") or []] or [
        {"Type": _classic(argument.type), "Name": one.name, "Value": "", "Unit": argument.unit}
        for one in spec.model.operations
        for argument in one.arguments[:1]
    ]
    return {
        "ResourceID": annotations.get(ID, found.metadata.name),
        "NodeID": annotations.get(NODE) or spec.node_name,
        "Type": spec.type,
        "URL": spec.driver.http.url if spec.driver.http is not None else "",
        "StateDesc": states,
        "OpDesc": operations,
        "LastSeen": int(seen.timestamp()) if seen is not None else 0,
    }


def _pascal(one: Mapping[str, str]) -> dict[str, str]:
    return {name.capitalize(): one.get(name, "") for name in ("type", "name", "value", "unit", "min", "max")}


def _classic(kind: str) -> str:
    return next((name for name, plum in TYPES.items() if plum == kind and name != "ENUM"), "STRING")
