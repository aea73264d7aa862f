"""What every driver must do. It runs over real processes, containers of a real engine, and the fake driver."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from plum_agent.drivers.base import CommandRequest, Container, Driver, Exit, Handle, Launch, Run
from plum_agent.drivers.container import ContainerDriver
from plum_agent.drivers.fake import FakeDriver, FakeOptions
from plum_agent.drivers.process import ProcessDriver
from plum_agent.drivers.procfs import list_pids, read_bytes
from plum_agent.engine.client import EngineClient
from plum_agent.errors import StartError

from tests.support.agent import until
from tests.support.docker_engine import IMAGE, Engine, shared_engine

ENVIRONMENT = {"PATH": os.environ["PATH"]}
PREFIX = f"contract{os.getpid()}"


@dataclass
class Bench:
    """A driver and what is needed to start runs on it."""

    driver: Driver
    folder: Path
    again: Callable[[], Driver]
    """Another agent's driver on the same machine."""
    container: Container | None = None
    count: int = 0

    def launch(self, script: str, **environment: str) -> Launch:
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        run = Run(f"{PREFIX}-{time.monotonic_ns()}.{self.count}", folder)
        return Launch(run, ("sh", "-c", script), {**ENVIRONMENT, **environment}, self.folder, container=self.container)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with shared_engine() as running:
        yield running


@pytest.fixture(params=["process", pytest.param("container", marks=pytest.mark.slow), "fake"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if request.param == "container":
        running: Engine = request.getfixturevalue("engine")

        drivers: list[ContainerDriver] = []

        def make() -> ContainerDriver:
            drivers.append(ContainerDriver(EngineClient(running.socket), tmp_path))
            return drivers[-1]

        yield Bench(make(), tmp_path, make, Container(IMAGE))
        for marker in await drivers[0].list_markers(PREFIX):
            await drivers[0].kill(Run(marker, tmp_path / "nowhere"), None)
        await drivers[0].clean(PREFIX, lambda marker: False)
        for one in drivers:
            await one.close()
        return
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

    assert launch.run.marker in await bench.driver.list_markers(PREFIX)
    assert ended.run.marker not in await bench.driver.list_markers(PREFIX)
    await bench.driver.kill(launch.run, handle)
    assert launch.run.marker not in await bench.driver.list_markers(PREFIX)


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


async def test_output_is_in_the_files_of_the_run_to_the_last_byte(bench: Bench) -> None:
    if isinstance(bench.driver, FakeDriver):
        pytest.skip("a fake run writes nothing")
    launch = bench.launch("head -c 3000000 /dev/zero; printf 'a\\377b'; printf err >&2; exit 2")
    handle = (await bench.driver.start(launch)).handle

    assert (await bench.driver.wait(launch.run, handle)).code == 2
    assert (launch.run.directory / "stdout.log").read_bytes() == bytes(3_000_000) + b"a\xffb"
    assert (launch.run.directory / "stderr.log").read_bytes() == b"err"


async def test_a_code_above_128_is_told_from_a_signal(bench: Bench) -> None:
    launch = bench.launch("exit 137", FAKE_EXIT_AFTER="0", FAKE_EXIT_CODE="137")
    handle = (await bench.driver.start(launch)).handle

    ended = await bench.driver.wait(launch.run, handle)

    assert (ended.code, ended.signal) == (137, "")


async def test_a_stop_signal_reaches_the_whole_group(bench: Bench) -> None:
    launch = bench.launch("sleep 100; echo went on")
    handle = (await bench.driver.start(launch)).handle
    await asyncio.sleep(0.1)

    await bench.driver.signal(launch.run, handle, signal.SIGTERM)
    async with asyncio.timeout(5):
        ended = await bench.driver.wait(launch.run, handle)

    assert (ended.code, ended.signal) == (143, "SIGTERM")


async def test_a_program_that_is_not_there_ends_with_127_or_does_not_start(bench: Bench) -> None:
    if isinstance(bench.driver, FakeDriver):
        pytest.skip("a fake run needs no program")
    launch = replace(bench.launch(""), command=("no-such-program",))
    handle = (await bench.driver.start(launch)).handle

    assert (await bench.driver.wait(launch.run, handle)).code == 127
    assert "no-such-program" in (launch.run.directory / "stderr.log").read_text()


async def test_a_command_beside_a_run_has_its_environment_and_ends_with_its_timeout(bench: Bench) -> None:
    if isinstance(bench.driver, FakeDriver):
        pytest.skip("nothing runs beside a fake run")
    launch = bench.launch("exec sleep 100", COLOUR="blue")
    await bench.driver.start(launch)

    assert await bench.driver.execute(launch, ("sh", "-c", '[ "$COLOUR" = blue ] && exit 6'), 10) == 6
    with pytest.raises(TimeoutError):
        await bench.driver.execute(launch, ("sleep", "77.25"), 0.3)
    await until(lambda: not any(b"77.25" in read_bytes(f"/proc/{pid}/cmdline") for pid in list_pids()), 5)


async def test_people_work_beside_a_run(bench: Bench) -> None:
    if isinstance(bench.driver, FakeDriver):
        pytest.skip("nothing runs beside a fake run")
    launch = bench.launch("exec sleep 100")
    await bench.driver.start(launch)
    command = await bench.driver.open_command(launch, CommandRequest(("sh", "-c", "cat; echo no >&2; exit 5"), stdin=True))
    await command.write(b"hello\n")
    command.end_input()
    pieces = []
    while (piece := await command.read()) is not None:
        pieces.append(piece)

    assert sorted(pieces) == [(1, b"hello\n"), (2, b"no\n")]
    assert await command.wait() == 5
    await command.close()


async def test_a_terminal_has_the_size_it_is_given(bench: Bench) -> None:
    if isinstance(bench.driver, FakeDriver):
        pytest.skip("nothing runs beside a fake run")
    launch = bench.launch("exec sleep 100")
    await bench.driver.start(launch)
    script = "until [ \"$(stty size)\" = '31 97' ]; do sleep 0.02; done; stty size; [ -t 0 ] && exit 4"
    request = CommandRequest(("sh", "-c", script), stdin=True, tty=True, columns=81, rows=25)
    command = await bench.driver.open_command(launch, request)
    try:
        command.resize(97, 31)
        text = b""
        async with asyncio.timeout(20):
            while (piece := await command.read()) is not None:
                text += piece[1]

        assert b"31 97" in text
        assert await command.wait() == 4
    finally:
        await command.close()
