"""What an ELF file says about itself: machine, loader, and the libraries it asks for.

Only headers are read. A file that is damaged says nothing, and the kernel says the rest when it is started.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAGIC = b"\x7fELF"
MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64", 22: "s390x", 258: "loongarch64"}
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 1, 5, 10
_MAX_HEADERS = 256
_MAX_SECTION = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Elf:
    """One program or library."""

    machine: str
    """As `uname -m` says it."""
    is_program: bool
    loader: str
    """The program that loads it, such as /lib64/ld-linux-x86-64.so.2; empty for libraries and static programs."""
    needed: tuple[str, ...]
    """Libraries by name."""


def read_elf(path: Path) -> Elf | None:
    """None for what is no ELF file, or a damaged one."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except (OSError, struct.error, ValueError, IndexError):
        return None


def _read(file: BinaryIO) -> Elf | None:
    start = file.read(64)
    if not start.startswith(MAGIC) or len(start) < 52:
        return None
    wide, order = start[4] == 2, "<" if start[5] == 1 else ">"
    kind, machine = struct.unpack_from(f"{order}HH", start, 16)
    if wide:
        (table,) = struct.unpack_from(f"{order}Q", start, 32)
        size, count = struct.unpack_from(f"{order}HH", start, 54)
    else:
        (table,) = struct.unpack_from(f"{order}L", start, 28)
        size, count = struct.unpack_from(f"{order}HH", start, 42)
    segments = _segments(file, order, wide, table, size, min(count, _MAX_HEADERS))
    loader = next((_text(_part(file, offset, length)) for type_, offset, _, length in segments if type_ == _PT_INTERP), "")
    dynamic = next(((offset, length) for type_, offset, _, length in segments if type_ == _PT_DYNAMIC), None)
    needed = _needed(file, order, wide, segments, *dynamic) if dynamic is not None else ()
    is_program = kind == 2 or (kind == 3 and bool(loader))
    return Elf(MACHINES.get(machine, f"machine {machine}"), is_program, loader, needed)


def _segments(file: BinaryIO, order: str, wide: bool, table: int, size: int, count: int) -> list[tuple[int, int, int, int]]:
    """Type, offset in the file, address, and size in the file of each."""
    data = _part(file, table, size * count)
    found = []
    for index in range(count):
        position = index * size
        if wide:
            type_, _, offset, address, _, length = struct.unpack_from(f"{order}LLQQQQ", data, position)
        else:
            type_, offset, address, _, length = struct.unpack_from(f"{order}LLLLL", data, position)
        found.append((type_, offset, address, length))
    return found


def _needed(
    file: BinaryIO, order: str, wide: bool, segments: list[tuple[int, int, int, int]], offset: int, length: int
) -> tuple[str, ...]:
    data = _part(file, offset, length)
    form = struct.Struct(f"{order}qQ" if wide else f"{order}lL")
    entries = [form.unpack_from(data, position) for position in range(0, len(data) - form.size + 1, form.size)]
    values = dict(reversed(entries))
    address, size = values.get(_DT_STRTAB), values.get(_DT_STRSZ, 0)
    if address is None:
        return ()
    base = next((offset + address - start for type_, offset, start, length in segments
                 if type_ == _PT_LOAD and start <= address < start + length), None)  # fmt: skip
    if base is None:
        return ()
    strings = _part(file, base, size)
    names = []
    for tag, value in entries:
        if tag == 0:
            break
        if tag == _DT_NEEDED:
            names.append(_text(strings[value : strings.index(b"\0", value)]))
    return tuple(names)


def _part(file: BinaryIO, offset: int, length: int) -> bytes:
    if length > _MAX_SECTION:
        raise ValueError("a part of the file is larger than any real one")
    file.seek(offset)
    return file.read(length)


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")
