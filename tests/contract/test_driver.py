"""What every driver must do. It runs over real processes and over the fake driver; containers join it by one fixture."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from plum_agent.drivers.base import Driver, Exit, Handle, Launch, Run
from plum_agent.drivers.fake import FakeDriver, FakeOptions
from plum_agent.drivers.process import ProcessDriver
from plum_agent.errors import StartError

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@dataclass
class Bench:
    """A driver and what is needed to start runs on it."""

    driver: Driver
    folder: Path
    again: Callable[[], Driver]
    """Another agent's driver on the same machine."""
    count: int = 0

    def launch(self, script: str, **environment: str) -> Launch:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        run = Run(f"contract{os.getpid()}-{time.monotonic_ns()}.{self.count}", folder)
        return Launch(run, ("sh", "-c", script), {**ENVIRONMENT, **environment}, self.folder)


@pytest.fixture(params=["process", "fake"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "process":
        driver: Driver = ProcessDriver(tmp_path)
        made = Bench(driver, tmp_path, lambda: ProcessDriver(tmp_path))
    else:
        driver = FakeDriver(FakeOptions())
        made = Bench(driver, tmp_path, lambda: driver)
    yield made
    await driver.close()


async def test_an_exit_code_is_reported_as_it_was(bench: Bench) -> None:
    launch = bench.launch("sleep 0.05; exit 3", FAKE_EXIT_AFTER="0.05", FAKE_EXIT_CODE="3")
    started = await bench.driver.start(launch)

    ended = await bench.driver.wait(launch.run, started.handle)

    assert (ended.code, ended.signal) == (3, "")
    assert abs(ended.finished_at - time.time()) < 5
    assert 0 < ended.started_at <= ended.finished_at


async def test_a_stop_signal_ends_a_run_and_is_named(bench: Bench) -> None:
    launch = bench.launch("exec sleep 100")
    started = await bench.driver.start(launch)
    await asyncio.sleep(0.05)

    await bench.driver.signal(launch.run, started.handle, signal.SIGTERM)
    ended = await bench.driver.wait(launch.run, started.handle)

    assert (ended.code, ended.signal) == (143, "SIGTERM")


async def test_a_run_that_ignores_the_stop_signal_goes_on_until_it_is_killed(bench: Bench) -> None:
    launch = bench.launch("trap '' TERM; echo ready; while :; do sleep 0.1; done", FAKE_IGNORE_STOP="1")
    started = await bench.driver.start(launch)
    await asyncio.sleep(0.2)

    await bench.driver.signal(launch.run, started.handle, signal.SIGTERM)
    await asyncio.sleep(0.2)
    assert isinstance(await bench.driver.find(launch.run), Handle)

    await bench.driver.kill(launch.run, started.handle)
    ended = await bench.driver.wait(launch.run, started.handle)
    assert (ended.code, ended.signal) == (137, "SIGKILL")


async def test_find_tells_running_ended_and_never_started_apart(bench: Bench) -> None:
    running, quick, never = (
        bench.launch("exec sleep 100"),
        bench.launch("exit 7", FAKE_EXIT_AFTER="0", FAKE_EXIT_CODE="7"),
        bench.launch(""),
    )
    handle = (await bench.driver.start(running)).handle
    await bench.driver.wait(quick.run, (await bench.driver.start(quick)).handle)
    other = bench.again()

    found = await other.find(running.run)
    ended = await other.find(quick.run)

    assert isinstance(found, Handle)
    assert (found.pid, found.start_ticks) == (handle.pid, handle.start_ticks)
    assert isinstance(ended, Exit)
    assert ended.code == 7
    assert await other.find(never.run) is None
    await other.kill(running.run, found)
    assert (await other.wait(running.run, found)).signal == "SIGKILL"


async def test_signals_and_kills_of_an_ended_run_are_successes(bench: Bench) -> None:
    launch = bench.launch("exit 0", FAKE_EXIT_AFTER="0")
    handle = (await bench.driver.start(launch)).handle
    await bench.driver.wait(launch.run, handle)

    for _ in range(2):
        await bench.driver.signal(launch.run, handle, signal.SIGTERM)
        await bench.driver.kill(launch.run, handle)
        await bench.driver.release(launch.run)


async def test_waiting_can_be_cancelled_and_repeated(bench: Bench) -> None:
    launch = bench.launch("sleep 0.3; exit 4", FAKE_EXIT_AFTER="0.3", FAKE_EXIT_CODE="4")
    handle = (await bench.driver.start(launch)).handle
    waiting = asyncio.create_task(bench.driver.wait(launch.run, handle))
    await asyncio.sleep(0.05)

    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert (await bench.driver.wait(launch.run, handle)).code == 4
    assert (await bench.driver.wait(launch.run, handle)).code == 4


async def test_living_runs_are_listed_by_marker(bench: Bench) -> None:
    launch, ended = bench.launch("exec sleep 100"), bench.launch("exit 0", FAKE_EXIT_AFTER="0")
    handle = (await bench.driver.start(launch)).handle
    await bench.driver.wait(ended.run, (await bench.driver.start(ended)).handle)

    prefix = launch.run.marker.partition("-")[0]
    assert launch.run.marker in await bench.driver.list_markers(prefix)
    assert ended.run.marker not in await bench.driver.list_markers(prefix)
    await bench.driver.kill(launch.run, handle)
    assert launch.run.marker not in await bench.driver.list_markers(prefix)


async def test_many_runs_start_and_end_side_by_side(bench: Bench) -> None:
    launches = [bench.launch("exec sleep 100") for _ in range(20)]

    handles = [started.handle for started in await asyncio.gather(*(bench.driver.start(launch) for launch in launches))]
    assert len({handle.pid for handle in handles}) == 20
    await asyncio.gather(*(bench.driver.kill(launch.run, handle) for launch, handle in zip(launches, handles, strict=True)))
    exits = await asyncio.gather(
        *(bench.driver.wait(launch.run, handle) for launch, handle in zip(launches, handles, strict=True))
    )

    assert {ended.signal for ended in exits} == {"SIGKILL"}


async def test_a_killed_run_is_noticed_within_a_tenth_of_a_second(bench: Bench) -> None:
    delays = []
    for _ in range(5):
        launch = bench.launch("exec sleep 100")
        handle = (await bench.driver.start(launch)).handle
        waiting = asyncio.create_task(bench.driver.wait(launch.run, handle))
        await asyncio.sleep(0.05)
        began = time.perf_counter()
        await bench.driver.signal(launch.run, handle, signal.SIGKILL)
        await waiting
        delays.append(time.perf_counter() - began)

    assert sorted(delays)[2] < 0.1


async def test_the_same_run_is_never_started_twice_by_the_fake_driver() -> None:
    driver = FakeDriver()
    launch = Launch(Run("one", Path("/nonexistent")), ("x",), {}, Path())
    await driver.start(launch)

    with pytest.raises(StartError):
        await driver.start(launch)
