"""Why an object is not where it should be: `GET` on its path with `/why` behind it, as `plum explain` says it.

    object + what it owns, its node, its events (all from the watch cache) --explain--> {settled, text, because: [...]}
    ?watch=true: the same again whenever it says something else

The sentences are those of `plum_client.explaining`, so the UI, the command line and tools of others say the same. Whoever
may `get` the part `why` of a kind sees them, and with them the names of the nodes and the objects they speak of.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.api.computed import ComputedStream
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, flag, number
from plum_controller.api.watch import WatchHub, WatchPlan, WatchStream
from plum_controller.resources.encode import decode
from plum_controller.resources.options import WatchOptions

if TYPE_CHECKING:
    from plum_client.explaining.findings import Finding, Situation

    from plum_controller.api.routes import Target
    from plum_controller.resources.service import ResourceService

Json = dict[str, Any]
RowsOf = Callable[[WorkflowRun], Awaitable[Sequence[Mapping[str, Any]]]]

NODES, INSTANCES, WORKERS, EVENTS = "nodes.plum.dev", "instances.plum.dev", "workers.plum.dev", "events"
PART = "why"
_SILENT = frozenset({"leases.coordination.k8s.io"})
"""Renewed all the time, and in no explanation: that one has run out is told by the Node."""
_ABOUT = re.compile(rb'"involvedObject":\{[^{}]*"uid":"([^"]+)"')
"""The uid that an event speaks of, found without decoding the event."""


class Explanations:
    """Answers `.../why`. Holds nothing. `rows_of` reads the nodes of a run of a workflow."""

    def __init__(self, service: ResourceService, rows_of: RowsOf) -> None:
        self._service = service
        self._rows_of = rows_of

    async def answer(self, request: ApiRequest, target: Target | None) -> Answer | WatchAnswer | None:
        """None: the path asks for something else. Raises `ApiStatusError`: there is no such object."""
        if target is None or target.subresource != PART or not target.name or request.method not in ("GET", "HEAD"):
            return None
        said = await self._explained(target)
        return self._watch(request, target) if flag(request.query, "watch") else Answer(said)

    async def _explained(self, target: Target) -> bytes:
        value = self._service.get(target.kind, ObjectKey(target.namespace, target.name))
        item = decode(value)
        if item["kind"] == "WorkflowRun" and item["apiVersion"] == WorkflowRun.info.api_version:
            from plum_client.explaining.runs import explain_run

            rows = await self._rows_of(msgspec.json.decode(value, type=WorkflowRun))
            finding = explain_run(item, rows, datetime.now(UTC))
        else:
            from plum_client.explaining.objects import explain

            finding = explain(item, self._situation(item))
        body = {"kind": "Explanation", "apiVersion": "plum.dev/v1", "settled": finding.settled, **_as_json(finding)}
        return msgspec.json.encode(body)

    def _watch(self, request: ApiRequest, target: Target) -> WatchAnswer:
        observers = self._service.cache.observers

        def subscribe(changed: Callable[[], None]) -> Callable[[], None]:
            def observer(touched: frozenset[str]) -> None:
                if not touched <= _SILENT:
                    changed()

            observers.add(observer)
            return lambda: observers.discard(observer)

        def make(hub: WatchHub, plan: WatchPlan) -> WatchStream:
            return ComputedStream(hub, plan, lambda: self._explained(target), subscribe)

        return WatchAnswer(
            WatchPlan(
                target.kind,
                WatchOptions(target.namespace, allow_bookmarks=True),
                timeout_seconds=request.identity.seconds_left(number(request.query, "timeoutSeconds")),
                credential=request.identity.credential,
                make=make,
            )
        )

    def _situation(self, item: Json) -> Situation:
        """Everything around an object that its explanation needs."""
        from plum_client.explaining.findings import Situation, last_seen

        cache, metadata = self._service.cache, item["metadata"]
        namespace = str(metadata.get("namespace") or "")
        owned = [decode(entry.value) for entry in cache.by_owner(metadata["uid"])]
        uids = {metadata["uid"].encode(), *(child["metadata"]["uid"].encode() for child in owned)}
        about = [decode(entry.value) for entry in cache.list(EVENTS, namespace) if _speaks_of(entry.value, uids)]
        about.sort(key=lambda event: (last_seen(event), int(event["metadata"].get("resourceVersion") or 0)))
        nodes = {node["metadata"]["name"]: node for node in self._all(NODES)}
        bound = self._bound(metadata["name"]) if item["kind"] == "Node" else []
        workers = self._all(WORKERS, namespace) if item["kind"] == "TaskRun" else []
        return Situation(datetime.now(UTC), owned, nodes, bound, workers, about)

    def _all(self, resource: str, namespace: str = "") -> list[Json]:
        return [decode(entry.value) for entry in self._service.cache.list(resource, namespace)]

    def _bound(self, node: str) -> list[Json]:
        return [item for item in self._all(INSTANCES) if (item.get("spec") or {}).get("nodeName") == node]


def _speaks_of(event: bytes, uids: set[bytes]) -> bool:
    found = _ABOUT.search(event)
    return found is not None and found[1] in uids


def _as_json(finding: Finding) -> Json:
    return {"text": finding.text, "because": [_as_json(reason) for reason in finding.because]}
