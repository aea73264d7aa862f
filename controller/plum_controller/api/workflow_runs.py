"""What runs of workflows have besides their object: rows of nodes, and controls that are judged where the run is.

    GET  .../workflowruns/NAME/nodes                                   rows of nodes, listed and watched (`workflow_nodes.py`)
    POST .../workflowruns/NAME/control {action, node, output, message} pause, resume, cancel, retry, rerun, skip, approve, ...
    GET  .../workflowruns/NAME/delegation, POST .../merge              for the node that carries it out (`run_delegation.py`)
    POST .../workflows/NAME/instantiate                                a workflow from a template (`workflow_templates.py`)
    POST .../workflows/NAME/simulate   {params, results, definition}   what a run would do, without doing it

A control is refused with 409 and the reason when it makes no sense for the run or the node as they are now. Who asks is
written down by the server.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec
from plum_flow.workflow.controls import COMMANDS, run_refusal
from plum_schemas.base import ObjectKey
from plum_schemas.workflow import Workflow, WorkflowSpec
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, RunCommand, WorkflowRun

from plum_controller.api import workflow_nodes
from plum_controller.api.access import Gate, refusal
from plum_controller.api.bodies import read_object
from plum_controller.api.requests import Answer, ApiRequest, WatchAnswer
from plum_controller.api.run_delegation import MergeViews, ReadRows, RunDelegation
from plum_controller.api.workflow_templates import WorkflowTemplates
from plum_controller.domain.access import Attributes
from plum_controller.resources.delegation_rules import workflow_errors
from plum_controller.resources.errors import ApiStatusError, Cause, bad_request, invalid, method_not_allowed, not_found
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Store
from plum_controller.workflows.feeds import Feeds

PARTS = frozenset({"nodes", "control", "simulate", "delegation", "merge", "instantiate"})
_ACTIONS = {control: action for action, control in COMMANDS.items()}
_STATES = {"pause": "Paused", "resume": "Running", "cancel": "Canceled"}
_encode = msgspec.json.Encoder().encode
Json = dict[str, Any]


class RunViews(MergeViews, Protocol):
    """The runs that go on in this process: the engine, while there is one."""

    def refusal(self, uid: str, command: RunCommand, groups: Sequence[str]) -> str | None:
        """Why a command would be refused now; None if it would be carried out, or if the run does not go on here."""


class NoRuns:
    """While no engine runs."""

    def __init__(self) -> None:
        self.feeds = Feeds()

    def refusal(self, uid: str, command: RunCommand, groups: Sequence[str]) -> str | None:
        return None

    def live_rows(self, uid: str) -> Mapping[str, Any]:
        return {}

    async def merged(self, run: WorkflowRun, before: ReadRows, after: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {}

    def send(self, outgoing: Mapping[str, bytes]) -> None:
        """Nobody tells it: the engine finds it on disk."""


class WorkflowRuns:
    """Answers requests for parts of runs and workflows."""

    def __init__(self, service: ResourceService, store: Store, gate: Gate) -> None:
        self.views: RunViews = NoRuns()
        self.nodes = workflow_nodes.RunNodes(store)
        self.templates = WorkflowTemplates(service, gate)
        self.delegation = RunDelegation(service, store)
        self._service = service
        self._gate = gate

    async def answer(self, request: ApiRequest) -> Answer | WatchAnswer | None:
        """None: the path is about something else. Raises `ApiStatusError`."""
        path = request.path
        if len(path) != 8 or path[:3] != ["apis", "plum.dev", "v1"] or path[3] != "namespaces" or path[7] not in PARTS:
            return None
        key, part = ObjectKey(path[4], path[6]), path[7]
        if path[5] == "workflowruns" and part == "nodes":
            if request.method not in ("GET", "HEAD"):
                raise method_not_allowed(WorkflowRun.info, request.method.lower(), key.name)
            return await self.nodes.answer(request, self._run(key), self._kind("workflowruns"), self.views)
        if path[5] == "workflowruns" and part == "control":
            return await self._control(request, key)
        if path[5] == "workflowruns" and part in ("delegation", "merge"):
            if request.method != ("GET" if part == "delegation" else "POST"):
                raise method_not_allowed(WorkflowRun.info, request.method.lower(), key.name)
            if part == "delegation":
                return await self.delegation.bundle(key)
            return await self.delegation.merge(request, key, self.views)
        if path[5] == "workflows" and part == "simulate":
            return await self._simulate(request, key)
        if path[5] == "workflows" and part == "instantiate":
            return await self.templates.instantiate(request, key)
        return None

    async def rows_of(self, run: WorkflowRun) -> list[Json]:
        """All rows of a run, for routes with a form of their own. Raises `ApiStatusError`."""
        return await self.nodes.everything(run, self.views, iterations=True)

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
        definition = await self.nodes.definition(run) if node else None
        known = [one.name for one in definition.nodes] if definition is not None else [node]
        if node not in known:
            text = f"there is no node of this name in the main graph; there are {', '.join(sorted(known))}"
            raise invalid(
                WorkflowRun.info, run.metadata.name, [Cause("FieldValueInvalid", f'Invalid value: "{node}": {text}', "node")]
            )
        spec: Json = {} if run.spec.delegate is None else {"delegate": msgspec.to_builtins(run.spec.delegate)}
        spec |= {"startFrom": {"run": run.metadata.name} | ({"node": node} if node else {}), "triggeredBy": request.user}
        if run.spec.definition is not None:
            spec["definition"] = msgspec.to_builtins(run.spec.definition)
        else:
            spec["workflowRef"] = run.spec.workflow_ref
        if run.spec.task_payload:
            spec["taskPayload"] = run.spec.task_payload
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
        from plum_flow.workflow.params import resolve
        from plum_flow.workflow.simulate import check_results, simulate

        body, _ = read_object(request)
        given, params, results = body.get("definition"), body.get("params") or {}, body.get("results") or {}
        if not isinstance(params, dict) or not isinstance(results, dict):
            raise bad_request("params and results must be objects")
        spec = await self._tried(key, given) if given is not None else self._stored(key)
        values, problems = resolve(spec.params, params, "params")
        problems += [*check_results(spec, results), *workflow_errors(self._service.cache, key.namespace, key.name, spec)]
        if problems:
            causes = [Cause(error.reason, error.message, error.field) for error in problems]
            raise invalid(Workflow.info, key.name, causes)
        return Answer(_encode(simulate(spec, values, results)))

    async def _tried(self, key: ObjectKey, definition: Any) -> WorkflowSpec:
        """A definition as the server would store it. Raises `ApiStatusError` with everything that is wrong with it."""
        spec = {**definition, "state": "Active"} if isinstance(definition, dict) else definition
        made = {
            "apiVersion": Workflow.info.api_version,
            "kind": "Workflow",
            "metadata": {"generateName": f"{key.name[:40]}-", "namespace": key.namespace},
            "spec": spec,
        }
        options = WriteOptions(dry_run=True, field_validation="Strict")
        outcome = await self._service.create(self._kind("workflows"), key.namespace, made, options)
        return msgspec.json.decode(outcome.value, type=Workflow).spec

    def _stored(self, key: ObjectKey) -> WorkflowSpec:
        return msgspec.json.decode(self._service.get(self._kind("workflows"), key), type=Workflow).spec

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


__all__ = ["PARTS", "NoRuns", "RunViews", "WorkflowRuns", "not_found"]
