"""Commands beside a real process: streams, terminals, exit codes, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from plum_agent.drivers.base import Command, CommandRequest, Handle, Launch, Run
from plum_agent.drivers.commands import family, left_behind
from plum_agent.drivers.listening import listens
from plum_agent.drivers.process import ProcessDriver
from plum_agent.errors import RefusedError, StartError

LISTEN = "import socket,time; s=socket.create_server(('127.0.0.1',0)); print(s.getsockname()[1],flush=True); time.sleep(60)"


class Site:
    """One run of a real process."""

    def __init__(self, folder: Path) -> None:
        self.driver = ProcessDriver(folder)
        self.folder = folder / "run"
        self.folder.mkdir()
        environment = {"PATH": os.environ["PATH"], "GREETING": "it's me"}
        run = Run(f"commands{os.getpid()}-{time.monotonic_ns()}.1", self.folder)
        self.launch = Launch(run, ("python3", "-c", LISTEN), environment, folder)
        self.handle: Handle | None = None

    async def start(self) -> None:
        self.handle = (await self.driver.start(self.launch)).handle

    async def open(self, *words: str, stdin: bool = False, tty: bool = False) -> Command:
        return await self.driver.open_command(self.launch, CommandRequest(words, stdin, tty))

    async def close(self) -> None:
        await self.driver.kill(self.launch.run, self.handle)
        await self.driver.release(self.launch.run)
        await self.driver.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    made = Site(tmp_path)
    await made.start()
    yield made
    await made.close()


async def output(command: Command) -> tuple[bytes, bytes, int]:
    """Everything it wrote, and its exit code."""
    pieces: dict[int, bytes] = {1: b"", 2: b""}
    async with asyncio.timeout(15):
        while (piece := await command.read()) is not None:
            pieces[piece[0]] += piece[1]
        code = await command.wait()
        await command.close()
    return pieces[1], pieces[2], code


async def test_a_command_runs_in_the_folder_and_environment_of_the_run(site: Site) -> None:
    script = 'pwd; echo "$GREETING"; echo no >&2; exit 3'

    out, err, code = await output(await site.open("sh", "-c", script))

    assert out.decode().splitlines() == [str(site.launch.work_directory), "it's me"]
    assert (err, code) == (b"no\n", 3)


async def test_its_environment_is_the_runs_and_nothing_of_the_agent(site: Site) -> None:
    out, _, _ = await output(await site.open("env"))

    names = {line.split("=")[0] for line in out.decode().splitlines()}
    assert names == {"PATH", "GREETING", "PLUM_RUN", "PLUM_EXEC"}


async def test_input_flows_until_its_end_and_not_one_byte_is_lost(site: Site) -> None:
    command = await site.open("sha256sum", stdin=True)

    async def give() -> None:
        for _ in range(64):
            await command.write(b"0123456789abcdef" * 4096)
        command.end_input()

    giving = asyncio.create_task(give())
    out, _, code = await output(command)
    await giving

    assert (out.split()[0].decode(), code) == (hashlib.sha256(b"0123456789abcdef" * 4096 * 64).hexdigest(), 0)


async def test_a_terminal_has_a_size_that_can_change(site: Site) -> None:
    command = await site.open("sh", "-c", "tty; read line; stty size; echo $line", stdin=True, tty=True)
    command.resize(123, 45)
    await command.write(b"hello\r")

    out, err, code = await output(command)

    lines = out.decode().split("\r\n")
    assert any(line.startswith("/dev/pts/") for line in lines)
    assert "45 123" in lines
    assert (err, code) == (b"", 0)


@pytest.mark.parametrize(("words", "code", "says"), [
    (("no-such-program",), 127, b"not found"),
    (("/etc/passwd",), 126, b"ermission denied"),
    (("sh", "-c", "kill -9 $$"), 137, b""),
])  # fmt: skip
async def test_the_exit_code_says_what_a_shell_would_say(site: Site, words: tuple[str, ...], code: int, says: bytes) -> None:
    _, err, ended = await output(await site.open(*words))

    assert ended == code
    assert says in err


async def test_what_a_command_leaves_in_the_background_ends_with_it(site: Site) -> None:
    out, _, code = await output(await site.open("sh", "-c", "setsid setsid sleep 60 & sleep 60 & echo started"))

    assert (out, code) == (b"started\n", 0)
    assert not family_of(site)


async def test_closing_ends_the_whole_tree_even_one_that_ignores_signals(site: Site) -> None:
    command = await site.open("sh", "-c", "trap '' HUP TERM INT; (setsid sh -c 'trap \"\" HUP; sleep 61' &) ; echo up; sleep 62")
    assert await command.read() == (1, b"up\n")
    assert len(family_of(site)) >= 2

    await asyncio.wait_for(command.close(), 10)

    assert not family_of(site)
    assert await command.wait() == 137


async def test_a_command_that_nobody_reads_waits(site: Site) -> None:
    command = await site.open("sh", "-c", "yes | head -c 10000000; echo done >&2")
    try:
        assert family_of(site)
        out, err, code = await output(command)
    finally:
        await command.close()

    assert (len(out), err, code) == (10_000_000, b"done\n", 0)


async def test_a_command_ends_with_its_run(site: Site) -> None:
    command = await site.open("sleep", "60")

    await site.driver.kill(site.launch.run, site.handle)

    assert await asyncio.wait_for(command.wait(), 10) == 137
    await command.close()


async def test_the_next_agent_ends_what_the_one_before_left(site: Site) -> None:
    command = await site.open("sleep", "60")
    assert family_of(site)

    after = ProcessDriver(site.folder)
    await after.end_commands(site.launch.run.marker)
    await after.close()

    assert await asyncio.wait_for(command.wait(), 10) == 137
    await command.close()
    assert site.handle is not None
    assert await site.driver.find(site.launch.run) == site.handle


async def test_without_the_files_of_the_run_there_is_no_command(site: Site) -> None:
    (site.folder / "env.sh").unlink()

    with pytest.raises(StartError, match="environment"):
        await site.open("true")


async def test_only_ports_of_the_run_are_reached(site: Site) -> None:
    assert site.handle is not None
    async with asyncio.timeout(10):
        while not (line := (site.folder / "stdout.log").read_text()).endswith("\n"):
            await asyncio.sleep(0.01)

    _, writer = await site.driver.connect(site.launch.run, site.handle, int(line))
    writer.close()
    await writer.wait_closed()

    with socket.create_server(("127.0.0.1", 0)) as foreign, pytest.raises(RefusedError, match="nothing of it listens"):
        await site.driver.connect(site.launch.run, site.handle, foreign.getsockname()[1])


def test_a_port_is_found_however_many_are_listened_on() -> None:
    """The kernel gives the table of sockets in pieces of whole lines."""
    with contextlib.ExitStack() as open_sockets:
        ports = [open_sockets.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1] for _ in range(100)]
        assert [port for port in ports if not listens([os.getpid()], port)] == []


def family_of(site: Site) -> list[int]:
    """Living processes of any command of the run."""
    return [stat.pid for identity in left_behind(site.launch.run.marker) for stat in family(identity, 0)]
