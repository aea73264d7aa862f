"""`kill -9` of controller and agents at random while tasks run: every run ends, every attempt is executed and recorded once."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from plum_client.client import ApiClient
from plum_client.errors import AlreadyExistsError, ApiUnavailableError, TooManyRequestsError
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun

from tests.integration.tasks.support import Tasks
from tests.support.agent import marked
from tests.support.programs import ControllerProgram, Program, Sandbox, sandbox

NODES = ("node-1", "node-2")
RUNS = TaskRun.info


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path) as made:
        yield made


def specs(box: Sandbox, count: int, dice: random.Random) -> dict[str, dict[str, Any]]:
    """Runs of all kinds, by name. Each process notes that it was executed."""
    note = f'echo "$PLUM_TASK_RUN $PLUM_TASK_ATTEMPT $$" >> {box.root}/executions'
    made: dict[str, dict[str, Any]] = {}
    for number in range(count):
        pause = round(dice.uniform(0, 1.5), 2)
        retry = {"limit": 3, "initial": "50ms", "jitter": 0.5}
        kinds: list[dict[str, Any]] = [
            {"taskRef": "builtin.echo", "payload": {"n": number}},
            {"taskRef": "builtin.delay", "payload": {"seconds": pause}, "execution": dice.choice(["AtLeastOnce", "AtMostOnce"])},
            {"taskRef": "builtin.fail", "payload": {"times": dice.randrange(3)}, "retry": retry},
            _process(f"{note}; sleep {pause}; echo '{{\"n\": {number}}}'", execution="AtLeastOnce"),
            _process(f"{note}; sleep {pause}; echo '{{\"n\": {number}}}'", execution="AtMostOnce"),
            _process(f"{note}; sleep 0.1; exit {dice.randrange(2)}", retry=retry),
        ]
        made[f"run-{number}"] = kinds[number % len(kinds)]
    return made


def _process(script: str, **more: Any) -> dict[str, Any]:
    return {"task": {"executor": "os_process", "process": {"command": ["sh", "-c", script]}}, "timeout": "60s", **more}


async def create_all(box: Sandbox, runs: dict[str, dict[str, Any]]) -> None:
    """Create them, whatever happens to the controller."""
    for name, spec in runs.items():
        manifest = {
            "apiVersion": "plum.dev/v1",
            "kind": "TaskRun",
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
        }
        while True:
            try:
                await box.api().create(manifest, kind=RUNS)
                break
            except AlreadyExistsError:
                break
            except (ApiUnavailableError, TooManyRequestsError):
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.02)


class Chaos:
    """Kills programs and starts them again."""

    def __init__(self, box: Sandbox, controller: ControllerProgram, agents: dict[str, Program], dice: random.Random) -> None:
        self.box, self.controller, self.agents, self.dice = box, controller, agents, dice
        self.kills = 0

    async def run(self, kills: int) -> None:
        while self.kills < kills:
            await asyncio.sleep(self.dice.uniform(0.3, 1.5))
            self.kills += 1
            name = self.dice.choice(("controller", *self.agents))
            if name == "controller":
                self.controller.kill()
                self.controller = await self.box.restarted(self.controller)
            else:
                self.agents[name].kill()
                self.agents[name] = await self.box.agent(name, self.controller.url)


async def all_ended(api: ApiClient, count: int) -> dict[str, TaskRun]:
    found = {run.metadata.name: run for run in await api.list(TaskRun, "default")}
    ended = {name: run for name, run in found.items() if run.status.phase in TERMINAL_PHASES}
    return ended if len(ended) == count else {}


def check(box: Sandbox, runs: dict[str, dict[str, Any]], ended: dict[str, TaskRun]) -> None:
    path = box.root / "executions"
    executed = Counter(tuple(line.split()[:2]) for line in path.read_text().splitlines()) if path.exists() else Counter()
    twice = {key: times for key, times in executed.items() if times > 1}
    assert not twice, f"attempts that were executed more than once: {twice}"
    for name, spec in runs.items():
        run = ended[name]
        status, shown = run.status, f"{name}: {spec}\n{json.dumps(_plain(run), indent=1)}"
        numbers = [attempt.number for attempt in status.attempts]
        assert numbers == list(range(1, len(numbers) + 1)), shown
        assert [a.phase for a in status.attempts].count("Succeeded") == (status.phase == "Succeeded"), shown
        assert (status.phase == "Unknown") <= (spec.get("execution") == "AtMostOnce"), shown
        is_process = "task" in spec
        if is_process:
            times = sum(1 for key in executed if key[0] == name)
            assert times == 1 or spec.get("execution") != "AtMostOnce" or (status.phase == "Unknown" and times <= 1), shown
            if status.phase == "Succeeded":
                assert times >= 1, shown
                assert status.exit_code == 0, shown
        elif spec["taskRef"] == "builtin.echo":
            assert (status.phase, status.output) == ("Succeeded", spec["payload"]), shown


def _plain(run: TaskRun) -> dict[str, Any]:
    import msgspec

    status: dict[str, Any] = msgspec.to_builtins(run.status)
    return {key: str(value)[:400] for key, value in status.items() if key != "task"}


async def scenario(box: Sandbox, seed: int, count: int, kills: int) -> None:
    dice = random.Random(seed)
    print(f"seed {seed}")
    controller = await box.controller()
    agents = {name: await box.node(name, controller) for name in NODES}
    chaos = Chaos(box, controller, agents, dice)
    runs = specs(box, count, dice)

    await asyncio.gather(create_all(box, runs), chaos.run(kills))
    ended = await box.until(lambda: all_ended(box.api(chaos.controller.url), count), 240, what="all runs have ended", every=0.5)
    check(box, runs, ended)
    revisions = {name: run.metadata.resource_version for name, run in ended.items()}
    chaos.controller.kill()
    chaos.controller = await box.restarted(chaos.controller)
    await asyncio.sleep(2)
    later = await all_ended(box.api(chaos.controller.url), count)
    assert {name: run.metadata.resource_version for name, run in later.items()} == revisions
    for folder in NODES:
        for identity in box.root.glob(f"**/{folder}/agent-id"):
            assert not marked(identity.read_text().strip() + "-task.")


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_runs_end_once_under_a_few_kills(box: Sandbox) -> None:
    await scenario(box, seed=random.SystemRandom().randrange(10**6), count=24, kills=3)


@pytest.mark.soak
@pytest.mark.timeout(14_000)
@pytest.mark.parametrize("round_", range(int(os.environ.get("PLUM_SOAK_ROUNDS", "10"))))
async def test_thousands_of_runs_end_once_under_many_kills(box: Sandbox, round_: int) -> None:
    await scenario(box, seed=random.SystemRandom().randrange(10**6), count=400, kills=60)


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_a_lost_node_gives_its_tasks_away_and_ends_its_copies_when_it_returns(box: Sandbox) -> None:
    controller = await box.controller(env={"PLUM_TASK_LOST_SECONDS": "2"})
    agents = {name: await box.node(name, controller, lease_seconds=3) for name in NODES}
    tasks = Tasks(box.api(), "default")
    gate, note = box.root / "gate", box.root / "executions"
    script = (
        f'echo "$WORKER_NODE_ID $PLUM_TASK_ATTEMPT" >> {note}; while [ ! -e {gate} ]; do sleep 0.1; done; echo $WORKER_NODE_ID'
    )
    process = {"executor": "os_process", "process": {"command": ["sh", "-c", script]}}
    movable = await tasks.start(process)
    held = await tasks.wait(movable, lambda run: run.status.phase == "Running")
    lost = held.status.node
    pinned = await tasks.start(process, nodeName=lost)
    once = await tasks.start(process, nodeSelector={"plum.dev/hostname": lost}, execution="AtMostOnce")
    for run in (pinned, once):
        begun = await tasks.wait(run, lambda found: found.status.phase not in ("Queued", "Pending"))
        assert (begun.status.phase, begun.status.node) == ("Running", lost), begun.status
    await box.until(lambda: _lines(note, 3), what="all three have begun")

    agents[lost].pause()
    again = await tasks.wait(movable, lambda run: run.status.attempt == 2 and run.status.phase == "Running", seconds=60)
    unknown = await tasks.wait(once, seconds=60)
    agents[lost].resume()
    await box.until(lambda: box.node_is(lost, "True"), 60, what="it is back")
    identity = next(box.root.glob(f"**/{lost}/agent-id")).read_text().strip()
    await box.until(lambda: _count(identity, 1), 60, what="what was given away has ended there, with all it started")
    gate.touch()
    moved, stayed = await tasks.wait(movable, seconds=60), await tasks.wait(pinned, seconds=60)

    assert (unknown.status.phase, unknown.status.reason) == ("Unknown", "NodeLost")
    assert again.status.node != lost
    assert (moved.status.phase, moved.status.stdout.strip(), moved.status.attempt) == ("Succeeded", again.status.node, 2)
    assert [attempt.reason for attempt in moved.status.attempts] == ["NodeLost", ""]
    assert (stayed.status.phase, stayed.status.stdout.strip(), stayed.status.attempt) == ("Succeeded", lost, 1)
    assert sorted(note.read_text().split("\n"))[1:] == sorted([f"{lost} 1"] * 3 + [f"{again.status.node} 2"])


async def _lines(path: Path, count: int) -> bool:
    return path.exists() and path.read_text().count("\n") >= count


async def _count(identity: str, runs: int) -> bool:
    """So many tasks have processes on a node."""
    return len(set(marked(identity + "-task.").values())) == runs
