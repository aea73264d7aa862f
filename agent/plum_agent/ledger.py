"""What this node was told to run and what it started, on disk, so that any agent after this one finds everything.

    <data>/<node>/<namespace>_<instance>/ledger     checksum, then the record as JSON
                                        /runs/7/    one run: identity, exit code, output (see drivers/run_files.py)
                                        /work/      the folder the workload starts in

A record is written before what it announces is done: intent, act, observe. It is replaced as a whole (new file, fsync,
rename, fsync of the folder), so after a crash the old or the new one is there, never a mixture.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import msgspec
from plum_schemas.base import ObjectKey, Struct
from plum_schemas.instance import Exit, Instance

from plum_agent.drivers.base import Handle
from plum_agent.errors import LedgerCorruptError

logger = logging.getLogger(__name__)


class RunRecord(Struct):
    """One run: what was meant to be started, and what became of it. Seconds are of the monotonic clock of `boot_id`."""

    number: int
    """1 for the first run of the instance."""
    marker: str
    """Value of `PLUM_RUN` in its processes."""
    boot_id: str
    launch: str
    """Hash of the parts of the template it was started with."""
    restart_request: str = ""
    started_at: datetime | None = None
    started_seconds: float = 0.0
    ports: dict[str, int] = {}
    """Port numbers by name, chosen ones included."""
    unenforced: list[str] = []
    """Limits that the host does not enforce."""
    handle: Handle | None = None
    """Set when the start was seen; a crash before that leaves the files of the run to say it."""
    stop_reason: str = ""
    """Why the agent decided to end it; empty when it did not."""
    exit: Exit | None = None
    """Set once no process of it is left."""
    ended_seconds: float = 0.0


class Record(Struct):
    """One instance on this node."""

    instance: Instance
    """As last seen in the API, without its status: what a boot without a controller starts."""
    environment: dict[str, str] = {}
    """Values of `valueFrom` as last read, for starts while the controller is away. May hold secrets."""
    run: RunRecord | None = None
    runs: int = 0
    failures: int = 0
    """Runs in a row that did not last."""
    at_rest: bool = False
    """The run ended because it was not wanted; the next one starts without delay."""
    finished: str = ""
    """`Succeeded` or `Failed`, when it ended for good."""
    last_exit: Exit | None = None
    """How the run before the current one ended."""


_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
FILE = "ledger"
NOWHERE = Path("/nonexistent")
"""Folder of everything that is kept in memory only."""


class Ledger:
    """The records of one node. Without a directory they are kept in memory only, for drivers whose runs end with the agent."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = None if directory is None else directory.absolute()
        self.agent_id = secrets.token_hex(8) if directory is None else _agent_id(directory)
        """Names this data directory in all the world: part of every marker."""
        self._executor = ThreadPoolExecutor(2, "ledger") if directory is not None else None

    def load(self) -> dict[ObjectKey, Record]:
        """Every record that can be read. One that cannot is set aside under another name and reported."""
        records: dict[ObjectKey, Record] = {}
        if self.directory is None:
            return records
        for folder in sorted(self.directory.iterdir()):
            path = folder / FILE
            namespace, underscore, name = folder.name.partition("_")
            if not underscore or not path.exists():
                continue
            try:
                records[ObjectKey(namespace, name)] = read_record(path)
            except LedgerCorruptError as error:
                path.rename(path.with_name(f"{FILE}.corrupt-{path.stat().st_mtime_ns}"))
                logger.warning("ledger record is corrupt, set aside", extra={"key": f"{namespace}/{name}", "error": str(error)})
        return records

    def last_run_number(self, key: ObjectKey) -> int:
        """The highest number of a run that left anything, 0 for none: known also where the record itself was lost."""
        if self.directory is None:
            return 0
        runs = self.folder(key) / "runs"
        if not runs.is_dir():
            return 0
        return max((int(folder.name) for folder in runs.iterdir() if folder.name.isdigit() and any(folder.iterdir())), default=0)

    async def record(self, key: ObjectKey, record: Record) -> None:
        """On disk when this returns. Calls for one key must not overlap."""
        if self._executor is not None:
            body = _encode(record)
            await asyncio.get_running_loop().run_in_executor(self._executor, write_record, self.folder(key) / FILE, body)

    async def forget(self, key: ObjectKey) -> None:
        """Delete everything of an instance that is gone. Safe to repeat."""
        if self._executor is not None:
            await asyncio.get_running_loop().run_in_executor(self._executor, _remove, self.folder(key))

    def folder(self, key: ObjectKey) -> Path:
        """Folder of one instance. Namespaces hold no underscore, so the name is unambiguous."""
        return NOWHERE if self.directory is None else self.directory / f"{key.namespace}_{key.name}"

    def run_folder(self, key: ObjectKey, number: int) -> Path:
        return NOWHERE if self.directory is None else self.folder(key) / "runs" / str(number)

    def make_run_folder(self, key: ObjectKey, number: int) -> Path:
        """The folder of a new run; only the previous run is kept beside it. Its output must not be mixed with an older one's."""
        folder = self.run_folder(key, number)
        if self._executor is None:
            return folder
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        folder.chmod(0o700)
        for other in folder.parent.iterdir():
            if other.name.isdigit() and int(other.name) < number - 1:
                shutil.rmtree(other, ignore_errors=True)
        return folder

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True)


def write_record(path: Path, body: bytes) -> None:
    """Replace a record. Durable when this returns."""
    new_folder = not path.parent.exists()
    if new_folder:
        path.parent.mkdir(parents=True)
        path.parent.chmod(0o711)
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, b"%08x\n" % zlib.crc32(body))
        view = memoryview(body)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_folder(path.parent)
    if new_folder:
        sync_folder(path.parent.parent)


def read_record(path: Path) -> Record:
    """Raises `LedgerCorruptError`."""
    try:
        checksum, _, body = path.read_bytes().partition(b"\n")
        if int(checksum, 16) != zlib.crc32(body):
            raise LedgerCorruptError(f"{path}: the checksum does not match")
        return _decoder.decode(body)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise LedgerCorruptError(f"{path}: {error}") from error


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _agent_id(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
    path = directory / "agent-id"
    with suppress(OSError):
        known = path.read_text(encoding="ascii").strip()
        if known:
            return known
    temporary = path.with_suffix(".new")
    temporary.write_text(f"{secrets.token_hex(8)}\n", encoding="ascii")
    temporary.rename(path)
    sync_folder(directory)
    return path.read_text(encoding="ascii").strip()


def _remove(folder: Path) -> None:
    """The record goes first: without it nothing is started from here, whatever of the rest is still there."""
    with suppress(FileNotFoundError):
        (folder / FILE).unlink()
        sync_folder(folder)
    shutil.rmtree(folder, ignore_errors=True)
