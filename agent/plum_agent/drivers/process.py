"""Plain processes: each has a small shell as its parent, which outlives the agent and keeps its output and exit code.

    start: write env.sh, cgroups -> posix_spawn(sh shim.sh ...) -> wait for the identity the shim writes -> Handle
    find:  identity files, then the marker in /proc -> Handle | Exit | None
    wait:  pidfd of the shim -> its exit file; without a shim, pidfd of the process itself
    kill:  the group, then every process that carries the marker, descends from one that does, or is in the run's cgroup

Nothing is signalled by a bare number: start time is compared first, through a pidfd where one process is meant.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from plum_schemas.template import Template

from plum_agent.drivers import cgroups, pidfd, run_files
from plum_agent.drivers.base import MARKER, Command, CommandRequest, Exit, Handle, Launch, Run, Started
from plum_agent.drivers.launching import SAFE_PATH, install_shim, raise_file_limit, spawn_shell, user_prefix
from plum_agent.drivers.process_table import SHIM_MARKER, ProcessTable, members
from plum_agent.drivers.procfs import ProcessStat, boot_id, is_alive, read_stat
from plum_agent.errors import RefusedError, StartError

START_SECONDS = 10.0
"""Longest wait for the identity of a new process. It takes milliseconds unless the machine is in great trouble."""
KILL_ROUNDS = 200
"""Looks for survivors after SIGKILL, with growing pauses of up to 0.1 s; then the run is reported as one that does not die."""


class ProcessDriver:
    """Runs programs of this machine. One for all nodes that an agent process serves."""

    runtimes: tuple[str, ...] = ("process",)
    keeps_runs = True
    ready_seconds: float | None = None

    def __init__(self, data_directory: Path, hierarchies: cgroups.Hierarchies | None = None) -> None:
        self._executor = ThreadPoolExecutor(2, "drivers")
        self._table = ProcessTable(self._executor)
        self._boot_id = boot_id()
        self._hierarchies = hierarchies or cgroups.find_hierarchies()
        self._shim = install_shim(data_directory)
        self._workload_files = raise_file_limit()
        self._setsid = shutil.which("setsid", path=SAFE_PATH)
        self._reapers: set[asyncio.Task[None]] = set()

    def check(self, template: Template) -> None:
        if self._setsid is None:
            raise RefusedError("NodeIncomplete", "this node has no setsid program; install util-linux")
        if not template.command and template.artifact is None:
            raise RefusedError("CommandMissing", "spec.template.command is empty; name the program to run")
        run_files.check_names(variable.name for variable in template.env)
        if template.user:
            user_prefix(template.user)

    async def start(self, launch: Launch) -> Started:
        folder = launch.run.directory
        loop = asyncio.get_running_loop()
        try:
            prefix = [str(self._setsid), *user_prefix(launch.user)]
            group = await loop.run_in_executor(self._executor, self._write_files, launch)
            arguments = [str(self._shim), str(folder), str(launch.work_directory), str(launch.fence or "-"), *prefix]
            shim_pid = spawn_shell([*arguments, *launch.command], self._shim_environment(launch.run))
        except (OSError, RefusedError) as error:
            await self.release(launch.run)
            raise StartError(f"{launch.command[0]} could not be started: {error}") from error
        handle = await self._wait_for_identity(launch.run, shim_pid)
        return Started(handle, (*group.unenforced, *run_files.read_unlimited(folder)))

    def _shim_environment(self, run: Run) -> dict[str, str]:
        files = {"PLUM_FILES": str(self._workload_files)} if self._workload_files > 0 else {}
        return {SHIM_MARKER: run.marker, "PATH": SAFE_PATH, **files}

    def _write_files(self, launch: Launch) -> cgroups.Group:
        group = self._hierarchies.create(
            _group_name(launch.run), launch.cpu_millis, launch.memory_bytes, track=launch.fence is not None
        )
        run_files.write_launch_files(launch.run.directory, {**launch.environment, MARKER: launch.run.marker}, group.entries)
        return group

    async def _wait_for_identity(self, run: Run, shim_pid: int) -> Handle:
        """The shim's child writes who it is before it becomes the program; a shim that ended without it failed to start."""
        deadline = time.monotonic() + START_SECONDS
        pause = 0.001
        while True:
            process = run_files.read_identity(run.directory / "process")
            shim = run_files.read_identity(run.directory / "shim")
            if process is not None and shim is not None:
                return self._handle(run, process, shim)
            stat = read_stat(shim_pid)
            if stat is None or not stat.alive:
                _reap(shim_pid)
                if run_files.read_identity(run.directory / "process") is None:
                    raise StartError(_why_not_started(run.directory))
                continue
            if time.monotonic() > deadline:
                raise StartError(f"the shim {shim_pid} did not report its process within {START_SECONDS:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.02)

    def _handle(self, run: Run, process: ProcessStat, shim: ProcessStat | None) -> Handle:
        return Handle(
            boot_id=self._boot_id,
            pid=process.pid,
            start_ticks=process.start_ticks,
            shim_pid=shim.pid if shim else 0,
            shim_start_ticks=shim.start_ticks if shim else 0,
            started_at=run_files.read_start_time(run.directory),
        )

    async def find(self, run: Run) -> Handle | Exit | None:
        """Safe after a crash of the agent, the shim, or both, at any moment of a start.

        A shim that is alive without an identity of its child is waited for: its start is still going on.
        """
        folder = run.directory
        deadline = time.monotonic() + START_SECONDS
        while True:
            process, shim = run_files.read_identity(folder / "process"), run_files.read_identity(folder / "shim")
            shim_lives = shim is not None and is_alive(shim.pid, shim.start_ticks)
            if process is not None and (shim_lives or is_alive(process.pid, process.start_ticks)):
                return self._handle(run, process, shim if shim_lives else None)
            ended = run_files.read_exit(folder)
            if ended is not None:
                return self._complete(run, ended)
            if process is not None:
                unknown = run_files.exit_of_wait_status(None, time.time(), fenced=(folder / "fenced").exists())
                return self._complete(run, unknown)
            starting = any(run.marker in (entry.marker, entry.shim_of) for entry in await self._table.scan())
            if not starting:
                return None
            if time.monotonic() > deadline:
                raise StartError(f"a process with {SHIM_MARKER}={run.marker} is there, but never said what it started")
            await asyncio.sleep(0.02)

    def _complete(self, run: Run, ended: Exit) -> Exit:
        """With what only the files and groups of the run tell."""
        return replace(
            ended,
            started_at=run_files.read_start_time(run.directory),
            out_of_memory=cgroups.out_of_memory(run_files.read_groups(run.directory)),
        )

    async def wait(self, run: Run, handle: Handle) -> Exit:
        """The shim's word; where the shim is gone, the kernel's; where neither can tell, an unknown exit."""
        process = pidfd.open_process(handle.pid, handle.start_ticks)
        try:
            if handle.shim_pid:
                shim = pidfd.open_process(handle.shim_pid, handle.shim_start_ticks)
                if shim is not None:
                    try:
                        await pidfd.wait_until_ended(shim)
                    finally:
                        os.close(shim)
                    _reap(handle.shim_pid)
            ended = run_files.read_exit(run.directory)
            if ended is not None:
                return self._complete(run, ended)
            status = None
            if process is not None:
                await pidfd.wait_until_ended(process)
                status = await pidfd.read_wait_status(process, handle.pid, handle.start_ticks)
            fenced = (run.directory / "fenced").exists()
            return self._complete(run, run_files.exit_of_wait_status(status, time.time(), fenced))
        finally:
            if process is not None:
                os.close(process)

    async def signal(self, run: Run, handle: Handle, signal: int) -> None:
        stat = read_stat(handle.pid)
        if stat is not None and stat.start_ticks == handle.start_ticks and handle.boot_id == self._boot_id:
            with suppress(ProcessLookupError):
                if stat.group == handle.pid:
                    os.killpg(handle.pid, signal)
                else:  # between fork and setsid it has no group of its own yet
                    os.kill(handle.pid, signal)

    async def kill(self, run: Run, handle: Handle | None) -> None:
        if handle is not None:
            await self.signal(run, handle, signal.SIGKILL)
        pause = 0.002
        for _ in range(KILL_ROUNDS):
            survivors = await self._survivors(run, handle)
            if not survivors:
                return
            for stat in survivors:
                pidfd.send_signal(stat.pid, stat.start_ticks, signal.SIGKILL)
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.1)
        pids = ", ".join(str(stat.pid) for stat in survivors)
        raise StartError(f"processes {pids} do not die; they wait for a device or a file system")

    async def _survivors(self, run: Run, handle: Handle | None) -> list[ProcessStat]:
        entries = await self._table.scan()
        found = {stat.pid: stat for stat in members(entries, run.marker, self._leader(handle))}
        for pid in cgroups.members(run_files.read_groups(run.directory)):
            stat = read_stat(pid)
            if stat is not None and stat.alive:
                found[pid] = stat
        if handle is not None:
            found.pop(handle.shim_pid, None)
        return list(found.values())

    def _leader(self, handle: Handle | None) -> int:
        """The pid of the first process, if it names this run's session and no later one.

        While the session has members the kernel does not give its number away; so the number is ours unless a
        process with that pid started at another time.
        """
        if handle is None or handle.boot_id != self._boot_id:
            return 0
        stat = read_stat(handle.pid)
        return handle.pid if stat is None or stat.start_ticks == handle.start_ticks else 0

    async def execute(self, launch: Launch, command: tuple[str, ...], timeout_seconds: float) -> int:
        """Runs in a session of its own with the run's marker, so that it can neither survive its timeout nor the run."""
        prefix = user_prefix(launch.user)
        arguments = ["-c", _EXECUTE, "plum-exec", str(launch.run.directory), str(launch.work_directory), *prefix, *command]
        pid = spawn_shell(arguments, {MARKER: launch.run.marker, "PATH": SAFE_PATH})
        descriptor = os.pidfd_open(pid)
        try:
            async with asyncio.timeout(timeout_seconds):
                await pidfd.wait_until_ended(descriptor)
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._reapers.add(task := asyncio.get_running_loop().create_task(_reap_later(pid, descriptor)))
            task.add_done_callback(self._reapers.discard)
            raise
        with suppress(ProcessLookupError):  # what it left behind in the background, before its number is free again
            os.killpg(pid, signal.SIGKILL)
        os.close(descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])  # noqa: ASYNC222 -- it has ended

    async def open_command(self, launch: Launch, request: CommandRequest) -> Command:
        from plum_agent.drivers.commands import open_process_command  # no run needs it, only people do

        return await open_process_command(launch, request, self._executor, self._workload_files)

    async def connect(self, run: Run, handle: Handle, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        from plum_agent.drivers.listening import listens

        pids = [stat.pid for stat in await self._survivors(run, handle)]
        if await asyncio.get_running_loop().run_in_executor(self._executor, listens, pids, port):
            for address in ("127.0.0.1", "::1"):
                with suppress(OSError):
                    return await asyncio.open_connection(address, port)
        raise RefusedError("NotListening", f"nothing of it listens on port {port} of 127.0.0.1")

    async def end_commands(self, prefix: str) -> None:
        from plum_agent.drivers.commands import end_family, left_behind

        for identity in await asyncio.get_running_loop().run_in_executor(self._executor, left_behind, prefix):
            await end_family(identity, 0, self._executor)

    async def list_markers(self, prefix: str) -> list[str]:
        markers = {entry.marker or entry.shim_of for entry in await self._table.scan()}
        return sorted(marker for marker in markers if marker.startswith(prefix))

    async def release(self, run: Run) -> None:
        groups = run_files.read_groups(run.directory)
        if groups:
            await asyncio.get_running_loop().run_in_executor(self._executor, cgroups.remove, groups)

    async def close(self) -> None:
        self._executor.shutdown(wait=False)


_EXECUTE = 'run=$1 work=$2; shift 2; cd "$work" || exit 126; unset PWD OLDPWD SHLVL; . "$run/env.sh"; exec "$@"'


def _group_name(run: Run) -> str:
    return run.marker.replace("/", "_")


def _reap(pid: int) -> None:
    """A shim that this agent started is its child; one that was adopted is not."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def _reap_later(pid: int, descriptor: int) -> None:
    """After SIGKILL; it may take its time in the kernel, and nobody waits for that."""
    try:
        await pidfd.wait_until_ended(descriptor)
        _reap(pid)
    finally:
        os.close(descriptor)


def _why_not_started(folder: Path) -> str:
    files = [folder / name for name in (run_files.STDERR, "shim.err")]
    said = [file.read_text(errors="replace").strip()[-500:] for file in files if file.exists()]
    return "the program was not reached: " + ("; ".join(text for text in said if text) or "the shim ended without a word")
