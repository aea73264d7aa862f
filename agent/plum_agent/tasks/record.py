"""What this node knows of one attempt, on disk before it acts, so that any agent after this one finds everything.

<data>/<node>/tasks/<uid>-<token>/record    checksum, then the record as JSON
                                 /run/      identity, exit, output (see drivers/run_files.py)
                                 /work/     where relative paths begin

Taking    the write that takes it is about to be sent; nothing was started
Starting  it is ours; the start is about to happen or has happened: the driver knows
Running   the start was seen
Ended     nothing of it is left; `report` waits to be delivered until `delivered`
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
from plum_schemas.base import ObjectKey, Struct
from plum_schemas.taskrun import AttemptReport, TaskRun

from plum_agent.drivers.base import Handle, Run
from plum_agent.errors import LedgerCorruptError
from plum_agent.ledger import sync_folder, write_record

logger = logging.getLogger(__name__)

FILE = "record"
NOWHERE = Path("/nonexistent")
State = Literal["Taking", "Starting", "Running", "Ended"]


class AttemptRecord(Struct):
    """One attempt."""

    run: TaskRun
    """As it was when it was taken: what is executed."""
    attempt: int
    token: int
    """Fencing token it was, or will be, taken with."""
    marker: str
    """Value of `PLUM_RUN` in its processes."""
    boot_id: str
    state: State = "Taking"
    environment: dict[str, str] = {}
    """Values of `valueFrom` as they were read. May hold secrets."""
    secrets: dict[str, str] = {}
    """Values of the marks in the payload, by mark. Kept to take them out of what the run gives back, after a restart too."""
    handle: Handle | None = None
    deadline: float | None = None
    """When it is ended, in monotonic seconds of this boot; None: never."""
    unenforced: list[str] | None = None
    """Limits that the node does not enforce, in words; None until its start was seen."""
    stop_reason: Literal["", "Timeout", "Canceled", "Stopped", "Dropped"] = ""
    """Why this agent ends it. Stopped: the agent ends, and takes it along. Dropped: nobody waits for its result any more."""
    report: AttemptReport | None = None
    delivered: bool = False

    @property
    def executed(self) -> TaskRun:
        """The run with the values of its secrets, as it is started."""
        if not self.secrets:
            return self.run
        from plum_flow.secret_marks import revealed  # few agents ever need it

        return revealed(self.run, self.secrets)

    @property
    def key(self) -> ObjectKey:
        return self.run.key

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.run.metadata.uid}-{self.token}"


_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[AttemptRecord] = msgspec.json.Decoder(AttemptRecord)


class TaskLedger:
    """The records of one node. Without a directory they are kept in memory only, for drivers whose runs end with the agent."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory.absolute() / "tasks" if directory is not None else None
        self._executor = ThreadPoolExecutor(2, "tasks") if directory is not None else None

    def load(self) -> list[AttemptRecord]:
        """Every record that can be read, oldest first. One that cannot is set aside and reported."""
        if self.directory is None or not self.directory.is_dir():
            return []
        found: list[tuple[float, AttemptRecord]] = []
        for folder in self.directory.iterdir():
            path = folder / FILE
            if not path.exists():
                continue
            try:
                found.append((path.stat().st_mtime, _read(path)))
            except LedgerCorruptError as error:
                path.rename(path.with_name(f"{FILE}.corrupt"))
                logger.warning("record of a task is corrupt, set aside", extra={"path": str(path), "error": str(error)})
        return [record for _, record in sorted(found, key=lambda entry: entry[0])]

    def folder(self, record: AttemptRecord) -> Path:
        return NOWHERE if self.directory is None else self.directory / record.name

    def run_of(self, record: AttemptRecord) -> Run:
        """The run as the driver knows it."""
        return Run(record.marker, self.folder(record) / "run" if self.directory is not None else NOWHERE)

    async def write(self, record: AttemptRecord) -> None:
        """On disk when this returns. Raises `OSError`."""
        if self._executor is not None:
            body = _encode(record)
            await asyncio.get_running_loop().run_in_executor(self._executor, write_record, self.folder(record) / FILE, body)

    async def make_folders(self, record: AttemptRecord) -> Path:
        """Empty folders for the run and its work. The latter."""
        folder = self.folder(record)
        if self._executor is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, _make_folders, folder)
        return folder / "work"

    async def forget(self, record: AttemptRecord) -> None:
        """Delete all of it. Safe to repeat."""
        if self._executor is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, _remove, self.folder(record))

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True)


def _read(path: Path) -> AttemptRecord:
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
        if int(checksum, 16) != zlib.crc32(body):
            raise LedgerCorruptError(f"{path}: the checksum does not match")
        return _decoder.decode(body)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise LedgerCorruptError(f"{path}: {error}") from error


def _make_folders(folder: Path) -> None:
    for name, mode in (("run", 0o700), ("work", 0o755)):
        if (folder / name).exists():
            shutil.rmtree(folder / name)
        (folder / name).mkdir(parents=True)
        (folder / name).chmod(mode)
    folder.chmod(0o711)
    folder.parent.chmod(0o711)


def _remove(folder: Path) -> None:
    if (folder / FILE).exists():
        (folder / FILE).unlink()
        sync_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)
