"""A delegated run in virtual time, over a link that is cut, loses answers and delivers copies late, while agent and controller
are killed: whatever happens, it ends once, and the controller has what the node did."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import pytest
from plum_agent.devices import Devices
from plum_agent.drivers.fake import FakeDriver, FakeOptions
from plum_agent.environment import Place
from plum_agent.tasks.allow import AllowList
from plum_agent.tasks.launching import TaskLauncher
from plum_agent.tasks.record import TaskLedger
from plum_agent.tasks.surroundings import Surroundings
from plum_agent.workflows.runs import NodeRuns
from plum_client.client import ApiClient
from plum_client.errors import ApiError, ApiUnavailableError
from plum_client.outgoing import OutgoingClient
from plum_client.transport import Request, Response, Stream, Transport
from plum_flow.delegation import NODE_LOST
from plum_schemas.base import ObjectKey
from plum_schemas.taskdefinition import TaskDefinition
from plum_schemas.workflowrun import WorkflowRun

from tests.support.simulated_nodes import SimulatedNodes
from tests.support.workflows import Site, echo, on_site

NODE = "node-1"


class BadLink:
    """Requests of one node: refused while it is cut, else sometimes lost, answered in vain, or delivered again much later."""

    def __init__(self, inner: Transport, random: Random) -> None:
        self._inner = inner
        self._random = random
        self.cut = False
        self.bad = True
        self._late: set[asyncio.Task[None]] = set()

    async def send(self, request: Request) -> Response:
        chance = self._random.random() if self.bad else 1.0
        await asyncio.sleep(self._random.random() / 100)
        if self.cut or chance < 0.1:
            raise ApiUnavailableError("the request was lost")
        if chance < 0.3 and request.subresource == "merge":
            task = asyncio.get_running_loop().create_task(self._again(request))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            if chance < 0.2:
                raise ApiUnavailableError("the request was held up")
        response = await self._inner.send(request)
        if chance > 0.9 and self.bad:
            raise ApiUnavailableError("the answer was lost")
        return response

    async def _again(self, request: Request) -> None:
        await asyncio.sleep(self._random.random() * 5)
        await self._inner.send(request)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        if self.cut:
            raise ApiUnavailableError("cut")
        async with self._inner.stream(request) as stream:
            yield Stream(stream.status, self._until_cut(stream.chunks), stream.headers)

    async def _until_cut(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            if self.cut:
                raise ApiUnavailableError("cut")
            yield chunk

    async def close(self) -> None:
        for task in list(self._late):
            task.cancel()


class World:
    """A control plane, and one node with an agent that carries out runs."""

    def __init__(self, site: Site, folder: Path, seed: int) -> None:
        self.site = site
        self.random = Random(seed)
        self._folder = folder
        self.link = BadLink(site.api.transport, self.random)
        self.api = ApiClient(self.link, field_manager="plum-agent")
        self.nodes = SimulatedNodes(site.api, site.plane.clock, [NODE], lease_seconds=3)
        self._beating: asyncio.Task[None] | None = None
        self._agent: asyncio.Task[None] | None = None
        self.agents = 0

    async def start(self) -> None:
        await self.nodes.register()
        self._beating = asyncio.create_task(self.nodes.heartbeat())
        self.start_agent()

    def start_agent(self) -> None:
        clock = self.site.plane.clock
        driver = FakeDriver(FakeOptions(), clock, self.random)
        ledger = TaskLedger(None)
        place = Place(NODE, "127.0.0.1", "", "", Devices())
        launcher = TaskLauncher(place, self.api, driver, ledger, AllowList())
        around = Surroundings(NODE, "boot", self.api, clock, driver, ledger, launcher, None, self.random)
        self.agents += 1
        runs = NodeRuns(around, self.api, self._folder, f"a{self.agents}-flow.", 8, OutgoingClient())
        self._agent = asyncio.create_task(runs.run())

    async def kill_agent(self) -> None:
        assert self._agent is not None
        self._agent.cancel()
        await asyncio.gather(self._agent, return_exceptions=True)

    def cut(self) -> None:
        self.link.cut = self.nodes.nodes[NODE].cut = True

    async def heal(self) -> None:
        self.link.cut = self.nodes.nodes[NODE].cut = False

    async def approve(self, inner: str, pause: float) -> None:
        """Answer what the run asks, whatever is the matter with link and controller."""
        while True:
            with suppress(ApiError, AssertionError):
                row = (await self.site.rows(inner)).get("ask", {})
                if row.get("phase") == "Waiting":
                    await asyncio.sleep(pause)
                    await self.site.control(inner, "approve", node="ask")
                    return
            await asyncio.sleep(0.5)

    async def close(self) -> None:
        await self.kill_agent()
        assert self._beating is not None
        self._beating.cancel()
        await self.link.close()

    async def delegate(self, **more: object) -> str:
        process = {
            "executor": "os_process", "process": {"command": ["work"], "env": {"FAKE_EXIT_AFTER": "2"}},
            "concurrency": {"key": "tool", "limit": 2},
        }  # fmt: skip
        await self.site.api.create(await self.site.manifest("TaskDefinition", "work", process), kind=TaskDefinition.info)
        body = {"nodes": [echo("in", payload={"i": "${{ loop.i }}"}), {"name": "work", "taskRef": "work", "dependsOn": ["in"]}]}
        script = {"name": "script", "type": "script", "config": {"command": ["work"], "env": {"FAKE_EXIT_AFTER": "1"}}}
        await self.site.workflow(
            "leaf", nodes=[echo("a"), script | {"dependsOn": ["a"]}], params={"i": 0}, outputs={"i": "${{ params.i }}"}
        )
        twig = {"name": "leaf", "type": "subworkflow", "workflowRef": "leaf", "params": {"i": "${{ params.i }}"}}
        later = {"name": "later", "taskRef": "work", "dependsOn": ["leaf"]}
        outputs = {"i": "${{ nodes.leaf.output.i }}"}
        await self.site.workflow("twig", nodes=[twig, later], params={"i": 0}, outputs=outputs)
        twig |= {"name": "twig", "workflowRef": "twig", "params": {"i": "${{ loop.i }}"}, "dependsOn": ["work"]}
        body["nodes"].append(twig)
        nodes = [
            echo("first"),
            {"name": "ask", "type": "wait", "wait": {"approval": {"message": "go on?"}}},
            {"name": "nap", "taskRef": "builtin.delay", "payload": {"seconds": 3}, "dependsOn": ["first"]},
            {"name": "rounds", "type": "loop", "count": 4, "dependsOn": ["first"], "body": body},
            {"name": "pause", "type": "wait", "wait": {"duration": "4s"}, "dependsOn": ["nap", "rounds", "ask"]},
            echo("last", "pause", payload={"n": "${{ nodes.rounds.output.last.i }}"}),
        ]
        body["nodes"].append(echo("out", "twig", payload={"i": "${{ nodes.twig.output.i }}"}))
        await self.site.workflow("inner", nodes=nodes, outputs={"n": "${{ nodes.last.output.n }}"})
        edge = {"name": "edge", "type": "subworkflow", "workflowRef": "inner", "delegate": {"nodeName": NODE, **more}}
        await self.site.workflow("outer", nodes=[edge], outputs={"n": "${{ nodes.edge.output.n }}"})
        await self.site.run("outer", "o")
        return "o-edge"


def play(seed: int) -> None:
    async def scenario(site: Site) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(site, Path(folder), seed)
            await world.start()
            inner = await world.delegate()
            chance = world.random
            answering = asyncio.create_task(world.approve(inner, chance.random() * 5))
            for _ in range(chance.randrange(3, 9)):
                await asyncio.sleep(chance.random() * 4)
                match chance.randrange(5):
                    case 0:
                        world.cut()
                    case 1:
                        await world.heal()
                    case 2:
                        await world.kill_agent()
                        world.start_agent()
                    case 3:
                        await site.crash()
                        await asyncio.sleep(chance.random())
                        await site.run_controllers()
                    case 4:
                        pass
            await world.heal()
            outer = await site.ended("o")
            run = await site.get(inner)
            assert (outer.status.phase, outer.status.outputs) == ("Succeeded", {"n": 3}), (seed, outer.status, run.status)
            assert (run.status.phase, run.status.fencing_token) == ("Succeeded", 1)
            await answering
            await asyncio.sleep(6)  # copies that are late
            rows = await site.rows(inner)
            assert {name: row["phase"] for name, row in rows.items() if row["phase"] != "Succeeded"} == {}, seed
            assert len(rows) == 6 + 4 * 4, sorted(rows)
            twigs = [f"{inner}-twig-{number}" for number in range(4)]
            inside = {*twigs, *(f"{twig}-leaf" for twig in twigs)}
            runs = {run.metadata.name: run.status for run in await site.api.list(WorkflowRun, "default")}
            assert {name: status.phase for name, status in runs.items()} == dict.fromkeys({"o", inner, *inside}, "Succeeded"), (
                seed
            )
            assert {runs[name].fencing_token for name in inside} == {1}
            for twig in twigs:
                assert {name: row["phase"] for name, row in (await site.rows(f"{twig}-leaf")).items()} == {
                    "a": "Succeeded", "script": "Succeeded",
                }  # fmt: skip
            made = {run.metadata.name: run.status.phase for run in await site.task_runs()}
            wanted = {f"{inner}-nap", *(f"{inner}-work-{number}" for number in range(4))}
            wanted |= {f"{twig}-later" for twig in twigs} | {f"{twig}-leaf-script" for twig in twigs}
            assert made == dict.fromkeys(wanted, "Succeeded"), (seed, made)
            await world.close()

    on_site(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_cut_repeated_or_killed_a_delegated_run_ends_once(seed: int) -> None:
    play(seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_1000_delegated_runs_end_once(part: int) -> None:
    for seed in range(part * 100, part * 100 + 100):
        play(seed)


def test_a_node_that_is_away_for_too_long_is_given_up_and_what_it_did_does_not_count() -> None:
    async def scenario(site: Site) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(site, Path(folder), 1)
            world.link.bad = False
            await world.start()
            inner = await world.delegate(lostAfter="10s")
            key = ObjectKey("default", inner)
            await site.until(
                lambda: site.api.get(WorkflowRun, key), lambda run: run is not None and run.status.phase == "Running"
            )
            await site.until(lambda: site.api.list(WorkflowRun, "default"), lambda runs: len(list(runs)) > 2)
            world.cut()
            outer = await site.ended("o")
            assert outer.status.phase == "Failed"
            run = await site.get(inner)
            assert (run.status.reason, run.status.fencing_token) == (NODE_LOST, 2)
            await asyncio.sleep(60)  # the node has done all of it meanwhile
            await world.heal()
            await asyncio.sleep(60)
            after = await site.get(inner)
            assert (after.status.phase, after.status.reason, after.status.outputs) == ("Failed", NODE_LOST, {})
            assert (await site.rows(inner))["pause"]["phase"] in ("Canceled", "Pending")
            assert [run for run in await site.task_runs() if run.status.phase not in ("Succeeded",)] == []
            runs = await site.api.list(WorkflowRun, "default")
            inside = [run for run in runs if run.metadata.name not in ("o", inner)]
            assert inside, "some were begun before the cut"
            for lost in inside:
                assert (lost.status.phase, lost.status.reason) in (("Succeeded", ""), ("Failed", NODE_LOST)), lost.status
            assert any(run.status.reason == NODE_LOST for run in inside)
            await world.close()

    on_site(scenario)


def test_only_those_who_may_answer_do_and_what_makes_no_sense_is_told() -> None:
    async def scenario(site: Site) -> None:
        with tempfile.TemporaryDirectory() as folder:
            world = World(site, Path(folder), 1)
            world.link.bad = False
            await world.start()
            waits = {"name": "ask", "type": "wait", "wait": {"approval": {"approvers": ["captain"]}}}
            await site.workflow("inner", nodes=[waits, {"name": "free", "type": "wait", "wait": {"approval": {}}}])
            await site.run("inner", "r", delegate={"nodeName": NODE})
            await site.until(lambda: site.rows("r"), lambda rows: rows.get("free", {}).get("phase") == "Waiting")

            with pytest.raises(ApiError, match="may not answer for ask; those who may: captain"):
                await site.control("r", "approve", node="ask")
            await site.control("r", "approve", node="free")
            await site.until(lambda: site.rows("r"), lambda rows: rows["free"]["phase"] == "Succeeded")
            await site.control("r", "approve", node="free")
            await site.until(lambda: site.get("r"), lambda run: run.status.observed_commands == 2)
            await site.control("r", "cancel")
            assert (await site.ended("r")).status.phase == "Canceled"
            await world.close()

    on_site(scenario)
