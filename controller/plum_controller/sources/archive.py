"""Trees of revisions that were applied, kept on this machine: what a rollback goes back to, whatever the source does.

    FOLDER/REVISION.tar.gz      written beside and renamed, so a file that is there is whole

Files are kept as they came: what is encrypted stays encrypted.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

from plum_controller.manifests.tree import Tree
from plum_controller.sources.base import Revision, SourceError
from plum_controller.sources.bundle import read_tar

_NAME = re.compile(r"[0-9a-f]{7,64}\Z").match


class Archive:
    """The kept revisions of one Sync."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, revision: Revision) -> None:
        """Write a revision, if it is not there. Raises `SourceError`."""
        path = self._path(revision.name)
        if path.exists():
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            beside = path.with_suffix(".part")
            with beside.open("wb") as out:
                out.write(pack(revision.tree))
                out.flush()
                os.fsync(out.fileno())
            beside.replace(path)
        except OSError as error:
            raise SourceError(f"{path} cannot be written: {error.strerror or error}") from error

    def get(self, name: str) -> Revision | None:
        """A kept revision by its name, or by the beginning of it. Raises `SourceError` for a broken file."""
        if not _NAME(name):
            return None
        found = sorted(self._folder.glob(f"{name}*.tar.gz"))
        if len(found) != 1:
            return None
        return Revision(found[0].name.removesuffix(".tar.gz"), read_tar(found[0].read_bytes(), str(found[0])))

    def prune(self, wanted: Iterable[str]) -> None:
        """Forget all but these."""
        keep = set(wanted)
        for path in self._folder.glob("*.tar.gz"):
            if path.name.removesuffix(".tar.gz") not in keep:
                path.unlink(missing_ok=True)
        for path in self._folder.glob("*.part"):
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME(name):
            raise SourceError(f"{name!r} is no revision")
        return self._folder / f"{name}.tar.gz"


def pack(tree: Tree) -> bytes:
    """The files of a tree that its manifests consist of, as a tar file: the same bytes for the same tree."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=3) as zipped:
        with tarfile.open(fileobj=zipped, mode="w") as archive:
            for path in sorted(tree.used or tree.files):
                member = tarfile.TarInfo(path)
                member.size = len(tree.files[path])
                archive.addfile(member, io.BytesIO(tree.files[path]))
    return packed.getvalue()
