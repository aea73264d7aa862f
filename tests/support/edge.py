"""A machine at the edge: a controller, an agent, and a cable between them that can be cut, for runs that are delegated.

async with edge(tmp_path) as site:
    inner = await site.start("survey", nodes)
    site.cable.cut()
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from plum_client.errors import error_of
from plum_client.transport import Request
from plum_schemas.node import Node
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.agent import NODE, Site, kill, marked, until_async
from tests.support.proxy import Proxy, proxy
from tests.support.server import running_server

SECONDS = 60.0
KINDS: dict[str, Any] = {"TaskDefinition": TaskDefinition, "Workflow": Workflow, "WorkflowRun": WorkflowRun}
Json = dict[str, Any]


class Edge:
    """A controller, an agent, a cable between them that can be cut, and a workflow that delegates another one."""

    def __init__(self, site: Site, cable: Proxy, folder: Path, server: str) -> None:
        self.site = site
        self.server = server
        """Address of the controller that no cable leads to."""
        self.cable = cable
        self.folder = folder

    @property
    def api(self) -> Any:
        return self.site.api

    async def apply(self, kind: str, name: str, **spec: Any) -> None:
        body = {"apiVersion": "plum.dev/v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}
        await self.api.apply(body, kind=KINDS[kind].info, force=True)

    async def task(self, name: str, script: str, **more: Any) -> None:
        await self.apply("TaskDefinition", name, executor="os_process", process={"command": ["sh", "-c", script]}, **more)

    async def start(self, name: str, nodes: list[Json], **more: Any) -> str:
        """Start a run of a workflow that delegates these nodes; answers with the name of the delegated run."""
        definition = {key: more.pop(key) for key in ("outputs", "timeout", "params", "finally", "hooks") if key in more}
        await self.apply("Workflow", f"{name}-inner", nodes=nodes, **definition)
        wanted = more.pop("delegate", {})
        delegate = wanted if "nodeSelector" in wanted else {"nodeName": NODE, **wanted}
        node = {"name": "edge", "type": "subworkflow", "workflowRef": f"{name}-inner", "delegate": delegate, **more}
        await self.apply("Workflow", name, nodes=[node], outputs={"edge": "${{ nodes.edge.output }}"})
        await self.apply("WorkflowRun", f"{name}-1", workflowRef=name)
        return f"{name}-1-edge"

    async def run(self, name: str) -> WorkflowRun:
        found = await self.api.get(WorkflowRun, name, "default")
        assert found is not None, name
        return found

    async def phase(self, name: str, *phases: str) -> WorkflowRun:
        return await until_async(
            lambda: self.api.get(WorkflowRun, name, "default"),
            lambda run: run is not None and run.status.phase in phases,
            SECONDS,
        )

    async def ended(self, name: str) -> WorkflowRun:
        return await self.phase(name, *TERMINAL_RUN_PHASES)

    async def rows(self, name: str) -> dict[str, Json]:
        response = await self.api.transport.send(Request("GET", WorkflowRun.info, "default", name, "nodes"))
        assert response.status == 200, response.body
        return {row["name"]: row for row in json.loads(response.body)["items"]}

    async def control(self, name: str, **body: Any) -> None:
        """What a person asks of a run. Raises `ApiError`."""
        content = json.dumps(body).encode()
        response = await self.api.transport.send(Request("POST", WorkflowRun.info, "default", name, "control", body=content))
        if response.status >= 400:
            raise error_of(response.status, response.body, "control")

    async def merge(self, name: str, **body: Any) -> None:
        """What an agent sends. Raises `ApiError`."""
        content = json.dumps(body).encode()
        response = await self.api.transport.send(Request("POST", WorkflowRun.info, "default", name, "merge", body=content))
        if response.status >= 400:
            raise error_of(response.status, response.body, "merge")

    @asynccontextmanager
    async def another_node(self, name: str, **labels: str) -> AsyncIterator[None]:
        """One more agent, whose cable nobody cuts."""
        command = [sys.executable, "-m", "plum_agent", "--node", name, "--controller", self.server]
        command += ["--data-dir", str(self.folder / "others"), "--engine", "none"]
        with (self.folder / f"{name}.log").open("ab") as log:
            agent = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        try:
            await until_async(lambda: self.api.get(Node, name), lambda node: node is not None and node.status.conditions, SECONDS)
            await self.api.patch(Node, name, {"metadata": {"labels": labels}})
            yield
        finally:
            agent.kill()
            agent.wait(20)

    def processes(self) -> dict[int, str]:
        identity = self.site.data / NODE / "agent-id"
        return marked(identity.read_text().strip() + "-flow.") if identity.exists() else {}

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@asynccontextmanager
async def edge(folder: Path, lease: int = 2) -> AsyncIterator[Edge]:
    async with running_server(folder / "controller") as server:
        with proxy(server.url) as cable:
            site = Site(folder, server.url)
            site.url = cable.url
            try:
                site.start_agent("--engine", "none")
                await site.registered()
                await site.set_lease(lease)
                yield Edge(site, cable, folder, server.url)
            finally:
                cable.heal()
                found = Edge(site, cable, folder, server.url)
                for pid in found.processes():
                    kill(pid)
                await site.close()


def step(name: str, ref: str, *after: str, **more: Any) -> Json:
    return {"name": name, "taskRef": ref, "dependsOn": list(after), **more}
