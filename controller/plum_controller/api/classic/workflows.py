"""`/v1/workflows`, `/v1/dag` and `/v1/workflow-runs` as programs of the system before know them. Over Workflows and WorkflowRuns.

    GET, POST /v1/workflows      GET, DELETE /v1/workflows/ID      POST /v1/workflows/ID?action=run
    GET, POST /v1/dag/workflows  GET, DELETE /v1/dag/workflows/ID  POST /v1/dag/workflows/ID/run {taskPayload}
    GET /v1/dag/workflows/ID/runs          GET /v1/dag/runs/ID     GET /v1/workflow-runs[?workflowId=]  GET, DELETE .../ID

A Workflow is in one of the two lists: sequences are those made as one, and other chains of tasks; all else are DAGs. Steps that
describe a task of their own get a TaskDefinition that goes with the Workflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from plum_schemas.base import ObjectKey
from plum_schemas.durations import parse_duration
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.api.access import Gate, refusal
from plum_controller.api.classic import dag_shapes, task_shapes
from plum_controller.api.classic.found import decode_metadata, find, identified, labels_of, metadata_of, name_of, pick, seconds
from plum_controller.api.classic.wire import encode, id_of, namespace_of, page, read_body, text
from plum_controller.api.classic.writing import create, delete
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.workflow_runs import WorkflowRuns
from plum_controller.domain.access import Attributes
from plum_controller.resources.encode import Json
from plum_controller.resources.errors import ApiStatusError, bad_request
from plum_controller.resources.service import ResourceService
from plum_controller.store.base import Key

WORKFLOWS, RUNS, DEFINITIONS = Workflow.info.resource, WorkflowRun.info.resource, TaskDefinition.info.resource
TASKS = "taskruns.plum.dev"
FORM = "plum.dev/classic-form"
"""Annotation: `sequence` or `dag`."""
STATES = {"Queued": "Pending"}
NODE_STATES = {"Waiting": "Running", "UpstreamFailed": "Skipped"}
_decode = msgspec.json.Decoder(Workflow).decode
_decode_run = msgspec.json.Decoder(WorkflowRun).decode
_decode_definition = msgspec.json.Decoder(TaskDefinition).decode
_encode_text = msgspec.json.Encoder().encode


class ClassicWorkflows:
    """Answers the routes named above."""

    def __init__(self, service: ResourceService, runs: WorkflowRuns, gate: Gate) -> None:
        self._service = service
        self._gate = gate
        self._cache = service.cache
        self._runs = runs

    async def answer(self, request: ApiRequest) -> Answer | None:
        """None when the path is none of these. Refusals are texts."""
        path = list(request.path)
        if len(path) < 2 or path[0] != "v1" or path[1] not in ("workflows", "dag", "workflow-runs"):
            return None
        routes = {"workflows": self._sequences, "dag": self._dags, "workflow-runs": self._run_routes}
        try:
            found = await routes[path[1]](request, "GET" if request.method == "HEAD" else request.method, path[2:])
        except ApiStatusError as error:
            return text(error.code if error.code != 422 else 400, error.message)
        return found if found is not None else text(405, "method not allowed")

    async def _sequences(self, request: ApiRequest, method: str, rest: list[str]) -> Answer | None:
        match method, rest:
            case "GET", []:
                found = [workflow for workflow in self._list(namespace_of(request)) if is_sequence(workflow)]
                return page([self._sequence_dto(workflow) for workflow in found], request)
            case "POST", []:
                return await self._create_sequence(request)
            case "GET", [wanted]:
                return Answer(encode(self._sequence_dto(self._workflow(request, wanted))))
            case "DELETE", [wanted]:
                return await delete(self._service, request, WORKFLOWS, self._workflow(request, wanted).key)
            case "POST", [wanted]:
                if request.query.get("action") != "run":
                    raise bad_request("action must be run")
                return await self._run(request, self._workflow(request, wanted))
        return None

    async def _dags(self, request: ApiRequest, method: str, rest: list[str]) -> Answer | None:
        match method, rest:
            case "GET", ["workflows"]:
                found = [workflow for workflow in self._list(namespace_of(request)) if not is_sequence(workflow)]
                return page([self._dag_dto(workflow) for workflow in found], request)
            case "POST", ["workflows"]:
                return await self._create_dag(request)
            case "POST", ["workflows", wanted, "run"]:
                if find(self._cache, WORKFLOWS, namespace_of(request), wanted) is None:
                    return text(500, "workflow not found")
                return await self._run(request, self._workflow(request, wanted))
            case "GET", ["workflows", wanted, "runs"]:
                workflow = self._workflow(request, wanted)
                return page(self._run_dtos(namespace_of(request), workflow.metadata.name), request)
            case "GET", ["workflows", wanted, *_]:
                return Answer(encode(self._dag_dto(self._workflow(request, wanted))))
            case "DELETE", ["workflows", wanted]:
                return await delete(self._service, request, WORKFLOWS, self._workflow(request, wanted).key)
            case "GET", ["runs", wanted, *_]:
                run = self._find_run(request, wanted)
                rows = await self._runs.rows_of(run)
                states = {_node_of(row): NODE_STATES.get(row["phase"], row["phase"]) for row in rows}
                return Answer(encode({"runId": id_of(run.metadata.uid), "state": _state(run), "nodes": states}))
        return None

    async def _run_routes(self, request: ApiRequest, method: str, rest: list[str]) -> Answer | None:
        match method, rest:
            case "GET", []:
                wanted = request.query.get("workflowId", "")
                entry = find(self._cache, WORKFLOWS, namespace_of(request), wanted) if wanted else None
                if wanted and entry is None:
                    return page([], request)
                return page(self._run_dtos(namespace_of(request), entry.key.name if entry is not None else ""), request)
            case "GET", [wanted]:
                return await self._show_run(self._find_run(request, wanted))
            case "DELETE", [wanted]:
                return await delete(self._service, request, RUNS, self._find_run(request, wanted).key)
        return None

    # ---- reading

    def _list(self, namespace: str) -> list[Workflow]:
        found = [_decode(entry.value) for entry in self._cache.list(WORKFLOWS, namespace, None, None)]
        return sorted(found, key=lambda one: (seconds(one.metadata.creation_timestamp), one.metadata.name))

    def _workflow(self, request: ApiRequest, wanted: str) -> Workflow:
        entry = find(self._cache, WORKFLOWS, namespace_of(request), wanted)
        if entry is None:
            raise ApiStatusError(404, "NotFound", "not found")
        return _decode(entry.value)

    def _find_run(self, request: ApiRequest, wanted: str) -> WorkflowRun:
        entry = find(self._cache, RUNS, namespace_of(request), wanted)
        if entry is None:
            raise ApiStatusError(404, "NotFound", "not found")
        return _decode_run(entry.value)

    def _definition(self, namespace: str, name: str) -> TaskDefinition | None:
        entry = self._cache.get(Key(DEFINITIONS, namespace, name))
        return _decode_definition(entry.value) if entry is not None else None

    def _sequence_dto(self, workflow: Workflow) -> Json:
        metadata = workflow.metadata
        return {
            "WorkflowID": id_of(metadata.uid), "Name": name_of(metadata), "Labels": labels_of(metadata),
            "Steps": self._steps(workflow),
        }  # fmt: skip

    def _steps(self, workflow: Workflow) -> list[Json]:
        found = []
        for number, node in enumerate(workflow.spec.nodes):
            definition = self._definition(workflow.metadata.namespace, node.task_ref)
            spec, metadata = (definition.spec, definition.metadata) if definition is not None else (None, None)
            kind, ref = task_shapes.target_of(spec, metadata.annotations) if metadata is not None else ("", "")
            found.append(
                {
                    "StepID": node.name,
                    "Name": node.display_name or node.task_ref or node.name,
                    "Executor": spec.executor if spec is not None else "embedded",
                    "TargetKind": kind,
                    "TargetRef": ref,
                    "Labels": labels_of(metadata) if metadata is not None else {},
                    "PayloadJSON": _encode_text(node.payload).decode(),
                    "TimeoutSec": int(parse_duration(node.timeout)) if node.timeout else 0,
                    "MaxRetries": node.retry.limit if node.retry is not None else 0,
                    "Ord": number,
                    "DefinitionID": self._task_id(workflow.metadata.namespace, node.task_ref),
                }
            )
        return found

    def _task_id(self, namespace: str, name: str) -> str:
        if name.startswith(task_shapes.BUILTIN_PREFIX):
            return task_shapes.builtin_id(name)
        entry = self._cache.get(Key(DEFINITIONS, namespace, name))
        return id_of(decode_metadata(entry).uid) if entry is not None else name

    def _dag_dto(self, workflow: Workflow) -> Json:
        metadata = workflow.metadata
        graph = dag_shapes.to_dag(workflow.spec.nodes, lambda name: self._task_id(metadata.namespace, name))
        return {
            "WorkflowID": id_of(metadata.uid), "Name": name_of(metadata), "Labels": labels_of(metadata), **graph,
            "CreatedAt": seconds(metadata.creation_timestamp),
        }  # fmt: skip

    def _run_dtos(self, namespace: str, workflow: str) -> list[Json]:
        ids = identified(iter(self._cache.list(WORKFLOWS, namespace, None, None)))
        runs = [_decode_run(entry.value) for entry in self._cache.list(RUNS, namespace, None, None)]
        runs.sort(key=lambda run: (seconds(run.metadata.creation_timestamp), run.metadata.name))
        return [_run_dto(run, ids) for run in runs if not workflow or run.spec.workflow_ref == workflow]

    async def _show_run(self, run: WorkflowRun) -> Answer:
        namespace = run.metadata.namespace
        entry = self._cache.get(Key(WORKFLOWS, namespace, run.spec.workflow_ref))
        workflow = _decode(entry.value) if entry is not None else None
        ids = {run.spec.workflow_ref: id_of(workflow.metadata.uid)} if workflow is not None else {}
        steps = self._steps(workflow) if workflow is not None and is_sequence(workflow) else []
        order = {step["StepID"]: step["Ord"] for step in steps}
        rows = await self._runs.rows_of(run)
        step_runs = [
            {
                "RunID": id_of(run.metadata.uid), "StepID": row["name"], "TaskID": self._made_id(namespace, row.get("made", "")),
                "State": NODE_STATES.get(row["phase"], row["phase"]), "StartedAt": _unix(row.get("startedAt")),
                "FinishedAt": _unix(row.get("finishedAt")), "Ord": order.get(row["name"], number),
            }
            for number, row in enumerate(rows)
        ]  # fmt: skip
        step_runs.sort(key=lambda one: one["Ord"])
        return Answer(encode({"run": _run_dto(run, ids), "steps": steps, "stepRuns": step_runs}))

    def _made_id(self, namespace: str, made: str) -> str:
        kind, _, name = made.partition("/")
        entry = self._cache.get(Key(TASKS if kind == "TaskRun" else RUNS, namespace, name)) if name else None
        return id_of(decode_metadata(entry).uid) if entry is not None else ""

    # ---- writing

    async def _create_sequence(self, request: ApiRequest) -> Answer:
        body = read_body(request, dict[str, Any])
        name, namespace = str(pick(body, "name", default="")), namespace_of(request)
        steps = pick(body, "steps", default=[])
        if not name:
            raise bad_request("name required")
        if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
            raise bad_request("steps required")
        metadata = metadata_of(name, namespace, task_shapes.labels_in(body), "workflow", unique=True)
        metadata["annotations"][FORM] = "sequence"
        nodes: list[Json] = []
        definitions: list[Json] = []
        for number, step in enumerate(steps, 1):
            node, definition = self._step(request, metadata["name"], number, step)
            node["dependsOn"] = [{"node": nodes[-1]["name"]}] if nodes else []
            nodes.append(node)
            definitions += [definition] if definition is not None else []
        return await self._store(request, metadata, {"nodes": nodes}, definitions)

    def _step(self, request: ApiRequest, workflow: str, number: int, step: Json) -> tuple[Json, Json | None]:
        """A node, and the definition it needs."""
        where, namespace = f"steps[{number - 1}]", namespace_of(request)
        name = str(pick(step, "name", default=""))
        wanted = str(pick(step, "definitionId", default=""))
        node: Json = {"name": f"step_{number}", "payload": task_shapes.payload_in(step, "payload", "payloadJson")}
        node |= task_shapes.limits(step) | ({"displayName": name} if name else {})
        if wanted:
            return node | {"taskRef": self._task_ref(namespace, wanted, where)}, None
        if not name:
            raise bad_request(f"{where}.name is missing")
        if name.startswith(task_shapes.BUILTIN_PREFIX):
            return node | {"taskRef": self._task_ref(namespace, name, where)}, None
        metadata = metadata_of(name, namespace, task_shapes.labels_in(step), "task")
        metadata["name"] = f"{workflow}-{number}"
        metadata["annotations"] |= {"plum.dev/classic-name": name} | task_shapes.target_annotation(step)
        try:
            spec = task_shapes.task_spec(name, step)
        except ApiStatusError as error:
            raise bad_request(f"{where}: {error.message}") from error
        return node | {"taskRef": metadata["name"]}, {"kind": "TaskDefinition", "metadata": metadata, "spec": spec}

    def _task_ref(self, namespace: str, wanted: str, where: str) -> str:
        """The name of a definition. Raises `ApiStatusError` 400 that says where it is missing."""
        if not wanted:
            raise bad_request(f"{where}.taskDefId is missing")
        builtin = task_shapes.BUILTIN_IDS.get(wanted) or (wanted if wanted in task_shapes.BUILTIN_IDS.values() else "")
        if builtin:
            return builtin
        entry = find(self._cache, DEFINITIONS, namespace, wanted)
        if entry is None:
            raise bad_request(f"{where}: there is no task definition {wanted!r}; create it with POST /v1/task-defs")
        return entry.key.name

    async def _create_dag(self, request: ApiRequest) -> Answer:
        body = read_body(request, dict[str, Any])
        name, namespace = str(pick(body, "name", default="")), namespace_of(request)
        if not name:
            raise bad_request("name required")
        nodes = dag_shapes.to_nodes(body, lambda wanted, where: self._task_ref(namespace, wanted, where))
        metadata = metadata_of(name, namespace, task_shapes.labels_in(body), "workflow", unique=True)
        metadata["annotations"][FORM] = "dag"
        return await self._store(request, metadata, {"nodes": nodes}, [])

    async def _store(self, request: ApiRequest, metadata: Json, spec: Json, definitions: list[Json]) -> Answer:
        """A Workflow, and the definitions that go with it: all or none. The gate has judged the Workflow only."""
        wanted = Attributes("create", "plum.dev", TaskDefinition.info.plural, "", namespace_of(request))
        if definitions and not self._gate.allows(request.identity, wanted):
            raise refusal(request.identity, wanted)
        made = await create(self._service, request, WORKFLOWS, {"kind": "Workflow", "metadata": metadata, "spec": spec})
        key, uid = ObjectKey(made["metadata"]["namespace"], made["metadata"]["name"]), made["metadata"]["uid"]
        owner = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "name": key.name, "uid": uid}
        try:
            for definition in definitions:
                definition["metadata"]["ownerReferences"] = [owner]
                await create(self._service, request, DEFINITIONS, definition)
        except ApiStatusError:
            await delete(self._service, request, WORKFLOWS, key)
            raise
        return Answer(encode({"workflowId": id_of(uid)}))

    async def _run(self, request: ApiRequest, workflow: Workflow) -> Answer:
        body = read_body(request, dict[str, Any]) if request.body.strip() else {}
        spec: Json = {"workflowRef": workflow.metadata.name, "triggeredBy": request.user}
        payload = task_shapes.payload_in(body, "taskPayload")
        if payload:
            spec["taskPayload"] = payload
        if isinstance(body.get("params"), dict):
            spec["params"] = body["params"]
        metadata = {"generateName": f"{workflow.metadata.name[:200]}-", "namespace": namespace_of(request)}
        made = await create(self._service, request, RUNS, {"kind": "WorkflowRun", "metadata": metadata, "spec": spec})
        return Answer(encode({"runId": id_of(made["metadata"]["uid"])}))


def is_sequence(workflow: Workflow) -> bool:
    """Whether it is shown as one: made so, or a chain of tasks."""
    form = workflow.metadata.annotations.get(FORM)
    if form is not None:
        return form == "sequence"
    before: list[str] = []
    for node in workflow.spec.nodes:
        if node.type != "task" or [edge.node for edge in node.depends_on] != before[-1:]:
            return False
        before.append(node.name)
    return bool(before)


def _run_dto(run: WorkflowRun, workflows: Mapping[str, str]) -> Json:
    return {
        "RunID": id_of(run.metadata.uid),
        "WorkflowID": workflows.get(run.spec.workflow_ref, run.spec.workflow_ref),
        "State": _state(run),
        "CreatedAt": seconds(run.metadata.creation_timestamp),
        "StartedAt": seconds(run.status.started_at),
        "FinishedAt": seconds(run.status.finished_at),
    }


def _state(run: WorkflowRun) -> str:
    return STATES.get(run.status.phase, run.status.phase)


def _node_of(row: Json) -> str:
    """The id of a node, whichever iteration the row is of: rows come in order, the last one counts."""
    return str(row["key"]).rpartition(".")[2].partition("[")[0] if "[" in row["key"] else str(row["name"])


def _unix(moment: Any) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(moment).timestamp()) if moment else 0
