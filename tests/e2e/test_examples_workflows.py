"""The numbered examples of workflows, as their READMEs tell them: the real command against a real controller and one agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plum_schemas.deployment import Deployment
from plum_schemas.kv import KV
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.examples import OF_WORKFLOWS, Site, commands_of
from tests.support.programs import sandbox


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with sandbox(tmp_path) as box:
        controller = await box.controller()
        await box.agent("node-1", controller.url)
        await box.until(lambda: box.node_is("node-1", "True"))
        yield Site(box, "default")


async def runs_of(site: Site, workflow: str) -> list[WorkflowRun]:
    """Oldest first."""
    found = [run for run in await site.box.api().list(WorkflowRun, "default") if run.spec.workflow_ref == workflow]
    return sorted(found, key=lambda run: (run.metadata.creation_timestamp, int(run.metadata.resource_version)))  # type: ignore[return-value,arg-type]


async def last(site: Site, workflow: str) -> WorkflowRun:
    """The newest run, once it has ended."""

    async def ended() -> WorkflowRun | None:
        runs = await runs_of(site, workflow)
        return runs[-1] if runs and runs[-1].status.phase in TERMINAL_RUN_PHASES else None

    run: WorkflowRun = await site.until(ended, 60, what=f"a run of {workflow} has ended")
    return run


async def nodes(site: Site, name: str) -> dict[str, Any]:
    out = await site.plum(f"runs nodes {name} -o json")
    return {row["name"]: row for row in msgspec.json.decode(out)}


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_examples_of_workflows_do_what_their_readmes_say(site: Site) -> None:
    seen: dict[str, list[str]] = {}
    for example in OF_WORKFLOWS:
        blocks = commands_of(example)
        seen[example] = [await site.run(block, {}, 90) for block in blocks[: 1 if example == "66-rollout-and-rollback" else None]]

    assert (await last(site, "sequence")).status.outputs == {"text": "hello plum", "letters": 10}
    assert "sequence" in seen["60-sequence"][0]

    first, second = await runs_of(site, "branch-and-join")
    phases = [{name: row["phase"] for name, row in (await nodes(site, run.metadata.name)).items()} for run in (first, second)]
    ways = [("Succeeded", "Skipped"), ("Skipped", "Succeeded")]
    assert [(found["photo"], found["report"]) for found in phases] == ways
    assert [found["close"] for found in phases] == ["Succeeded", "Succeeded"]
    drawn = await site.plum(f"run graph {first.metadata.name}")
    assert "[true] photo  Succeeded" in drawn and "(after photo, alert, report)" in drawn

    told = await site.plum(f"run logs {first.metadata.name}")
    assert "found  Succeeded -> true" in told and f"run {first.metadata.name}  Succeeded" in told
    shown = await site.plum("simulate workflow -f manifests/61-branch-and-join/workflow.yaml --param contacts=0")
    assert "photo  Skipped" in shown and "report  Succeeded" in shown
    assert first.metadata.name in await site.plum("runs")
    made = (await site.plum(f"run rerun {first.metadata.name} --from close")).split()[0].partition("/")[2]
    again = await last(site, "branch-and-join")
    assert (again.metadata.name, again.status.phase) == (made, "Succeeded")
    assert {name for name, row in (await nodes(site, made)).items() if not row.get("reused")} == {"close"}

    swept = await last(site, "sweep-area")
    assert swept.status.outputs == {"passes": 3}
    out = await site.plum(f"run nodes {swept.metadata.name} --node sweep[1] -o json")
    assert msgspec.json.decode(out)[0]["output"] == {"pass": 1, "contacts": 2}

    resized = await last(site, "resize-all")
    assert (resized.status.phase, resized.status.outputs) == ("Succeeded", {"succeeded": 3, "failed": 1})
    assert "broken.png is no picture" in await site.plum(f"run nodes {resized.metadata.name} --node refuse[2]")

    assert (await last(site, "add-twice")).status.outputs == {"sum": 16}

    shift = await last(site, "shift")
    assert shift.status.outputs == {"level": 81, "alarm": True}
    (round_,) = await runs_of(site, "round")
    assert (round_.status.node, round_.status.counts.succeeded) == ("node-1", 12)
    assert "level" in await site.plum(f"logs taskrun/{round_.metadata.name}-measure-2")

    (waiting,) = await runs_of(site, "release")
    name = waiting.metadata.name
    assert "approve waits since" in await site.plum(f"explain run/{name}")
    assert "publish waits for no approval" in await site.plum(f"run approve {name} --node publish", code=5)
    await site.plum(f"run approve {name} --node approve --message go")
    released = await last(site, "release")
    assert released.status.phase == "Succeeded"
    entry = await site.box.api().get(KV, "released", "default")
    assert entry is not None and str(entry.spec.value).startswith("1.4.2 by ")
    assert "the run has ended" in await site.plum(f"run pause {name}", code=5)

    async def command() -> str:
        deployment = await site.box.api().get(Deployment, "shop", "default")
        assert deployment is not None
        return str(deployment.spec.template.command)

    assert "version 2" in await command()
    await site.run(commands_of("66-rollout-and-rollback")[1], {}, 90)
    failed = await last(site, "roll-out-shop")
    assert (failed.status.phase, failed.status.message) == ("Failed", "node refuse failed: the check failed")
    assert "version 2" in await command()
