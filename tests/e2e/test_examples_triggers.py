"""The numbered examples of triggers, as their READMEs tell them: the real command, a real controller, and a clock that is set."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plum_controller.domain.cron import parse
from plum_schemas.kv import KV, kv_name
from plum_schemas.operation import Operation
from plum_schemas.trigger import Trigger
from plum_schemas.workflowrun import TERMINAL_RUN_PHASES, WorkflowRun

from tests.support.clocks import ShiftedClock, compiler, make_clock
from tests.support.examples import Site, commands_of
from tests.support.programs import sandbox

pytestmark = [pytest.mark.slow, pytest.mark.skipif(compiler() is None, reason="moving clocks needs a C compiler")]


@pytest.fixture
async def clock(tmp_path: Path) -> ShiftedClock:
    return make_clock(tmp_path, "controller")


@pytest.fixture
async def site(tmp_path: Path, clock: ShiftedClock) -> AsyncIterator[Site]:
    async with sandbox(tmp_path) as box:
        controller = await box.controller(env=clock.environment)
        await box.agent("node-1", controller.url)
        await box.until(lambda: box.node_is("node-1", "True"))
        yield Site(box, "default")


async def runs_of(site: Site, trigger: str, count: int) -> list[WorkflowRun]:
    """The runs of a trigger, once there are so many and all have ended."""

    async def ended() -> list[WorkflowRun] | None:
        found = [
            run for run in await site.box.api().list(WorkflowRun, "default") if run.spec.triggered_by == f"trigger/{trigger}"
        ]
        whole = len(found) == count and all(run.status.phase in TERMINAL_RUN_PHASES for run in found)
        return sorted(found, key=lambda run: run.metadata.name) if whole else None

    runs: list[WorkflowRun] = await site.until(ended, 60, what=f"{count} runs of {trigger} have ended")
    assert {run.status.phase for run in runs} == {"Succeeded"}, [run.status.message for run in runs]
    return runs


async def value(site: Site, key: str) -> Any:
    entry = await site.box.api().get(KV, kv_name(key), "default")
    return entry.spec.value if entry is not None else None


async def report(site: Site, clock: ShiftedClock) -> None:
    first, second = commands_of("67-cron-report")

    shown = await site.run(first, {})
    assert "workflowrun/daily-report-m" in shown and "Succeeded" in shown
    assert "next: " in shown and shown.count(" 06:00 CE") == 5
    await runs_of(site, "daily-report", 1)

    filled = await site.run(second, {})
    assert filled.count("would be there") == 3
    assert filled.count("started") == 4
    assert filled.count("was there already") == 3
    days = [run.spec.scheduled_for for run in await runs_of(site, "daily-report", 5)]
    assert datetime(2026, 3, 29, 4, tzinfo=UTC) in days, "six o'clock is an hour earlier from that day on"

    next_time = parse("0 6 * * *", "Europe/Berlin").after(datetime.now(UTC))
    assert next_time is not None
    clock.shift(int(next_time.timestamp() - time.time()) + 1)
    runs = await runs_of(site, "daily-report", 6)
    assert next_time in [run.spec.scheduled_for for run in runs]
    report = await value(site, f"reports/{next_time:%Y-%m-%dT%H:%M:%SZ}")
    assert report == "2 values, mean 50.0"
    trigger = await site.box.api().get(Trigger, "daily-report", "default")
    assert trigger is not None
    assert trigger.status.next_times[0] - next_time in (timedelta(hours=23), timedelta(hours=24), timedelta(hours=25))


async def signed_request(site: Site) -> None:
    apply, send = commands_of("68-webhook-deploy")

    await site.run(apply, {}, 90)
    answers = await site.run(send, {})
    first, second = (json.loads(text) for text in answers.replace("}{", "}\n{").splitlines())

    (run,) = await runs_of(site, "deploy", 1)
    assert (first["runs"], second["known"], second["runs"]) == ([run.metadata.name], [run.metadata.name], [])

    async def told() -> bool:
        return "landing page, version 2" in await site.plum("logs deployment/landing")

    await site.until(told, what="version 2 runs")


async def survey(site: Site) -> None:
    apply, emit = commands_of("69-device-survey")

    await site.run(apply, {}, 90)
    await site.run(emit, {})

    (asked,) = await runs_of(site, "on-request", 1)
    assert asked.spec.params == {"zones": [1, 2, 3]}
    await runs_of(site, "look-again", 1)
    looked = [one for one in await site.box.api().list(Operation, "default") if one.spec.resource_ref == "radar"]
    assert sorted(one.spec.arguments["sector"] for one in looked) == [1, 2, 3, 5]
    for one in looked:
        assert one.status.phase == "Succeeded", one.status
        contacts = len(one.status.result["contacts"])
        assert await value(site, f"contacts/zone-{one.spec.arguments['sector']}") == (contacts or None)


@pytest.mark.timeout(180)
async def test_the_examples_of_triggers_do_what_their_readmes_say(site: Site, clock: ShiftedClock) -> None:
    await signed_request(site)
    await survey(site)
    await report(site, clock)  # it sets the clock
