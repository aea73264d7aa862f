"""Workflows on a whole control plane in virtual time: store in memory, controllers, engine, tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from plum_client.client import ApiClient
from plum_client.errors import ApiError, error_of
from plum_client.outgoing import OutgoingClient
from plum_client.simulated import SimulatedClock, SimulatedLoop, run_simulated
from plum_client.transport import Request
from plum_controller.store.journal import StoreJournal
from plum_controller.tasks import execution
from plum_controller.workflows import engine
from plum_controller.workflows.engine import WorkflowEngine
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.control_plane import ControlPlane

Json = dict[str, Any]


class Site:
    """A control plane with an engine that can die and come back."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.plane = ControlPlane(SimulatedClock(loop))
        self.engine: WorkflowEngine | None = None
        self._tasks: execution.TaskExecution | None = None

    async def start(self) -> None:
        await self.plane.start()
        self.api = self.plane.client("test")
        await self.run_controllers()

    async def run_controllers(self) -> None:
        def extra(manager: Any) -> None:
            self._tasks = execution.add_to(manager, self.plane.settings, OutgoingClient("", ()))
            self.engine = engine.add_to(manager, StoreJournal(self.plane.store))
            self.plane.api.workflow_runs.views = self.engine

        self.plane.start_controllers(extra)

    async def crash(self) -> None:
        """As `kill -9` of the controllers; the store stays."""
        await self.plane.stop_controllers()
        assert self.engine is not None and self._tasks is not None
        await self.engine.close()
        await self._tasks.close()

    async def close(self) -> None:
        await self.crash()
        await self.plane.close()

    # ---- what tests do

    async def workflow(self, name: str, **spec: Any) -> Workflow:
        return await self.api.create(await self.manifest("Workflow", name, spec), kind=Workflow.info)  # type: ignore[return-value]

    async def manifest(self, kind: str, name: str, spec: Json) -> Json:
        meta = {"name": name, "namespace": "default"}
        return {"apiVersion": "plum.dev/v1", "kind": kind, "metadata": meta, "spec": spec}

    async def run(self, workflow: str, name: str = "", /, **spec: Any) -> str:
        """Start a run; answers with its name."""
        name = name or f"{workflow}-1"
        await self.api.create(await self.manifest("WorkflowRun", name, {"workflowRef": workflow, **spec}), kind=WorkflowRun.info)
        return name

    async def get(self, name: str) -> WorkflowRun:
        run = await self.api.get(WorkflowRun, name, "default")
        assert run is not None
        return run

    async def ended(self, name: str, seconds: float = 600) -> WorkflowRun:
        return await self.until(lambda: self.get(name), lambda run: run.status.phase in TERMINAL_RUN_PHASES, seconds)

    async def until(self, read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool], seconds: float = 600) -> Any:
        for _ in range(int(seconds * 20)):
            found = await read()
            if holds(found):
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"it never became so: {found}")

    async def rows(self, name: str, query: str = "") -> dict[str, Json]:
        """Rows of a run by the name that people give nodes."""
        body = await self.ask("GET", f"workflowruns/{name}/nodes{query}")
        return {row["name"]: row for row in body["items"]}

    async def control(self, name: str, action: str, **body: Any) -> Json:
        """Raises `ApiError`."""
        return await self.ask("POST", f"workflowruns/{name}/control", {"action": action, **body})

    async def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        import msgspec
        from plum_controller.api.requests import parse_query

        path, _, query = path.partition("?")
        parts = path.split("/")
        info = WorkflowRun.info if parts[0] == "workflowruns" else Workflow.info
        request = Request(
            method, info, "default", parts[1], parts[2], dict(parse_query(query.encode())) if query else {},
            msgspec.json.encode(body) if body is not None else b"", "application/json",
        )  # fmt: skip
        response = await self.api.transport.send(request)
        if response.status >= 400:
            raise error_of(response.status, response.body, path)
        return dict(msgspec.json.decode(response.body))

    async def task_runs(self) -> list[TaskRun]:
        return list(await self.api.list(TaskRun, "default"))


def on_site(scenario: Callable[[Site], Awaitable[None]]) -> None:
    """Play a scenario in virtual time."""

    async def main(loop: SimulatedLoop) -> None:
        site = Site(loop)
        await site.start()
        try:
            await scenario(site)
        finally:
            await site.close()

    run_simulated(main)


def echo(name: str, *after: str, **more: Any) -> Json:
    """A node that gives its payload."""
    return {"name": name, "taskRef": "builtin.echo", "dependsOn": list(after), **more}


__all__ = ["ApiClient", "ApiError", "Site", "echo", "on_site"]
