"""Unpacking a package into a folder of its own: beside it first, then renamed into place.

    zip -> names, links, sizes checked again -> app.new/ -> on disk -> app/

The node believes the controller as little as the controller believed the upload: the same rules are asked once more.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from plum_client.packages.check import ELF, ENTRY, Contents, read_contents
from plum_client.packages.zip_data import read_pieces
from plum_client.packages.zip_directory import Entry

Progress = Callable[[int, int], None]
"""Bytes done, bytes in all."""


class UnpackCanceledError(Exception):
    """Nobody wants it any more."""


def unpack(zip_path: Path, target: Path, owner: tuple[int, int] | None, progress: Progress, canceled: threading.Event) -> None:
    """Replace `target` by what the zip holds. Blocks. Raises `PackageError`, `OSError`, `UnpackCanceledError`; safe to repeat."""
    beside = target.with_name(f"{target.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        with zip_path.open("rb") as file:
            contents = read_contents(file)
            _write_all(file, contents, beside, progress, canceled)
        if owner is not None:
            _give(beside, owner)
        _sync_file_system(beside)
        if target.exists():
            shutil.rmtree(target)
        beside.rename(target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise


def _write_all(file: BinaryIO, contents: Contents, folder: Path, progress: Progress, canceled: threading.Event) -> None:
    total = sum(entry.size for entry in contents.entries)
    done = 0
    for entry in contents.entries:
        path = folder / entry.name
        if entry.form == "folder":
            path.mkdir(parents=True, exist_ok=True)
            continue
        if entry.form == "link":
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        start = b""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "wb") as target:
            for piece in read_pieces(file, entry):
                if canceled.is_set():
                    raise UnpackCanceledError
                start = start or piece[:4]
                target.write(piece)
                done += len(piece)
                progress(done, total)
            os.fchmod(target.fileno(), 0o755 if _is_program(entry, start) else 0o644)
    for name, link in contents.links.items():  # last: nothing is ever written through one
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(link)


def _is_program(entry: Entry, start: bytes) -> bool:
    """Zips from elsewhere carry no modes, so what looks like a program is made one."""
    base = entry.name.rpartition("/")[2]
    return bool(entry.mode & 0o111) or entry.name == ENTRY or "." not in base or start == ELF or start[:2] == b"#!"


def _give(folder: Path, owner: tuple[int, int]) -> None:
    os.chown(folder, *owner)
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(parent) / name, *owner, follow_symlinks=False)


def _sync_file_system(folder: Path) -> None:
    """Have everything on disk before it gets its name. One call for the file system instead of one for each file."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)
