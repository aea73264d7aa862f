"""Configuration and secrets as files of an instance, written before every start.

    template.files -> References -> files below the folder of the instance, and a note of which were written

What is no longer declared is removed. When the controller does not answer, the files of the last start stay and count.
The folder belongs to the workload, which may have put links anywhere: no link is ever followed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec
from plum_client.client import ApiClient
from plum_schemas.instance import Instance

from plum_agent.errors import RefusedError
from plum_agent.references import References

NOTE = "files.json"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileContent:
    """One file to be written."""

    path: str
    data: bytes
    mode: int


async def resolve(api: ApiClient, instance: Instance) -> list[FileContent]:
    """The files of an instance. Raises `RefusedError` for what is missing; API errors."""
    references = References(api, instance.metadata.namespace)
    found: list[FileContent] = []
    for file in instance.spec.template.files:
        mode, what = int(file.mode, 8), f"file {file.path}"
        if file.value is not None:
            found.append(FileContent(file.path, file.value.encode(), mode))
        elif file.value_from is not None:
            data = await references.value(file.value_from, what)
            if data is not None:
                found.append(FileContent(file.path, data, mode))
        else:
            values = await references.all(file.secret_ref, file.config_map_ref, what)
            found += [FileContent(f"{file.path}/{key}", data, mode) for key, data in values.items()]
    return found


def were_written(instance: Instance, note_folder: Path, base: Path) -> bool:
    """Whether the files of an earlier start are there."""
    written = _noted(note_folder)
    declared = [file.path for file in instance.spec.template.files]
    there = all(os.path.lexists(base / path) for path in written)
    return bool(written) and there and all(any(f"{one}/".startswith(f"{path}/") for one in written) for path in declared)


def write(files: Sequence[FileContent], note_folder: Path, base: Path, owner: tuple[int, int] | None) -> None:
    """Put the files there, and take away those of the last start that are not among them. Raises `RefusedError`, `OSError`."""
    before = _noted(note_folder)
    now = [file.path for file in files]
    if not now and not before:
        return
    temporary = note_folder / f"{NOTE}.new"
    temporary.write_bytes(msgspec.json.encode(sorted({*before, *now})))
    temporary.replace(note_folder / NOTE)
    for path in before:
        if path not in now:
            with suppress(OSError):
                _remove(base, path)
    for file in files:
        try:
            _write_one(base, file, owner)
        except (NotADirectoryError, FileExistsError, IsADirectoryError) as error:
            message = f"file {file.path} cannot be written: part of its path is a link, or no folder; choose another path"
            raise RefusedError("FileNotWritable", message) from error
        except OSError as error:
            if error.errno != 40:  # ELOOP: a link where a folder is expected
                raise
            message = f"file {file.path} cannot be written: part of its path is a link; choose another path"
            raise RefusedError("FileNotWritable", message) from error
    temporary.write_bytes(msgspec.json.encode(now))
    temporary.replace(note_folder / NOTE)


def _noted(note_folder: Path) -> list[str]:
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode((note_folder / NOTE).read_bytes(), type=list[str])
    return []


def _write_one(base: Path, file: FileContent, owner: tuple[int, int] | None) -> None:
    *folders, name = file.path.split("/")
    folder = _open_folders(base, folders, owner)
    temporary = f".{name}.plum-new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)
        descriptor = os.open(temporary, _NEW, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as target:
            target.write(file.data)
            os.fchmod(target.fileno(), file.mode)
            if owner is not None:
                os.fchown(target.fileno(), *owner)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _open_folders(base: Path, names: Sequence[str], owner: tuple[int, int] | None) -> int:
    """The innermost folder, made where it is missing. No part of the way may be a link."""
    current = os.open(base, _FOLDER)
    for name in names:
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=current)
                if owner is not None:
                    os.chown(name, *owner, dir_fd=current, follow_symlinks=False)
            inner = os.open(name, _FOLDER, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current


def _remove(base: Path, path: str) -> None:
    *folders, name = path.split("/")
    folder = _open_folders(base, folders, None)
    try:
        os.unlink(name, dir_fd=folder)
    finally:
        os.close(folder)
