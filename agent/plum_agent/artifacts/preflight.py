"""Whether this node can run a package: asked before the first start, so that the answer is a sentence and not an exit code.

    app/ -> programs for this machine? -> interpreter of start.sh? -> loader and libraries of the programs? -> notices

A package may carry programs for several machines, and tools that nobody starts. So it is refused only when nothing in it
could work; what may be missing otherwise is told and not held against it.
"""

from __future__ import annotations

import os
import shlex
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

from plum_client.packages.check import ELF as MAGIC

from plum_agent.artifacts.elf import Elf, read_elf
from plum_agent.errors import RefusedError

LIBRARY_FOLDERS = ("/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
LOADER_CACHE = Path("/etc/ld.so.cache")
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_COMPATIBLE = {("x86_64", "i386"), ("aarch64", "arm")}
MAX_NOTICES = 5


def check_machine(folder: Path, entry: str, machine: str) -> list[tuple[Path, Elf]]:
    """The programs of the package that are for this machine. Raises `RefusedError` when all are for others."""
    programs = list(_programs(folder))
    fitting = [(path, elf) for path, elf in programs if _fits(machine, elf)]
    first = read_elf(folder / entry)
    if (programs and not fitting) or (first is not None and not _fits(machine, first)):
        path, elf = (folder / entry, first) if first is not None and not _fits(machine, first) else programs[0]
        raise RefusedError(
            "WrongArchitecture",
            f"{path.relative_to(folder)} is built for {elf.machine}, this node is {machine}; push a package for {machine}, "
            f"or choose nodes with nodeSelector: {{plum.dev/arch: {elf.machine}}}",
        )
    return fitting


def check_host(
    folder: Path, entry: str, fitting: list[tuple[Path, Elf]], search_path: str, library_folders: Iterable[str] = ()
) -> list[str]:
    """Interpreter and libraries, as far as the node must have them. Answers with what may be missing. Raises `RefusedError`."""
    _check_interpreter(folder, entry, search_path)
    own = {name: path for path in _files(folder) for name in (path.name,)}
    system = _system_libraries(library_folders)
    missing = {path: _missing(elf, own, system) for path, elf in fitting}
    notices = [
        f"{path.relative_to(folder)} needs {', '.join(names)}, which neither the package nor this node has"
        for path, names in missing.items()
        if names
    ]
    if notices and all(missing.values()):
        advice = "install it on the node, or put it into the package and set LD_LIBRARY_PATH in start.sh"
        raise RefusedError("LibraryMissing", f"{notices[0]}; {advice}")
    return notices[:MAX_NOTICES]


def _fits(machine: str, elf: Elf) -> bool:
    return elf.machine == machine or ((machine, elf.machine) in _COMPATIBLE and Path(elf.loader or "/").exists())


def _programs(folder: Path) -> Iterator[tuple[Path, Elf]]:
    for path in _files(folder):
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                continue
        elf = read_elf(path)
        if elf is not None and elf.is_program:
            yield path, elf


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent) / name
            if path.is_file():
                yield path


def _check_interpreter(folder: Path, entry: str, search_path: str) -> None:
    with (folder / entry).open("rb") as file:
        line = file.readline(512)
    if not line.startswith(b"#!"):
        return
    words = line[2:].decode("utf-8", "replace").strip().split(None, 1)
    if not words:
        return
    program, wanted = words[0], _env_program(words)
    if not os.access(program, os.X_OK):
        raise _no_interpreter(entry, program)
    if wanted and not any(os.access(f"{part}/{wanted}", os.X_OK) for part in search_path.split(":")):
        raise _no_interpreter(entry, wanted)


def _env_program(words: list[str]) -> str:
    """What `#!/usr/bin/env ...` looks for; empty for other interpreters."""
    if not words[0].endswith("/env") or len(words) < 2:
        return ""
    rest = shlex.split(words[1].removeprefix("-S").strip())
    return next((word for word in rest if "=" not in word and not word.startswith("-")), "")


def _no_interpreter(entry: str, program: str) -> RefusedError:
    message = f"{entry} is run by {program}, which this node does not have; install it there, or use #!/bin/sh"
    return RefusedError("InterpreterMissing", message)


def _missing(elf: Elf, own: dict[str, Path], system: set[str]) -> list[str]:
    """Loader and libraries that are nowhere, also those that libraries of the package ask for."""
    missing = [elf.loader] if elf.loader and not Path(elf.loader).exists() else []
    waiting, seen = list(elf.needed), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in own:
            library = read_elf(own[name])
            waiting.extend(library.needed if library is not None else ())
        elif name not in system and not (name.startswith("/") and Path(name).exists()):
            missing.append(name)
    return sorted(missing)


def _system_libraries(more: Iterable[str]) -> set[str]:
    """Names of what the loader of this node finds."""
    names = _cached_libraries()
    for folder in (*LIBRARY_FOLDERS, *(f"{one}/{os.uname().machine}-linux-gnu" for one in ("/lib", "/usr/lib")), *more):
        if Path(folder).is_dir():
            names.update(entry.name for entry in os.scandir(folder) if ".so" in entry.name)
    return names


def _cached_libraries() -> set[str]:
    """What `ldconfig` has found, in folders that only it knows."""
    try:
        data = LOADER_CACHE.read_bytes()
        start = data.index(_CACHE_MAGIC)
        count, _ = struct.unpack_from("=LL", data, start + len(_CACHE_MAGIC))
        names = set()
        for index in range(count):
            (key,) = struct.unpack_from("=L", data, start + 48 + index * 24 + 4)
            names.add(data[start + key : data.index(b"\0", start + key)].decode("utf-8", "replace"))
    except (OSError, ValueError, struct.error):
        return set()
    return names
