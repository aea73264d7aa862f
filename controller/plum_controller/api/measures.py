"""`/apis/metrics.k8s.io/v1beta1`: what nodes and instances use now, for `kubectl top`, `plum top` and libraries.

    GET nodes, pods  -->  watch cache: which nodes are asked  -->  tunnels, all at once  -->  agents measure for a second
                     <--  NodeMetricsList, PodMetricsList     <--

Nothing is stored and nothing is sent while nobody asks. A node whose agent does not answer is left out, as Kubernetes
leaves out what it could not measure; asked for by name, it is refused with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.instance import Instance
from plum_schemas.node import Node

from plum_controller.api.discovery import MEASURED
from plum_controller.api.negotiation import Form, object_form
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.tunnel import TunnelHub
from plum_controller.api.views.pods import CONTAINER
from plum_controller.api.yamls import as_yaml
from plum_controller.resources.encode import decode
from plum_controller.resources.errors import ApiStatusError, method_not_allowed, no_such_resource, not_found, unavailable
from plum_controller.resources.selecting import parse_fields, parse_labels
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key
from plum_controller.store.events import Entry

NODES, PODS = MEASURED
ANSWER_SECONDS = 8.0
"""How long an agent may take. It measures for one; the rest is the network."""
AT_ONCE = 200
"""Agents asked at the same time."""


class _Used(msgspec.Struct):
    cpu: float
    """Cores."""
    memory: int
    """Bytes."""
    namespace: str = ""
    name: str = ""


class _Measured(msgspec.Struct):
    """What an agent answers."""

    window: float
    node: _Used
    instances: list[_Used] = []


class Measures:
    """Asks agents on behalf of whoever asks us."""

    def __init__(self, service: ResourceService, hub: TunnelHub) -> None:
        self._service = service
        self._hub = hub

    async def answer(self, request: ApiRequest) -> Answer | None:
        """The answer below `/apis/metrics.k8s.io/v1beta1/`; None for any other path. Raises `ApiStatusError`."""
        path = request.path
        if path[:3] != ["apis", NODES.group, NODES.version]:
            return None
        info, namespace, name = _target(path[3:])
        if request.method not in ("GET", "HEAD") or "watch" in request.query:
            raise method_not_allowed(info, request.method.lower(), name)
        found = await (self._node(name) if name else self._nodes(request)) if info is NODES else (
            await (self._pod(namespace, name) if name else self._pods(request, namespace))
        )  # fmt: skip
        answer = Answer(msgspec.json.encode(found))
        return as_yaml(answer) if object_form(request.accept) is Form.YAML else answer

    # ---- nodes

    async def _nodes(self, request: ApiRequest) -> dict[str, Any]:
        entries = self._select(Node.info, "", request)
        measured = await self._ask(entry.key.name for entry in entries)
        items = [_node_metrics(entry, measured[entry.key.name]) for entry in entries if entry.key.name in measured]
        return _list(NODES, items)

    async def _node(self, name: str) -> dict[str, Any]:
        entry = self._entry(NODES, Node.info, ObjectKey("", name))
        return _node_metrics(entry, await self._ask_one(name))

    # ---- pods

    async def _pods(self, request: ApiRequest, namespace: str) -> dict[str, Any]:
        entries = self._select(Instance.info, namespace, request)
        measured = await self._ask({entry.field("spec.nodeName") or "" for entry in entries} - {""})
        use = {(one.namespace, one.name): (one, node) for node in measured.values() for one in node.instances}
        items = []
        for entry in entries:
            found = use.get((entry.key.namespace, entry.key.name))
            if found is not None:
                items.append(_pod_metrics(entry, *found))
        return _list(PODS, items)

    async def _pod(self, namespace: str, name: str) -> dict[str, Any]:
        entry = self._entry(PODS, Instance.info, ObjectKey(namespace, name))
        node = entry.field("spec.nodeName")
        if node:
            measured = await self._ask_one(node)
            for one in measured.instances:
                if (one.namespace, one.name) == (namespace, name):
                    return _pod_metrics(entry, one, measured)
        raise not_found(PODS, name)

    # ---- asking

    def _entry(self, shown: KindInfo, stored: KindInfo, key: ObjectKey) -> Entry:
        entry = self._service.cache.get(Key(stored.resource, key.namespace, key.name))
        if entry is None:
            raise not_found(shown, key.name)
        return entry

    def _select(self, info: KindInfo, namespace: str, request: ApiRequest) -> Sequence[Entry]:
        labels = parse_labels(request.query.get("labelSelector", ""))
        fields = parse_fields(self._service.registry.require(info.resource), request.query.get("fieldSelector", ""))
        return self._service.cache.list(info.resource, namespace, labels, fields)

    async def _ask(self, nodes: Iterable[str]) -> Mapping[str, _Measured]:
        """What was measured, by node; without those that do not answer."""
        turn = asyncio.Semaphore(AT_ONCE)
        connected = set(self._hub.nodes())
        measured: dict[str, _Measured] = {}

        async def ask(node: str) -> None:
            async with turn:
                try:
                    measured[node] = await self._ask_one(node)
                except ApiStatusError:
                    return

        async with asyncio.TaskGroup() as group:
            for node in nodes:
                if node in connected:
                    group.create_task(ask(node))
        return measured

    async def _ask_one(self, node: str) -> _Measured:
        """Raises `ApiStatusError` 503 without an answer."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._hub.get(node).open("usage", {}) as stream:
                text = b"".join([chunk async for chunk in stream.chunks()])
            if stream.error is not None:
                raise stream.error
            return msgspec.json.decode(text, type=_Measured)
        except TimeoutError:
            raise unavailable(f"the agent of node {node} did not measure in {ANSWER_SECONDS:.0f} s") from None
        except msgspec.MsgspecError as error:
            raise unavailable(f"the agent of node {node} measures in a way that this controller cannot read: {error}") from error


def _target(rest: Sequence[str]) -> tuple[KindInfo, str, str]:
    """Kind, namespace and name of a path. Raises `ApiStatusError` 404."""
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    name = rest[1] if len(rest) == 2 else ""
    if len(rest) <= 2 and "" not in rest:
        if rest[0] == "nodes" and not namespace:
            return NODES, "", name
        if rest[0] == "pods" and bool(namespace) >= bool(name):
            return PODS, namespace, name
    raise no_such_resource()


def _node_metrics(entry: Entry, measured: _Measured) -> dict[str, Any]:
    return _metrics(NODES, entry, measured) | {"usage": _usage(measured.node)}


def _pod_metrics(entry: Entry, used: _Used, measured: _Measured) -> dict[str, Any]:
    return _metrics(PODS, entry, measured) | {"containers": [{"name": CONTAINER, "usage": _usage(used)}]}


def _metrics(info: KindInfo, entry: Entry, measured: _Measured) -> dict[str, Any]:
    stored, now = decode(entry.value)["metadata"], datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = {name: stored[name] for name in ("name", "namespace", "labels") if stored.get(name)}
    return {
        "apiVersion": info.api_version,
        "kind": info.kind,
        "metadata": metadata | {"creationTimestamp": now},
        "timestamp": now,
        "window": f"{measured.window:.3f}s",
    }


def _usage(used: _Used) -> dict[str, str]:
    return {"cpu": f"{round(used.cpu * 1e9)}n", "memory": f"{used.memory // 1024}Ki"}


def _list(info: KindInfo, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": info.api_version, "kind": f"{info.kind}List", "metadata": {}, "items": items}
