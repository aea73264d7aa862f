"""Commands that people run beside a process: pipes or a terminal, and nothing left behind.

    open_process_command: pipes or pty -> posix_spawn(sh: folder, cgroups, env.sh, exec [setpriv] COMMAND) -> ProcessCommand
    end of the first process, or close -> SIGKILL to its session, its descendants and all with its PLUM_EXEC -> exit code

The first process is not reaped before its family is gone, so its number cannot come to mean somebody else. Nothing is
read from it that nobody asked for: its pipes fill, and it waits.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import secrets
import signal
import struct
import termios
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

from plum_agent.drivers import pidfd
from plum_agent.drivers.base import MARKER, STDERR, STDOUT, CommandRequest, Launch
from plum_agent.drivers.launching import DEFAULT_SIGNALS, SAFE_PATH, SHELL, find_user, user_prefix
from plum_agent.drivers.process_table import Entry, members
from plum_agent.drivers.procfs import ProcessStat, list_pids, read_stat, read_variable
from plum_agent.errors import RefusedError, StartError

COMMAND_MARKER = "PLUM_EXEC"
"""Environment variable of everything a command starts; its value is the marker of the run and a number of its own."""
PIECE = 65536
KILL_ROUNDS = 100
"""Looks for survivors after SIGKILL, with growing pauses of up to 0.1 s."""
END_OF_FILE = b"\x04"
"""What a terminal takes as the end of its input at the start of a line."""
_SCRIPT = """run=$1 work=$2; shift 2
if [ -f "$run/cgroups" ]; then
    while read -r group; do { echo 0 >"$group"; } 2>/dev/null; done <"$run/cgroups"
fi
[ -z "$PLUM_FILES" ] || ulimit -S -n "$PLUM_FILES"
cd "$work" || exit 126
unset PWD OLDPWD SHLVL PLUM_FILES
. "$run/env.sh"
exec "$@"
"""


async def open_process_command(launch: Launch, request: CommandRequest, executor: Executor, files: int) -> ProcessCommand:
    """Start a command; `files` is its limit of open files, 0 for the agent's own. Raises `StartError`."""
    folder = launch.run.directory
    if not (folder / "env.sh").exists():
        raise StartError("the environment of the run is not there any more")
    identity = f"{launch.run.marker}/{secrets.token_hex(4)}"
    environment = {MARKER: launch.run.marker, COMMAND_MARKER: identity, "PATH": SAFE_PATH}
    if files > 0:
        environment["PLUM_FILES"] = str(files)
    ends: _Ends | None = None
    try:
        arguments = [SHELL, "-c", _SCRIPT, "plum exec", str(folder), str(launch.work_directory)]
        arguments += [*user_prefix(launch.user), *request.words]
        if request.tty:
            environment["TERM"] = "xterm"
            ends = _terminal(request, launch.user)
        else:
            ends = _pipes(request.stdin)
        pid = _spawn(arguments, environment, ends)
    except (OSError, RefusedError) as error:
        if ends is not None:
            ends.close_all()
        raise StartError(f"{request.words[0]} could not be started: {error}") from error
    ends.close_theirs()
    return ProcessCommand(pid, identity, ends, executor)


def _spawn(arguments: list[str], environment: dict[str, str], ends: _Ends) -> int:
    """Takes about a millisecond."""
    return os.posix_spawn(
        SHELL, arguments, environment, file_actions=ends.actions, setsid=True, setsigmask=(), setsigdef=DEFAULT_SIGNALS
    )


class _Ends:
    """The files between the agent and a command: ours, and those that become its 0, 1 and 2."""

    def __init__(self) -> None:
        self.outputs: dict[int, int] = {}
        """Ours to read -> `STDOUT` or `STDERR`."""
        self.input: int | None = None
        """Ours to write."""
        self.terminal: int | None = None
        self.theirs: list[int] = []
        self.actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []

    def close_theirs(self) -> None:
        while self.theirs:
            os.close(self.theirs.pop())

    def close_all(self) -> None:
        self.close_theirs()
        for descriptor in {*self.outputs, *(one for one in (self.input, self.terminal) if one is not None)}:
            os.close(descriptor)


def _pipes(with_input: bool) -> _Ends:
    ends = _Ends()
    try:
        if with_input:
            theirs, ends.input = os.pipe()
            ends.theirs.append(theirs)
            ends.actions.append((os.POSIX_SPAWN_DUP2, theirs, 0))
        else:
            ends.actions.append((os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0))
        for stream in (STDOUT, STDERR):
            ours, theirs = os.pipe()
            ends.outputs[ours] = stream
            ends.theirs.append(theirs)
            ends.actions.append((os.POSIX_SPAWN_DUP2, theirs, stream))
    except OSError:
        ends.close_all()
        raise
    for descriptor in (*ends.outputs, *(() if ends.input is None else (ends.input,))):
        os.set_blocking(descriptor, False)
    return ends


def _terminal(request: CommandRequest, user: str) -> _Ends:
    """A session leader that opens a terminal gets it as its own, so the command opens it by name."""
    ends = _Ends()
    ends.terminal, theirs = os.openpty()
    ends.theirs.append(theirs)
    try:
        if request.columns and request.rows:
            _set_size(theirs, request.columns, request.rows)
        if user:
            os.fchown(theirs, *find_user(user))
        os.set_blocking(ends.terminal, False)
        ends.actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.ttyname(theirs), os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 0, 1),
            (os.POSIX_SPAWN_DUP2, 0, 2),
        ]
    except (OSError, RefusedError):
        ends.close_all()
        raise
    ends.outputs[ends.terminal] = STDOUT
    if request.stdin:
        ends.input = ends.terminal
    return ends


def _set_size(descriptor: int, columns: int, rows: int) -> None:
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0))


class ProcessCommand:
    """States: running, ended (its family is gone, output may be left to read), closed."""

    def __init__(self, pid: int, identity: str, ends: _Ends, executor: Executor) -> None:
        self._pid = pid
        self._identity = identity
        self._outputs = ends.outputs
        self._input = ends.input
        self._terminal = ends.terminal
        self._executor = executor
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_task(self._end())

    async def read(self) -> tuple[int, bytes] | None:
        while True:
            ended = self._ended.done()
            for descriptor, stream in list(self._outputs.items()):
                data = _read(descriptor)
                if data:
                    return stream, data
                if data is not None:
                    self._drop(descriptor)
            if ended:
                return None  # nobody is left who could write, and everything written was read
            await self._readable()

    async def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and self._input is not None and not self._ended.done():
            try:
                view = view[os.write(self._input, view) :]
            except BlockingIOError:
                await self._ready(self._loop.add_writer, self._loop.remove_writer, [self._input])
            except OSError:
                self._close_input()

    def end_input(self) -> None:
        if self._input is None:
            return
        if self._input == self._terminal:
            with suppress(OSError):  # full of input that nobody reads: its end would not be read either
                os.write(self._input, END_OF_FILE)
            self._input = None
        else:
            self._close_input()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None and columns > 0 and rows > 0:
            with suppress(OSError):
                _set_size(self._terminal, columns, rows)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            if not self._ended.done():
                os.killpg(self._pid, signal.SIGKILL)
        for descriptor in list(self._outputs):
            self._drop(descriptor)
        self._close_input()
        await asyncio.shield(self._ended)

    # ---- the end

    async def _end(self) -> int:
        """Wait for the first process, end the rest, and only then give its number back."""
        descriptor = os.pidfd_open(self._pid)
        try:
            await pidfd.wait_until_ended(descriptor)
            await end_family(self._identity, self._pid, self._executor)
        finally:
            os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])  # noqa: ASYNC222 -- it has ended
        return 128 - code if code < 0 else code

    def _drop(self, descriptor: int) -> None:
        """An output that has ended, or that nobody wants any more."""
        del self._outputs[descriptor]
        self._loop.remove_reader(descriptor)
        if descriptor == self._terminal:
            self._terminal = None
            if self._input == descriptor:
                self._loop.remove_writer(descriptor)
                self._input = None
        os.close(descriptor)

    def _close_input(self) -> None:
        if self._input is not None and self._input != self._terminal:
            self._loop.remove_writer(self._input)
            os.close(self._input)
        self._input = None

    async def _readable(self) -> None:
        await self._ready(self._loop.add_reader, self._loop.remove_reader, list(self._outputs))

    async def _ready(self, add: Callable[..., None], remove: Callable[[int], bool], descriptors: list[int]) -> None:
        """Until one of the files is ready, or the command has ended."""
        ready: asyncio.Future[None] = self._loop.create_future()

        def on_ready(*_: object) -> None:
            if not ready.done():
                ready.set_result(None)

        for descriptor in descriptors:
            add(descriptor, on_ready)
        self._ended.add_done_callback(on_ready)
        try:
            await ready
        finally:
            self._ended.remove_done_callback(on_ready)
            open_files = {*self._outputs, self._input}
            for descriptor in descriptors:
                if descriptor in open_files:
                    remove(descriptor)


def _read(descriptor: int) -> bytes | None:
    """What is there; empty at the end; None when there is nothing yet."""
    try:
        return os.read(descriptor, PIECE)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno == errno.EIO:  # nobody has the terminal open any more
            return b""
        raise


async def end_family(identity: str, leader: int, executor: Executor | None) -> None:
    """SIGKILL to everything that a command started; returns when none is left, or is stuck in the kernel."""
    pause = 0.002
    loop = asyncio.get_running_loop()
    for _ in range(KILL_ROUNDS):
        survivors = await loop.run_in_executor(executor, family, identity, leader)
        if not survivors:
            return
        for stat in survivors:
            pidfd.send_signal(stat.pid, stat.start_ticks, signal.SIGKILL)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def family(identity: str, leader: int) -> list[ProcessStat]:
    """Living processes of one command: of its session, descended from it, or with its mark. `leader` 0: by the mark only."""
    return [stat for stat in members(_entries(), identity, leader) if stat.alive]


def left_behind(prefix: str) -> set[str]:
    """Commands whose run's marker begins so, of which something still runs."""
    return {entry.marker for entry in _entries() if entry.marker.startswith(prefix)}


def _entries() -> list[Entry]:
    entries = []
    for pid in list_pids():
        stat = read_stat(pid)
        if stat is not None and stat.alive:
            entries.append(Entry(stat, read_variable(pid, COMMAND_MARKER), ""))
    return entries
