"""What a node that carries out a run by itself asks for and sends back (`plum_flow.delegation`).

    GET  .../workflowruns/NAME/delegation   definition, tasks, the Secrets and ConfigMaps they name,
                                            first rows
    POST .../workflowruns/NAME/merge        rows and ended tasks -> stored if the fencing token is still that of the run, else 409

Rows are the newest state of each, so the same ones may come any number of times; a copy that was overtaken changes nothing. They
are committed against the very version of the run whose token was compared: a node that was given up meanwhile changes nothing,
however close it was. Its tasks become TaskRuns that have ended, in one transaction that takes each through the steps of its
table. Runs that it has begun inside become WorkflowRuns under the uid that it gave them; what comes of those is refused, too,
once a run around them was given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol
from weakref import WeakValueDictionary

import msgspec
from plum_flow.delegable import Known, task_names, workflows_inside
from plum_flow.delegation import MOST_ROWS, MOST_TASKS, Bundle, InnerRun, Inside, Merge, MergedRow
from plum_flow.expressions import ExpressionError, compile_value
from plum_flow.expressions.secret_values import secret_names
from plum_flow.http_call import NAMES
from plum_flow.running.journal import DEFINITION_KEY, DEFINITIONS, MERGES
from plum_flow.workflow.graph import compile_definition, definition_hash
from plum_flow.workflow.rows import RUN_KEY, decode_run
from plum_schemas.base import ObjectKey
from plum_schemas.core import ConfigMap, Secret
from plum_schemas.taskdefinition import TaskDefinition, TaskDefinitionSpec
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun
from plum_schemas.workflow import Workflow, WorkflowSpec
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.workflow_nodes import RunViews
from plum_controller.domain.delegation import given_up
from plum_controller.resources.errors import ApiStatusError, bad_request, too_large
from plum_controller.resources.kinds import ResourceKind
from plum_controller.resources.options import WriteOptions
from plum_controller.resources.service import ResourceService
from plum_controller.resources.transactions import Comparison, Operation, Plan
from plum_controller.store.base import Check, Key, RowPut, Store, Transaction
from plum_controller.store.errors import PreconditionError
from plum_controller.store.journal import OUTBOX

MANAGER = "plum-agent"
MOST_RUNS = 25
"""In one request."""
ATTEMPTS = 20
"""Of one write, when the run is written by others meanwhile."""
_decode_merge = msgspec.json.Decoder(Merge).decode
_encode = msgspec.json.Encoder().encode
_RUNS = WorkflowRun.info.resource


ReadRows = Callable[[], Awaitable[Mapping[str, bytes]]]


class MergeViews(RunViews, Protocol):
    """The engine, while there is one."""

    async def merged(self, run: WorkflowRun, before: ReadRows, after: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """What is to go out with rows that a node has sent, to be stored with them. `before` reads what these rows are now."""

    def send(self, outgoing: Mapping[str, bytes]) -> None:
        """It is on disk: tell it."""


class RunDelegation:
    """Answers for one run after the other."""

    def __init__(self, service: ResourceService, store: Store) -> None:
        self._service = service
        self._store = store
        self._merging: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()

    # ---- what the node is given

    async def bundle(self, key: ObjectKey) -> Answer:
        """Raises `ApiStatusError`."""
        run, _ = self._run(key)
        rows: dict[str, bytes] = {}
        after = ""
        while piece := await self._store.rows(f"runs/{run.metadata.uid}", live=True, after=after, limit=2000):
            rows |= dict(piece)
            after = piece[-1][0]
        if RUN_KEY not in rows or not run.status.node or run.status.phase in TERMINAL_RUN_PHASES:
            raise _refused(key.name, f"workflowrun {key.name} is {run.status.phase} and given to no node")
        found = await self._store.rows(f"definitions/{run.status.definition_hash}", limit=1)
        if not found:
            raise _refused(key.name, f"the definition {run.status.definition_hash} of workflowrun {key.name} is gone")
        spec = msgspec.json.decode(found[0][1], type=WorkflowSpec)
        inside = workflows_inside(spec, Known(lambda name: None, lambda name: self._workflow(key.namespace, name)))
        specs = [spec, *inside.values()]
        named = {name for one in specs for name in task_names(one)}
        tasks = {name: task for name in sorted(named) if (task := self._task(key.namespace, name)) is not None}
        secrets, config_maps = _names(specs, tasks.values())
        secrets |= {mark.name for mark in decode_run(rows[RUN_KEY]).secrets}
        bundle = Bundle(
            definition=spec,
            definition_hash=run.status.definition_hash,
            params=msgspec.json.decode(rows[RUN_KEY]).get("params", {}),
            tasks=tasks,
            workflows={name: self._inside(key.namespace, name, one) for name, one in inside.items()},
            secrets=[one for name in sorted(secrets) if (one := self._find(Secret, key.namespace, name)) is not None],
            config_maps=[one for name in sorted(config_maps) if (one := self._find(ConfigMap, key.namespace, name)) is not None],
            rows={name: msgspec.json.decode(value) for name, value in rows.items()},
        )
        return Answer(_encode(bundle))

    def _task(self, namespace: str, name: str) -> TaskDefinitionSpec | None:
        found = self._find(TaskDefinition, namespace, name)
        return found.spec if found is not None else None

    def _workflow(self, namespace: str, name: str) -> WorkflowSpec | None:
        found = self._find(Workflow, namespace, name)
        return found.spec if found is not None else None

    def _inside(self, namespace: str, name: str, spec: WorkflowSpec) -> Inside:
        digest = definition_hash(spec)
        status = self._find(Workflow, namespace, name).status
        revision = status.revision if status.definition_hash == digest else 0
        return Inside(definition=spec, definition_hash=digest, revision=revision)

    def _find(self, cls: Any, namespace: str, name: str) -> Any:
        try:
            value = self._service.get(self._kind(cls), ObjectKey(namespace, name))
        except ApiStatusError as error:
            if error.code == 404:
                return None
            raise
        return msgspec.json.decode(value, type=cls)

    # ---- what the node sends

    async def merge(self, request: ApiRequest, key: ObjectKey, views: MergeViews) -> Answer:
        """Raises `ApiStatusError`: 409 when the run is somebody else's by now, or has ended."""
        try:
            merge = _decode_merge(request.body)
        except msgspec.MsgspecError as error:
            raise bad_request(f"the body is no list of rows and tasks: {error}") from error
        if len(merge.runs) > MOST_RUNS:
            raise too_large(f"{len(merge.runs)} runs are too many for one request; send {MOST_RUNS} at most")
        if len(merge.rows) > MOST_ROWS or len(merge.tasks) > MOST_TASKS:
            text = f"{len(merge.rows)} rows and {len(merge.tasks)} tasks are too many for one request"
            raise too_large(f"{text}; send {MOST_ROWS} and {MOST_TASKS} at most")
        for task in merge.tasks:
            if task.status.phase not in TERMINAL_PHASES or task.metadata.namespace != key.namespace:
                text = f"task {task.metadata.name} is {task.status.phase}; only tasks of the run that have ended are merged"
                raise bad_request(text)
        lock = self._merging.setdefault(key, asyncio.Lock())
        async with lock:  # copies that were on their way for long come one after the other, and the older one changes nothing
            run, _ = self._check(key, merge)
            await self._store_runs(key, merge)
            if merge.number <= await self._merged(run.metadata.uid):
                return Answer(b"{}")
            await self._store_tasks(key, merge)
            uid = await self._store_rows(key, merge, views)
        views.feeds.changed(uid, {row.key: _encode(row.value) for row in merge.rows if row.key != RUN_KEY})
        return Answer(b"{}")

    async def _merged(self, uid: str) -> int:
        found = await self._store.rows(MERGES + uid, limit=1)
        return int(found[0][1]) if found else 0

    async def _store_runs(self, key: ObjectKey, merge: Merge) -> None:
        """Runs inside that are not there yet, and what they execute, which a run of the controller would have pinned."""
        for inner in merge.runs:
            await self._store_run(key, merge, inner)
            digest = definition_hash(inner.definition)
            row = RowPut(DEFINITIONS + digest, DEFINITION_KEY, _encode(inner.definition))
            await self._store.commit(Transaction((), (), [row]))

    async def _store_run(self, key: ObjectKey, merge: Merge, inner: InnerRun) -> None:
        made, kind = inner.run, self._kind(WorkflowRun)
        name = made.metadata.name
        for _ in range(ATTEMPTS):
            run, revision = self._check(key, merge)
            known = self._find(WorkflowRun, key.namespace, name)
            if known is not None and known.metadata.uid == made.metadata.uid:
                return
            if known is not None:
                raise _refused(name, f"workflowrun {name} is there and belongs to something else")
            owned = any(owner.uid == run.metadata.uid for owner in made.metadata.owner_references)
            if not owned or made.metadata.namespace != key.namespace or made.status.node != run.status.node:
                raise bad_request(f"workflowrun {name} is not inside of workflowrun {key.name} on node {run.status.node}")
            if definition_hash(inner.definition) != made.status.definition_hash or made.status.phase != "Running":
                raise bad_request(f"workflowrun {name} is {made.status.phase} and does not say what it executes")
            compare = Comparison(kind, key, revision=str(revision))

            def plan(compare: Comparison = compare) -> Plan:
                return Plan([compare], self._creation(made), [], again=plan)

            try:
                if (await self._service.transact(plan())).succeeded:
                    return
            except ApiStatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise _refused(key.name, f"workflowrun {key.name} is written by others all the time; send this again")

    def _creation(self, made: WorkflowRun) -> list[Operation]:
        """The object, under the uid that its node gave it, and its status."""
        kind = self._kind(WorkflowRun)
        body: dict[str, Any] = msgspec.to_builtins(made)
        status = body.pop("status")
        for field in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"):
            body["metadata"].pop(field, None)
        body |= {"apiVersion": WorkflowRun.info.api_version, "kind": "WorkflowRun"}
        return [
            Operation("create", kind, made.key, body, WriteOptions(MANAGER, uid=made.metadata.uid)),
            Operation("patch", kind, made.key, {"status": status}, WriteOptions(MANAGER, subresource="status")),
        ]

    async def _store_rows(self, key: ObjectKey, merge: Merge, views: MergeViews) -> str:
        after = {row.key: _encode(row.value) for row in merge.rows}
        for _ in range(ATTEMPTS):
            run, revision = self._check(key, merge)
            space = f"runs/{run.metadata.uid}"
            outgoing = await views.merged(run, partial(self._rows_now, space, after), after)
            rows = [_put(space, row) for row in merge.rows]
            rows.append(RowPut(MERGES + run.metadata.uid, "number", str(merge.number).encode()))
            rows += [RowPut(OUTBOX, name, value) for name, value in outgoing.items()]
            try:
                await self._store.commit(Transaction((), (Check(Key(_RUNS, key.namespace, key.name), revision),), rows))
            except PreconditionError:
                continue
            views.send(outgoing)
            return run.metadata.uid
        raise _refused(key.name, f"workflowrun {key.name} is written by others all the time; send this again")

    async def _rows_now(self, space: str, keys: Iterable[str]) -> Mapping[str, bytes]:
        found = {}
        for key in (RUN_KEY, *keys):
            rows = await self._store.rows(space, prefix=key, limit=1)
            if rows and rows[0][0] == key:
                found[key] = rows[0][1]
        return found

    async def _store_tasks(self, key: ObjectKey, merge: Merge) -> None:
        for _ in range(ATTEMPTS):
            run, revision = self._check(key, merge)
            missing = [task for task in merge.tasks if self._find(TaskRun, key.namespace, task.metadata.name) is None]
            if not missing:
                return
            for task in missing:
                if not any(owner.uid == run.metadata.uid for owner in task.metadata.owner_references):
                    raise bad_request(f"task {task.metadata.name} does not belong to workflowrun {key.name}")
            compare = Comparison(self._kind(WorkflowRun), key, revision=str(revision))

            def plan(compare: Comparison = compare, missing: list[TaskRun] = missing) -> Plan:
                return Plan([compare], list(self._operations(missing)), [], again=plan)

            try:
                if (await self._service.transact(plan())).succeeded:
                    return
            except ApiStatusError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise _refused(key.name, f"workflowrun {key.name} is written by others all the time; send this again")

    def _operations(self, tasks: Iterable[TaskRun]) -> Iterator[Operation]:
        """Each is made and taken through its life; others see it only as it is at the end."""
        kind = self._kind(TaskRun)
        for task in tasks:
            body: dict[str, Any] = msgspec.to_builtins(task)
            status = body.pop("status", {})
            for field in ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"):
                body["metadata"].pop(field, None)
            made = {"apiVersion": TaskRun.info.api_version, "kind": "TaskRun", **body}
            yield Operation("create", kind, task.key, made, WriteOptions(MANAGER))
            for step in ({"phase": "Pending"}, {"phase": "Running"}, status):
                yield Operation("patch", kind, task.key, {"status": step}, WriteOptions(MANAGER, subresource="status"))

    def _check(self, key: ObjectKey, merge: Merge) -> tuple[WorkflowRun, int]:
        """The run, if what the node sends still counts."""
        run, revision = self._run(key)
        token = run.status.fencing_token
        if merge.fencing_token != token:
            text = f"workflowrun {key.name} was given up or taken again; its fencing token is {token}, not {merge.fencing_token}"
            raise _refused(key.name, text)
        if run.status.phase in TERMINAL_RUN_PHASES:
            raise _refused(key.name, f"workflowrun {key.name} has ended ({run.status.phase})")
        lost = given_up(lambda name: self._find(WorkflowRun, key.namespace, name), run)
        if lost:
            raise _refused(key.name, f"workflowrun {lost}, around {key.name}, was given up")
        return run, revision

    def _run(self, key: ObjectKey) -> tuple[WorkflowRun, int]:
        run = self._find(WorkflowRun, key.namespace, key.name)
        if run is None or run.spec.delegate is None:
            why = "does not exist" if run is None else "is delegated to no node"
            raise ApiStatusError(404, "NotFound", f"workflowrun {key.name} {why}", _details(key.name))
        return run, int(run.metadata.resource_version)

    def _kind(self, cls: Any) -> ResourceKind:
        kind = self._service.registry.by_path(cls.info.group, cls.info.version, cls.info.plural)
        assert kind is not None  # noqa: S101  built in
        return kind


def _put(space: str, row: MergedRow) -> RowPut:
    return RowPut(space, row.key, _encode(row.value), row.live)


def _names(specs: Iterable[WorkflowSpec], tasks: Iterable[TaskDefinitionSpec]) -> tuple[set[str], set[str]]:
    """The Secrets and ConfigMaps that definitions and their tasks name."""
    secrets: set[str] = set()
    config_maps: set[str] = set()
    try:
        for spec in specs:
            references = compile_definition(spec).secrets()
            if references.paths_of("secrets"):
                secrets |= secret_names(references)
        for task in tasks:
            if task.http is not None:
                parts = {"url": task.http.url, "headers": dict(task.http.headers), "body": task.http.body}
                secrets |= secret_names(compile_value(parts, NAMES).references)
            call = task.process or task.container
            for variable in call.env if call is not None else ():
                source = variable.value_from
                if source is not None and source.secret_key_ref is not None:
                    secrets.add(source.secret_key_ref.name)
                if source is not None and source.config_map_key_ref is not None:
                    config_maps.add(source.config_map_key_ref.name)
    except ExpressionError as error:
        raise bad_request(f"what the run executes cannot be read: {error}") from error
    return secrets, config_maps


def _details(name: str) -> dict[str, Any]:
    return {"name": name, "group": WorkflowRun.info.group, "kind": WorkflowRun.info.plural}


def _refused(name: str, message: str) -> ApiStatusError:
    return ApiStatusError(409, "Conflict", message, _details(name))
