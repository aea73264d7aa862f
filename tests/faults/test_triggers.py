"""`kill -9` of the controller around firings: one run for each time and each change, and a status that says so."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from plum_client.client import ApiClient
from plum_client.errors import ApiUnavailableError
from plum_schemas.base import ObjectMeta
from plum_schemas.core import ConfigMap
from plum_schemas.trigger import Trigger
from plum_schemas.workflow import Workflow
from plum_schemas.workflowrun import WorkflowRun

from tests.support.clocks import ShiftedClock, compiler, make_clock
from tests.support.programs import Sandbox, key, sandbox

CRONS = 4
pytestmark = pytest.mark.skipif(compiler() is None, reason="moving clocks needs a C compiler")


async def apply(api: ApiClient, kind: type[Workflow] | type[Trigger], name: str, spec: dict[str, object]) -> None:
    body = {"apiVersion": "plum.dev/v1", "kind": kind.info.kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    await api.apply(body, kind=kind.info)


class Writer:
    """Changes a ConfigMap again and again, and knows what was acknowledged."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.acknowledged: list[str] = []
        self.stopped = False

    async def run(self) -> None:
        number = 0
        while not self.stopped:
            number += 1
            try:
                await self.box.api().patch(ConfigMap, key("source"), {"data": {"n": str(number)}})
                self.acknowledged.append(str(number))
            except ApiUnavailableError:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.05)


def before_the_minute(clock: ShiftedClock, shift: int) -> int:
    """Set the clock to within a second before its next minute."""
    left = 60 - (time.time() + shift) % 60
    shift += max(0, int(left - 0.2))
    clock.shift(shift)
    return shift


async def kills(tmp_path: Path, rounds: int, seed: int) -> None:
    dice = random.Random(seed)
    async with sandbox(tmp_path) as box:
        clock = make_clock(tmp_path, "controller")
        controller = await box.controller(env=clock.environment)
        api = box.api()
        nodes, keep = [{"name": "a", "taskRef": "builtin.echo"}], {"succeeded": 100000}
        await apply(api, Workflow, "work", {"nodes": nodes, "params": [{"name": "n", "default": ""}], "keepRuns": keep})
        await api.create(ConfigMap(metadata=ObjectMeta(name="source", namespace="default"), data={"n": "0"}))
        for number in range(CRONS):
            await apply(
                api, Trigger, f"cron-{number}", {"workflowRef": "work", "cron": {"schedule": "* * * * *", "catchUp": "All"}}
            )
        params = {"n": "${{ event.object.data.n }}"}
        event = {"apiVersion": "v1", "kind": "ConfigMap", "name": "source", "changes": ["Modified"]}
        await apply(api, Trigger, "changes", {"workflowRef": "work", "event": event, "params": params})

        async def settled() -> bool:
            found = await box.api().list(Trigger, "default")
            return all(one.status.observed_generation for one in found)

        await box.until(settled)
        writer = Writer(box)
        writing = asyncio.create_task(writer.run())
        shift = 0
        for _ in range(rounds):
            shift = before_the_minute(clock, shift)
            await asyncio.sleep(dice.uniform(0.1, 1.3))
            controller.kill()
            controller = await box.restarted(controller, env=clock.environment)
            await asyncio.sleep(dice.uniform(0.0, 0.5))
        writer.stopped = True
        await writing

        async def told() -> bool:
            runs = await box.api().list(WorkflowRun, "default")
            seen = {str(run.spec.params.get("n")) for run in runs}
            return set(writer.acknowledged) <= seen

        await box.until(told, 60)
        runs = list(await box.api().list(WorkflowRun, "default"))
        times = Counter((run.spec.triggered_by, run.spec.scheduled_for) for run in runs if run.spec.scheduled_for is not None)
        changes = Counter(run.spec.params["n"] for run in runs if run.spec.scheduled_for is None)
        assert set(times.values()) | set(changes.values()) == {1}, "once for each cause"
        for number in range(CRONS):
            mine = sorted(at for name, at in times if name == f"trigger/cron-{number}" and at is not None)
            assert len(mine) >= rounds
            assert {int((b - a).total_seconds()) for a, b in pairwise(mine)} == {60}, "no gap"
        for trigger in await box.api().list(Trigger, "default"):
            own = [run for run in runs if run.spec.triggered_by == f"trigger/{trigger.metadata.name}"]
            assert trigger.status.fired == len(own)
            assert trigger.status.missed == 0


@pytest.mark.slow
async def test_each_time_and_each_change_has_one_run_whenever_the_controller_is_killed(tmp_path: Path) -> None:
    await kills(tmp_path, rounds=2, seed=5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(5))
async def test_the_same_for_a_hundred_kills(tmp_path: Path, seed: int) -> None:
    await kills(tmp_path, rounds=100, seed=seed)
