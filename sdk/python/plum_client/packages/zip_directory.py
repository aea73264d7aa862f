"""The directory of a zip, read without believing it.

    end of central directory -> (zip64) -> central directory -> every local header -> Entry ...

Everything that another reader could understand differently is refused: two directories, a local header that contradicts
the central one, data that overlaps, bytes before or after the zip. What comes out is bounded by `Limits` before it is held.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO, Literal

from plum_client.packages.errors import PackageError, Problem, broken

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 0xFFFF
_MASK32 = 0xFFFFFFFF
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_STREAMED = 0x0008
_UTF8 = 0x0800
_UNIX = (3, 19)
"""Systems that write Unix modes: Unix and macOS."""
STORED, DEFLATED = 0, 8
_METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "zstd", 95: "xz", 98: "PPMd", 99: "AES"}

Form = Literal["file", "folder", "link", "special"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What a package may state about itself. A zip that states more is refused before anything of it is unpacked."""

    entries: int = 50_000
    unpacked_bytes: int = 8 * 2**30
    ratio: int = 200
    """Unpacked size to packed size, from `ratio_from_bytes` on. Programs reach 4, text 20; deflate ends at 1032."""
    ratio_from_bytes: int = 64 * 2**20
    directory_bytes: int = 16 * 2**20
    """Of the central directory, which is held in memory."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link, as the directory states it."""

    name: str
    """Without a slash at its end. Bytes that are not UTF-8 are kept as surrogates, as Python does for file names."""
    form: Form
    mode: int
    """Permission bits; 0 when the zip comes from a system without them."""
    method: int
    crc: int
    packed: int
    """Bytes in the zip."""
    size: int
    """Bytes unpacked. Never believed: unpacking stops there and says so."""
    header: int
    """Where its local header begins."""


@dataclass(frozen=True, slots=True)
class _Raw:
    """One record of the central directory."""

    entry: Entry
    name: bytes
    flags: int


def read_directory(file: BinaryIO, limits: Limits) -> list[Entry]:
    """All entries, each checked against its local header. Raises `PackageError`."""
    end = file.seek(0, os.SEEK_END)
    start, size, count = _find_directory(file, end)
    if count > limits.entries or size > limits.directory_bytes:
        raise broken(
            f"it lists {count} files, at most {limits.entries} are allowed; pack fewer, or put them into an archive inside"
        )
    file.seek(start)
    directory = file.read(size)
    if len(directory) != size:
        raise broken("its directory is cut off; upload the whole zip")
    raws = list(_records(directory, count))
    _check_totals([raw.entry for raw in raws], limits)
    _check_local_headers(file, raws, start)
    return [raw.entry for raw in raws]


def data_offset(file: BinaryIO, entry: Entry) -> int:
    """Where the data of an entry begins."""
    file.seek(entry.header)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size:
        raise broken("its data is not where the directory says; upload the whole zip", entry.name)
    name_length, extra_length = _LOCAL.unpack(header)[9:]
    return entry.header + _LOCAL.size + int(name_length) + int(extra_length)


def _find_directory(file: BinaryIO, end: int) -> tuple[int, int, int]:
    """Offset, size and number of records of the central directory."""
    tail_start = max(0, end - _END.size - _MAX_COMMENT)
    file.seek(tail_start)
    tail = file.read(end - tail_start)
    position = tail.rfind(b"PK\x05\x06")
    if position < 0 or len(tail) - position < _END.size:
        if end == 0:
            raise broken("the file is empty; upload a zip")
        file.seek(0)
        if file.read(2) == b"PK":
            raise broken("the zip is cut off: its directory, which is at the end, is missing; upload the whole file")
        raise broken("this is no zip; pack the folder with `plum artifact push FOLDER` or `zip -r`")
    _, disk, first_disk, on_disk, count, size, start, comment = _END.unpack_from(tail, position)
    where = tail_start + position
    if where + _END.size + comment != end:
        raise broken("there are bytes after the end of the zip; it was damaged, or something was appended to it: pack it again")
    if disk or first_disk or on_disk != count:
        raise broken("the zip is one part of several; join the parts, or pack it as one file")
    directory_end = where
    if 0xFFFF in (count, on_disk) or _MASK32 in (size, start):
        found = _read_end64(file, where)
        if found is not None:
            start, size, count, directory_end = found
    if start + size > directory_end:
        raise broken("its directory is not where its end says; the zip is damaged or cut off: upload it again")
    if start + size < directory_end:
        raise broken("there are bytes in front of the zip or between its parts; pack it again as a plain zip")
    return start, size, count


def _read_end64(file: BinaryIO, end_position: int) -> tuple[int, int, int, int] | None:
    """What the zip64 end says, and where it begins; None when there is none, and the values are meant as they stand."""
    where = end_position - _LOCATOR.size
    if where < 0:
        return None
    file.seek(where)
    signature, disk, position, disks = _LOCATOR.unpack(file.read(_LOCATOR.size))
    if signature != b"PK\x06\x07":
        return None
    file.seek(position)
    record = file.read(_END64.size)
    if len(record) < _END64.size or not record.startswith(b"PK\x06\x06") or disk or disks > 1:
        raise broken("its zip64 directory cannot be read; the zip is damaged: pack it again")
    _, length, _, _, disk, first_disk, on_disk, count, size, start = _END64.unpack(record)
    if position + 12 + length != where or disk or first_disk or on_disk != count:
        raise broken("its zip64 directory contradicts itself; the zip is damaged: pack it again")
    return start, size, count, position


def _records(directory: bytes, count: int) -> Iterator[_Raw]:
    position = 0
    for _ in range(count):
        if len(directory) - position < _CENTRAL.size or directory[position : position + 4] != b"PK\x01\x02":
            raise broken("its directory lists fewer files than its end says; the zip is damaged: pack it again")
        fields = _CENTRAL.unpack_from(directory, position)
        made_by, flags, method = fields[1], fields[3], fields[4]
        crc, packed, size, name_length, extra_length, comment_length, disk = fields[7:14]
        external, header = fields[15], fields[16]
        name_start = position + _CENTRAL.size
        extra_start = name_start + name_length
        position = extra_start + extra_length + comment_length
        if position > len(directory):
            raise broken("its directory is cut off in the middle of a name; upload the whole zip")
        name = directory[name_start:extra_start]
        size, packed, header, disk = _widened(directory[extra_start : extra_start + extra_length], size, packed, header, disk)
        text = _decode(name, flags)
        if disk:
            raise broken("the zip is one part of several; join the parts, or pack it as one file", text)
        mode = (external >> 16) if made_by >> 8 in _UNIX else 0
        form = _form_of(text, mode)
        permissions = mode & 0o777
        yield _Raw(Entry(text.rstrip("/"), form, permissions, method, crc, packed, size, header), name, flags)
    if position != len(directory):
        raise broken("its directory lists more files than its end says; the zip is damaged: pack it again")


def _widened(extra: bytes, size: int, packed: int, header: int, disk: int) -> tuple[int, int, int, int]:
    """The values with those of the zip64 field in place of the ones that did not fit."""
    values = [size, packed, header, disk]
    full = [_MASK32, _MASK32, _MASK32, 0xFFFF]
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, position)
        position += 4
        if tag == 1:
            field, used = extra[position : position + length], 0
            for index, width in enumerate((8, 8, 8, 4)):
                if values[index] != full[index]:
                    continue
                part = field[used : used + width]
                if len(part) < width:
                    raise broken("its zip64 sizes cannot be read; the zip is damaged: pack it again")
                values[index] = int.from_bytes(part, "little")
                used += width
            break
        position += length
    return values[0], values[1], values[2], values[3]


def _decode(name: bytes, flags: int) -> str:
    if not name:
        raise broken("it contains a file without a name; pack it again")
    try:
        return name.decode("utf-8", "strict" if flags & _UTF8 else "surrogateescape")
    except UnicodeDecodeError:
        text = name.decode("utf-8", "backslashreplace")
        raise broken("its name says it is UTF-8 and is not; rename it and pack again", text) from None


def _form_of(name: str, mode: int) -> Form:
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        return "link"
    if name.endswith("/") or kind == stat.S_IFDIR:
        return "folder"
    return "file" if kind in (0, stat.S_IFREG) else "special"


def _check_totals(entries: list[Entry], limits: Limits) -> None:
    unpacked, packed = sum(entry.size for entry in entries), sum(entry.packed for entry in entries)
    if unpacked > limits.unpacked_bytes:
        mebibytes = limits.unpacked_bytes >> 20
        raise broken(
            f"it would unpack to {unpacked >> 20} MiB, at most {mebibytes} MiB are allowed; leave out what is not needed to run"
        )
    if unpacked > limits.ratio_from_bytes and unpacked > packed * limits.ratio:
        largest = max(entries, key=lambda entry: entry.size)
        raise broken(
            f"it would unpack to {unpacked // max(1, packed)} times its size, at most {limits.ratio} times are allowed; "
            "such zips are made to fill disks. Create big empty files when the program starts",
            largest.name,
        )


def _check_local_headers(file: BinaryIO, raws: list[_Raw], directory_start: int) -> None:
    problems: list[Problem] = []
    spans: list[tuple[int, int, str]] = []
    for raw in raws:
        entry = raw.entry
        problem, end = _check_local(file, raw, directory_start)
        spans.append((entry.header, end, entry.name))
        if problem:
            problems.append(Problem(entry.name, problem))
    spans.sort()
    for (_, end, _), (start, _, name) in pairwise(spans):
        if start < end:
            problems.append(
                Problem(name, "its data overlaps that of another file; such zips are made to fill disks. Pack it again")
            )
            break
    if problems:
        raise PackageError(problems)


def _check_local(file: BinaryIO, raw: _Raw, directory_start: int) -> tuple[str, int]:
    """What is wrong, and where the data of the entry ends."""
    entry = raw.entry
    if raw.flags & _ENCRYPTED:
        return "it is encrypted; pack without a password and put secrets into a Secret", entry.header
    if entry.method not in (STORED, DEFLATED):
        name = _METHODS.get(entry.method, f"number {entry.method}")
        return f"it is packed by method {name}, which is not supported; pack with deflate, as `zip -r` does", entry.header
    file.seek(entry.header)
    header = file.read(_LOCAL.size + len(raw.name))
    if len(header) < _LOCAL.size + len(raw.name) or not header.startswith(b"PK\x03\x04"):
        return "its data is not where the directory says; the zip is damaged: pack it again", entry.header
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack_from(header)
    start = entry.header + _LOCAL.size + int(name_length) + int(extra_length)
    end = start + entry.packed
    if end > directory_start:
        return "its data reaches beyond the end of the zip; upload the whole zip", end
    if int(name_length) != len(raw.name) or header[_LOCAL.size :] != raw.name:
        return "the zip gives it two names, which only an attack needs; pack it again", end
    different = method != entry.method or bool(flags & _ENCRYPTED)
    if not flags & _STREAMED and _MASK32 not in (packed, size):
        different = different or (crc, packed, size) != (entry.crc, entry.packed, entry.size)
    if entry.method == STORED:
        different = different or entry.packed != entry.size
    if different:
        return "the zip says two different things about it; it is damaged or made to deceive: pack it again", end
    return "", end
