"""Workers as real processes: killed, stopped, cut off; the controller killed and stopped under them."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from plum_schemas.base import ObjectMeta
from plum_schemas.taskrun import TERMINAL_PHASES, TaskRun, TaskRunSpec
from plum_schemas.worker import Worker

from tests.support.programs import PROJECT, Program, Sandbox, sandbox
from tests.support.proxy import proxy

_NUMBERS = itertools.count(1)
LEASE = {"PLUM_WORKER_LEASE_SECONDS": "3"}
PROGRAM = PROJECT / "tests/support/worker_program.py"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Sandbox]:
    async with sandbox(tmp_path) as made:
        yield made


def start_worker(box: Sandbox, address: str, name: str, **env: str) -> Program:
    environment = {"CONTROLLER_GRPC_ADDR": address, "WORKER_ID": name, "FOLDER": str(box.root), **env}
    return box.start(f"worker-{name}", [sys.executable, str(PROGRAM)], env=environment)


async def phase(box: Sandbox, name: str) -> str:
    worker = await box.api().get(Worker, name, "default")
    return worker.status.phase if worker is not None else ""


async def until_phase(box: Sandbox, name: str, wanted: str) -> None:
    async def there() -> bool:
        return await phase(box, name) == wanted

    await box.until(there, 30, what=f"worker {name} is {wanted}")


async def start(box: Sandbox, task: str, payload: dict[str, Any] | None = None, **more: Any) -> TaskRun:
    """A run, created."""
    spec = {"task": {"executor": "embedded", "task": task, **more}, "payload": payload or {}}
    made = TaskRun(
        metadata=ObjectMeta(name=f"run-{next(_NUMBERS)}", namespace="default"), spec=msgspec.convert(spec, TaskRunSpec)
    )
    return await box.api().create(made)


async def ended(box: Sandbox, run: TaskRun, seconds: float = 40.0) -> TaskRun:
    async def over() -> TaskRun | None:
        found = await box.api().get(TaskRun, run.key)
        return found if found is not None and found.status.phase in TERMINAL_PHASES else None

    return await box.until(over, seconds, what=f"{run.metadata.name} has ended")  # type: ignore[return-value]


async def begun(box: Sandbox, run: TaskRun, times: int = 1) -> None:
    """The run was begun so many times."""

    async def there() -> bool:
        return len([line for line in executions(box) if line[:2] == ["begin", run.metadata.name]]) >= times

    await box.until(there, 30, what=f"{run.metadata.name} has begun")


def executions(box: Sandbox) -> list[list[str]]:
    """What really happened: what, run, attempt, process."""
    path = box.root / "executions"
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_killed_worker_is_replaced_and_at_most_once_is_not_repeated(box: Sandbox) -> None:
    controller = await box.controller(env=LEASE)
    first = start_worker(box, controller.workers, "w1")
    await until_phase(box, "w1", "Ready")
    repeated = await start(box, "gate", {"file": "open"})
    once = await start(box, "gate", {"file": "open"}, execution="AtMostOnce")
    await begun(box, repeated)
    await begun(box, once)
    start_worker(box, controller.workers, "w2")
    await until_phase(box, "w2", "Ready")

    first.kill()
    await begun(box, repeated, times=2)
    (box.root / "open").touch()
    done, unknown = await ended(box, repeated), await ended(box, once)

    assert (done.status.phase, done.status.worker, done.status.attempt) == ("Succeeded", "w2", 2)
    assert [attempt.reason for attempt in done.status.attempts] == ["WorkerLost", ""]
    assert (unknown.status.phase, unknown.status.reason) == ("Unknown", "WorkerLost")
    assert len([line for line in executions(box) if line[:2] == ["begin", once.metadata.name]]) == 1
    await until_phase(box, "w1", "Lost")


async def test_a_result_survives_the_controller_and_counts_once(box: Sandbox) -> None:
    controller = await box.controller(env=LEASE)
    address = controller.workers
    start_worker(box, address, "w1")
    await until_phase(box, "w1", "Ready")
    during = await start(box, "work", {"seconds": 0.5})
    after = await start(box, "gate", {"file": "open"})
    await begun(box, during)
    await begun(box, after)

    controller.kill()
    await asyncio.sleep(4)  # longer than a lease: the worker goes on
    controller = await box.restarted(controller, env={**LEASE, "CONTROLLER_GRPC_ADDR": address})
    found = await ended(box, during)
    (box.root / "open").touch()
    later = await ended(box, after)

    assert [(run.status.phase, run.status.attempt) for run in (found, later)] == [("Succeeded", 1), ("Succeeded", 1)]
    assert Counter(line[1] for line in executions(box) if line[0] == "begin") == {
        during.metadata.name: 1,
        after.metadata.name: 1,
    }


async def test_a_controller_with_connected_workers_stops_in_time(box: Sandbox) -> None:
    controller = await box.controller(env=LEASE)
    for number in range(3):
        start_worker(box, controller.workers, f"w{number}")
    for number in range(3):
        await until_phase(box, f"w{number}", "Ready")
    runs = [await start(box, "nap", {"seconds": 30}) for _ in range(4)]
    for run in runs:
        await begun(box, run)

    began = time.monotonic()
    code = await controller.stop()
    seconds = time.monotonic() - began

    print(f"stopped in {seconds:.2f} s")
    assert code == 0
    assert seconds < 6, "2 s on an idle machine; measured in docs/workers.md"


async def test_a_cut_network_costs_nothing_when_it_heals_within_the_lease_and_one_attempt_after(box: Sandbox) -> None:
    controller = await box.controller(env=LEASE)
    with proxy(f"http://{controller.workers}") as cable:
        start_worker(box, urlsplit(cable.url).netloc, "far")
        await until_phase(box, "far", "Ready")
        short = await start(box, "work", {"seconds": 1.5})
        await begun(box, short)
        cable.cut("reset")
        await asyncio.sleep(0.5)
        cable.heal()
        kept = await ended(box, short)
        assert (kept.status.phase, kept.status.attempt) == ("Succeeded", 1)

        long = await start(box, "gate", {"file": "open"})
        await begun(box, long)
        cable.cut("silent")
        start_worker(box, controller.workers, "near")
        await begun(box, long, times=2)
        (box.root / "open").touch()
        done = await ended(box, long)
        cable.heal()
        await until_phase(box, "far", "Ready")

        assert (done.status.worker, done.status.attempt) == ("near", 2)
        again = await start(box, "echo", {"n": 1}, nodeSelector={"plum.dev/worker": "far"})
        assert (await ended(box, again)).status.output == {"n": 1}
        settled = await box.api().get(TaskRun, long.key)
        assert settled is not None
        assert settled.status.output == done.status.output  # the late result of the far one was refused


async def test_a_paused_controller_takes_nobody_for_lost(box: Sandbox) -> None:
    controller = await box.controller(env=LEASE)
    start_worker(box, controller.workers, "w1")
    await until_phase(box, "w1", "Ready")
    run = await start(box, "work", {"seconds": 6})
    await begun(box, run)

    controller.pause()
    await asyncio.sleep(4.5)  # longer than a lease
    controller.resume()

    done = await ended(box, run)
    assert (done.status.phase, done.status.attempt) == ("Succeeded", 1)


async def test_a_worker_told_to_stop_finishes_what_it_can_and_gives_back_the_rest(box: Sandbox) -> None:
    controller = await box.controller(env=LEASE)
    leaving = start_worker(box, controller.workers, "leaving", PLUM_WORKER_GRACE_SECONDS="2", CAPACITY="3")
    await until_phase(box, "leaving", "Ready")
    quick = await start(box, "work", {"seconds": 1})
    slow = await start(box, "nap", {"seconds": 60}, retry={"limit": 0})
    await begun(box, quick)
    await begun(box, slow)

    leaving.send(signal.SIGTERM)
    code = await asyncio.to_thread(leaving.process.wait, 20)
    finished = await ended(box, quick)
    start_worker(box, controller.workers, "staying")
    await begun(box, slow, times=2)

    assert code == 0
    assert (finished.status.phase, finished.status.attempt) == ("Succeeded", 1)
    again = await box.api().get(TaskRun, slow.key)
    assert again is not None
    assert (again.status.phase, again.status.worker, again.status.attempt) == ("Running", "staying", 2)
    assert ["stopped", slow.metadata.name] in [line[:2] for line in executions(box)]
    await until_phase(box, "leaving", "Lost")


async def storm(box: Sandbox, runs: int, kills: int, seed: int) -> None:
    """Workers and the controller are killed at random while runs go on."""
    chance = random.Random(seed)
    controller = await box.controller(env=LEASE)
    address = controller.workers
    names = [f"w{number}" for number in range(4)]
    programs = {name: start_worker(box, address, name, CAPACITY="3") for name in names}
    for name in names:
        await until_phase(box, name, "Ready")
    made = [await start(box, "work", {"seconds": chance.uniform(0, 0.3)}, priority=chance.randrange(3)) for _ in range(runs)]
    for _ in range(kills):
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        if chance.random() < 0.3:
            controller.kill()
            controller = await box.restarted(controller, env={**LEASE, "CONTROLLER_GRPC_ADDR": address})
        else:
            name = chance.choice(names)
            programs[name].kill()
            programs[name] = start_worker(box, address, name, CAPACITY="3")

    found = [await ended(box, run, 120) for run in made]

    finishes = Counter((line[1], line[2]) for line in executions(box) if line[0] == "end")
    for run in found:
        status = run.status
        assert status.phase == "Succeeded", f"seed {seed}: {run.metadata.name} is {status.phase}: {status.error}"
        assert status.output["attempt"] == status.attempt, f"seed {seed}"
        assert finishes[(run.metadata.name, str(status.attempt))] == 1, f"seed {seed}"
        assert [one.number for one in status.attempts] == list(range(1, status.attempt + 1))[-20:], f"seed {seed}"


async def test_every_run_ends_once_whoever_is_killed(box: Sandbox) -> None:
    await storm(box, runs=40, kills=3, seed=7)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
async def test_every_run_of_thousands_ends_once_whoever_is_killed(box: Sandbox, seed: int) -> None:
    await storm(box, runs=1000, kills=60, seed=seed)
