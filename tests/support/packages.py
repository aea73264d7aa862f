"""Packages for tests: good ones, and every hostile or broken form that an upload and a node must refuse.

good_zip({"start.sh": ..., ...}) -> bytes        RawZip(...).bytes() -> a zip that says whatever it is told to say
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

START = b"#!/bin/sh\nexec sleep 1000\n"
META = b"name=demo-app\nversion=1.0.0\nservice=orders:http:8080\n"
_TEXT = b"abc" * 900
_LARGE = 4 * 2**30 - 2
BASE: Mapping[str, bytes] = {"start.sh": START, "meta.ini": META}


def good_zip(files: Mapping[str, bytes] | None = None, links: Mapping[str, str] | None = None) -> bytes:
    """A zip as `zip -r` makes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (BASE if files is None else files).items():
            info = zipfile.ZipInfo(name, (2026, 1, 2, 3, 4, 6))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = ((stat.S_IFDIR | 0o755) if name.endswith("/") else (stat.S_IFREG | 0o644)) << 16
            archive.writestr(info, data)
        for name, target in (links or {}).items():
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    return buffer.getvalue()


@dataclass
class RawEntry:
    """One entry; None means: what is true."""

    name: bytes
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    method: int = 8
    flags: int = 0x0800
    system: int = 3
    crc: int | None = None
    size: int | None = None
    packed: int | None = None
    raw: bytes | None = None
    local_name: bytes | None = None
    local_method: int | None = None
    offset: int | None = None
    extra: bytes = b""


@dataclass
class RawZip:
    """A zip written byte by byte."""

    entries: list[RawEntry]
    prefix: bytes = b""
    suffix: bytes = b""
    count: int | None = None
    disk: int = 0
    directory_shift: int = 0
    directory_size: int | None = None
    at: list[int] = field(default_factory=list)

    def bytes(self) -> bytes:
        out = bytearray(self.prefix)
        directory = bytearray()
        for entry in self.entries:
            raw = entry.raw
            if raw is None:
                packer = zlib.compressobj(9, zlib.DEFLATED, -15)
                raw = packer.compress(entry.data) + packer.flush() if entry.method == 8 else entry.data
            crc = zlib.crc32(entry.data) if entry.crc is None else entry.crc
            size = len(entry.data) if entry.size is None else entry.size
            packed = len(raw) if entry.packed is None else entry.packed
            offset = len(out) if entry.offset is None else entry.offset
            self.at.append(len(out))
            local_name = entry.name if entry.local_name is None else entry.local_name
            method = entry.method if entry.local_method is None else entry.local_method
            if entry.offset is None:
                out += struct.pack("<4s5H3L2H", b"PK\3\4", 20, entry.flags, method, 0, 0, crc, packed, size, len(local_name), 0)
                out += local_name + raw
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\1\2", entry.system << 8 | 20, 20, entry.flags, entry.method, 0, 0, crc, packed, size,
                len(entry.name), len(entry.extra), 0, 0, 0, entry.mode << 16, offset,
            )  # fmt: skip
            directory += entry.name + entry.extra
        start = len(out) + self.directory_shift
        out += directory
        count = len(self.entries) if self.count is None else self.count
        size = len(directory) if self.directory_size is None else self.directory_size
        out += struct.pack("<4s4H2LH", b"PK\5\6", self.disk, self.disk, count, count, size, start, 0)
        return bytes(out + self.suffix)


class Form(NamedTuple):
    """A package that is refused: its bytes, the file and the words that the refusal must contain."""

    name: str
    data: bytes
    file: str
    words: str


def _base() -> list[RawEntry]:
    return [RawEntry(b"start.sh", START), RawEntry(b"meta.ini", META)]


def _with(*entries: RawEntry) -> bytes:
    return RawZip([*_base(), *entries]).bytes()


def _files(**changed: bytes | None) -> bytes:
    names = {"start": "start.sh", "meta": "meta.ini"}
    files = dict(BASE)
    for word, data in changed.items():
        if data is None:
            del files[names[word]]
        else:
            files[names[word]] = data
    return good_zip(files)


def _flipped() -> bytes:
    """A byte of the data of start.sh changed on the way, packed without compression."""
    data = bytearray(RawZip([RawEntry(b"start.sh", START, method=0), RawEntry(b"meta.ini", META)]).bytes())
    data[data.index(b"sleep")] ^= 1
    return bytes(data)


def _zip64(**wrong: int) -> bytes:
    """A zip64 end of central directory behind a small zip."""
    plain = RawZip(_base()).bytes()
    end = plain.rindex(b"PK\5\6")
    _, _, _, _, count, size, start, _ = struct.unpack("<4s4H2LH", plain[end:])
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, wrong.get("count", count), size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, wrong.get("position", end), 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return plain[:end] + record + locator + last


def zip64() -> bytes:
    """A good one: every size and position is only in its zip64 records."""
    return _zip64()


def _overlapping() -> bytes:
    """Two entries whose data is the same bytes."""
    inner = RawZip([*_base(), RawEntry(b"a", b"x" * 5000)])
    inner.bytes()
    at = inner.at[2]
    return RawZip([*_base(), RawEntry(b"a", b"x" * 5000), RawEntry(b"a", b"x" * 5000, offset=at)]).bytes()


def _bomb() -> bytes:
    """80 MiB of zeros: one packed MiB that needs nothing of what was before it, 80 times."""
    count, block, crc = 80, bytes(2**20), 0
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    raw = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)) * count + packer.flush()
    for _ in range(count):
        crc = zlib.crc32(block, crc)
    return _with(RawEntry(b"zeros.bin", raw=raw, crc=crc, size=count * len(block)))


def _liar() -> bytes:
    """States ten bytes and unpacks to a megabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return _with(RawEntry(b"small.bin", raw=packer.compress(bytes(2**20)) + packer.flush(), crc=0, size=10))


@cache
def forms() -> list[Form]:
    """Every form, with the file that its refusal names and words of the remedy."""
    link = stat.S_IFLNK | 0o777
    whole = good_zip()
    crlf = START.replace(b"\n", b"\r\n")
    return [
        Form("empty file", b"", "", "the file is empty"),
        Form("no zip", b"\x1f\x8b" + bytes(200), "", "this is no zip"),
        Form("cut off in the middle", whole[: len(whole) // 2], "", "cut off"),
        Form("cut off at the end", whole[:-3], "", "cut off"),
        Form("directory cut off", RawZip(_base(), directory_shift=40).bytes(), "", "damaged or cut off"),
        Form("bytes behind", RawZip(_base(), suffix=b"more").bytes(), "", "bytes after the end"),
        Form("bytes in front", b"#!/bin/sh\n" + whole, "", "bytes in front of the zip"),
        Form("several parts", RawZip(_base(), disk=1).bytes(), "", "one part of several"),
        Form("fewer files than stated", RawZip(_base(), count=3).bytes(), "", "fewer files"),
        Form("more files than stated", RawZip(_base(), count=1).bytes(), "", "more files"),
        Form("zip64 count contradicts", _zip64(count=77), "", "contradicts itself"),
        Form("zip64 end elsewhere", _zip64(position=3), "", "zip64"),
        Form("no file at all", RawZip([]).bytes(), "start.sh", "missing at the root"),
        Form("absolute name", _with(RawEntry(b"/etc/passwd", b"x")), "/etc/passwd", "its name is absolute"),
        Form("name that climbs", _with(RawEntry(b"../up.txt", b"x")), "../up.txt", "leads out of the folder"),
        Form("name that climbs inside", _with(RawEntry(b"a/../../up.txt", b"x")), "a/../../up.txt", "leads out"),
        Form("drive letter", _with(RawEntry(b"C:/app.exe", b"x")), "C:/app.exe", "drive letter"),
        Form("backslashes", _with(RawEntry(b"lib\\app.so", b"x")), "lib\\app.so", "backslash"),
        Form("control characters", _with(RawEntry(b"a\nb", b"x")), r"a\nb", "control characters"),
        Form("zero byte in a name", _with(RawEntry(b"a\0b", b"x")), r"a\x00b", "control characters"),
        Form("dot as a part", _with(RawEntry(b"a/./b", b"x")), "a/./b", "dot as a part"),
        Form("empty part", _with(RawEntry(b"a//b", b"x")), "a//b", "empty part"),
        Form("no name", _with(RawEntry(b"", b"x")), "", "without a name"),
        Form("name too long", _with(RawEntry(b"n" * 300, b"x")), "nnn", "too long"),
        Form("too deep", _with(RawEntry(b"d/" * 70 + b"f", b"x")), "d/d", "folders deep"),
        Form("not the UTF-8 it says", _with(RawEntry(b"caf\xe9", b"x")), "caf", "is not"),
        Form("same name twice", _with(RawEntry(b"start.sh", START)), "start.sh", "twice"),
        Form("file below a file", _with(RawEntry(b"a", b"x"), RawEntry(b"a/b", b"x")), "a/b", "lies below a, which is a file"),
        Form("file below a link", _with(RawEntry(b"a", b"lib", link), RawEntry(b"a/b", b"x")), "a/b", "which is a link"),
        Form("link out by name", _with(RawEntry(b"out", b"../../etc/passwd", link)), "out", "leads out of the package"),
        Form("absolute link", _with(RawEntry(b"out", b"/etc/passwd", link)), "out", "outside of the package"),
        Form(
            "link out through a link",
            _with(RawEntry(b"d/e/in", b"..", link), RawEntry(b"out", b"d/e/in/../../x", link)),
            "out",
            "leads out",
        ),
        Form("links in a circle", _with(RawEntry(b"a", b"b", link), RawEntry(b"b", b"a", link)), "a", "in a circle"),
        Form("link without target", _with(RawEntry(b"a", b"", link)), "a", "without a usable target"),
        Form("device", _with(RawEntry(b"null", b"", stat.S_IFCHR | 0o666)), "null", "device, pipe or socket"),
        Form("pipe", _with(RawEntry(b"pipe", b"", stat.S_IFIFO | 0o666)), "pipe", "device, pipe or socket"),
        Form("encrypted", _with(RawEntry(b"secret", b"x" * 20, flags=0x0801)), "secret", "encrypted"),
        Form("unknown method", _with(RawEntry(b"big", b"x", method=14)), "big", "LZMA"),
        Form("wrong checksum", _flipped(), "start.sh", "checksum"),
        Form("deflate that breaks", _with(RawEntry(b"x.bin", b"abc", raw=b"\xff" * 30)), "x.bin", "cannot be unpacked"),
        Form("deflate cut off", _with(RawEntry(b"x.bin", _TEXT, raw=zlib.compress(_TEXT)[2:-8])), "x.bin", "cut off"),
        Form("says it is small", _liar(), "small.bin", "more than the 10 bytes"),
        Form("says it is large", _with(RawEntry(b"x.bin", b"abc", size=4000)), "x.bin", "unpacks to 3 bytes"),
        Form("data beyond the end", _with(RawEntry(b"x.bin", b"abc", packed=10**6)), "x.bin", "beyond the end"),
        Form("bomb", _bomb(), "zeros.bin", "times its size"),
        Form("too large", _with(*(RawEntry(name, b"a", size=_LARGE) for name in (b"a", b"b", b"c"))), "", "MiB are allowed"),
        Form("overlapping data", _overlapping(), "a", "overlaps"),
        Form("two names for one file", _with(RawEntry(b"good.txt", b"x", local_name=b"evil.txt")), "good.txt", "two names"),
        Form("two methods for one", _with(RawEntry(b"x.txt", b"x", method=0, local_method=8)), "x.txt", "two different"),
        Form("header elsewhere", _with(RawEntry(b"x.txt", b"x", offset=1)), "x.txt", "not where the directory says"),
        Form("top folder", good_zip({f"demo/{name}": data for name, data in BASE.items()}), "start.sh", "cd demo && zip -r"),
        Form("no start.sh", _files(start=None), "start.sh", "missing at the root"),
        Form("start.sh elsewhere", good_zip({"bin/start.sh": START, "meta.ini": META}), "start.sh", "is at bin/start.sh"),
        Form("START.SH", good_zip({"START.SH": START, "meta.ini": META}), "START.SH", "must be called start.sh"),
        Form("start.sh twice", good_zip({**BASE, "Start.sh": START}), "start.sh", "several spellings"),
        Form("start.sh is a folder", good_zip({"start.sh/": b"", "meta.ini": META}), "start.sh", "is no file"),
        Form("start.sh empty", _files(start=b""), "start.sh", "is empty"),
        Form("start.sh with CR LF", _files(start=crlf), "start.sh", "CR LF"),
        Form("start.sh without #!", _files(start=b"sleep 1\n"), "start.sh", "#!/bin/sh"),
        Form("start.sh with BOM", _files(start=b"\xef\xbb\xbf" + START), "start.sh", "byte order mark"),
        Form("start.sh by relative interpreter", _files(start=b"#!python3\n"), "start.sh", "absolute path"),
        Form("start.sh leads nowhere", good_zip({"meta.ini": META}, {"start.sh": "bin/app"}), "start.sh", "is no file"),
        Form("no meta.ini", _files(meta=None), "meta.ini", "missing at the root"),
        Form("META.INI", good_zip({"start.sh": START, "META.INI": META}), "META.INI", "must be called meta.ini"),
        Form("meta.ini without name", _files(meta=b"version=1\n"), "meta.ini", "has no name"),
        Form("meta.ini without version", _files(meta=b"name=a\n"), "meta.ini", "has no version"),
        Form("meta.ini with a bad version", _files(meta=b"name=a\nversion=1 beta\n"), "meta.ini", "version is '1 beta'"),
        Form("meta.ini not UTF-8", _files(meta="name=é".encode("latin-1")), "meta.ini", "line 1 is not UTF-8"),
        Form("meta.ini too large", _files(meta=META + b"#" * 70_000), "meta.ini", "larger than"),
        Form("service with two parts", _files(meta=META + b"service=a:http\n"), "meta.ini", "line 4 is service=a:http"),
        Form("service with a port of 0", _files(meta=META + b"service=a:http:0\n"), "meta.ini", "port of 1 to 65535"),
        Form("service with a large port", _files(meta=META + b"service=a:http:70000\n"), "meta.ini", "port of 1 to 65535"),
        Form("service twice", _files(meta=META + b"service=orders:http:81\n"), "meta.ini", "a second time"),
    ]  # fmt: skip
