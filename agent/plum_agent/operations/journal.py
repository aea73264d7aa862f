"""What the host of devices must not forget, as lines appended to one file.

    <data>/<node>/devices/journal     CRC, then one entry as JSON, per line; the newest entry of a key counts
    append -> one flush for all that came meanwhile -> the callers go on

A line that is not whole is where the machine lost power: it and what follows was promised to nobody. The file is written
anew, with what still counts, at each start and when most of it no longer counts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from plum_agent.ledger import sync_folder

logger = logging.getLogger(__name__)

COMPACT_BYTES = 4 * 1024 * 1024
"""A file below is not written anew while the agent runs."""
Entry = tuple[str, Any]
"""Its key, and its value; None forgets the key."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode


class Journal:
    """Keys and values. Without a folder everything is kept in memory only."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / "journal"
        self._executor = ThreadPoolExecutor(1, "journal") if folder is not None else None
        self._descriptor = -1
        self._values: dict[str, bytes] = {}
        self._waiting: list[tuple[str, bytes, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self._size = 0
        self._live = 0

    def load(self) -> dict[str, bytes]:
        """Everything that counts, each value as JSON. Raises `OSError`."""
        if self._path is None:
            return {}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.parent.chmod(0o711)
        if self._path.exists():
            self._read(self._path.read_bytes())
        self._rewrite()
        return dict(self._values)

    def _read(self, data: bytes) -> None:
        for line in data.splitlines(keepends=True):
            body = line[9:-1]
            try:
                if not line.endswith(b"\n") or int(line[:8], 16) != zlib.crc32(body):
                    raise ValueError
                key, value = _decode(body)
            except (ValueError, msgspec.MsgspecError):
                logger.warning("journal of devices ends in a line that is not whole", extra={"path": str(self._path)})
                return
            if bytes(value) == b"null":
                self._values.pop(key, None)
            else:
                self._values[key] = bytes(value)

    async def put(self, *entries: Entry) -> None:
        """On disk when it returns, all or none of those that came before. Raises `OSError`; then nothing was noted."""
        if self._path is None:
            return
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[None]] = []
        for key, value in entries:
            futures.append(loop.create_future())
            self._waiting.append((key, _encode(value), futures[-1]))
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self._flush())
        results = await asyncio.gather(*futures, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch, self._waiting = self._waiting, []
            text = b"".join([_line(key, value) for key, value, _ in batch])
            error: OSError | None = None
            try:
                await loop.run_in_executor(self._executor, self._append, text)
            except OSError as failure:
                error = failure
            for key, value, future in batch:
                if error is None:
                    self._note(key, value)
                if not future.done():
                    if error is None:
                        future.set_result(None)
                    else:
                        future.set_exception(OSError(error.errno, error.strerror))
            if error is None and self._size > COMPACT_BYTES and self._size > 4 * self._live:
                try:
                    await loop.run_in_executor(self._executor, self._rewrite)
                except OSError as failure:
                    logger.warning("journal of devices cannot be written anew", extra={"error": str(failure)})

    def _note(self, key: str, value: bytes) -> None:
        before = self._values.pop(key, None)
        self._live -= 0 if before is None else len(before)
        if value != b"null":
            self._values[key] = value
            self._live += len(value)

    def _append(self, text: bytes) -> None:
        """One write and one flush. What a failed write left behind is cut off, or later lines would stand behind a broken one."""
        if self._descriptor < 0:
            self._rewrite()
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)
            self._size += len(text)
        except OSError:
            # After a failed flush nobody knows what is on the disk: the next append begins with a new file.
            os.close(self._descriptor)
            self._descriptor = -1
            raise

    def _rewrite(self) -> None:
        """A new file with what counts, in place of the old one."""
        if self._path is None:
            return
        text = b"".join([_line(key, value) for key, value in list(self._values.items())])
        temporary = self._path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(text)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
            temporary.rename(self._path)
            sync_folder(self._path.parent)
        except OSError:
            os.close(descriptor)
            raise
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._size, self._live = descriptor, len(text), sum(map(len, self._values.values()))

    def close(self) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _line(key: str, value: bytes) -> bytes:
    body = b"[%b,%b]" % (_encode(key), value)
    return b"%08x %b\n" % (zlib.crc32(body), body)
