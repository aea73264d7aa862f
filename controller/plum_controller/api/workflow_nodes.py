"""Nodes of runs: rows beside the object of the run, listed in pages and watched.

    GET .../workflowruns/NAME/nodes[?limit=&continue=&node=&phase=&iterations=&definition=]
    GET .../workflowruns/NAME/nodes?watch=true[&resourceVersion=&node=&iterations=&timeoutSeconds=]

List, then watch from the `resourceVersion` of the list. The list may already show what the watch tells first: every event is
the whole row, so telling it twice is the same as once. Events are lines of JSON as everywhere, or server-sent events for who
accepts `text/event-stream`. `iterations=false` leaves out what is inside of loops and maps, however many there were.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from plum_flow.workflow.rows import RUN_KEY, key_of
from plum_schemas.node_types import WorkflowNode
from plum_schemas.workflow import WorkflowSpec
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer, flag, number
from plum_controller.api.watch import Sink, WatchHub, WatchPlan, WatchStream, chunk
from plum_controller.resources.errors import ApiStatusError, bad_request, expired
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WatchOptions
from plum_controller.store.base import Store
from plum_controller.workflows.feeds import Feeds, NodeChange, PositionUnknownError

PAGE = 500
MAX_PAGE = 5000
MAX_INITIAL = 20_000
"""Rows that a watch without a position may begin with."""
SSE = b"text/event-stream"
_LAST = "\U0010ffff"
"""Behind every key with the same beginning."""
_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class RunViews(Protocol):
    """The runs that go on in this process, as far as their rows are concerned."""

    feeds: Feeds

    def live_rows(self, uid: str) -> Mapping[str, Any]:
        """Rows of nodes that run now and are not on disk."""


class RunNodes:
    """Answers for the nodes of one run after the other."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def answer(self, request: ApiRequest, run: WorkflowRun, kind: ResourceKind, views: RunViews) -> Answer | WatchAnswer:
        """A list or a watch. Raises `ApiStatusError`."""
        if flag(request.query, "watch"):
            return await self._watch(request, run, kind, views)
        return await self._list(request, run, views)

    async def definition(self, run: WorkflowRun) -> WorkflowSpec | None:
        """What the run executes, once it is pinned."""
        digest = run.status.definition_hash
        found = await self._store.rows(f"definitions/{digest}", limit=1) if digest else []
        return msgspec.json.decode(found[0][1], type=WorkflowSpec) if found else None

    # ---- lists

    async def _list(self, request: ApiRequest, run: WorkflowRun, views: RunViews) -> Answer:
        query = request.query
        position = views.feeds.of(run.metadata.uid).text()  # before the rows are read: nothing falls in between
        if query.get("node"):
            return Answer(_encode(_listed(await self._named(run, query["node"], views), "", position)))
        limit = min(number(query, "limit") or PAGE, MAX_PAGE)
        rows, more = await self._page(run, query.get("continue", ""), limit, iterations=_iterations(query))
        if not query.get("continue"):
            _add_live(rows, run, views, iterations=_iterations(query))
            if not more:
                rows.update(await self._waiting(run, rows))
        phase = query.get("phase")
        items = [row for _, row in sorted(rows.items()) if not phase or row["phase"] == phase]
        body = _listed(items, more, position)
        if flag(query, "definition"):
            body["definition"] = await self.definition(run)
        return Answer(_encode(body))

    async def _page(self, run: WorkflowRun, after: str, limit: int, *, iterations: bool) -> tuple[dict[str, Json], str]:
        """Rows by key, and where the next page begins."""
        space = _space(run)
        found: dict[str, Json] = {}
        while len(found) <= limit:
            piece = await self._store.rows(space, after=after, limit=limit + 2 - len(found))
            if not piece:
                return found, ""
            for key, value in piece:
                after = key
                if not iterations and (bracket := key.find("[")) >= 0:
                    after = key[: bracket + 1] + _LAST  # past all iterations of this node, without reading them
                    break
                if key != RUN_KEY:
                    found[key] = _shown(key, msgspec.json.decode(value))
        keys = list(found)
        for surplus in keys[limit:]:
            del found[surplus]
        return found, keys[limit - 1]

    async def _named(self, run: WorkflowRun, name: str, views: RunViews) -> list[Json]:
        space, wanted = _space(run), key_of(name)
        for row_key, value in await self._store.rows(space, prefix=wanted, limit=1):
            if row_key == wanted:
                return [_shown(row_key, msgspec.json.decode(value))]
        live = views.live_rows(run.metadata.uid)
        after = ""
        while piece := await self._store.rows(space, after=after, limit=2000):
            for row_key, value in piece:
                row = msgspec.json.decode(value)
                if row_key != RUN_KEY and row.get("name") == name:
                    return [_shown(row_key, row)]
            after = piece[-1][0]
        return [_shown(k, msgspec.to_builtins(row)) for k, row in live.items() if row.name == name]

    async def _waiting(self, run: WorkflowRun, rows: Mapping[str, Json]) -> dict[str, Json]:
        """Nodes that have no row: they wait for others, or never came to run."""
        definition = await self.definition(run)
        if definition is None:
            return {}
        ended = run.status.phase in TERMINAL_RUN_PHASES
        found = {}
        for key, node in _top_nodes(definition):
            if key not in rows and not (":" in key and not any(row.startswith(key.split(":")[0]) for row in rows)):
                found[key] = {"key": key, "name": key, "type": node.type, "phase": "Canceled" if ended else "Pending"}
                if not ended:
                    waits = [edge.node for edge in node.depends_on if _is_open(rows, key, edge.node)]
                    found[key]["waitsFor"] = ", ".join(waits) or "its turn"
        return found

    # ---- watches

    async def _watch(self, request: ApiRequest, run: WorkflowRun, kind: ResourceKind, views: RunViews) -> WatchAnswer:
        query = request.query
        if query.get("phase"):
            raise bad_request("phase cannot be watched: nodes leave it; watch all nodes")
        sse = SSE.decode() in request.accept
        since = query.get("resourceVersion") or request.headers.get(b"last-event-id", b"").decode("latin-1")
        initial: list[Json] = []
        if not since or since == "0":
            since = views.feeds.of(run.metadata.uid).text()
            initial = await self.everything(run, views, iterations=_iterations(query))
        choice = _Choice(query.get("node", ""), _iterations(query))
        seconds = number(query, "timeoutSeconds")

        def make(hub: WatchHub, plan: WatchPlan) -> WatchStream:
            return NodeStream(hub, plan, views.feeds, run, since, initial, choice)

        plan = WatchPlan(
            kind,
            WatchOptions(namespace=run.metadata.namespace, allow_bookmarks=True),
            timeout_seconds=float(seconds) if seconds else None,
            credential=request.identity.credential,
            make=make,
            content_type=SSE if sse else b"application/json",
            tells_expiry_inside=not sse,
        )
        return WatchAnswer(plan)

    async def everything(self, run: WorkflowRun, views: RunViews, *, iterations: bool) -> list[Json]:
        """All rows. Raises `ApiStatusError` when there are too many for one answer."""
        rows, more = await self._page(run, "", MAX_INITIAL, iterations=iterations)
        if more:
            text = f"the run has more than {MAX_INITIAL} rows; list them in pages and watch from there, or use iterations=false"
            raise bad_request(text)
        _add_live(rows, run, views, iterations=iterations)
        rows.update(await self._waiting(run, rows))
        return [row for _, row in sorted(rows.items())]


class _Choice:
    """Which rows a watch is about."""

    def __init__(self, name: str, iterations: bool) -> None:
        self._name, self._key = name, key_of(name)
        self._iterations = iterations

    def takes(self, key: str, name: str) -> bool:
        return (self._iterations or "[" not in key) and (not self._name or name == self._name or key == self._key)


class NodeStream(WatchStream):
    """A watch of rows: what is there if asked for, a bookmark, then every change."""

    __slots__ = ("_choice", "_early", "_feed", "_feeds", "_initial", "_position", "_run", "_since")

    def __init__(
        self, hub: WatchHub, plan: WatchPlan, feeds: Feeds, run: WorkflowRun, since: str, initial: list[Json], choice: _Choice
    ) -> None:
        super().__init__(hub, plan)
        self._feeds = feeds
        self._feed = feeds.of(run.metadata.uid)
        self._run = run
        self._since = since
        self._initial = initial
        self._choice = choice
        self._early: list[NodeChange] = []
        """Changes before there was somebody to tell."""
        self._position = since

    def open(self) -> None:
        try:
            self._early = self._feed.after(self._since)
        except PositionUnknownError as error:
            raise expired(str(error)) from error
        self._feed.watchers[self._changed] = self._deleted

    def attach(self, sink: Sink) -> None:
        self._sink = sink
        self._framed = sink.framed
        self._handle = asyncio.get_running_loop().call_later(self._hub.add(self), self.end)
        initial, self._initial = self._initial, []
        for row in initial:
            if self._choice.takes(row["key"], row["name"]):
                self._put(b"ADDED", _encode(_placed(row, self._since)))
        early, self._early = self._early, []
        self._tell(early)
        self._allowance = sink.buffered()
        self.bookmark(initial=bool(initial))

    def bookmark(self, *, initial: bool = False) -> None:
        if self._sink is None or self.ended:
            return
        metadata: Json = {"resourceVersion": self._position}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        self._put(b"BOOKMARK", _encode({"kind": "WorkflowRunNode", "apiVersion": "plum.dev/v1", "metadata": metadata}))

    def fail(self, error: ApiStatusError) -> None:
        if self.ended:
            return
        if self._sink is not None:
            self._put(b"ERROR", error.body())
        self.close()

    def close(self) -> None:
        self._feed.watchers.pop(self._changed, None)
        super().close()

    def _changed(self, changes: Sequence[NodeChange]) -> None:
        if self._sink is None:
            self._early.extend(changes)
        elif not self.ended:
            self._tell(changes)
            self._watch_buffer(self._sink)

    def _tell(self, changes: Sequence[NodeChange]) -> None:
        for change in changes:
            self._position = self._feed.text(change.position)
            row = _shown(change.key, msgspec.json.decode(change.row))
            if self._choice.takes(change.key, row["name"]):
                self._put(b"MODIFIED", _encode(_placed(row, self._position)))
        self._hub.metrics.watch_events += len(changes)

    def _deleted(self) -> None:
        info = WorkflowRun.info
        details = {"name": self._run.metadata.name, "group": info.group, "kind": info.plural}
        self.fail(ApiStatusError(404, "NotFound", f'{info.plural}.{info.group} "{self._run.metadata.name}" not found', details))

    def _put(self, kind: bytes, value: bytes) -> None:
        sink = self._sink
        assert sink is not None  # noqa: S101  attached
        if self.plan.content_type == SSE:
            line = b"id: %b\nevent: %b\ndata: %b\n\n" % (self._position.encode(), kind, value)
        else:
            line = b'{"type":"%b","object":%b}\n' % (kind, value)
        sink.write(chunk(line) if self._framed else line)


def _space(run: WorkflowRun) -> str:
    return f"runs/{run.metadata.uid}"


def _iterations(query: Mapping[str, str]) -> bool:
    return "iterations" not in query or flag(query, "iterations")


def _add_live(rows: dict[str, Json], run: WorkflowRun, views: RunViews, *, iterations: bool) -> None:
    for key, live in views.live_rows(run.metadata.uid).items():
        if iterations or "[" not in key:
            rows.setdefault(key, _shown(key, msgspec.to_builtins(live)))


def _listed(items: list[Json], more: str, position: str) -> Json:
    metadata = {"continue": more, "resourceVersion": position}
    return {"apiVersion": "plum.dev/v1", "kind": "WorkflowRunNodeList", "metadata": metadata, "items": items}


def _shown(key: str, row: Json) -> Json:
    return {"key": key, "name": key, "phase": "Pending", **row}


def _placed(row: Json, position: str) -> Json:
    return {"metadata": {"name": row["name"], "resourceVersion": position}, **row}


def _top_nodes(spec: WorkflowSpec) -> Iterator[tuple[str, WorkflowNode]]:
    for node in spec.nodes:
        yield node.name, node
    for part, graph in (("onFailure", spec.on_failure), ("finally", spec.finally_)):
        for node in graph.nodes if graph is not None else ():
            yield f"{part}:{node.name}", node


def _is_open(rows: Mapping[str, Json], key: str, name: str) -> bool:
    part, colon, _ = key.rpartition(":")
    row = rows.get(f"{part}{colon}{name}")
    return row is None or row.get("phase") not in ("Succeeded", "Failed", "Skipped", "UpstreamFailed", "Canceled")
