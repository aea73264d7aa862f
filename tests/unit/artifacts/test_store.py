"""The zips a node keeps: the longest unused goes first, what runs stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plum_agent.artifacts.store import NoRoomError, ZipStore

KIB = 1024


def store(folder: Path, limit: int, *pinned: str) -> ZipStore:
    folder.mkdir(exist_ok=True)
    return ZipStore(folder, limit, lambda: set(pinned))


def put(folder: Path, key: str, size: int, used: int) -> None:
    path = folder / f"{key}.zip"
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))


def kept(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.zip"))


def test_the_longest_unused_goes_first(tmp_path: Path) -> None:
    cache = store(tmp_path, 30 * KIB)
    for number, key in enumerate(("a", "b", "c")):
        put(tmp_path, key, 10 * KIB, 1000 + number)
    assert cache.find("a") is not None

    cache.make_room(10 * KIB, "new")

    assert kept(tmp_path) == ["a", "c"]


def test_what_instances_run_is_kept_beyond_the_limit(tmp_path: Path) -> None:
    cache = store(tmp_path, 10 * KIB, "a", "b")
    for number, key in enumerate(("a", "b-12345678", "c")):
        put(tmp_path, key, 10 * KIB, 1000 + number)

    cache.make_room(10 * KIB, "new")

    assert kept(tmp_path) == ["a", "b-12345678"]


def test_a_full_disk_is_told_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NoRoomError, match="MiB are missing on the disk"):
        store(tmp_path, 10 * KIB).make_room(1 << 60, "new")


def test_a_part_becomes_a_zip_only_when_it_is_whole(tmp_path: Path) -> None:
    cache = store(tmp_path, KIB)
    cache.part("a").write_bytes(b"x")
    assert cache.find("a") is None

    cache.take("a")

    assert cache.find("a") == tmp_path / "a.zip"
    cache.drop("a")
    assert cache.find("a") is None
