"""Configuration as files: written whole, taken away again, and never through a link that the workload has put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from plum_agent.config_files import FileContent, were_written, write
from plum_agent.errors import RefusedError
from plum_schemas.base import ObjectMeta
from plum_schemas.instance import Instance, InstanceSpec
from plum_schemas.template import ConfigFile, Template


def folders(root: Path) -> tuple[Path, Path]:
    base = root / "app"
    base.mkdir()
    return root, base


def test_files_are_written_with_their_modes_and_taken_away_when_nobody_declares_them(tmp_path: Path) -> None:
    note, base = folders(tmp_path)

    write([FileContent("conf/d/a.ini", b"1", 0o644), FileContent("b", b"2", 0o400)], note, base, None)
    write([FileContent("conf/d/a.ini", b"3", 0o600)], note, base, None)

    assert (base / "conf/d/a.ini").read_bytes() == b"3"
    assert (base / "conf/d/a.ini").stat().st_mode & 0o777 == 0o600
    assert not (base / "b").exists()
    assert sorted(path.name for path in (base / "conf/d").iterdir()) == ["a.ini"]


def test_a_link_in_the_way_is_refused_and_one_in_the_place_is_replaced(tmp_path: Path) -> None:
    note, base = folders(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"kept")
    (base / "conf").symlink_to(outside)
    (base / "plain").symlink_to(outside / "kept")
    (base / ".plain.plum-new").symlink_to(outside / "kept")

    with pytest.raises(RefusedError, match="is a link"):
        write([FileContent("conf/a", b"x", 0o600)], note, base, None)
    write([FileContent("plain", b"x", 0o600)], note, base, None)

    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_bytes() == b"kept"
    assert (base / "plain").read_bytes() == b"x"
    assert not (base / "plain").is_symlink()


def test_without_a_controller_the_files_of_the_last_start_count_if_they_are_all_there(tmp_path: Path) -> None:
    note, base = folders(tmp_path)
    template = Template(files=[ConfigFile(path="conf", value=None), ConfigFile(path="a", value="1")])
    instance = Instance(metadata=ObjectMeta(name="web"), spec=InstanceSpec(node_name="n", template=template))
    assert not were_written(instance, note, base)

    write([FileContent("conf/x", b"", 0o600), FileContent("a", b"1", 0o600)], note, base, None)
    assert were_written(instance, note, base)

    os.unlink(base / "a")
    assert not were_written(instance, note, base)
