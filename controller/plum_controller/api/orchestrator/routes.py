"""`/api/v1/...` of the orchestrator surface, over Workflows, Triggers and WorkflowRuns.

    path --ROUTES--> handler --ApiClient, as the controller--> objects --shapes--> JSON of the surface

The gate has judged the request by `rights` before it comes here. Namespace: the parameter `namespace`, else `default`. Lists are
`{items, total, limit, offset}`, 50 at a time and 500 at most. Refusals are `{error, code, details}`.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ApiError, ConflictError, error_of
from plum_schemas.base import KindInfo, ObjectKey
from plum_schemas.orchestrator import (
    DISPLAY_NAME,
    INPUT,
    SURFACE,
    DefinitionError,
    slug,
    to_trigger_spec,
    to_workflow_spec,
    trigger_name,
)
from plum_schemas.taskrun import TaskRun
from plum_schemas.trigger import Trigger
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.api.orchestrator import shapes
from plum_controller.api.orchestrator.rights import STEP_SEPARATOR
from plum_controller.api.requests import Answer, ApiRequest, number
from plum_controller.api.trigger_access import check_trigger
from plum_controller.resources.errors import ApiStatusError, bad_request

if TYPE_CHECKING:
    from plum_controller.api.api import Api

Json = dict[str, Any]
PAGE, MAX_PAGE = 50, 500
MAX_LOG_LINES = 5000
ATTEMPTS = 10
"""Of a change that meets changes of others."""
AT_ONCE = 500
"""Objects that are decoded before others get their turn."""
ACTIVE = frozenset({"Running", "Paused"})
WAITING = frozenset({"Queued", "Pending"})
_encode = msgspec.json.Encoder().encode


class Orchestrator:
    """Answers the routes of the surface."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._cache = api.service.cache

    @cached_property
    def _client(self) -> ApiClient:
        from plum_controller.api.local import LocalTransport  # it knows the API, which knows this

        return ApiClient(LocalTransport(self._api, "plum-orchestrator"), field_manager="plum-orchestrator")

    async def answer(self, request: ApiRequest) -> Answer:
        """Never raises `ApiStatusError`: refusals have a shape of their own."""
        try:
            return await self._answer(request)
        except ApiStatusError as error:
            return _refusal(error.code, error.message, error.details.get("causes"))
        except DefinitionError as error:
            return _refusal(400, str(error), [{"field": error.path, "message": error.message}])
        except ApiError as error:
            code = 400 if error.code == 422 else error.code or 503
            return _refusal(code, error.message, (error.status.get("details") or {}).get("causes"))

    async def _answer(self, request: ApiRequest) -> Answer:
        if request.path[0] == "health":
            return _json(await self._health())
        first, rest = request.path[2], list(request.path[3:])
        name, action, *_ = [*rest, "", ""]
        if len(rest) > 2:
            raise ApiStatusError(404, "NotFound", "there is no such route")
        methods = _ROUTES.get((first, "*" if name and first != "scheduler" else name, action))
        if methods is None:
            raise ApiStatusError(404, "NotFound", "there is no such route")
        handler = methods.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            raise ApiStatusError(405, "MethodNotAllowed", f"this route takes {', '.join(sorted(methods))}")
        return await handler(self, request, name)

    # ---- workflows

    async def create_workflow(self, request: ApiRequest, name: str) -> Answer:
        body = _body(request)
        title = _text(body, "name")
        spec = {**to_workflow_spec(body.get("definition") or {"steps": []}, "definition"), **_about(body), "state": "Draft"}
        identity = slug(title)
        if not identity:
            raise bad_request("name must have letters or digits")
        for attempt in range(ATTEMPTS):
            chosen = identity if not attempt else f"{identity}-{secrets.token_hex(3)}"
            metadata = {"name": chosen, "namespace": _namespace(request), "labels": {SURFACE: "orchestrator"}}
            metadata |= {"annotations": {DISPLAY_NAME: title}} if title != chosen else {}
            try:
                made = await self._client.create({"metadata": metadata, "spec": spec}, kind=Workflow.info)
                return _json(shapes.workflow(made), 201)
            except AlreadyExistsError:
                continue
        raise ApiStatusError(409, "Conflict", f"the name {title!r} is taken")

    async def list_workflows(self, request: ApiRequest, name: str) -> Answer:
        query = request.query
        tags = {tag for tag in query.get("tags", "").split(",") if tag}

        def fits(found: Json) -> bool:
            spec = found.get("spec") or {}
            return (
                query.get("owner_id", spec.get("owner", "")) == spec.get("owner", "")
                and query.get("status", shapes.workflow_state(spec)) == shapes.workflow_state(spec)
                and tags <= set(spec.get("tags") or ())
            )

        return await self._page(request, Workflow.info, fits, shapes.workflow)

    async def get_workflow(self, request: ApiRequest, name: str) -> Answer:
        return _json(shapes.workflow(await self._get(request, Workflow.info, name)))

    async def put_workflow(self, request: ApiRequest, name: str) -> Answer:
        body = _body(request)
        about = _about(body)
        changed = to_workflow_spec(body["definition"], "definition") if "definition" in body else {}

        def change(found: Json) -> Json:
            spec = {**found.get("spec", {}), **about, **changed}
            if changed and "params" not in changed:
                spec.pop("params", None)
            metadata = dict(found["metadata"])
            if isinstance(body.get("name"), str) and body["name"]:
                metadata["annotations"] = {**(metadata.get("annotations") or {}), DISPLAY_NAME: body["name"]}
            return {**found, "metadata": metadata, "spec": spec}

        return _json(shapes.workflow(await self._change(request, Workflow.info, name, change)))

    async def delete_workflow(self, request: ApiRequest, name: str) -> Answer:
        """Its triggers go with it: nothing else could start them."""
        await self._get(request, Workflow.info, name)
        for found in await self._all(Trigger.info, _namespace(request)):
            if (found.get("spec") or {}).get("workflowRef") == name:
                await self._client.delete(Trigger.info, _key(request, found["metadata"]["name"]))
        await self._client.delete(Workflow.info, _key(request, name))
        return Answer(b"", status=204)

    async def set_workflow_state(self, request: ApiRequest, name: str) -> Answer:
        action = request.path[4]
        wanted, allowed = {
            "activate": ("Active", ("Draft", "Paused", "Active")),
            "pause": ("Paused", ("Active", "Paused")),
            "resume": ("Active", ("Paused", "Active")),
        }[action]

        def change(found: Json) -> Json:
            now = (found.get("spec") or {}).get("state", "Active")
            if now not in allowed:
                raise ApiStatusError(409, "Conflict", f"workflow {name} is {shapes.WORKFLOW_STATES[now]}; it cannot {action}")
            return {**found, "spec": {**found["spec"], "state": wanted}}

        return _json(shapes.workflow(await self._change(request, Workflow.info, name, change)))

    async def execute(self, request: ApiRequest, name: str) -> Answer:
        body = _body(request)
        given, priority = body.get("input") or {}, body.get("priority")
        if not isinstance(given, dict) or (priority is not None and not isinstance(priority, int)):
            raise bad_request("input must be an object, and priority a whole number")
        found = await self._get(request, Workflow.info, name)
        spec = found.get("spec") or {}
        if shapes.workflow_state(spec) != "active":
            raise ApiStatusError(409, "Conflict", f"workflow {name} is {shapes.workflow_state(spec)}; activate it first")
        declared = {param["name"] for param in spec.get("params") or ()}
        params = {INPUT: given} if declared == {INPUT} else given if declared else {}
        run: Json = {
            "metadata": {"generateName": f"{name[:200]}-", "namespace": _namespace(request), "labels": {SURFACE: "orchestrator"}},
            "spec": {"workflowRef": name, "params": params, "triggeredBy": request.user},
        }
        if priority is not None:
            run["spec"]["priority"] = priority
        return _json(shapes.execution(await self._client.create(run, kind=WorkflowRun.info)), 201)

    async def workflow_status(self, request: ApiRequest, name: str) -> Answer:
        found = await self._get(request, Workflow.info, name)
        status = found.get("status") or {}
        statistics = status.get("statistics") or {}
        return _json(
            {
                "id": name,
                "status": shapes.workflow_state(found.get("spec") or {}),
                "active_executions": status.get("activeRuns", 0),
                "queued_executions": status.get("queuedRuns", 0),
                "last_execution_id": status.get("lastRun", ""),
                "last_execution_at": status.get("lastRunAt"),
                "last_status": shapes.RUN_STATES.get(status.get("lastPhase", ""), ""),
                "total_executions": statistics.get("runs", 0),
                "successful_executions": statistics.get("succeeded", 0),
                "failed_executions": statistics.get("failed", 0),
            }
        )

    # ---- triggers

    async def create_trigger(self, request: ApiRequest, name: str) -> Answer:
        body = _body(request)
        await self._get(request, Workflow.info, name)
        title = _text(body, "name")
        metadata: Json = {
            "name": trigger_name(name, title),
            "namespace": _namespace(request),
            "labels": {SURFACE: "orchestrator"},
        }
        metadata["annotations"] = {DISPLAY_NAME: title}
        made = {"metadata": metadata, "spec": to_trigger_spec(body, name)}
        check_trigger(self._api.gate, request.identity, made, None)
        return _json(shapes.trigger(await self._client.create(made, kind=Trigger.info)), 201)

    async def list_triggers(self, request: ApiRequest, name: str) -> Answer:
        await self._get(request, Workflow.info, name)
        return await self._page(
            request, Trigger.info, lambda found: (found.get("spec") or {}).get("workflowRef") == name, shapes.trigger
        )

    async def get_trigger(self, request: ApiRequest, name: str) -> Answer:
        return _json(shapes.trigger(await self._get(request, Trigger.info, name)))

    async def put_trigger(self, request: ApiRequest, name: str) -> Answer:
        body = _body(request)

        def change(found: Json) -> Json:
            known = shapes.trigger(found)
            spec = to_trigger_spec(
                {**{key: known[key] for key in ("type", "config", "is_enabled")}, **body}, known["workflow_id"]
            )
            kept = {key: value for key, value in found["spec"].items() if key in ("priority", "minInterval", "keepFirings")}
            metadata = dict(found["metadata"])
            if isinstance(body.get("name"), str) and body["name"]:
                metadata["annotations"] = {**(metadata.get("annotations") or {}), DISPLAY_NAME: body["name"]}
            made = {**found, "metadata": metadata, "spec": kept | spec}
            check_trigger(self._api.gate, request.identity, made, found)
            return made

        return _json(shapes.trigger(await self._change(request, Trigger.info, name, change)))

    async def delete_trigger(self, request: ApiRequest, name: str) -> Answer:
        await self._get(request, Trigger.info, name)
        await self._client.delete(Trigger.info, _key(request, name))
        return Answer(b"", status=204)

    # ---- executions

    async def list_executions(self, request: ApiRequest, name: str) -> Answer:
        query = request.query

        def fits(found: Json) -> bool:
            workflow = (found.get("spec") or {}).get("workflowRef", "")
            state = shapes.run_state(found.get("status") or {})
            return query.get("workflow_id", workflow) == workflow and query.get("status", state) == state

        return await self._page(request, WorkflowRun.info, fits, shapes.execution)

    async def get_execution(self, request: ApiRequest, name: str) -> Answer:
        found = await self._get(request, WorkflowRun.info, name)
        rows = await self._rows(request, name)
        shown = [shapes.step_execution(name, row, output=False) for row in rows[:MAX_PAGE]]
        return _json({**shapes.execution(found), "step_executions": shown})

    async def control(self, request: ApiRequest, name: str) -> Answer:
        found = await self._control(
            request, name, {"action": request.path[4], "message": "asked through the orchestrator surface"}
        )
        return _json(shapes.execution(found))

    async def logs(self, request: ApiRequest, name: str) -> Answer:
        await self._get(request, WorkflowRun.info, name)
        wanted = request.query.get("step_id", "")
        entries: list[Json] = []
        # Steps in the order they started: what happens at one moment stays in it.
        for row in sorted(await self._rows(request, name, wanted), key=lambda row: _moment(row.get("startedAt"))):
            entries += [entry async for entry in self._log_of(request, row)]
        entries.sort(key=lambda entry: _moment(entry["timestamp"]))
        limit = min(number(request.query, "limit") or MAX_LOG_LINES, MAX_LOG_LINES)
        return _json({"execution_id": name, "logs": entries[-limit:], "total": len(entries)})

    async def _log_of(self, request: ApiRequest, row: Json) -> Any:
        step = row.get("name") or row.get("key")

        def entry(at: str | None, level: str, message: str) -> Json:
            return {"timestamp": at, "level": level, "step_id": step, "message": message}

        if row.get("startedAt"):
            yield entry(row["startedAt"], "info", f"started, attempt {row.get('attempt', 1)}")
        kind, _, made = str(row.get("made") or "").partition("/")
        if kind == "TaskRun" and made:
            task = await self._client.get(TaskRun.info, _key(request, made))
            status = (task or {}).get("status") or {}
            for stream, level in (("stdout", "info"), ("stderr", "error")):
                for line in str(status.get(stream) or "").splitlines()[-MAX_LOG_LINES:]:
                    yield entry(row.get("finishedAt") or row.get("startedAt"), level, line)
        if row.get("finishedAt"):
            failed = shapes.STEP_STATES.get(row.get("phase", "")) == "failed"
            text = row.get("message") or shapes.STEP_STATES.get(row.get("phase", ""), row.get("phase", ""))
            yield entry(row["finishedAt"], "error" if failed else "info", str(text))

    # ---- steps

    async def get_step(self, request: ApiRequest, name: str) -> Answer:
        run, row = await self._step(request, name)
        return _json(shapes.step_execution(run, row))

    async def step_output(self, request: ApiRequest, name: str) -> Answer:
        run, row = await self._step(request, name)
        return _json({"id": name, "execution_id": run, "output": row.get("output")})

    async def retry_step(self, request: ApiRequest, name: str) -> Answer:
        run, row = await self._step(request, name)
        found = await self._control(request, run, {"action": "rerun", "node": row.get("name") or row.get("key")})
        return _json(shapes.execution(found))

    async def _step(self, request: ApiRequest, name: str) -> tuple[str, Json]:
        run, separator, step = name.partition(STEP_SEPARATOR)
        if not separator or not step:
            raise ApiStatusError(404, "NotFound", f"{name!r} is the id of no step execution")
        await self._get(request, WorkflowRun.info, run)
        rows = await self._rows(request, run, step)
        if not rows:
            raise ApiStatusError(404, "NotFound", f"execution {run} has no step {step}")
        return run, rows[0]

    async def _rows(self, request: ApiRequest, run: str, node: str = "") -> list[Json]:
        query = urlencode({"node": node} if node else {"limit": str(MAX_PAGE)})
        path = f"/apis/plum.dev/v1/namespaces/{quote(_namespace(request), safe='')}/workflowruns/{quote(run, safe='')}/nodes"
        response = await self._client.transport.request("GET", f"{path}?{query}")  # type: ignore[attr-defined]
        if response.status >= 400:
            raise error_of(response.status, response.body, path)
        items: list[Json] = msgspec.json.decode(response.body)["items"]
        if node and not items:
            items = [row for row in await self._rows(request, run) if node in (row.get("name"), row.get("key"))]
        return items

    async def _control(self, request: ApiRequest, run: str, body: Json) -> Json:
        path = f"/apis/plum.dev/v1/namespaces/{quote(_namespace(request), safe='')}/workflowruns/{quote(run, safe='')}/control"
        response = await self._client.transport.request("POST", path, {}, _encode(body))  # type: ignore[attr-defined]
        if response.status >= 400:
            raise error_of(response.status, response.body, path)
        return dict(msgspec.json.decode(response.body))

    # ---- the system

    async def scheduler_status(self, request: ApiRequest, name: str) -> Answer:
        active, queued = self._counts()
        settings = self._api.settings
        return _json(
            {
                "status": "running" if settings.controllers_enabled else "stopped",
                "workers": settings.tasks_in_flight,
                "max_concurrent": settings.tasks_in_flight,
                "poll_interval_seconds": 0,
                "active_executions": active,
                "queued_executions": queued,
            }
        )

    async def _health(self) -> Json:
        active, queued = self._counts()
        runs = self._api.settings.controllers_enabled
        checks = {"database": "ok", "scheduler": "ok" if runs else "stopped", "executor": "ok" if runs else "stopped"}
        workflows = await self._all(Workflow.info, "")
        stats = {
            "active_executions": active,
            "queued_executions": queued,
            "total_workflows": len(workflows),
            "active_workflows": sum(shapes.workflow_state(found.get("spec") or {}) == "active" for found in workflows),
        }
        return {"status": "healthy" if runs and self._api.ready else "degraded", "checks": checks, "stats": stats}

    def _counts(self) -> tuple[int, int]:
        """Runs that go on, and runs that wait."""
        from plum_schemas.selectors import FieldRequirement, FieldSelector

        def count(phases: frozenset[str]) -> int:
            return sum(
                len(
                    self._cache.list(
                        WorkflowRun.info.resource, "", None, FieldSelector([FieldRequirement("status.phase", "=", phase)])
                    )
                )
                for phase in phases
            )

        return count(ACTIVE), count(WAITING)

    # ---- inside

    async def _get(self, request: ApiRequest, info: KindInfo, name: str) -> Json:
        found = await self._client.get(info, _key(request, name))
        if found is None:
            word = {"Workflow": "workflow", "Trigger": "trigger"}.get(info.kind, "execution")
            raise ApiStatusError(404, "NotFound", f"there is no {word} {name!r}")
        return found

    async def _change(self, request: ApiRequest, info: KindInfo, name: str, change: Callable[[Json], Json]) -> Json:
        for attempt in range(ATTEMPTS):
            try:
                return await self._client.update(change(await self._get(request, info, name)), kind=info)
            except ConflictError:
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def _all(self, info: KindInfo, namespace: str) -> list[Json]:
        found = []
        for index, entry in enumerate(self._cache.list(info.resource, namespace, None, None)):
            if index % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            found.append(msgspec.json.decode(entry.value))
        return found

    async def _page(
        self, request: ApiRequest, info: KindInfo, fits: Callable[[Json], bool], show: Callable[[Json], Json]
    ) -> Answer:
        """One page, newest first."""
        limit = min(number(request.query, "limit") or PAGE, MAX_PAGE)
        offset = number(request.query, "offset") or 0
        found = [one for one in await self._all(info, _namespace(request)) if fits(one)]
        found.sort(key=lambda one: (one["metadata"].get("creationTimestamp") or "", one["metadata"]["name"]), reverse=True)
        items = [show(one) for one in found[offset : offset + limit]]
        return _json({"items": items, "total": len(found), "limit": limit, "offset": offset})


Handler = Callable[[Orchestrator, ApiRequest, str], Awaitable[Answer]]


def _routes() -> Iterator[tuple[tuple[str, str, str], dict[str, Handler]]]:
    yield ("workflows", "", ""), {"POST": Orchestrator.create_workflow, "GET": Orchestrator.list_workflows}
    yield (
        ("workflows", "*", ""),
        {"GET": Orchestrator.get_workflow, "PUT": Orchestrator.put_workflow, "DELETE": Orchestrator.delete_workflow},
    )
    for action in ("activate", "pause", "resume"):
        yield ("workflows", "*", action), {"POST": Orchestrator.set_workflow_state}
    yield ("workflows", "*", "execute"), {"POST": Orchestrator.execute}
    yield ("workflows", "*", "status"), {"GET": Orchestrator.workflow_status}
    yield ("workflows", "*", "triggers"), {"POST": Orchestrator.create_trigger, "GET": Orchestrator.list_triggers}
    yield (
        ("triggers", "*", ""),
        {"GET": Orchestrator.get_trigger, "PUT": Orchestrator.put_trigger, "DELETE": Orchestrator.delete_trigger},
    )
    yield ("executions", "", ""), {"GET": Orchestrator.list_executions}
    yield ("executions", "*", ""), {"GET": Orchestrator.get_execution}
    for action in ("pause", "resume", "cancel", "retry"):
        yield ("executions", "*", action), {"POST": Orchestrator.control}
    yield ("executions", "*", "logs"), {"GET": Orchestrator.logs}
    yield ("step-executions", "*", ""), {"GET": Orchestrator.get_step}
    yield ("step-executions", "*", "output"), {"GET": Orchestrator.step_output}
    yield ("step-executions", "*", "retry"), {"POST": Orchestrator.retry_step}
    yield ("scheduler", "status", ""), {"GET": Orchestrator.scheduler_status}


_ROUTES = dict(_routes())


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(_encode(value), status=status)


def _refusal(code: int, message: str, causes: Any = None) -> Answer:
    body: Json = {"error": message, "code": code}
    if causes:
        body["details"] = causes
    return _json(body, code)


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text or "1970-01-01T00:00:00Z")


def _namespace(request: ApiRequest) -> str:
    return request.query.get("namespace") or "default"


def _key(request: ApiRequest, name: str) -> ObjectKey:
    return ObjectKey(_namespace(request), name)


def _body(request: ApiRequest) -> Json:
    try:
        body = msgspec.json.decode(request.body) if request.body.strip() else {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise bad_request("the body must be an object")
    return body


def _text(body: Json, name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise bad_request(f"{name} is missing")
    return value


def _about(body: Json) -> Json:
    """Description, tags and owner, where they are given."""
    found: Json = {}
    tags: Sequence[Any] = body.get("tags") or []
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise bad_request("tags must be a list of texts")
    for source, target in (("description", "description"), ("owner_id", "owner")):
        if source in body:
            found[target] = str(body[source] or "")
    return found | ({"tags": list(dict.fromkeys(tags))} if "tags" in body else {})
