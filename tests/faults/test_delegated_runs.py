"""Sub-workflows that a node carries out by itself: with the cable cut, agent and controller killed, given up and back again."""

from __future__ import annotations

import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from plum_client.errors import ApiError, error_of
from plum_client.transport import Request
from plum_flow.delegation import NODE_LOST
from plum_schemas.base import ObjectKey
from plum_schemas.node import Node
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.agent import NODE, Site, kill, marked, until, until_async
from tests.support.proxy import Proxy, proxy
from tests.support.server import running_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SECONDS = 60.0
KINDS: dict[str, Any] = {"TaskDefinition": TaskDefinition, "Workflow": Workflow, "WorkflowRun": WorkflowRun}
Json = dict[str, Any]


class Edge:
    """A controller, an agent, a cable between them that can be cut, and a workflow that delegates another one."""

    def __init__(self, site: Site, cable: Proxy | None, folder: Path) -> None:
        self.site = site
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
        definition = {key: more.pop(key) for key in ("outputs", "timeout", "params") if key in more}
        await self.apply("Workflow", f"{name}-inner", nodes=nodes, **definition)
        delegate = {"nodeName": NODE, **more.pop("delegate", {})}
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

    async def merge(self, name: str, **body: Any) -> None:
        """What an agent sends. Raises `ApiError`."""
        content = json.dumps(body).encode()
        response = await self.api.transport.send(Request("POST", WorkflowRun.info, "default", name, "merge", body=content))
        if response.status >= 400:
            raise error_of(response.status, response.body, "merge")

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
                yield Edge(site, cable, folder)
            finally:
                cable.heal()
                found = Edge(site, cable, folder)
                for pid in found.processes():
                    kill(pid)
                await site.close()


def step(name: str, ref: str, *after: str, **more: Any) -> Json:
    return {"name": name, "taskRef": ref, "dependsOn": list(after), **more}


async def test_a_delegated_run_is_carried_out_on_its_node_and_looks_as_if_it_had_run_in_the_controller(tmp_path: Path) -> None:
    async with edge(tmp_path) as site:
        await site.task("measure", 'read line; echo "measured $line" >&2; echo "{\\"value\\": 7}"')
        await site.task(
            "shaky", f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 2 ]", retry={"limit": 2, "initial": "100ms"}
        )
        nodes = [
            step("first", "builtin.echo", payload={"zone": "${{ params.zone }}"}),
            step("measure", "measure", "first", payload={"zone": "${{ nodes.first.output.zone }}"}),
            {"name": "high", "type": "branch", "dependsOn": ["measure"], "condition": "nodes.measure.output.value > 5"},
            step("shaky", "shaky", triggerRule="all_success", dependsOn=[{"node": "high", "on": "true"}]),
            step("low", "builtin.echo", dependsOn=[{"node": "high", "on": "false"}]),
            {
                "name": "again", "type": "loop", "count": 3, "dependsOn": ["measure"],
                "body": {"nodes": [step("once", "builtin.echo", payload={"i": "${{ loop.i }}"})]},
            },
            {"name": "pause", "type": "wait", "wait": {"duration": "100ms"}, "dependsOn": ["again"]},
            step("nap", "builtin.delay", "pause", payload={"seconds": 0.1}),
        ]  # fmt: skip
        outputs = {"value": "${{ nodes.measure.output.value }}", "last": "${{ nodes.again.output.last.i }}"}

        inner = await site.start("survey", nodes, params=[{"name": "zone", "type": "integer", "default": 4}], outputs=outputs)
        outer = await site.ended("survey-1")

        run = await site.run(inner)
        assert outer.status.phase == "Succeeded", (outer.status, run.status, site.site.log.read_text()[-3000:])
        assert outer.status.outputs == {"edge": {"value": 7, "last": 2}}
        assert (run.status.phase, run.status.node, run.status.fencing_token) == ("Succeeded", NODE, 1)
        rows = await site.rows(inner)
        phases = {name: row["phase"] for name, row in rows.items()}
        assert phases["low"] == "Skipped"
        assert {name for name, phase in phases.items() if phase == "Succeeded"} >= {"first", "measure", "shaky", "once[2]", "nap"}
        measured = await site.api.get(TaskRun, f"{inner}-measure", "default")
        assert measured is not None and measured.status.phase == "Succeeded" and measured.status.node == NODE
        assert measured.status.stderr.startswith("measured ")
        shaky = await site.api.get(TaskRun, f"{inner}-shaky", "default")
        assert shaky is not None and shaky.status.attempt == 2 and len(shaky.status.attempts) == 2
        await until_async(lambda: node_of(site), lambda found: found.status.delegated_runs == 0, SECONDS)
        assert not site.processes()


async def node_of(site: Edge) -> Any:
    return await site.api.get(Node, NODE)


async def test_a_delegated_run_goes_on_without_the_controller_and_through_the_death_of_its_agent(tmp_path: Path) -> None:
    async with edge(tmp_path, lease=1) as site:
        cable = site.cable
        assert cable is not None
        await site.task("begin", f"echo begin >> {tmp_path}/log; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
        waits = f"while [ ! -e {tmp_path}/end ]; do sleep 0.05; done"
        await site.task("long", f"echo long >> {tmp_path}/log; {waits}; echo '{{\"n\": 5}}'")
        await site.task("after", f"echo after >> {tmp_path}/log")
        body = {"nodes": [step("pass", "builtin.echo", payload={"i": "${{ loop.i }}"})]}
        nodes = [
            step("begin", "begin"),
            step("long", "long", "begin"),
            {"name": "many", "type": "loop", "count": 300, "dependsOn": ["long"], "body": body},
            {"name": "pause", "type": "wait", "wait": {"duration": "300ms"}, "dependsOn": ["many"]},
            step("after", "after", "pause"),
        ]
        inner = await site.start("voyage", nodes, outputs={"n": "${{ nodes.long.output.n }}"})
        await until(lambda: site.lines("log") == ["begin"], SECONDS, "the first task runs")
        await site.phase(inner, "Running")

        cable.cut()
        away = await until_async(lambda: site.run(inner), lambda run: run.status.out_of_contact_since is not None, SECONDS)
        assert away.status.phase == "Running", "nobody is given up who may be away for any time"
        (tmp_path / "go").touch()
        await until(lambda: site.lines("log") == ["begin", "long"], SECONDS, "the next task starts with nobody in reach")
        site.site.end_agent(signal.SIGKILL)
        assert len(site.processes()) >= 1, "what runs goes on without the agent"
        site.site.start_agent("--engine", "none")
        (tmp_path / "end").touch()
        await until(lambda: site.lines("log") == ["begin", "long", "after"], SECONDS, "the next agent goes on")
        assert (await site.run(inner)).status.phase == "Running", "the controller knows nothing of it yet"

        cable.heal()
        outer = await site.ended("voyage-1")

        run = await site.run(inner)
        assert (outer.status.phase, outer.status.outputs) == ("Succeeded", {"edge": {"n": 5}}), run.status
        assert run.status.out_of_contact_since is None
        assert run.status.counts.succeeded == 5 + 300
        assert site.lines("log") == ["begin", "long", "after"], "each ran once"
        rows = await site.rows(inner)
        assert len([name for name in rows if name.startswith("pass[")]) == 300
        assert all(row["phase"] == "Succeeded" for row in rows.values()), rows
        assert not site.processes()


async def test_a_node_that_was_given_up_is_refused_when_it_returns_and_ends_what_it_runs(tmp_path: Path) -> None:
    async with edge(tmp_path, lease=1) as site:
        cable = site.cable
        assert cable is not None
        await site.task("long", f"echo long >> {tmp_path}/log; sleep 1000")
        await site.task("other", f"echo other >> {tmp_path}/log")
        nodes = [step("long", "long"), step("other", "other")]
        inner = await site.start("lost", nodes, delegate={"lostAfter": "2s"})
        await until(lambda: sorted(site.lines("log")) == ["long", "other"], SECONDS, "both run")
        before = await site.phase(inner, "Running")

        cable.cut()
        outer = await site.ended("lost-1")
        run = await site.run(inner)
        assert outer.status.phase == "Failed" and "longer than lostAfter 2s; given up" in outer.status.message, outer.status
        assert (run.status.phase, run.status.reason) == ("Failed", NODE_LOST)
        assert run.status.fencing_token == before.status.fencing_token + 1
        assert site.processes(), "the node does not know yet"
        rows = await until_async(lambda: site.rows(inner), lambda found: found["long"]["phase"] == "Canceled", SECONDS)
        assert rows["long"]["reason"] == NODE_LOST

        cable.heal()
        await until(lambda: not site.processes(), SECONDS, "what ran there is ended")
        with pytest.raises(ApiError, match="fencing token is 2, not 1"):
            row = {"key": "long", "value": {"name": "long", "phase": "Succeeded"}}
            await site.merge(inner, fencingToken=before.status.fencing_token, number=99, rows=[row])
        with pytest.raises(ApiError, match="has ended"):
            await site.merge(inner, fencingToken=run.status.fencing_token, number=99, rows=[row])
        stale = run.status.fencing_token - 1
        with pytest.raises(ApiError, match="fencing token"):
            patch = {"status": {"fencingToken": stale, "phase": "Succeeded"}}
            await site.api.patch(WorkflowRun, ObjectKey("default", inner), patch, subresource="status")
        again = await site.run(inner)
        assert (again.status.phase, again.status.reason) == ("Failed", NODE_LOST)
        assert (await site.rows(inner))["long"]["phase"] == "Canceled"


async def test_pause_and_cancel_take_effect_when_the_node_can_be_reached(tmp_path: Path) -> None:
    async with edge(tmp_path, lease=1) as site:
        cable = site.cable
        assert cable is not None
        await site.task("first", f"echo first >> {tmp_path}/log; while [ ! -e {tmp_path}/go ]; do sleep 0.05; done")
        await site.task("second", f"echo second >> {tmp_path}/log; sleep 1000")
        inner = await site.start("held", [step("first", "first"), step("second", "second", "first")])
        await until(lambda: site.lines("log") == ["first"], SECONDS, "it runs")

        await site.api.patch(WorkflowRun, ObjectKey("default", inner), {"spec": {"state": "Paused"}})
        await site.phase(inner, "Paused")
        (tmp_path / "go").touch()
        await until_async(lambda: site.rows(inner), lambda rows: rows["first"]["phase"] == "Succeeded", SECONDS)
        assert site.lines("log") == ["first"], "nothing new starts"
        await site.api.patch(WorkflowRun, ObjectKey("default", inner), {"spec": {"state": "Running"}})
        await until(lambda: site.lines("log") == ["first", "second"], SECONDS, "it goes on")
        await site.phase(inner, "Running")

        cable.cut()
        await until_async(lambda: site.run(inner), lambda run: run.status.out_of_contact_since is not None, SECONDS)
        await site.api.patch(WorkflowRun, ObjectKey("default", "held-1"), {"spec": {"state": "Canceled"}})
        await until_async(lambda: site.run(inner), lambda run: run.spec.state == "Canceled", SECONDS)
        assert site.processes() and (await site.run(inner)).status.phase == "Running"
        cable.heal()
        run, outer = await site.ended(inner), await site.ended("held-1")
        assert (run.status.phase, outer.status.phase) == ("Canceled", "Canceled")
        await until(lambda: not site.processes(), SECONDS, "it was ended")
