#!/usr/bin/env python3
"""Checks and installs a bundle: Plum with all it needs in one file, for machines without a network.

    plum.tar --check (every byte, every name) --> wheels for this machine --> TO/releases/NAME --> TO/current

    bundle.json  SHA256SUMS  install.py  wheels/{any,x86_64,aarch64}/*.whl  images/*  manifests/*

Nothing is written before everything is checked, and `TO/current` moves to the new release in one step, after it has
shown that it starts. This file needs Python's standard library only: it is in every bundle as `install.py`, because a machine
that gets its first Plum has no other.
"""

from __future__ import annotations

import argparse
import configparser
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

FORMAT = 1
HEAD, SUMS, INSTALLER = "bundle.json", "SHA256SUMS", "install.py"
FOLDERS = ("wheels", "images", "manifests")
MAX_MEMBERS = 20_000
MAX_TEXT_BYTES = 4 * 2**20
"""Of the two files that are read as a whole."""
PIECE = 2**20
_NAME = re.compile(r"[A-Za-z0-9_.+@-][A-Za-z0-9_.+@ -]{0,199}")
_SUM = re.compile(r"([0-9a-f]{64})  (\S.*)")


class BundleError(Exception):
    """A bundle that cannot be used. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was checked."""

    path: Path
    version: str
    python: str
    """Such as 3.11: its wheels are for this release alone."""
    machines: tuple[str, ...]
    sha256: str
    """Of the whole file."""
    members: dict[str, int] = field(default_factory=dict)
    """Size of every file in it."""

    @property
    def release(self) -> str:
        """Names what is installed from it."""
        return f"{self.version}-{self.sha256[:12]}"


# ---- checking


def check(path: Path, sha256: str = "") -> Bundle:
    """Read all of a bundle. `sha256` is what the whole file must have, if that is known. Raises `BundleError`."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 and found != sha256.lower():
                raise BundleError(f"{path} is not the file that was meant: its sha256 is {found}")
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                return _check_members(path, tar, found)
    except FileNotFoundError:
        raise BundleError(f"{path}: there is no such file") from None
    except tarfile.ReadError as error:
        raise BundleError(f"{path} is no bundle, or is truncated: {error}") from error
    except (OSError, tarfile.TarError, UnicodeError) as error:
        raise BundleError(f"{path} cannot be read: {error}") from error


def _check_members(path: Path, tar: tarfile.TarFile, whole: str) -> Bundle:
    sizes: dict[str, int] = {}
    found: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    for member in tar:
        _check_name(path, member, sizes)
        if len(sizes) >= MAX_MEMBERS:
            raise BundleError(f"{path} has more than {MAX_MEMBERS} files")
        sizes[member.name] = member.size
        source = tar.extractfile(member)
        assert source is not None  # noqa: S101 -- it is a regular file
        if member.name in (HEAD, SUMS):
            if member.size > MAX_TEXT_BYTES:
                raise BundleError(f"{path}: {member.name} is too large")
            texts[member.name] = source.read()
            found[member.name] = hashlib.sha256(texts[member.name]).hexdigest()
        else:
            found[member.name] = _digest(source, member, path)
    for name in (HEAD, SUMS, INSTALLER):
        if name not in found:
            raise BundleError(f"{path} is no bundle, or is truncated: it has no {name}")
    _check_sums(path, texts[SUMS], found)
    return _read_head(path, texts[HEAD], whole, sizes)


def _check_name(path: Path, member: tarfile.TarInfo, known: dict[str, int]) -> None:
    parts = PurePosixPath(member.name).parts
    if not member.isreg():
        raise BundleError(f"{path}: {member.name!r} is not a plain file")
    if member.name in known:
        raise BundleError(f"{path}: {member.name!r} is in it twice")
    plain = parts and "/".join(parts) == member.name and all(_NAME.fullmatch(part) and part not in (".", "..") for part in parts)
    if not plain or len(parts) > 12 or (parts[0] not in FOLDERS if len(parts) > 1 else parts[0] not in (HEAD, SUMS, INSTALLER)):
        raise BundleError(f"{path}: {member.name!r} is no name that a bundle has")


def _digest(source: IO[bytes], member: tarfile.TarInfo, path: Path) -> str:
    digest, size = hashlib.sha256(), 0
    while piece := source.read(PIECE):
        digest.update(piece)
        size += len(piece)
    if size != member.size:
        raise BundleError(f"{path} is truncated: {member.name} has {size} of {member.size} bytes")
    return digest.hexdigest()


def _check_sums(path: Path, text: bytes, found: dict[str, str]) -> None:
    listed: dict[str, str] = {}
    for line in text.decode("utf-8").splitlines():
        parts = _SUM.fullmatch(line)
        if parts is None:
            raise BundleError(f"{path}: {SUMS} has a line that cannot be read: {line[:80]!r}")
        listed[parts[2]] = parts[1]
    for name in sorted(found.keys() - {SUMS} | listed.keys()):
        if name not in listed:
            raise BundleError(f"{path}: {name} is not listed in {SUMS}")
        if name not in found:
            raise BundleError(f"{path} is truncated: {name} is listed in {SUMS} and not there")
        if listed[name] != found[name]:
            raise BundleError(f"{path}: {name} was changed: its sha256 is {found[name]}, {SUMS} says {listed[name]}")


def _read_head(path: Path, text: bytes, whole: str, sizes: dict[str, int]) -> Bundle:
    try:
        head = json.loads(text)
        number, version, python, machines = head["format"], head["version"], head["python"], tuple(head["machines"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: {HEAD} cannot be read: {error!r}") from error
    if number != FORMAT:
        raise BundleError(f"{path} has format {number!r}; this program reads format {FORMAT}: use the bundle's own {INSTALLER}")
    texts = (version, python, *machines)
    if not machines or not all(isinstance(one, str) and re.fullmatch(r"[A-Za-z0-9_.+-]{1,40}", one) for one in texts):
        raise BundleError(f"{path}: {HEAD} names a version, a Python or a machine that cannot be")
    return Bundle(path, version, python, machines, whole, sizes)


# ---- installing


def install(bundle: Bundle, to: Path) -> Path:
    """Put a checked bundle below a folder and make it the current one. Answers with the release's folder. Raises `BundleError`.

    Safe to repeat; a release that is there already is only made the current one.
    """
    python, machine = f"{sys.version_info.major}.{sys.version_info.minor}", platform.machine()
    if bundle.python != python:
        raise BundleError(f"{bundle.path} is for Python {bundle.python}; this is {python}. Run it with python{bundle.python}")
    if machine not in bundle.machines:
        raise BundleError(f"{bundle.path} is for {', '.join(bundle.machines)}; this machine is {machine}")
    to = to.absolute()
    release = to / "releases" / bundle.release
    current = to / "current"
    if current.exists() and not current.is_symlink():
        raise BundleError(f"{current} is there and is not a link to a release; choose another folder")
    if not release.exists():
        new = release.with_name(f".{release.name}.new")
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            _unpack(bundle, new, machine)
            _compile(new)
            new.rename(release)
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise BundleError(f"{bundle.path} cannot be installed: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    _try(release)
    link = to / f".current.{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(release.relative_to(to))
    link.replace(current)
    return release


def _unpack(bundle: Bundle, new: Path, machine: str) -> None:
    """The files of a virtual environment, without the tools that make one: Debian keeps those in a package of their own."""
    packages = new / "lib" / f"python{bundle.python}" / "site-packages"
    packages.mkdir(parents=True)
    (new / "bin").mkdir()
    base = Path(os.path.realpath(sys.executable))
    (new / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {bundle.python}\n")
    for name in ("python", "python3", f"python{bundle.python}"):
        (new / "bin" / name).symlink_to(base)
    with tarfile.open(bundle.path, "r:") as tar:
        for member in tar:
            folder, _, rest = member.name.partition("/")
            source = tar.extractfile(member)
            assert source is not None  # noqa: S101 -- it was checked
            if folder == "wheels" and rest.split("/")[0] in ("any", machine):
                with zipfile.ZipFile(source) as wheel:
                    _unpack_wheel(wheel, new, packages)
            elif folder in ("images", "manifests"):
                target = new / "share" / member.name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(source, file, PIECE)


def _unpack_wheel(wheel: zipfile.ZipFile, new: Path, packages: Path) -> None:
    roots = {"purelib": packages, "platlib": packages, "scripts": new / "bin", "data": new}
    for entry in wheel.infolist():
        if entry.is_dir():
            continue
        parts = PurePosixPath(entry.filename).parts
        if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename or stat.S_ISLNK(entry.external_attr >> 16):
            raise BundleError(f"{wheel.filename or 'a wheel'} has a file that must not be: {entry.filename!r}")
        target = packages.joinpath(*parts)
        if parts[0].endswith(".data"):
            if parts[1] not in roots:
                continue  # headers: nothing is compiled here
            target = roots[parts[1]].joinpath(*parts[2:])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(wheel.read(entry))
        if (entry.external_attr >> 16) & 0o111 or target.parent == new / "bin":
            target.chmod(0o755)
        if len(parts) == 2 and parts[0].endswith(".dist-info") and parts[1] == "entry_points.txt":
            _write_programs(target.read_text(encoding="utf-8"), new / "bin")


def _write_programs(entry_points: str, folder: Path) -> None:
    """Programs find their interpreter beside them: they work from `current`, and in a release that was moved."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(entry_points)
    for name, place in parser.items("console_scripts") if parser.has_section("console_scripts") else ():
        module, _, function = place.partition("[")[0].strip().partition(":")
        if not _NAME.fullmatch(name) or not re.fullmatch(r"[\w.]+", module) or not re.fullmatch(r"[\w.]+", function):
            raise BundleError(f"the program {name!r} of a wheel cannot be: {place!r}")
        file = folder / name
        file.write_text(
            f'#!/bin/sh\n\'\'\'exec\' "$(dirname "$(readlink -f "$0")")/python" "$0" "$@"\n\' \'\'\'\n'
            f"import sys\nfrom {module} import {function.split('.')[0]}\nsys.exit({function}())\n",
            encoding="utf-8",
        )
        file.chmod(0o755)


def _compile(new: Path) -> None:
    """Byte code now: a service that may write nothing could not keep it."""
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", "-s", str(new), str(new / "lib")]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _try(release: Path) -> None:
    """Start what was installed, before it becomes the current one."""
    for program in (["plum", "version", "--client"], ["python", "-c", "import plum_agent.main, plum_controller.main"]):
        command = [str(release / "bin" / program[0]), *program[1:]]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BundleError(f"{release} was written and does not start: {error}") from error
        if done.returncode != 0:
            raise BundleError(f"{release} was written and does not start: {' '.join(command)}\n{done.stderr.strip()[-2000:]}")


def describe(bundle: Bundle) -> Iterator[str]:
    """What is in it, for people."""
    total = sum(bundle.members.values())
    yield f"Plum {bundle.version} for Python {bundle.python} on {', '.join(bundle.machines)}"
    for folder in FOLDERS:
        names = [name for name in bundle.members if name.startswith(f"{folder}/")]
        yield f"{len(names):5} {folder}, {sum(bundle.members[name] for name in names) / 2**20:.1f} MiB"
    yield f"{len(bundle.members):5} files, {total / 2**20:.1f} MiB"
    yield f"sha256 {bundle.sha256}"


def main() -> int:
    """`python3 install.py BUNDLE --to DIR`"""
    parser = argparse.ArgumentParser(description="Check a Plum bundle and install it, without a network.")
    parser.add_argument("bundle", type=Path, help="the bundle this file came from")
    parser.add_argument("--to", type=Path, help="folder to install into; without it the bundle is only checked")
    parser.add_argument("--sha256", default="", help="what the whole bundle must have")
    given = parser.parse_args()
    try:
        bundle = check(given.bundle, given.sha256)
        for line in describe(bundle):
            print(line)
        if given.to is not None:
            release = install(bundle, given.to)
            print(f"installed in {release}; {given.to}/current/bin/plum is this release now")
    except BundleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
