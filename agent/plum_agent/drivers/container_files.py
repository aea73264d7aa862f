"""The files of a run in a container: who it is, and how it ended. They outlive the agent and the container.

    container    JSON: identity; its presence says that the run is a container, from before the engine is asked for one
    status       wait status of the program, written by the first process of the container
    ended        JSON: the exit as it was once found out; the engine may have forgotten it since

See `run_files` for how a process does it.
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import msgspec
from plum_schemas.base import Struct

from plum_agent.drivers.base import Exit
from plum_agent.drivers.container_config import STATUS
from plum_agent.drivers.run_files import STDERR, STDOUT, exit_of_wait_status, read_line
from plum_agent.errors import RefusedError

IDENTITY = "container"
ENDED = "ended"


class Identity(Struct):
    """A container as this machine knows it."""

    id: str = ""
    """Empty: the engine was asked, and nobody wrote down its answer."""
    pid: int = 0
    """First process, as a number of this machine; 0 when it was never seen."""
    start_ticks: int = 0
    started_at: float = 0.0
    """Unix seconds."""
    boot_id: str = ""
    """The boot that `pid` is of."""
    memory_limited: bool = False
    """Its end may be due to that; only the engine knows."""


_encode = msgspec.json.encode
_identity = msgspec.json.Decoder(Identity)
_exit = msgspec.json.Decoder(Exit)


def prepare(folder: Path) -> None:
    """Files the container opens. Any user may write them from inside; outside, the folder keeps all others away."""
    write_identity(folder, Identity())
    for name in (STDOUT, STDERR, STATUS):
        path = folder / name
        path.touch()
        path.chmod(0o666)


def is_container(folder: Path) -> bool:
    return (folder / IDENTITY).exists()


def write_identity(folder: Path, identity: Identity) -> None:
    temporary = folder / f"{IDENTITY}.new"
    temporary.write_bytes(_encode(identity))
    temporary.rename(folder / IDENTITY)


def read_identity(folder: Path) -> Identity | None:
    """None: no container was asked for. One that cannot be read counts as asked for."""
    try:
        return _identity.decode((folder / IDENTITY).read_bytes())
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError:
        return Identity()


def write_exit(folder: Path, ended: Exit) -> None:
    if folder.is_dir():
        temporary = folder / f"{ENDED}.new"
        temporary.write_bytes(_encode(ended))
        temporary.rename(folder / ENDED)


def read_exit(folder: Path) -> Exit | None:
    """How the run ended, as it was written down before."""
    try:
        return _exit.decode((folder / ENDED).read_bytes())
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def read_status(folder: Path) -> Exit | None:
    """How the program ended by the word of the container's first process; None when it said nothing."""
    line = read_line(folder / STATUS)
    if line is None or not line.isdigit():
        return None
    return exit_of_wait_status(int(line), (folder / STATUS).stat().st_mtime)


def install_init(data_directory: Path) -> Path:
    """A copy of the first process for this machine, named by its content, that containers are given. Safe to repeat."""
    from hashlib import sha256

    source = files("plum_agent.drivers").joinpath("container_init", f"init.{os.uname().machine}")
    if not source.is_file():
        raise RefusedError("NodeIncomplete", f"containers are not supported on {os.uname().machine}; use x86_64 or aarch64")
    content = source.read_bytes()
    target = data_directory / f"init-{sha256(content).hexdigest()[:12]}"
    if not target.exists():
        data_directory.mkdir(parents=True, exist_ok=True)
        temporary = target.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(content)
        temporary.chmod(0o755)
        temporary.replace(target)
    return target.resolve()
