"""The files through which the shim of a run and the agents after it talk: formats and names in one place.

    env.sh, cgroups    written by the agent before the start, read by the shim
    stdin              what the program reads, where the run has an input
    shim, process      one line of /proc/<pid>/stat each: identity of the shim and of the first process
    exit, fenced       exit code; the deadline that was missed
    shim.err           what the shell said; not empty when a signal ended the program
    unlimited          groups the run could not enter

A file without its final newline is still being written and counts as missing.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

from plum_agent.drivers.base import Exit
from plum_agent.drivers.procfs import ProcessStat, parse_stat
from plum_agent.errors import RefusedError

STDIN = "stdin"
"""What the program reads; without the file its input is empty."""
STDOUT = "stdout.log"
STDERR = "stderr.log"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SILENT = {signal.SIGINT, signal.SIGPIPE, signal.SIGTERM}
"""Signals some shells say nothing about. The codes 130, 141 and 143 mean them by convention, so they are believed."""


def check_names(environment: Iterable[str]) -> None:
    """Raises `RefusedError` for names that a shell cannot carry."""
    for name in environment:
        if not _NAME.match(name):
            raise RefusedError(
                "InvalidEnvironment", f"env name {name!r} cannot be given to a process; use letters, digits and _, no digit first"
            )


def write_launch_files(folder: Path, environment: Mapping[str, str], groups: Iterable[Path]) -> None:
    """What the shim reads. Only the agent's user may read it: values may be secrets."""
    lines = [f"export {name}='{_quoted(value)}'\n" for name, value in environment.items()]
    descriptor = os.open(folder / "env.sh", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.writelines(lines)
    entries = [f"{entry}\n" for entry in groups]
    if entries:
        (folder / "cgroups").write_text("".join(entries), encoding="utf-8")


def _quoted(value: str) -> str:
    return value.replace("'", "'\\''")


def read_line(path: Path) -> str | None:
    """The one line of a file, or None while it is missing or incomplete. Raises `OSError` when we cannot know."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return text[:-1] if text.endswith("\n") else None


def read_identity(path: Path) -> ProcessStat | None:
    line = read_line(path)
    return parse_stat(line) if line else None


def read_start_time(folder: Path) -> float:
    """Unix seconds at which the first process began, 0 when it never did."""
    try:
        return (folder / "process").stat().st_mtime
    except FileNotFoundError:
        return 0.0


def read_groups(folder: Path) -> list[Path]:
    """Groups the run was put into, as folders."""
    try:
        lines = (folder / "cgroups").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Path(line).parent for line in lines]


def read_unlimited(folder: Path) -> tuple[str, ...]:
    """Sentences about groups that the run could not enter."""
    try:
        lines = (folder / "unlimited").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    return tuple(f"the run could not enter {line}; its limits are not enforced" for line in lines)


def read_exit(folder: Path) -> Exit | None:
    """How the run ended, or None while the shim has not said so."""
    path = folder / "exit"
    line = read_line(path)
    if line is None or not line.isdigit():
        return None
    finished_at = path.stat().st_mtime
    said = (folder / "shim.err").exists() and (folder / "shim.err").stat().st_size > 0
    return exit_of_shell(int(line), said, finished_at, fenced=(folder / "fenced").exists())


def exit_of_shell(status: int, signal_said: bool, finished_at: float, fenced: bool = False) -> Exit:
    """A shell adds 128 to the number of a signal; whether there was one is told by what it said."""
    name = ""
    if status > 128:
        try:
            number = signal.Signals(status - 128)
        except ValueError:
            number = None
        if number is not None and (signal_said or number in _SILENT):
            name = number.name
    return Exit(status, name, finished_at, fenced=fenced)


def exit_of_wait_status(status: int | None, finished_at: float, fenced: bool = False) -> Exit:
    """From the kernel's wait status; None is an exit that nobody observed."""
    if status is None:
        return Exit(None, "", finished_at, fenced=fenced)
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return Exit(code, "", finished_at, fenced=fenced)
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"SIG{-code}"
    return Exit(128 - code, name, finished_at, fenced=fenced)
