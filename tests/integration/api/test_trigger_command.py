"""`plum trigger` against a real server, in this process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Plum
from tests.support.server import RunningServer

WORKFLOW = """
apiVersion: plum.dev/v1
kind: Workflow
metadata: {name: work}
spec: {nodes: [{name: a, taskRef: builtin.echo}], params: [{name: n, type: integer, default: 0}, {name: ref, default: ""}]}
---
apiVersion: plum.dev/v1
kind: Trigger
metadata: {name: nightly}
spec: {workflowRef: work, cron: {schedule: "30 2 * * *", timezone: Europe/Berlin}}
"""


@pytest.fixture
def plum(server: RunningServer, tmp_path: Path) -> Plum:
    made = Plum(server.url, tmp_path)
    made.ok("apply", "-f", made.write("work.yaml", WORKFLOW))
    return made


async def answer(server: RunningServer, path: str) -> Any:
    return (await server.get(path)).json()


def test_fire_and_show(plum: Plum, server: RunningServer) -> None:
    first = plum.ok("trigger", "nightly", "-p", "n=3", "-p", "ref=main", "--key", "k1").out
    again = plum.ok("trigger", "fire", "nightly", "--key", "k1").out
    shown = plum.ok("trigger", "show", "nightly").out

    name = first.split()[0].removeprefix("workflowrun/")
    assert first == f"workflowrun/{name} started\n"
    assert again == f"workflowrun/{name} was there already\n"
    assert "fired 1 times, missed or refused 0" in shown
    assert f"Started manual {name}" in " ".join(shown.split())
    run = asyncio.run(answer(server, f"/apis/plum.dev/v1/namespaces/default/workflowruns/{name}"))
    assert run["spec"]["params"] == {"n": 3, "ref": "main"}


def test_backfill(plum: Plum) -> None:
    tried = plum.ok("trigger", "backfill", "nightly", "--from", "2026-03-28", "--to", "2026-03-30", "--dry-run").out
    done = plum.ok("trigger", "backfill", "nightly", "--from", "2026-03-28", "--to", "2026-03-30").out
    again = plum.ok("trigger", "backfill", "nightly", "--from", "2026-03-28", "--to", "2026-03-30").out
    many = plum("trigger", "backfill", "nightly", "--from", "2020-01-01", "--max", "5")

    assert tried == "workflowrun/nightly-20260328-0130 would be there\nworkflowrun/nightly-20260329-0100 would be there\n"
    assert done == tried.replace("would be there", "started")
    assert again == tried.replace("would be there", "was there already") + "nothing is missing\n"
    assert many.code == 4
    assert "more than 5 times" in many.err


def test_disable_enable_emit(plum: Plum, server: RunningServer) -> None:
    assert plum.ok("trigger", "disable", "nightly").out == "trigger/nightly disabled\n"
    assert "false" in plum.ok("get", "trigger", "nightly").out
    assert plum.ok("trigger", "enable", "nightly").out == "trigger/nightly enabled\n"
    sent = plum.ok("trigger", "emit", "TankFull", "--data", '{"level": 97}').out
    name = sent.split()[0].removeprefix("event/")
    event = asyncio.run(answer(server, f"/api/v1/namespaces/default/events/{name}"))
    assert event["reason"] == "TankFull"
    assert event["metadata"]["annotations"]["plum.dev/data"] == '{"level": 97}'


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        (["trigger", "nowhere"], 3, "not found"),
        (["trigger", "fire", "nightly", "-p", "n"], 2, "is no KEY=VALUE"),
        (["trigger", "emit", "X", "--data", "{"], 2, "--data is no JSON"),
        (["trigger", "backfill", "nightly"], 2, "needs --from"),
        (["trigger", "backfill", "nightly", "--from", "yesterday"], 2, "is no time"),
        (["trigger", "fire", "a", "b"], 2, "takes one name"),
    ],
)
def test_mistakes_are_told(plum: Plum, line: list[str], code: int, said: str) -> None:
    done = plum(*line)

    assert (done.code, said in done.err) == (code, True), done.err
