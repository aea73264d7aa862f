"""A folder as a package: the same folder gives the same bytes, so pushing it twice stores it once.

folder -> files, folders, links inside; modes kept, times and order not -> zip
"""

from __future__ import annotations

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from plum_client.packages.check import ENTRY
from plum_client.packages.errors import PackageError, Problem

LEFT_OUT = frozenset({".git", ".hg", ".svn", "__pycache__", ".DS_Store"})
"""Names that no package needs."""
_WHEN = (1980, 1, 1, 0, 0, 0)
_PIECE = 1024 * 1024
_MANY_BYTES = 2**31 - 1
"""From here on sizes need zip64."""


def build_zip(folder: Path, target: BinaryIO) -> None:
    """Write the zip of a folder. Raises `PackageError` for what cannot be packed, `OSError`."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for path in _sorted(folder):
            _add(archive, path, path.relative_to(folder).as_posix())


def _sorted(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda one: one.name):
        if path.name in LEFT_OUT:
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _sorted(path)


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    status = path.lstat()
    info = zipfile.ZipInfo(name, _WHEN)
    info.create_system = 3
    info.compress_type = zipfile.ZIP_DEFLATED
    if stat.S_ISLNK(status.st_mode):
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, os.fsencode(path.readlink()))
    elif stat.S_ISDIR(status.st_mode):
        info.filename = f"{name}/"
        info.external_attr = (stat.S_IFDIR | 0o755) << 16
        archive.writestr(info, b"")
    elif stat.S_ISREG(status.st_mode):
        program = status.st_mode & 0o111 or name == ENTRY
        info.external_attr = (stat.S_IFREG | (0o755 if program else 0o644)) << 16
        info.file_size = status.st_size
        with path.open("rb") as source, archive.open(info, "w", force_zip64=status.st_size > _MANY_BYTES) as target:
            while piece := source.read(_PIECE):
                target.write(piece)
    else:
        raise PackageError([Problem(name, "is a device, pipe or socket; only files, folders and links can be packed")])
