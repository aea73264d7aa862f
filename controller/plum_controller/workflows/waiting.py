"""Nodes that wait for an event or a condition: a watch of just the objects they name, until what they wait for is so.

event      a change of an object after the wait began, or an Event that somebody sent
condition  an expression over nodes, params, kv(...), resource(...), object(...); looked at when one of those changes
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

from plum_client.client import ApiClient
from plum_client.errors import ApiError, NotFoundError, RevisionCompactedError
from plum_flow.calls import TaskFailedError
from plum_flow.expressions import UnresolvedError, compile_condition
from plum_flow.expressions.template import TABLES
from plum_flow.workflow.graph import NodePlan
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.core import Event
from plum_schemas.kv import KV, kv_name
from plum_schemas.node_types import EventMatch
from plum_schemas.resource import Resource

from plum_controller.domain.node_fit import matches as labels_match
from plum_controller.domain.trigger_conditions import input_value, inputs_of
from plum_controller.domain.trigger_events import WHEN_NAMES, data_of
from plum_controller.domain.wait_reach import OF_CLUSTER, out_of_reach

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 1.0
"""Before the API is asked again that did not answer."""
CHANGES = {"ADDED": "Added", "MODIFIED": "Modified", "DELETED": "Deleted"}


class Waiter:
    """Waits for one node at a time; holds nothing."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    async def wait(self, namespace: str, node: NodePlan, values: Mapping[str, Any], since: datetime | None, fresh: bool) -> Any:
        """The output of the node once what it waits for is so. `fresh` false: it has waited before a restart, so what is there
        now counts as a change. Raises `TaskFailedError` for what can never be so."""
        wait = node.node.wait
        assert wait is not None  # noqa: S101
        try:
            if wait.event is not None:
                return await self._event(namespace, wait.event, since, fresh)
            return await self._condition(namespace, node, values)
        except NotFoundError as error:
            raise TaskFailedError(error.message, "InvalidWait", retryable=False) from error

    # ---- events

    async def _event(self, namespace: str, match: EventMatch, since: datetime | None, fresh: bool) -> Any:
        info = Event.info if match.type else await self._api.resolve(match.kind)
        where = match.namespace or namespace
        _check_reach(info, where, namespace)
        fields = f"metadata.name={match.name}" if match.name and not match.type else ""
        last: dict[str, Any] = {}
        known = False
        async for kind, found in _changes(self._api, info, where, fields):
            if kind == "SYNCED":
                known = True
                continue
            uid = str(found["metadata"].get("uid"))
            old = last.get(uid)
            last[uid] = found
            if kind == "DELETED":
                del last[uid]
            if not known and (fresh or (match.type and not _is_later(found, since))):
                continue
            event = _match(match, CHANGES[kind], old, found)
            if event is not None:
                return event
        raise TaskFailedError("the watch ended", "WatchEnded")

    # ---- conditions

    async def _condition(self, namespace: str, node: NodePlan, values: Mapping[str, Any]) -> Any:
        condition = node.condition
        assert condition is not None  # noqa: S101
        tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
        looked: list[tuple[str, str, KindInfo, ObjectKey]] = []
        references = condition.references
        for table, text, kind, key in inputs_of(_Tables(condition.text, references.paths), namespace):  # type: ignore[arg-type]
            info = KV.info if table == "kv" else Resource.info if table == "resource" else await self._api.resolve(kind)
            _check_reach(info, key.namespace, namespace)
            looked.append((table, text, info, ObjectKey(key.namespace, kv_name(key.name)) if table == "kv" else key))
        changed = asyncio.Event()
        changed.set()

        async def follow(table: str, text: str, info: KindInfo, key: ObjectKey) -> None:
            tables[table][text] = None
            async for change, found in _changes(self._api, info, key.namespace, f"metadata.name={key.name}"):
                if change != "SYNCED":
                    tables[table][text] = input_value(table, None if change == "DELETED" else found)
                changed.set()

        async with asyncio.TaskGroup() as group:
            followers = [group.create_task(follow(*one)) for one in looked]
            try:
                while True:
                    await changed.wait()
                    changed.clear()
                    try:
                        if condition.is_true({**values, **tables}):
                            return {"met": True}
                    except UnresolvedError:
                        pass  # a field that it names is not there yet
                    if not looked:
                        raise TaskFailedError(
                            "the condition is false, and looks at nothing that changes", "NeverTrue", retryable=False
                        )
            finally:
                for follower in followers:
                    follower.cancel()


def _check_reach(info: KindInfo, wanted: str, namespace: str) -> None:
    """A run reaches no further than whoever may create it. Raises `TaskFailedError`."""
    why = out_of_reach(info.kind, wanted, namespace) or ("" if info.namespaced else OF_CLUSTER)
    if why:
        raise TaskFailedError(f"a workflow cannot wait for a {info.kind}: {why}", "InvalidWait", retryable=False)


class _Tables:
    """The part of a condition that looks at objects, as `inputs_of` wants it."""

    def __init__(self, text: str, paths: frozenset[tuple[str, ...]]) -> None:
        self.text = text
        self.references = self
        self.paths = frozenset(path for path in paths if path[0] in TABLES)


async def _changes(api: ApiClient, info: KindInfo, namespace: str, fields: str) -> AsyncIterator[tuple[str, Any]]:
    """What is there, then `SYNCED`, then every change, over interruptions."""
    since = ""
    told: dict[str, str] = {}
    while True:
        try:
            if not since:
                listed = await api.list(info, namespace, fields=fields)
                there = {}
                for found in listed:
                    metadata = found["metadata"]
                    there[metadata["uid"]] = metadata["resourceVersion"]
                    if told.get(metadata["uid"]) != metadata["resourceVersion"]:
                        yield ("MODIFIED" if metadata["uid"] in told else "ADDED"), found
                told, since = there, listed.revision
                yield "SYNCED", None
            async with aclosing(api.watch(info, namespace, fields=fields, since=since)) as events:
                async for event in events:
                    since = event.revision
                    uid, version = event.object["metadata"]["uid"], event.object["metadata"]["resourceVersion"]
                    if event.type == "DELETED":
                        told.pop(uid, None)
                    else:
                        told[uid] = version
                    yield event.type, event.object
        except RevisionCompactedError:
            since = ""
        except NotFoundError:
            raise
        except ApiError as error:
            logger.debug("wait was interrupted", extra={"resource": info.resource, "error": str(error)})
            await asyncio.sleep(PAUSE_SECONDS)


def _match(match: EventMatch, change: str, old: Any, found: Any) -> dict[str, Any] | None:
    """The event that a change makes, if it is the one that is waited for."""
    if match.type:
        if change != "Added" or found.get("reason") != match.type:
            return None
        event = {"type": match.type, "data": data_of(found), "object": found}
    else:
        if match.changes and change not in match.changes:
            return None
        if match.selector is not None and not labels_match(match.selector, found["metadata"].get("labels") or {}):
            return None
        event = {"type": change, "object": found, "old": old}
    if match.when:
        try:
            if not compile_condition(match.when, WHEN_NAMES).is_true({"object": found, "old": old, "event": event}):
                return None
        except UnresolvedError:
            return None
    metadata = found["metadata"]
    told = {"type": event["type"], "name": metadata.get("name"), "namespace": metadata.get("namespace") or ""}
    return {**told, "data": event["data"]} if match.type else {**told, "object": found}


def _is_later(found: Any, since: datetime | None) -> bool:
    """Whether an object was made after the wait began, as far as its seconds tell."""
    try:
        created = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
    except (KeyError, ValueError):
        return False
    return since is None or created >= since.replace(microsecond=0)
