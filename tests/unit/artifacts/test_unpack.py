"""Unpacking on a node: whatever the zip says, nothing lands outside of the folder, and nothing half is left."""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest
from plum_agent.artifacts.unpack import UnpackCanceledError, unpack
from plum_client.packages.errors import PackageError

from tests.support.packages import BASE, Form, RawEntry, RawZip, forms, good_zip

ABOUT_START = ("start.sh", "START.SH", "meta.ini", "META.INI")
UNSAFE = [form for form in forms() if form.file not in ABOUT_START or form.name in ("same name twice", "wrong checksum")]


def write(folder: Path, data: bytes) -> Path:
    path = folder / "zip"
    path.write_bytes(data)
    return path


def quiet(done: int, total: int) -> None:
    """Nobody looks."""


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("form", UNSAFE, ids=lambda form: form.name)
def test_no_hostile_form_leaves_anything(form: Form, tmp_path: Path) -> None:
    target = tmp_path / "in" / "app"
    target.parent.mkdir()

    with pytest.raises(PackageError):
        unpack(write(tmp_path, form.data), target, None, quiet, threading.Event())

    assert everything(tmp_path) == ["in", "zip"]


def test_there_are_at_least_thirty_unsafe_forms() -> None:
    assert len(UNSAFE) >= 30


def test_files_folders_links_and_programs_are_as_they_were(tmp_path: Path) -> None:
    files = {
        **BASE,
        "bin/app": b"\x7fELF...",
        "bin/run.py": b"#!/usr/bin/python3\n",
        "bin/tool": b"x",
        "conf/a.ini": b"a=1",
        "empty/": b"",
    }
    target = tmp_path / "app"

    unpack(write(tmp_path, good_zip(files, {"lib": "bin", "bin/self": "app"})), target, None, quiet, threading.Event())

    def mode(name: str) -> str:
        return oct((target / name).stat().st_mode & 0o7777)

    assert (target / "lib/app").read_bytes() == b"\x7fELF..."
    assert os.readlink(target / "bin/self") == "app"
    assert [mode(name) for name in ("start.sh", "bin/app", "bin/run.py", "bin/tool")] == ["0o755"] * 4
    assert [mode(name) for name in ("meta.ini", "conf/a.ini")] == ["0o644"] * 2
    assert (target / "empty").is_dir()


def test_setuid_bits_are_not_kept(tmp_path: Path) -> None:
    data = RawZip([RawEntry(b"start.sh", b"#!/bin/sh\n"), RawEntry(b"su", b"x", 0o106777)]).bytes()

    unpack(write(tmp_path, data), tmp_path / "app", None, quiet, threading.Event())

    assert oct((tmp_path / "app/su").stat().st_mode & 0o7777) == "0o755"


def test_it_takes_the_place_of_what_was_there_and_of_what_a_crash_left(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app/old").touch()
    (tmp_path / "app.new").mkdir()
    (tmp_path / "app.new/half").touch()

    unpack(write(tmp_path, good_zip()), tmp_path / "app", None, quiet, threading.Event())

    assert everything(tmp_path) == ["app", "app/meta.ini", "app/start.sh", "zip"]


def test_nobody_waits_for_what_nobody_wants(tmp_path: Path) -> None:
    big = random.Random(1).randbytes(100_000) * 200
    canceled = threading.Event()
    started = time.monotonic()

    def stop(done: int, total: int) -> None:
        canceled.set()

    with pytest.raises(UnpackCanceledError):
        unpack(write(tmp_path, good_zip({**BASE, "big": big})), tmp_path / "app", None, stop, canceled)

    assert everything(tmp_path) == ["zip"]
    assert time.monotonic() - started < 10


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_the_files_belong_to_the_user_of_the_workload(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.touch()

    unpack(
        write(tmp_path, good_zip({**BASE, "d/f": b""}, {"l": "start.sh"})),
        tmp_path / "app",
        (4711, 4712),
        quiet,
        threading.Event(),
    )

    owners = {path.lstat().st_uid for path in [tmp_path / "app", *(tmp_path / "app").rglob("*")]}
    assert owners == {4711}
