"""Hooks of workflows when their receiver is away and the controller dies: each is told at least once, in order, under one id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.http_site import Asked, Reply, http_site
from tests.support.programs import sandbox
from tests.support.workflows import echo


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_killed_controller_loses_no_hook(tmp_path: Path) -> None:
    away = True
    told: list[dict[str, Any]] = []

    def answer(request: Asked) -> Reply:
        if away:
            return Reply(status=503)
        told.append(request.json())
        return Reply(status=204)

    async with http_site(answer) as site, sandbox(tmp_path) as box:
        env = {"PLUM_OUTGOING_ALLOW": site.url.removeprefix("http://")}
        controller = await box.controller(env=env)
        hook = {"name": "all of it", "on": ["RunStarted", "NodeStarted", "NodeFinished", "RunFinished"], "url": site.url}
        spec = {"nodes": [echo("a"), echo("b", "a")], "hooks": [hook]}
        base = {"apiVersion": "plum.dev/v1", "metadata": {"name": "flow", "namespace": "default"}}
        await box.api().create({**base, "kind": "Workflow", "spec": spec}, kind=Workflow.info)
        for number in range(5):
            metadata = {"name": f"r{number}", "namespace": "default"}
            run = {**base, "kind": "WorkflowRun", "metadata": metadata, "spec": {"workflowRef": "flow"}}
            await box.api().create(run, kind=WorkflowRun.info)

        async def ended() -> bool:
            runs = await box.api().list(WorkflowRun, "default")
            return len(runs) == 5 and all(run.status.phase in TERMINAL_RUN_PHASES for run in runs)

        await box.until(ended, 60, what="the runs have ended")
        assert not told
        for _ in range(2):
            controller.kill()
            controller = await box.restarted(controller, env=env)
        away = False

        async def all_told() -> bool:
            return len([event for event in told if event["event"] == "RunFinished"]) >= 5

        await box.until(all_told, 90, what="all was told")

    expected = ["RunStarted", "NodeStarted a", "NodeFinished a", "NodeStarted b", "NodeFinished b", "RunFinished"]
    for number in range(5):
        own = [event for event in told if event["run"]["name"] == f"r{number}"]
        seen = [f"{event['event']} {event.get('node', {}).get('name', '')}".strip() for event in own]
        assert seen == expected, (number, seen)
        assert len({event["id"] for event in own}) == len(own)
