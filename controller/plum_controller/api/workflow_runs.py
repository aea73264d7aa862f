"""What runs of workflows have besides their object: rows of nodes, and controls that are judged where the run is.

    GET  .../workflowruns/NAME/nodes[?limit=&continue=&node=&phase=]   rows of nodes, iterations included, in pages;
                                                                       `definition=true`: with the definition of the run
    POST .../workflowruns/NAME/control {action, node, output, message} pause, resume, cancel, retry, rerun, skip, approve, ...
    POST .../workflows/NAME/simulate   {params, results, definition}   what a run would do, without doing it

A control is refused with 409 and the reason when it makes no sense for the run or the node as they are now. Who asks is
written down by the server.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from plum_flow.workflow.controls import COMMANDS, run_refusal
from plum_flow.workflow.rows import RUN_KEY, key_of
from plum_schemas.base import ObjectKey
from plum_schemas.node_types import WorkflowNode
from plum_schemas.workflow import Workflow, WorkflowSpec, normalize_definition
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, RunCommand, WorkflowRun

from plum_controller.api.access import Gate, refusal
from plum_controller.api.bodies import read_object
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.domain.access import Attributes
from plum_controller.resources.errors import ApiStatusError, bad_request, method_not_allowed, not_found
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Store

PAGE = 500
MAX_PAGE = 5000
PARTS = frozenset({"nodes", "control", "simulate"})
_ACTIONS = {control: action for action, control in COMMANDS.items()}
_STATES = {"pause": "Paused", "resume": "Running", "cancel": "Canceled"}
_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class RunViews(Protocol):
    """The runs that go on in this process: the engine, while there is one."""

    def refusal(self, uid: str, command: RunCommand, groups: Sequence[str]) -> str | None:
        """Why a command would be refused now; None if it would be carried out, or if the run does not go on here."""

    def live_rows(self, uid: str) -> Mapping[str, Any]:
        """Rows of nodes that run now and are not on disk."""


class NoRuns:
    """While no engine runs."""

    def refusal(self, uid: str, command: RunCommand, groups: Sequence[str]) -> str | None:
        return None

    def live_rows(self, uid: str) -> Mapping[str, Any]:
        return {}


class WorkflowRuns:
    """Answers requests for parts of runs and workflows."""

    def __init__(self, service: ResourceService, store: Store, gate: Gate) -> None:
        self.views: RunViews = NoRuns()
        self._service = service
        self._store = store
        self._gate = gate

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None: the path is about something else. Raises `ApiStatusError`."""
        path = request.path
        if len(path) != 8 or path[:3] != ["apis", "plum.dev", "v1"] or path[3] != "namespaces" or path[7] not in PARTS:
            return None
        key, part = ObjectKey(path[4], path[6]), path[7]
        if path[5] == "workflowruns" and part == "nodes":
            if request.method not in ("GET", "HEAD"):
                raise method_not_allowed(WorkflowRun.info, request.method.lower(), key.name)
            return await self._nodes(request, key)
        if path[5] == "workflowruns" and part == "control":
            return await self._control(request, key)
        if path[5] == "workflows" and part == "simulate":
            return await self._simulate(request, key)
        return None

    # ---- rows

    async def _nodes(self, request: ApiRequest, key: ObjectKey) -> Answer:
        run = self._run(key)
        space, query = f"runs/{run.metadata.uid}", request.query
        if query.get("node"):
            return Answer(_encode(_list(await self._named(space, run, query["node"]), "")))
        limit = min(_number(query, "limit") or PAGE, MAX_PAGE)
        found = await self._store.rows(space, after=query.get("continue", ""), limit=limit + 1)
        more = found[limit - 1][0] if len(found) > limit else ""
        rows: dict[str, Json] = {k: _shown(k, msgspec.json.decode(v)) for k, v in found[:limit] if k != RUN_KEY}
        if not query.get("continue"):
            for live_key, live in self.views.live_rows(run.metadata.uid).items():
                rows.setdefault(live_key, _shown(live_key, msgspec.to_builtins(live)))
            if not more:
                rows.update(await self._waiting(space, run, rows))
        phase = query.get("phase")
        items = [row for _, row in sorted(rows.items()) if not phase or row.get("phase") == phase]
        body = _list(items, more)
        if query.get("definition"):
            body["definition"] = await self._definition(run)
        return Answer(_encode(body))

    async def _named(self, space: str, run: WorkflowRun, name: str) -> list[Json]:
        wanted = key_of(name)
        for row_key, value in await self._store.rows(space, prefix=wanted, limit=1):
            if row_key == wanted:
                return [_shown(row_key, msgspec.json.decode(value))]
        live = self.views.live_rows(run.metadata.uid)
        after = ""
        while piece := await self._store.rows(space, after=after, limit=2000):
            for row_key, value in piece:
                row = msgspec.json.decode(value)
                if row_key != RUN_KEY and row.get("name") == name:
                    return [_shown(row_key, row)]
            after = piece[-1][0]
        return [_shown(k, msgspec.to_builtins(row)) for k, row in live.items() if row.name == name]

    async def _waiting(self, space: str, run: WorkflowRun, rows: Mapping[str, Json]) -> dict[str, Json]:
        """Nodes that have no row: they wait for others, or never came to run."""
        definition = await self._definition(run)
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

    async def _definition(self, run: WorkflowRun) -> WorkflowSpec | None:
        digest = run.status.definition_hash
        found = await self._store.rows(f"definitions/{digest}", limit=1) if digest else []
        return msgspec.json.decode(found[0][1], type=WorkflowSpec) if found else None

    # ---- controls

    async def _control(self, request: ApiRequest, key: ObjectKey) -> Answer:
        if request.method != "POST":
            raise method_not_allowed(WorkflowRun.info, request.method.lower(), key.name)
        self._authorize(request, "update", "workflowruns", key)
        body, _ = read_object(request)
        action = body.get("action")
        run = self._run(key)
        name = key.name
        options = WriteOptions(field_manager=request.query.get("fieldManager") or "plum-control")
        if action in _STATES:
            _refuse(name, run_refusal(str(action), run.status.phase))
            return await self._patched(key, {"spec": {"state": _STATES[str(action)]}}, options)
        if action not in _ACTIONS:
            raise bad_request(f"action {action!r} is unknown; there are {', '.join(sorted([*_STATES, *_ACTIONS]))}")
        _refuse(name, run_refusal(str(action), run.status.phase))
        node = str(body.get("node") or "")
        if action in ("retry", "rerun") and run.status.phase in TERMINAL_RUN_PHASES:
            return await self._again(request, run, node, body, options)
        command = RunCommand(
            name=str(body.get("name") or f"{action}-{secrets.token_hex(4)}").lower(),
            action=_ACTIONS[str(action)],  # type: ignore[arg-type]
            node=node,
            output=body.get("output") or {},
            message=str(body.get("message") or ""),
            requested_by=request.user,
            requested_at=datetime.now().astimezone(),
        )
        if not node and action != "retry":
            raise bad_request(f"{action} is about one node: name it")
        _refuse(name, self.views.refusal(run.metadata.uid, command, request.identity.groups))
        commands = [msgspec.to_builtins(known) for known in run.spec.commands] + [msgspec.to_builtins(command)]
        patch = {"metadata": {"resourceVersion": run.metadata.resource_version}, "spec": {"commands": commands}}
        return await self._patched(key, patch, options)

    async def _again(self, request: ApiRequest, run: WorkflowRun, node: str, body: Json, options: WriteOptions) -> Answer:
        """A new run that takes over results of one that has ended."""
        self._authorize(request, "create", "workflowruns", run.key)
        spec: Json = {"startFrom": {"run": run.metadata.name} | ({"node": node} if node else {}), "triggeredBy": request.user}
        if run.spec.definition is not None:
            spec["definition"] = msgspec.to_builtins(run.spec.definition)
        else:
            spec["workflowRef"] = run.spec.workflow_ref
        if isinstance(body.get("params"), dict):
            spec["params"] = body["params"]
        made = {
            "apiVersion": WorkflowRun.info.api_version,
            "kind": "WorkflowRun",
            "metadata": {"generateName": f"{run.metadata.name[:40]}-again-", "namespace": run.metadata.namespace},
            "spec": spec,
        }
        outcome = await self._service.create(self._kind("workflowruns"), run.metadata.namespace, made, options)
        return Answer(outcome.value, status=201, revision=outcome.revision)

    async def _patched(self, key: ObjectKey, patch: Json, options: WriteOptions) -> Answer:
        outcome = await self._service.patch(self._kind("workflowruns"), key, "merge", patch, options)
        return Answer(outcome.value, revision=outcome.revision)

    # ---- simulation

    async def _simulate(self, request: ApiRequest, key: ObjectKey) -> Answer:
        if request.method != "POST":
            raise method_not_allowed(Workflow.info, request.method.lower(), key.name)
        from plum_flow.workflow.checks import check_definition
        from plum_flow.workflow.params import resolve
        from plum_flow.workflow.simulate import simulate

        body, _ = read_object(request)
        given = body.get("definition")
        if given is not None:
            normalize_definition(given)
            try:
                spec = msgspec.convert(given, WorkflowSpec)
            except msgspec.ValidationError as error:
                raise bad_request(f"definition: {error}") from error
            from plum_schemas.workflow import check_definition as check_shape

            errors = [*check_shape(spec, "spec"), *check_definition(spec, "spec")]
        else:
            entry = self._service.get(self._kind("workflows"), key)
            spec, errors = msgspec.json.decode(entry, type=Workflow).spec, []
        params, problems = resolve(spec.params, body.get("params") or {}, "params")
        if errors or problems:
            raise bad_request("; ".join(f"{error.field}: {error.message}" for error in [*errors, *problems]))
        return Answer(_encode(simulate(spec, params, body.get("results") or {})))

    # ---- inside

    def _run(self, key: ObjectKey) -> WorkflowRun:
        return msgspec.json.decode(self._service.get(self._kind("workflowruns"), key), type=WorkflowRun)

    def _kind(self, plural: str) -> ResourceKind:
        kind = self._service.registry.by_path("plum.dev", "v1", plural)
        assert kind is not None  # noqa: S101  built in
        return kind

    def _authorize(self, request: ApiRequest, verb: str, resource: str, key: ObjectKey) -> None:
        wanted = Attributes(verb, "plum.dev", resource, "", key.namespace, key.name)
        if not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)


def _refuse(name: str, why: str | None) -> None:
    if why is not None:
        details = {"name": name, "group": WorkflowRun.info.group, "kind": WorkflowRun.info.plural}
        raise ApiStatusError(409, "Conflict", f"workflowrun {name}: {why}", details)


def _list(items: list[Json], more: str) -> Json:
    return {"apiVersion": "plum.dev/v1", "kind": "WorkflowRunNodeList", "metadata": {"continue": more}, "items": items}


def _shown(key: str, row: Json) -> Json:
    return {"key": key, **row}


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    if text and not text.isdigit():
        raise bad_request(f"{name} is {text!r}; use a whole number")
    return int(text or 0)


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


__all__ = ["PARTS", "NoRuns", "RunViews", "WorkflowRuns", "not_found"]
