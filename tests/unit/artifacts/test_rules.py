"""Names of Artifacts, ranges of downloads, and packages that are the same each time."""

from __future__ import annotations

import io
import os
import random
import string
from pathlib import Path

import pytest
from plum_client.packages.build import build_zip
from plum_client.packages.check import check_package
from plum_controller.api.ranges import wanted_range
from plum_controller.domain.artifacts import object_name, uses
from plum_schemas.names import is_subdomain


def test_names_of_artifacts_are_names_and_differ_where_what_they_name_does() -> None:
    chance = random.Random(5)
    pairs = {
        ("demo-app", "1.0.0"),
        ("SonarSim", "2.1.0"),
        ("sonarsim", "2.1.0"),
        ("a-1", "2"),
        ("a", "1-2"),
        ("数据", "1"),
        ("a" * 250, "1" * 120),
    }
    for _ in range(500):
        name = "".join(chance.choices(string.printable[:70] + " äß", k=chance.randint(1, 30)))
        pairs.add((name, "".join(chance.choices("0123456789.v_-+", k=chance.randint(1, 10)))))

    names = {object_name(*pair) for pair in pairs}

    assert len(names) == len(pairs)
    assert all(is_subdomain(name) for name in names)
    assert object_name("demo-app", "1.0.0") == "demo-app-1.0.0"


@pytest.mark.parametrize(("header", "want"), [
    (b"", None), (b"bytes=0-", (0, 100)), (b"bytes=10-19", (10, 20)), (b"bytes=90-500", (90, 100)), (b"bytes=-5", (95, 100)),
    (b"bytes=-500", (0, 100)), (b"bytes=100-", (100, 100)), (b"bytes=20-10", None), (b"bytes=-", None), (b"items=1-2", None),
    (b"bytes=0-1,5-6", None), (b"bytes=-0", (100, 100)),
])  # fmt: skip
def test_ranges_are_read_as_http_says(header: bytes, want: tuple[int, int] | None) -> None:
    assert wanted_range(header, 100) == want


def test_a_template_uses_what_it_names() -> None:
    spec = {"name": "demo", "version": "1", "sha256": "aa"}

    assert uses({"artifact": {"name": "demo", "version": "1"}}, spec)
    assert uses({"artifact": {"name": "demo", "version": "1", "sha256": "aa"}}, spec)
    assert not uses({"artifact": {"name": "demo", "version": "1", "sha256": "bb"}}, spec)
    assert not uses({"artifact": {"name": "demo", "version": "2"}}, spec)
    assert not uses({"command": ["x"]}, spec)


def test_the_same_folder_gives_the_same_bytes(tmp_path: Path) -> None:
    packed = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        (folder / "lib").mkdir(parents=True)
        (folder / ".git").mkdir()
        names = ["start.sh", "meta.ini", "lib/b", "lib/a"][:: 1 if number == 1 else -1]
        texts = {"start.sh": "#!/bin/sh\n", "meta.ini": "name=a\nversion=1\n"}
        for name in names:
            (folder / name).write_text(texts.get(name, "x"))
            os.utime(folder / name, (number * 1000, number * 1000))
        (folder / "link").symlink_to("lib/a")
        buffer = io.BytesIO()
        build_zip(folder, buffer)
        packed.append(buffer.getvalue())

    assert packed[0] == packed[1]
    assert check_package(io.BytesIO(packed[0])).files == 5
