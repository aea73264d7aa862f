"""`kill -9` of the controller at random moments while workflows run: every run ends, every step is committed once."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_client.errors import ApiError
from plum_client.http_transport import HttpTransport
from plum_schemas.taskrun import TaskRun
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.programs import Sandbox, sandbox
from tests.support.workflows import echo

FULL_ROUNDS = int(os.environ.get("PLUM_WORKFLOW_KILLS", "1000"))
DEFINITION: dict[str, Any] = {
    "params": {"n": 0},
    "nodes": [
        echo("a", payload={"n": "${{ params.n }}"}),
        {"name": "wait", "taskRef": "builtin.delay", "dependsOn": ["a"], "payload": {"seconds": 0.1}},
        {"name": "l", "type": "loop", "count": 20, "dependsOn": ["a"],
         "body": [echo("x", payload={"i": "${{ loop.i }}"}), echo("y", "x", payload={"i": "${{ nodes.x.output.i * 2 }}"})]},
        {"name": "m", "type": "map", "items": "${{ [1, 2, 3, 4, 5] }}", "maxParallel": 2, "dependsOn": ["wait"],
         "body": [{"name": "t", "taskRef": "builtin.delay", "payload": {"seconds": 0.01, "v": "${{ item + params.n }}"}}]},
        {"name": "b", "type": "branch", "dependsOn": ["l"], "condition": "nodes.l.output.last.i == 38"},
        {"name": "bad", "taskRef": "builtin.fail", "dependsOn": [{"node": "b", "on": "false"}]},
        {"name": "pause", "type": "wait", "dependsOn": [{"node": "b", "on": "true"}], "wait": {"duration": "200ms"}},
        echo("z", "m", "pause", "bad", payload={"vs": "${{ nodes.m.output.results.map(r, r.v) }}"}),
    ],
    "finally": {"nodes": [echo("f")]},
    "outputs": {"vs": "${{ nodes.z.output.vs }}", "n": "${{ nodes.l.output.iterations }}"},
    "keepRuns": {"succeeded": 100000},
}  # fmt: skip


async def rows(box: Sandbox, name: str) -> dict[str, Any]:
    transport = box.api().transport
    assert isinstance(transport, HttpTransport)
    path = f"/apis/plum.dev/v1/namespaces/default/workflowruns/{name}/nodes?limit=2000"
    response = await transport.request("GET", path, {}, b"")
    if response.status != 200:
        return {}
    return {row["key"]: row for row in msgspec.json.decode(response.body)["items"]}


async def play(folder: Path, seed: int, rounds: int, runs_of_a_round: int) -> None:
    """In every round some runs are started and the controller dies while they go on."""
    chance = random.Random(seed)
    async with sandbox(folder) as box:
        controller = await box.controller()
        manifest = {"apiVersion": "plum.dev/v1", "kind": "Workflow", "metadata": {"name": "flow", "namespace": "default"}}
        await box.api().create({**manifest, "spec": DEFINITION}, kind=Workflow.info)
        names: list[str] = []
        ended: dict[str, dict[str, Any]] = {}
        for number in range(rounds):
            for index in range(runs_of_a_round):
                names.append(f"r{number}-{index}")
                run = {
                    "apiVersion": "plum.dev/v1",
                    "kind": "WorkflowRun",
                    "metadata": {"name": names[-1], "namespace": "default"},
                }
                spec = {"workflowRef": "flow", "params": {"n": number}}
                try:
                    await box.api().create({**run, "spec": spec}, kind=WorkflowRun.info)
                except ApiError as error:
                    ended_with = controller.process.poll()
                    raise AssertionError(f"seed {seed}: the controller ended with {ended_with}\n{box.logs()}") from error
            await asyncio.sleep(chance.uniform(0.0, 0.6))
            for name in names[-runs_of_a_round:]:
                for key, row in (await rows(box, name)).items():
                    if row.get("finishedAt") and row["phase"] in ("Succeeded", "Failed", "Skipped"):
                        ended.setdefault(name, {})[key] = (row["phase"], row["finishedAt"], row.get("output"))
            controller.kill()
            controller = await box.restarted(controller)

        async def all_ended() -> bool:
            try:
                found = {run.metadata.name: run for run in await box.api().list(WorkflowRun, "default")}
            except ApiError:
                return False
            return all(found[name].status.phase in TERMINAL_RUN_PHASES for name in names)

        await box.until(all_ended, 120, what="every run has ended")
        runs = {run.metadata.name: run for run in await box.api().list(WorkflowRun, "default")}
        made: dict[str, list[str]] = {}
        for task in await box.api().list(TaskRun, "default"):
            made.setdefault(task.metadata.owner_references[0].name, []).append(task.metadata.name)
        for name in names:
            run, n = runs[name], int(name[1:].partition("-")[0])
            outputs = {"vs": [value + n for value in range(1, 6)], "n": 20}
            assert (run.status.phase, run.status.outputs) == ("Succeeded", outputs), f"seed {seed}: {name}: {run.status}"
            assert run.status.counts.succeeded == 7 + 40 + 5 + 1, f"seed {seed}: {name}: {run.status.counts}"
            assert sorted(made[name]) == sorted({*made[name]}) and len(made[name]) == 6, f"seed {seed}: {name}: {made[name]}"
            found = await rows(box, name)
            for key, before in ended.get(name, {}).items():
                row = found[key]
                assert (row["phase"], row["finishedAt"], row.get("output")) == before, f"seed {seed}: {name}: {key} changed"
                assert row.get("attempt", 1) <= 1


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_runs_end_as_if_nothing_had_happened(tmp_path: Path) -> None:
    await play(tmp_path, random.SystemRandom().randrange(1 << 32), 2, 8)


@pytest.mark.soak
@pytest.mark.timeout(14_400)
async def test_thousands_of_runs_survive_kills(tmp_path: Path) -> None:
    """A new store every 50 kills."""
    for batch in range(max(1, FULL_ROUNDS // 50)):
        await play(tmp_path / str(batch), batch, 50, 8)
