"""Checking a package exactly as it will be run: the zip, its names, `start.sh`, `meta.ini`, and every byte against its checksum.

    file -> read_directory -> names, links -> start.sh, meta.ini -> data -> Package, or PackageError with every problem

The same function answers `plum artifact push`, the upload, and the node that unpacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from plum_client.packages import meta_ini
from plum_client.packages.errors import PackageError, Problem, shown
from plum_client.packages.names import MAX_TARGET_BYTES, LinkError, check_links, check_names, resolve
from plum_client.packages.zip_data import read_pieces, read_start
from plum_client.packages.zip_directory import Entry, Limits, read_directory

ENTRY = "start.sh"
DEFAULT_LIMITS = Limits()
_SCRIPT_BYTES = 1024 * 1024
"""How much of `start.sh` is looked at."""
ELF = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class Package:
    """A package that can be run."""

    name: str
    version: str
    services: tuple[meta_ini.Service, ...]
    metadata: Mapping[str, str]
    """All keys of `meta.ini` but `service`."""
    entry: str
    """Name of the program that is started."""
    files: int
    size: int
    """Unpacked bytes."""
    warnings: tuple[str, ...]
    """What works and is probably not meant."""


@dataclass(frozen=True, slots=True)
class Contents:
    """The entries of a zip whose names and links are safe."""

    entries: tuple[Entry, ...]
    links: Mapping[str, str]

    def find(self, name: str) -> Entry | None:
        """The file a path leads to, links followed."""
        try:
            path = resolve(name, self.links)
        except LinkError:
            return None
        return next((entry for entry in self.entries if entry.name == path), None)


def read_contents(file: BinaryIO, limits: Limits = DEFAULT_LIMITS) -> Contents:
    """The entries, once it is certain that unpacking them stays inside a folder. Raises `PackageError`."""
    entries = read_directory(file, limits)
    problems = check_names(entries)
    if problems:
        raise PackageError(problems)
    links: dict[str, str] = {}
    for entry in entries:
        if entry.form == "link":
            target = read_start(file, entry, MAX_TARGET_BYTES + 1)
            links[entry.name] = target.decode("utf-8", "surrogateescape")
    problems = check_links(links)
    if problems:
        raise PackageError(problems)
    return Contents(tuple(entries), links)


def check_package(file: BinaryIO, limits: Limits = DEFAULT_LIMITS, *, name: str = "", version: str = "") -> Package:
    """Everything about a package. `name` and `version` win over those of `meta.ini`. Raises `PackageError`."""
    contents = read_contents(file, limits)
    problems = _check_start(file, contents)
    meta, wrong = _read_meta(file, contents)
    problems += wrong
    if meta.values or not wrong:
        problems += meta_ini.check_identity(name or meta.name, version or meta.version)
    if problems:
        raise PackageError(problems)
    for entry in contents.entries:
        if entry.form == "file":
            for _ in read_pieces(file, entry):
                pass
    files = [entry for entry in contents.entries if entry.form != "folder"]
    warnings = [*meta.warnings, *_clashes(contents)]
    return Package(
        name=name or meta.name,
        version=version or meta.version,
        services=tuple(meta.services),
        metadata=meta.values,
        entry=ENTRY,
        files=len(files),
        size=sum(entry.size for entry in files),
        warnings=tuple(map(str, warnings)),
    )


def _check_start(file: BinaryIO, contents: Contents) -> list[Problem]:
    missing = _missing(contents, ENTRY, "it is the program that is started")
    if missing:
        return [missing]
    entry = contents.find(ENTRY)
    if entry is None or entry.form != "file":
        return [Problem(ENTRY, "is no file; it must be the script or program that is started")]
    if entry.size == 0:
        return [Problem(ENTRY, "is empty; it must be the script or program that is started")]
    wrong = wrong_script(read_start(file, entry, _SCRIPT_BYTES))
    return [Problem(ENTRY, wrong)] if wrong else []


def wrong_script(start: bytes) -> str:
    """Why the kernel would not run a file that begins so; empty when it would."""
    if start.startswith(ELF):
        return ""
    if start.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        return "begins with a byte order mark, so the kernel does not see its #! line; save it as UTF-8 without BOM"
    if not start.startswith(b"#!"):
        return "has no #! line; write #!/bin/sh or #!/usr/bin/env bash as its first line"
    first = start.split(b"\n", 1)[0]
    if b"\r" in start[:8192]:
        return (
            "has lines that end in CR LF; Linux would look for an interpreter with a CR in its name: sed -i 's/\\r$//' start.sh"
        )
    interpreter = first[2:].strip().split(None, 1)
    if not interpreter or not interpreter[0].startswith(b"/"):
        return "its #! line names no program by an absolute path; write #!/bin/sh or #!/usr/bin/env bash"
    return ""


def _read_meta(file: BinaryIO, contents: Contents) -> tuple[meta_ini.Meta, list[Problem]]:
    missing = _missing(contents, meta_ini.FILE, "it must name the package: name=... and version=...")
    if missing:
        return meta_ini.Meta(), [missing]
    entry = contents.find(meta_ini.FILE)
    if entry is None or entry.form != "file":
        return meta_ini.Meta(), [Problem(meta_ini.FILE, "is no file; it must be a text with name=... and version=...")]
    if entry.size > meta_ini.MAX_BYTES:
        return meta_ini.Meta(), [Problem(meta_ini.FILE, f"is larger than {meta_ini.MAX_BYTES} bytes; keep it to a few lines")]
    return meta_ini.parse(read_start(file, entry, meta_ini.MAX_BYTES))


def _missing(contents: Contents, name: str, why: str) -> Problem | None:
    """That a file is not at the root, and where it is instead."""
    names = [entry.name for entry in contents.entries]
    at_root = [found for found in names if found.lower() == name]
    if len(at_root) > 1:
        return Problem(name, f"is there in several spellings ({', '.join(at_root)}); keep the one called {name}")
    if at_root and at_root[0] != name:
        return Problem(at_root[0], f"must be called {name}; nodes look for exactly this name: rename it")
    if at_root:
        return None
    tops = {found.partition("/")[0] for found in names}
    elsewhere = sorted((found for found in names if found.rpartition("/")[2].lower() == name), key=lambda found: found.count("/"))
    if elsewhere and len(tops) == 1:
        top = shown(tops.pop())
        advice = f"pack what is in the folder: cd {top} && zip -r ../app.zip ."
        return Problem(name, f"is inside the folder {top}/ and must be at the root of the zip; {advice}")
    if elsewhere:
        return Problem(name, f"is at {shown(elsewhere[0])} and must be at the root of the zip; {why}: move it")
    return Problem(name, f"is missing at the root of the zip; {why}: add it")


def _clashes(contents: Contents) -> list[Problem]:
    """Names that differ only in case: fine on Linux, one file less wherever somebody unpacks it on Windows or macOS."""
    seen: dict[str, str] = {}
    clashes = []
    for entry in contents.entries:
        other = seen.setdefault(entry.name.lower(), entry.name)
        if other != entry.name:
            clashes.append(
                Problem(entry.name, f"differs from {shown(other)} only in case; on Windows and macOS one of them is lost")
            )
    return clashes
