"""`/api/v1/...` of the orchestrator surface, over Workflows, Triggers and WorkflowRuns.

    path --ROUTES--> handler --ApiClient, as the controller--> objects --shapes--> JSON of the surface

The gate has judged the request by `rights` before it comes here. Namespace: the parameter `namespace`, else `default`. Lists are
`{items, total, limit, offset}`, 50 at a time and 500 at most. Refusals are `{error, code, details}`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from plum_client.errors import AlreadyExistsError, ApiError
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
from plum_schemas.trigger import Trigger
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.api.orchestrator import shapes
from plum_controller.api.orchestrator.common import (
    ATTEMPTS,
    Json,
    json_answer,
    key_of,
    namespace_of,
    read_body,
    refused_answer,
    required_text,
)
from plum_controller.api.orchestrator.executions import Executions
from plum_controller.api.requests import Answer, ApiRequest
from plum_controller.api.trigger_access import check_trigger
from plum_controller.resources.errors import ApiStatusError, bad_request

ACTIVE = frozenset({"Running", "Paused"})
WAITING = frozenset({"Queued", "Pending"})


class Orchestrator(Executions):
    """Answers the routes of the surface."""

    async def answer(self, request: ApiRequest) -> Answer:
        """Never raises `ApiStatusError`: refusals have a shape of their own."""
        try:
            return await self._answer(request)
        except ApiStatusError as error:
            return refused_answer(error.code, error.message, error.details.get("causes"))
        except DefinitionError as error:
            return refused_answer(400, str(error), [{"field": error.path, "message": error.message}])
        except ApiError as error:
            code = 400 if error.code == 422 else error.code or 503
            return refused_answer(code, error.message, (error.status.get("details") or {}).get("causes"))

    async def _answer(self, request: ApiRequest) -> Answer:
        if request.path[0] == "health":
            return json_answer(await self._health())
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
        body = read_body(request)
        title = required_text(body, "name")
        spec = {**to_workflow_spec(body.get("definition") or {"steps": []}, "definition"), **_about(body), "state": "Draft"}
        identity = slug(title)
        if not identity:
            raise bad_request("name must have letters or digits")
        for attempt in range(ATTEMPTS):
            chosen = identity if not attempt else f"{identity}-{secrets.token_hex(3)}"
            metadata = {"name": chosen, "namespace": namespace_of(request), "labels": {SURFACE: "orchestrator"}}
            metadata |= {"annotations": {DISPLAY_NAME: title}} if title != chosen else {}
            try:
                made = await self.client.create({"metadata": metadata, "spec": spec}, kind=Workflow.info)
                return json_answer(shapes.workflow(made), 201)
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

        return await self.page(request, Workflow.info, fits, shapes.workflow)

    async def get_workflow(self, request: ApiRequest, name: str) -> Answer:
        return json_answer(shapes.workflow(await self.get(request, Workflow.info, name)))

    async def put_workflow(self, request: ApiRequest, name: str) -> Answer:
        body = read_body(request)
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

        return json_answer(shapes.workflow(await self.change(request, Workflow.info, name, change)))

    async def delete_workflow(self, request: ApiRequest, name: str) -> Answer:
        """Its triggers go with it: nothing else could start them."""
        await self.get(request, Workflow.info, name)
        for found in await self.all(Trigger.info, namespace_of(request)):
            if (found.get("spec") or {}).get("workflowRef") == name:
                await self.client.delete(Trigger.info, key_of(request, found["metadata"]["name"]))
        await self.client.delete(Workflow.info, key_of(request, name))
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

        return json_answer(shapes.workflow(await self.change(request, Workflow.info, name, change)))

    async def execute(self, request: ApiRequest, name: str) -> Answer:
        body = read_body(request)
        given, priority = body.get("input") or {}, body.get("priority")
        if not isinstance(given, dict) or (priority is not None and not isinstance(priority, int)):
            raise bad_request("input must be an object, and priority a whole number")
        found = await self.get(request, Workflow.info, name)
        spec = found.get("spec") or {}
        if shapes.workflow_state(spec) != "active":
            raise ApiStatusError(409, "Conflict", f"workflow {name} is {shapes.workflow_state(spec)}; activate it first")
        declared = {param["name"] for param in spec.get("params") or ()}
        params = {INPUT: given} if declared == {INPUT} else given if declared else {}
        run: Json = {
            "metadata": {
                "generateName": f"{name[:200]}-",
                "namespace": namespace_of(request),
                "labels": {SURFACE: "orchestrator"},
            },
            "spec": {"workflowRef": name, "params": params, "triggeredBy": request.user},
        }
        if priority is not None:
            run["spec"]["priority"] = priority
        return json_answer(shapes.execution(await self.client.create(run, kind=WorkflowRun.info)), 201)

    async def workflow_status(self, request: ApiRequest, name: str) -> Answer:
        found = await self.get(request, Workflow.info, name)
        status = found.get("status") or {}
        statistics = status.get("statistics") or {}
        return json_answer(
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
        body = read_body(request)
        await self.get(request, Workflow.info, name)
        title = required_text(body, "name")
        metadata: Json = {
            "name": trigger_name(name, title),
            "namespace": namespace_of(request),
            "labels": {SURFACE: "orchestrator"},
        }
        metadata["annotations"] = {DISPLAY_NAME: title}
        made = {"metadata": metadata, "spec": to_trigger_spec(body, name)}
        check_trigger(self.api.gate, request.identity, made, None)
        return json_answer(shapes.trigger(await self.client.create(made, kind=Trigger.info)), 201)

    async def list_triggers(self, request: ApiRequest, name: str) -> Answer:
        await self.get(request, Workflow.info, name)
        return await self.page(
            request, Trigger.info, lambda found: (found.get("spec") or {}).get("workflowRef") == name, shapes.trigger
        )

    async def get_trigger(self, request: ApiRequest, name: str) -> Answer:
        return json_answer(shapes.trigger(await self.get(request, Trigger.info, name)))

    async def put_trigger(self, request: ApiRequest, name: str) -> Answer:
        body = read_body(request)

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
            check_trigger(self.api.gate, request.identity, made, found)
            return made

        return json_answer(shapes.trigger(await self.change(request, Trigger.info, name, change)))

    async def delete_trigger(self, request: ApiRequest, name: str) -> Answer:
        await self.get(request, Trigger.info, name)
        await self.client.delete(Trigger.info, key_of(request, name))
        return Answer(b"", status=204)

    # ---- the system

    async def scheduler_status(self, request: ApiRequest, name: str) -> Answer:
        active, queued = self._counts()
        settings = self.api.settings
        return json_answer(
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
        runs = self.api.settings.controllers_enabled
        checks = {"database": "ok", "scheduler": "ok" if runs else "stopped", "executor": "ok" if runs else "stopped"}
        workflows = await self.all(Workflow.info, "")
        stats = {
            "active_executions": active,
            "queued_executions": queued,
            "total_workflows": len(workflows),
            "active_workflows": sum(shapes.workflow_state(found.get("spec") or {}) == "active" for found in workflows),
        }
        return {"status": "healthy" if runs and self.api.ready else "degraded", "checks": checks, "stats": stats}

    def _counts(self) -> tuple[int, int]:
        """Runs that go on, and runs that wait."""
        from plum_schemas.selectors import FieldRequirement, FieldSelector

        def count(phases: frozenset[str]) -> int:
            return sum(
                len(
                    self.cache.list(
                        WorkflowRun.info.resource, "", None, FieldSelector([FieldRequirement("status.phase", "=", phase)])
                    )
                )
                for phase in phases
            )

        return count(ACTIVE), count(WAITING)


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
