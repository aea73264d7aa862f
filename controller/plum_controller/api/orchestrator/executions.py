"""Executions and their steps: WorkflowRuns and the rows of their nodes."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from plum_client.errors import error_of
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflowrun import WorkflowRun

from plum_controller.api.orchestrator import shapes
from plum_controller.api.orchestrator.common import MAX_PAGE, Json, Objects, encode, json_answer, key_of, moment_of, namespace_of
from plum_controller.api.orchestrator.rights import STEP_SEPARATOR
from plum_controller.api.requests import Answer, ApiRequest, number
from plum_controller.resources.errors import ApiStatusError

MAX_LOG_LINES = 5000


class Executions(Objects):
    """Answers the routes of executions and steps."""

    # ---- executions

    async def list_executions(self, request: ApiRequest, name: str) -> Answer:
        query = request.query

        def fits(found: Json) -> bool:
            workflow = (found.get("spec") or {}).get("workflowRef", "")
            state = shapes.run_state(found.get("status") or {})
            return query.get("workflow_id", workflow) == workflow and query.get("status", state) == state

        return await self.page(request, WorkflowRun.info, fits, shapes.execution)

    async def get_execution(self, request: ApiRequest, name: str) -> Answer:
        found = await self.get(request, WorkflowRun.info, name)
        rows = await self._rows(request, name)
        shown = [shapes.step_execution(name, row, output=False) for row in rows[:MAX_PAGE]]
        return json_answer({**shapes.execution(found), "step_executions": shown})

    async def control(self, request: ApiRequest, name: str) -> Answer:
        found = await self._control(
            request, name, {"action": request.path[4], "message": "asked through the orchestrator surface"}
        )
        return json_answer(shapes.execution(found))

    async def logs(self, request: ApiRequest, name: str) -> Answer:
        await self.get(request, WorkflowRun.info, name)
        wanted = request.query.get("step_id", "")
        entries: list[Json] = []
        # Steps in the order they started: what happens at one moment stays in it.
        for row in sorted(await self._rows(request, name, wanted), key=lambda row: moment_of(row.get("startedAt"))):
            entries += [entry async for entry in self._log_of(request, row)]
        entries.sort(key=lambda entry: moment_of(entry["timestamp"]))
        limit = min(number(request.query, "limit") or MAX_LOG_LINES, MAX_LOG_LINES)
        return json_answer({"execution_id": name, "logs": entries[-limit:], "total": len(entries)})

    async def _log_of(self, request: ApiRequest, row: Json) -> Any:
        step = row.get("name") or row.get("key")

        def entry(at: str | None, level: str, message: str) -> Json:
            return {"timestamp": at, "level": level, "step_id": step, "message": message}

        if row.get("startedAt"):
            yield entry(row["startedAt"], "info", f"started, attempt {row.get('attempt', 1)}")
        kind, _, made = str(row.get("made") or "").partition("/")
        if kind == "TaskRun" and made:
            task = await self.client.get(TaskRun.info, key_of(request, made))
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
        return json_answer(shapes.step_execution(run, row))

    async def step_output(self, request: ApiRequest, name: str) -> Answer:
        run, row = await self._step(request, name)
        return json_answer({"id": name, "execution_id": run, "output": row.get("output")})

    async def retry_step(self, request: ApiRequest, name: str) -> Answer:
        run, row = await self._step(request, name)
        found = await self._control(request, run, {"action": "rerun", "node": row.get("name") or row.get("key")})
        return json_answer(shapes.execution(found))

    async def _step(self, request: ApiRequest, name: str) -> tuple[str, Json]:
        run, separator, step = name.partition(STEP_SEPARATOR)
        if not separator or not step:
            raise ApiStatusError(404, "NotFound", f"{name!r} is the id of no step execution")
        await self.get(request, WorkflowRun.info, run)
        rows = await self._rows(request, run, step)
        if not rows:
            raise ApiStatusError(404, "NotFound", f"execution {run} has no step {step}")
        return run, rows[0]

    async def _rows(self, request: ApiRequest, run: str, node: str = "") -> list[Json]:
        query = urlencode({"node": node} if node else {"limit": str(MAX_PAGE)})
        path = f"/apis/plum.dev/v1/namespaces/{quote(namespace_of(request), safe='')}/workflowruns/{quote(run, safe='')}/nodes"
        response = await self.client.transport.request("GET", f"{path}?{query}")  # type: ignore[attr-defined]
        if response.status >= 400:
            raise error_of(response.status, response.body, path)
        items: list[Json] = msgspec.json.decode(response.body)["items"]
        if node and not items:
            items = [row for row in await self._rows(request, run) if node in (row.get("name"), row.get("key"))]
        return items

    async def _control(self, request: ApiRequest, run: str, body: Json) -> Json:
        path = f"/apis/plum.dev/v1/namespaces/{quote(namespace_of(request), safe='')}/workflowruns/{quote(run, safe='')}/control"
        response = await self.client.transport.request("POST", path, {}, encode(body))  # type: ignore[attr-defined]
        if response.status >= 400:
            raise error_of(response.status, response.body, path)
        return dict(msgspec.json.decode(response.body))
