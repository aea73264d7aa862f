"""What every driver does: start a run, find it again, signal it, end all of it, and say how it ended.

    start -> Handle -> wait -> Exit
    find (after a restart of the agent) -> Handle | Exit | None

    open_command, connect: a person works beside a run

A driver owns no decisions: it never restarts, and it signals nothing that it cannot identify by `Handle` or marker.
All methods may be called again after a crash of the agent at any point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from plum_schemas.base import Struct
from plum_schemas.template import SecurityContext, Template

MARKER = "PLUM_RUN"
"""Environment variable that every process of a run carries; its value names the run in all the world."""


class Handle(Struct):
    """Enough to find one run again after the agent restarts.

    A pid alone is not enough: the kernel reuses pids. Pid and start time together name one process for as long as
    the machine is up, and the boot id says for how long that is.
    """

    boot_id: str
    """`/proc/sys/kernel/random/boot_id`: a reboot makes every handle stale."""
    pid: int
    """First process of the workload; also its process group and session."""
    start_ticks: int
    """Start time in clock ticks since boot: field 22 of `/proc/<pid>/stat`."""
    shim_pid: int = 0
    """The shim that waits for it; 0 when the shim is gone and only the workload runs."""
    shim_start_ticks: int = 0
    started_at: float = 0.0
    """Unix seconds."""
    container_id: str = ""
    """For containers: id of the container; a process has none."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a run ended, as the driver saw it."""

    code: int | None
    """Exit code; 128 + number after a signal; None when nobody could observe it."""
    signal: str = ""
    """Such as SIGKILL; empty when it exited by itself."""
    finished_at: float = 0.0
    """Unix seconds."""
    started_at: float = 0.0
    """Unix seconds; 0 when nobody knows."""
    out_of_memory: bool = False
    """The kernel killed in it because of its memory limit."""
    fenced: bool = False
    """The shim ended it because the lease was not renewed in time."""


@dataclass(frozen=True, slots=True)
class Run:
    """Names one run on this node."""

    marker: str
    """Value of `PLUM_RUN` in all of its processes."""
    directory: Path
    """Folder of this run: identity, exit code and output live here and outlive the agent."""


@dataclass(frozen=True, slots=True)
class Bind:
    """A path of the node inside a container."""

    source: Path
    target: str
    """A relative one is below the folder the command starts in."""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """A port of a container with a network of its own, as the node shows it."""

    inside: int
    outside: int
    protocol: str
    """tcp or udp."""


@dataclass(frozen=True, slots=True)
class Container:
    """What a run in a container needs besides what every run needs."""

    image: str
    name: str = ""
    """Of the instance; the engine shows it to people."""
    labels: Mapping[str, str] = field(default_factory=dict)
    work_directory: str = ""
    """Inside the container; a relative one, as the empty one, is below the image's own."""
    binds: tuple[Bind, ...] = ()
    network: str = "host"
    """host, private or none."""
    published: tuple[Published, ...] = ()
    pids: int | None = None
    """Limit of processes and threads."""
    devices: tuple[Path, ...] = ()
    """Device nodes it may open, at the same place inside."""
    init: bool = True
    """Plum is process 1."""
    security: SecurityContext = field(default_factory=SecurityContext)


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything a driver needs to start one run."""

    run: Run
    command: tuple[str, ...]
    """Program and arguments; a container without any runs what its image says."""
    environment: Mapping[str, str]
    """All of it; nothing is inherited from the agent."""
    work_directory: Path
    user: str = ""
    """`name` or `uid[:gid]`; empty: the agent's own."""
    cpu_millis: int | None = None
    """Limit in thousandths of a processor."""
    memory_bytes: int | None = None
    """Limit."""
    fence: Path | None = None
    """File with the time at which the run must be gone, for exclusive runs: hundredths of a second since boot."""
    container: Container | None = None
    """None: a process of the node."""


@dataclass(frozen=True, slots=True)
class Started:
    """A run that was started, and what could not be kept of what was asked for."""

    handle: Handle
    unenforced: tuple[str, ...] = ()
    """Sentences about limits that this host does not enforce."""


STDOUT, STDERR = 1, 2
"""Numbers of the two outputs of a command."""


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """A command that somebody wants to run beside a workload."""

    words: tuple[str, ...]
    """Program and arguments; no shell looks at them."""
    stdin: bool = False
    """Without it the command reads an empty file."""
    tty: bool = False
    """It gets a terminal; then everything it writes is stdout."""
    columns: int = 0
    rows: int = 0
    """Size of the terminal; 0: not known yet."""


class Command(Protocol):
    """A command that runs. One task reads, one writes."""

    async def read(self) -> tuple[int, bytes] | None:
        """The next piece of what it writes, with `STDOUT` or `STDERR`. None once it has ended and all was read."""

    async def write(self, data: bytes) -> None:
        """Give it input; waits while it does not read. Dropped once it has ended or closed its input."""

    def end_input(self) -> None:
        """There is no more input. Safe to repeat."""

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of its terminal, if it has one."""

    async def wait(self) -> int:
        """The exit code, 128 + number after a signal."""

    async def close(self) -> None:
        """End it, with everything it started. Safe to repeat, and after its end."""


class Driver(Protocol):
    """Starts and ends runs of one kind."""

    runtimes: tuple[str, ...]
    """Values of `spec.template.runtime` it can run."""
    keeps_runs: bool
    """Runs outlive the agent and use this machine: they are written down and adopted, and their ports are real."""
    ready_seconds: float | None
    """None: the workload is asked by its probes. Else it cannot be asked, and counts as ready after this time."""

    def check(self, template: Template) -> None:
        """Raises `RefusedError` for what this driver can never run."""

    async def start(self, launch: Launch) -> Started:
        """Start a run. Raises `StartError`; then nothing of it runs."""

    async def find(self, run: Run) -> Handle | Exit | None:
        """The run as it is now: still there, ended, or never started (None)."""

    async def wait(self, run: Run, handle: Handle) -> Exit:
        """Return when the first process has ended. Cancel it freely; it changes nothing."""

    async def signal(self, run: Run, handle: Handle, signal: int) -> None:
        """Send a signal to the process group. A run that is gone is a success."""

    async def kill(self, run: Run, handle: Handle | None) -> None:
        """SIGKILL to the group and every descendant; returns when none is left. Safe to repeat."""

    async def execute(self, launch: Launch, command: tuple[str, ...], timeout_seconds: float) -> int:
        """Run a program beside the workload, in its folder and environment: its exit code. Raises `TimeoutError`."""

    async def open_command(self, launch: Launch, request: CommandRequest) -> Command:
        """Run a command beside the workload: its folder, environment, user and limits. Raises `StartError`."""

    async def connect(self, run: Run, handle: Handle, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to a port on which the run listens. Raises `RefusedError` when it does not."""

    async def end_commands(self, prefix: str) -> None:
        """End commands that an agent before this one opened, by the beginning of their runs' markers."""

    async def list_markers(self, prefix: str) -> list[str]:
        """Markers of living runs that begin so."""

    async def release(self, run: Run) -> None:
        """Let go of what the host keeps for an ended run (cgroups). Its folder stays. Safe to repeat."""

    async def close(self) -> None:
        """Stop watching; runs that outlive the agent go on."""
