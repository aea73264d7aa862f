"""A base image of this machine's own Debian packages: an interpreter, a shell and what they need, without a registry."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

from tests.support.docker_engine import Engine

PACKAGES = (
    "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "python3-minimal", "libc6", "libc-bin", "zlib1g",
    "libssl3", "libexpat1", "libffi8", "libsqlite3-0", "libbz2-1.0", "liblzma5", "libuuid1", "libcrypt1", "dash", "coreutils",
    "util-linux", "libselinux1", "libpcre2-8-0", "libacl1", "libattr1", "libgmp10", "libgcc-s1", "libstdc++6", "media-types",
    "libcap-ng0", "libmount1", "libblkid1", "libsmartcols1", "libtinfo6", "sed", "grep",
)  # fmt: skip
MERGED = ("bin", "lib", "lib64", "sbin")
"""Links to the folders of the same name below /usr."""


def make_base(engine: Engine, name: str, folder: Path) -> None:
    """Import the image."""
    path = folder / "base.tar"
    listed = subprocess.run(["dpkg", "-L", *PACKAGES], capture_output=True, text=True).stdout.splitlines()
    files = {_real(line) for line in listed if line.startswith("/") and not line.startswith(("/usr/share/doc", "/usr/share/man"))}
    with tarfile.open(path, "w") as tar:
        for link in MERGED:
            entry = tarfile.TarInfo(link)
            entry.type, entry.linkname = tarfile.SYMTYPE, f"usr/{link}"
            tar.addfile(entry)
        for directory in ("tmp", "root", "etc", "proc", "sys", "dev", "var"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(entry)
        for file in sorted(files - {f"/{link}" for link in MERGED}):
            if Path(file).is_symlink() or Path(file).is_file():
                tar.add(file, file.lstrip("/"), recursive=False)
    engine.docker("import", "-c", "ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin", str(path), name)
    path.unlink()


def _real(path: str) -> str:
    """The path with its folder's links followed, not its own."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
